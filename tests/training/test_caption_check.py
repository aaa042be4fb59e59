"""Captions that the tokenizer cannot tell apart are told once, at the first batch, and change no token."""

import warnings

import pytest
import torch
from torch.utils.data import DataLoader

from lightning_robust.models import build_word_tokenizer
from lightning_robust.training import ContrastivePretraining
from lightning_robust.training.caption_check import warn_of_captions


def fitted(folder, captioned, trainer, captions):
    """What a run of two epochs warns of captions, in batches of eight."""
    images = captioned.sets[0][0]
    captioned.train_dataloader = lambda: DataLoader(list(zip(images, captions, strict=True)), batch_size=8)
    module = ContrastivePretraining(f"local-dir:{folder}", warmup_steps=1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer(limit_val_batches=0).fit(module, datamodule=captioned)
    return [str(each.message) for each in caught if "captions" in str(each.message)]


def test_the_share_of_captions_with_unknown_words_is_told_once(tiny_folder, captioned, trainer):
    captions = [f"a red star {'zebra' if k % 4 == 1 else 'truck'}" for k in range(24)]
    (said,) = fitted(tiny_folder, captioned, trainer, captions)
    assert said.startswith("Of the first batch's 8 captions 2 (25%) hold words that the encoder's tokenizer does not")
    assert "for one and the same: 'zebra'. " in said


def test_captions_that_become_one_are_told(tiny_folder, captioned, trainer):
    told = fitted(tiny_folder, captioned, trainer, [f"a zebra {k} of harbour" for k in range(24)])
    assert len(told) == 2
    assert "captions 8 (100%) hold words" in told[0]
    assert "same: 'zebra', '0', 'harbour', '1', '2', …" in told[0]
    assert told[1].startswith("All 8 captions of the first batch are the same tokens")


def test_nothing_is_said_of_known_words_or_of_one_pair(tiny_folder, captioned, trainer):
    colours = ["red", "blue"]
    assert fitted(tiny_folder, captioned, trainer, [f"a {colours[k % 2]} star" for k in range(24)]) == []
    warn_of_captions(build_word_tokenizer(["star"]), ["star"], torch.tensor([[1, 3, 4]]))


def test_tokens_that_are_all_the_same_are_told(tiny_folder):
    with pytest.warns(UserWarning, match="All 3 captions of the first batch are the same tokens"):
        warn_of_captions(build_word_tokenizer(["star"]), None, torch.ones(3, 5, dtype=torch.long))


def test_looking_leaves_the_tokens_as_they_are(tiny_folder):
    module = ContrastivePretraining(f"local-dir:{tiny_folder}")
    captions = ["a zebra", "a photo of " * 40]  # one of them longer than the context
    before = module.tokenizer(captions)
    with pytest.warns(UserWarning, match=r"2 captions 1 \(50%\) hold words"):
        warn_of_captions(module.tokenizer, captions, before)
    assert torch.equal(module.tokenizer(captions), before)

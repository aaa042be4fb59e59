"""One pair alone: InfoNCE says that it learns nothing, and batch norm what would work."""

import warnings

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_robust.training import ContrastiveFinetuning, ContrastivePretraining, SupervisedPretraining
from lightning_robust.training.chunked import encode_in_chunks
from lightning_robust.training.lone_rows import batch_norm_of

VIT = {"vision": "vit", "vision_layers": 1, "vision_width": 32, "vision_head_width": 16}
SENTENCE = r"Batch norm cannot normalise 1 image alone.* take a batch_size .* or drop_last=True, and a chunk_size of 3"


def said(trainer, module, data, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        run = trainer(limit_val_batches=0, **options)
        run.fit(module, datamodule=data)
    return run, [str(each.message) for each in caught if "one pair" in str(each.message)]


def test_info_nce_of_one_pair_is_told_once_and_learns_nothing(small_clip, captioned, trainer):
    pairs = [(image, "a star") for image in captioned.sets[0][0]]
    captioned.train_dataloader = lambda: DataLoader(pairs, batch_size=1)
    module = ContrastivePretraining(small_clip(**VIT), warmup_steps=1, weight_decay=0.0)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    run, told = said(trainer, module, captioned, max_steps=3)
    assert len(told) == 1
    assert told[0].startswith("A batch is one pair: InfoNCE contrasts it with nothing")
    assert run.callback_metrics["train/loss"] == 0.0
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_one_pair_that_an_epoch_leaves_over_is_told(small_clip, captioned, trainer):
    data = type(captioned)(n=9, captions=True)  # batches of eight
    for loss, times in (("infonce", 1), ("siglip", 0)):
        module = ContrastivePretraining(small_clip(**VIT), loss=loss, warmup_steps=1)
        assert len(said(trainer, module, data, max_epochs=2)[1]) == times


def test_finetuning_with_captions_tells_it_too(tiny_folder, small_clip, data, trainer):
    images, targets = data.sets[0]
    data.train_dataloader = lambda: DataLoader(TensorDataset(images, targets), batch_size=1)
    module = ContrastiveFinetuning(small_clip(**VIT), pretrained=False, warmup_steps=1)
    assert len(said(trainer, module, data, max_steps=2)[1]) == 1


@pytest.mark.filterwarnings("ignore:A batch is one pair")
@pytest.mark.parametrize("kind", ["contrastive", "chunks of one", "supervised", "finetuning"])
def test_batch_norm_of_one_image_is_refused_in_a_sentence(tiny_folder, captioned, trainer, kind):
    """The last map of the tiny ResNet is one pixel."""
    name = f"local-dir:{tiny_folder}"
    module = {
        "contrastive": lambda: ContrastivePretraining(name),
        "chunks of one": lambda: ContrastivePretraining(name, chunk_size=1),
        "supervised": lambda: SupervisedPretraining(name),
        "finetuning": lambda: ContrastiveFinetuning(name),
    }[kind]()
    captioned.captions = kind in ("contrastive", "chunks of one")
    whole = captioned.train_dataloader().dataset
    captioned.train_dataloader = lambda: DataLoader(whole, batch_size=8 if kind == "chunks of one" else 1)
    with pytest.raises(ValueError, match=SENTENCE):
        trainer(max_steps=1, limit_val_batches=0).fit(module, datamodule=captioned)


def test_one_image_of_many_pixels_is_none_of_its_business():
    norm = nn.BatchNorm2d(3)
    encode_in_chunks(lambda images: norm(images).mean(dim=(2, 3)), norm, torch.randn(2, 3, 4, 4), 1)


def test_other_errors_stay_what_they_are():
    with pytest.raises(ValueError, match="something else"), batch_norm_of(1):
        raise ValueError("something else")

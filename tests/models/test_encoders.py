"""Encoders by name: what is loaded, what is left alone, and what is said when it cannot be."""

import hashlib
import logging
import random
import re
import shutil

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from lightning_robust.models import load_encoder, save_clip_folder, write_clip_folder
from lightning_robust.models.clip_folder import read_clip_folder


def test_a_folder_gives_the_same_model_transform_and_tokens_as_plain_open_clip(tiny_folder, tiny):
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{tiny_folder}")
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8))
    x = transform(image)
    assert torch.equal(tiny.transform(image), x)
    assert x.shape == (3, 32, 32)
    with torch.no_grad():
        assert torch.equal(tiny.model.encode_image(x[None]), model.eval().encode_image(x[None]))
    assert tiny.embed_dim == 16
    assert not any(module.training for module in tiny.model.modules())


def test_the_hash_is_that_of_the_weights_file(tiny_folder, tiny):
    data = (tiny_folder / "open_clip_model.safetensors").read_bytes()
    assert tiny.checkpoint_hash == hashlib.sha256(data).hexdigest()


def test_untrained_needs_no_weights_and_is_a_function_of_the_seed(tiny_folder, tmp_path):
    for name in ("open_clip_config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_folder / name, tmp_path)
    one, again, other = (load_encoder(f"local-dir:{tmp_path}", pretrained=False, seed=s) for s in (5, 5, 6))
    assert one.checkpoint_hash == again.checkpoint_hash != other.checkpoint_hash
    state, same = one.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(state[name], same[name]) for name in state)
    with pytest.raises(ValueError, match=r"put open_clip_model\.safetensors there"):
        load_encoder(f"local-dir:{tmp_path}")


@pytest.mark.parametrize("pretrained", [True, False])
def test_loading_touches_no_random_state(tiny_folder, pretrained):
    before = (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy())  # noqa: NPY002
    load_encoder(f"local-dir:{tiny_folder}", pretrained=pretrained, seed=3)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()
    assert (before[2] == np.random.get_state()[1]).all()  # noqa: NPY002


def test_a_vit_twin_loads_untrained(tmp_path):
    write_clip_folder(
        tmp_path, ["star"], vision="vit", embed_dim=8, vision_width=32, vision_layers=2, vision_head_width=16
    )
    vit = load_encoder(f"local-dir:{tmp_path}", pretrained=False)
    assert vit.model.encode_image(torch.zeros(1, 3, 32, 32)).shape == (1, 8)
    assert len(vit.model.visual.transformer.resblocks) == 2


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("scenes-klip", ["'scenes-clip'", "local-dir:FOLDER"]),
        ("ViT-B32/openai", ["Unknown encoder", "'ViT-B-32'"]),
        ("ViT-B-32/openai", ["QuickGELU", "'ViT-B-32-quickgelu/openai'"]),
        ("ViT-B-32-quickgelu/laion2b_s34b_b79k", ["no pretrained tag"]),
        ("RN50", ["pretrained=False", "'openai'"]),
        ("local-dir:nowhere", ["nowhere", "open_clip_config.json", "is missing"]),
    ],
)
def test_bad_names_get_one_sentence_that_says_what_works(name, words):
    with pytest.raises(ValueError, match=re.escape(words[0])) as caught:
        load_encoder(name)
    assert all(word in str(caught.value) for word in words)
    assert "\n" not in str(caught.value)


def test_without_a_network_the_error_says_which_files_to_put_where(monkeypatch):
    def offline(*_, **__):
        raise OSError("no route to host\nand a long story")

    monkeypatch.setattr(open_clip, "download_pretrained", offline)
    with pytest.raises(ValueError, match=r"no route to host\); without a network, put open_clip_config\.json"):
        load_encoder("ViT-B-32-quickgelu/openai")


def test_weights_of_another_architecture_are_refused(tiny_folder, tmp_path):
    config, files = read_clip_folder(tiny_folder)
    config["model_cfg"]["embed_dim"] = 24
    save_clip_folder(
        tmp_path,
        config=config,
        tokenizer_files=files,
        state=load_encoder(f"local-dir:{tiny_folder}").model.state_dict(),
    )
    with pytest.raises(ValueError, match="not of the architecture"):
        load_encoder(f"local-dir:{tmp_path}")


def test_the_bundled_clip_is_looked_up_in_the_package(tiny_folder, tmp_path, monkeypatch):
    shutil.copytree(tiny_folder, tmp_path / "scenes-clip")
    monkeypatch.setattr("importlib.resources.files", {"lightning_robust.checkpoints": tmp_path}.__getitem__)
    bundled = load_encoder("scenes-clip")
    assert bundled.folder == tmp_path / "scenes-clip"
    assert bundled.checkpoint_hash == load_encoder(f"local-dir:{tiny_folder}").checkpoint_hash


def test_a_tokenizer_that_cannot_be_fetched_gets_the_same_advice(monkeypatch):
    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(open_clip, "get_tokenizer", offline)
    with pytest.raises(ValueError, match=r"its tokenizer .* could not be fetched .* load 'local-dir:FOLDER'"):
        load_encoder("RN50", pretrained=False)


def test_open_clip_leaves_no_handler_on_the_root_logger(tiny_folder):
    handlers, disabled = list(logging.root.handlers), logging.root.manager.disable
    load_encoder(f"local-dir:{tiny_folder}", pretrained=False)
    assert logging.root.handlers == handlers
    assert logging.root.manager.disable == disabled


def test_the_small_vit_ships_as_an_architecture_without_weights():
    encoder = load_encoder("scenes-vit", pretrained=False, seed=3)
    assert encoder.model.visual(torch.zeros(2, 3, 32, 32)).shape == (2, encoder.embed_dim) == (2, 128)
    assert torch.equal(encoder.tokenizer(["a red car"]), load_encoder("scenes-clip").tokenizer(["a red car"]))
    with pytest.raises(ValueError, match="'scenes-vit' is an architecture that ships without weights"):
        load_encoder("scenes-vit")

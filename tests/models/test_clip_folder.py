"""Folders that plain open_clip loads."""

import json

import open_clip
import pytest
import torch

from lightning_robust.models import load_encoder, save_clip_folder, write_clip_folder
from lightning_robust.models.clip_folder import read_clip_folder


def test_a_saved_folder_loads_strictly_in_plain_open_clip(tiny, tiny_folder, tmp_path):
    config, tokenizer_files = read_clip_folder(tiny_folder)
    save_clip_folder(tmp_path / "new", config=config, tokenizer_files=tokenizer_files, state=tiny.model.state_dict())
    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{tmp_path / 'new'}")
    mine, theirs = tiny.model.state_dict(), model.state_dict()
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert {file.name for file in (tmp_path / "new").iterdir()} == {
        "open_clip_config.json", "open_clip_model.safetensors", "tokenizer.json", "tokenizer_config.json"
    }  # fmt: skip


def test_the_default_is_the_small_resnet_of_the_methods_page(tmp_path):
    config = write_clip_folder(tmp_path, [f"word{i}" for i in range(88)])
    assert config == json.loads((tmp_path / "open_clip_config.json").read_text())
    model = load_encoder(f"local-dir:{tmp_path}", pretrained=False).model
    assert 1.42e6 < sum(parameter.numel() for parameter in model.parameters()) < 1.44e6
    assert model.token_embedding.weight.shape == (92, 64)
    assert model.visual.attnpool.num_heads == 8


def test_what_cannot_be_written_is_said(tmp_path):
    with pytest.raises(ValueError, match="'resnet' or 'vit', not 'mlp'"):
        write_clip_folder(tmp_path, ["star"], vision="mlp")
    with pytest.raises(ValueError, match="model_cfg"):
        save_clip_folder(tmp_path, config={}, tokenizer_files={})
    with pytest.raises(ValueError, match="no open_clip folder"):
        read_clip_folder(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="Cannot write"):
        write_clip_folder(tmp_path / "file", ["star"])


@pytest.mark.parametrize(("vision", "layers"), [("resnet", 2), ("vit", (1, 1, 1, 1))])
def test_layers_in_the_form_of_the_other_tower_are_refused(vision, layers, tmp_path):
    with pytest.raises(ValueError, match="takes"):
        write_clip_folder(tmp_path / "clip", ["a"], vision=vision, vision_layers=layers)
    assert not (tmp_path / "clip").exists()

"""QuickGELU: what a name, a hash, or a file beside the weights tells, and that a mismatch is an error."""

import json
import re

import open_clip
import pytest
import torch
import yaml

from lightning_robust.models import load_encoder, quick_gelu, save_tensors, write_clip_folder
from lightning_robust.results import file_sha256


@pytest.fixture
def file(architectures, tmp_path):
    """Weights of either tiny architecture: the entries are the same."""
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    save_tensors(folder / "epoch_3.safetensors", load_encoder("tiny", pretrained=False, seed=7).model.state_dict())
    return folder / "epoch_3.safetensors"


def refused(file, architecture, *words):
    with pytest.raises(ValueError, match="would compute wrong features") as caught:
        load_encoder(f"{architecture}@{file}")
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_two_do_compute_different_features(file):
    images = torch.rand(2, 3, 32, 32)
    with pytest.warns(UserWarning, match="QuickGELU"):
        plain = load_encoder(f"tiny@{file}").model
    quick = load_encoder(f"tiny-quickgelu@{file}").model
    assert (plain.encode_image(images) - quick.encode_image(images)).abs().max() > 1e-3


def test_where_nothing_tells_it_is_said_in_one_sentence(file):
    with pytest.warns(UserWarning, match=r"weights that come from OpenAI's need 'tiny-quickgelu@.*epoch_3") as caught:
        load_encoder(f"tiny@{file}")
    assert len(caught) == 1
    load_encoder(f"tiny-quickgelu@{file}")  # asked for by name: nothing to say


def test_a_known_hash_of_openais_file(file, monkeypatch):
    known = {file_sha256(file): ("ViT-B-32/openai", True)}
    monkeypatch.setattr(quick_gelu, "_known_hashes", lambda: known)
    refused(file, "tiny", "the file's SHA-256 is that of ViT-B-32/openai", f"use 'tiny-quickgelu@{file}'")
    monkeypatch.setattr(quick_gelu, "_known_hashes", lambda: {file_sha256(file)[:8]: ("x/laion", False)})
    refused(file, "tiny-quickgelu", "trained without QuickGELU", f"use 'tiny@{file}'")
    load_encoder(f"tiny@{file}")


def test_the_hashes_are_those_in_open_clips_addresses():
    known = quick_gelu._known_hashes()
    openai = {digits: name for digits, (name, quick) in known.items() if len(digits) == 64}
    assert len(openai) == len(open_clip.list_openai_models()) // 2  # each once plain, once -quickgelu
    assert all(known[digits][1] for digits in openai)
    assert quick_gelu.of_hash("46683a32" + 56 * "0").quick  # ViT-B-32 laion400m_e32 of open_clip's first release
    assert not quick_gelu.of_hash("af8dbd0c" + 56 * "0").quick  # ViT-B-32 laion2b_e16
    assert quick_gelu.of_hash(64 * "0") is None


@pytest.mark.parametrize("model", ["tiny", "tiny-quickgelu"])
def test_the_settings_of_open_clips_training_beside_it(file, model):
    (file.parent.parent / "params.txt").write_text(f"batch_size: 8\nforce_quick_gelu: False\nmodel: {model}\nname: x\n")
    other = {"tiny": "tiny-quickgelu", "tiny-quickgelu": "tiny"}[model]
    refused(file, other, f"names {model}", f"use '{model}@{file}'")
    load_encoder(f"{model}@{file}")
    (file.parent.parent / "params.txt").write_text(f"model: {model}\nforce_quick_gelu: True\n")
    refused(file, "tiny", "says force_quick_gelu")


def test_the_config_of_a_run_beside_it(file):
    settings = {"model": {"class_path": "x.ClassifierFinetuning", "init_args": {"encoder": "tiny-quickgelu/openai"}}}
    (file.parent.parent / "config.yaml").write_text(yaml.safe_dump(settings))
    refused(file, "tiny", "config.yaml of its run names tiny-quickgelu/openai")
    (file.parent.parent / "config.yaml").write_text("model: [")
    with pytest.warns(UserWarning, match="Nothing in or beside"):
        load_encoder(f"tiny@{file}")


@pytest.mark.parametrize(
    "foreign", ["model: vit_b_32", "model: [1]", "model: {init_args: x}", "model: {init_args: {encoder: [tiny]}}"]
)
def test_the_config_of_another_program_tells_nothing(file, foreign):
    (file.parent / "config.yaml").write_text(foreign)
    state = load_encoder("tiny", pretrained=False).model.state_dict()
    torch.save({"state_dict": state, "hyper_parameters": {"encoder": [3]}}, file.with_suffix(".ckpt"))
    with pytest.warns(UserWarning, match="Nothing in or beside"):
        load_encoder(f"tiny@{file.with_suffix('.ckpt')}")


def test_open_clips_configuration_beside_it(file):
    (file.parent / "open_clip_config.json").write_text(json.dumps({"model_cfg": {"quick_gelu": True}}))
    refused(file, "tiny", "open_clip_config.json beside the file says so")
    (file.parent / "open_clip_config.json").write_text("{")
    with pytest.warns(UserWarning, match="Nothing in or beside"):
        load_encoder(f"tiny@{file}")


def test_its_name_and_what_a_checkpoint_keeps(file):
    named = file.with_name("vit-quickgelu-e32.safetensors")
    named.write_bytes(file.read_bytes())
    refused(named, "tiny", "its name vit-quickgelu-e32.safetensors says so")
    state = {
        f"encoder.{name}": value for name, value in load_encoder("tiny", pretrained=False).model.state_dict().items()
    }
    torch.save({"state_dict": state, "hyper_parameters": {"encoder": "tiny-quickgelu"}}, file.with_name("last.ckpt"))
    refused(file.with_name("last.ckpt"), "tiny", "the checkpoint names tiny-quickgelu")


def test_the_tag_that_a_file_came_from(architectures, file, monkeypatch):
    table = open_clip.pretrained._PRETRAINED
    monkeypatch.setitem(table, "tiny", {"openai": {**table["RN50"]["openai"]}})
    refused(file, "tiny/openai", "tiny/openai is listed so by open_clip", f"use 'tiny-quickgelu/openai@{file}'")
    with pytest.raises(ValueError, match="tiny has no pretrained tag 'opennai'; 'openai' would work"):
        load_encoder(f"tiny/opennai@{file}")


def test_a_folder_whose_weights_are_known(tmp_path, monkeypatch):
    write_clip_folder(tmp_path, ["star"], embed_dim=8, vision="vit", vision_width=64, vision_layers=1, text_width=16)
    model = load_encoder(f"local-dir:{tmp_path}", pretrained=False).model
    weights = tmp_path / "open_clip_model.safetensors"
    save_tensors(weights, model.state_dict())
    monkeypatch.setattr(quick_gelu, "_known_hashes", lambda: {file_sha256(weights): ("ViT/openai", True)})
    with pytest.raises(ValueError, match=re.escape("set \"quick_gelu\": true in the 'model_cfg'")):
        load_encoder(f"local-dir:{tmp_path}")


def test_every_tag_of_open_clip_has_an_architecture_that_the_guard_lets_through():
    """The guard names another architecture only where there is one; otherwise the one that is there stands."""
    for architecture, tag in open_clip.list_pretrained():
        quick = quick_gelu.of_tag(architecture, tag).quick
        own = quick_gelu.uses_quick_gelu({"model_cfg": open_clip.get_model_config(architecture)})
        other = quick_gelu.twin(architecture, quick)
        if quick != own and other is not None:
            assert quick_gelu.uses_quick_gelu({"model_cfg": open_clip.get_model_config(other)}) == quick
            assert tag in open_clip.list_pretrained_tags_by_model(other)
        elif quick != own:
            assert architecture == "roberta-ViT-B-32"  # one architecture, with QuickGELU, and a table that forgot it


@pytest.mark.parametrize(
    ("identifier", "quick"),
    [
        ("timm/vit_base_patch32_clip_224.openai", True),
        ("laion/CLIP-ViT-B-16-laion2B-s34B-b88K", False),
        ("openai/clip-vit-large-patch14", True),
        ("someone/My-ViT-QuickGELU", True),
        ("laion/CLIP-ViT-B-32-roberta-base-laion2B-s12B-b32k", True),
    ],
)
def test_repositories(identifier, quick):
    assert quick_gelu.of_repository(identifier).quick is quick
    assert quick_gelu.of_repository("someone/own-clip") is None

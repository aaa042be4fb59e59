"""Encoders from weights files, in every form that trainings leave behind, and what is refused."""

import argparse
import random
import re
import warnings

import lightning.pytorch as pl
import numpy as np
import open_clip
import pytest
import torch
from torch.utils.data import DataLoader

from lightning_robust.models import ImageClassifier, load_encoder, save_tensors, zero_shot_head
from lightning_robust.models.encoder_file import split_file
from lightning_robust.models.encoder_open_clip import preprocessing
from lightning_robust.models.networks import load_network
from lightning_robust.results import file_sha256
from lightning_robust.training import ClassifierFinetuning, ContrastivePretraining


@pytest.fixture
def images():
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def clip(architectures):
    """A `tiny-quickgelu` as if trained: weights that `seed=0` does not give."""
    return load_encoder("tiny-quickgelu", pretrained=False, seed=7).model


def bare(path, state):
    torch.save(state, path)


def tensors_file(path, state):
    save_tensors(path, state)


def open_clip_training(path, state):
    """As open_clip's training writes epoch_10.pt, from several processes."""
    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([parameter])
    parameter.sum().backward()
    optimizer.step()
    torch.save(
        {
            "epoch": 10,
            "name": "2026_01_01-model_tiny",
            "state_dict": {f"module.{name}": value for name, value in state.items()},
            "optimizer": optimizer.state_dict(),
            "scaler": {"scale": 65536.0, "growth_factor": 2.0, "_growth_tracker": 0},
        },
        path,
    )


def compiled(path, state):
    torch.save({"state_dict": {f"module._orig_mod.{name}": value for name, value in state.items()}}, path)


def wise_ft_converted(path, state):
    """The state dict of wise-ft's ImageClassifier, after `torch.save(model.state_dict())` in its own code."""
    own = {f"image_encoder.model.{name}": value for name, value in state.items()}
    torch.save(
        {**own, "classification_head.weight": torch.ones(5, 16), "classification_head.bias": torch.ones(5)}, path
    )


def averaged(path, state):
    """torch.optim.swa_utils.AveragedModel."""
    own = {f"module.{name}": value for name, value in state.items()}
    torch.save({"n_averaged": torch.tensor(3), **own}, path)


FORMATS = [
    ("a.pt", bare), ("a.pth", bare), ("a.bin", bare), ("a.safetensors", tensors_file),
    ("epoch_10.pt", open_clip_training), ("compiled.pt", compiled), ("converted.pt", wise_ft_converted),
    ("ema.pt", averaged),
]  # fmt: skip


@pytest.mark.parametrize(("file", "write"), FORMATS)
def test_every_form_of_state_dict_gives_the_model_that_was_saved(clip, images, tmp_path, file, write):
    write(tmp_path / file, clip.state_dict())
    before = (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy())  # noqa: NPY002
    loaded = load_encoder(f"tiny-quickgelu@{tmp_path / file}")
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()
    assert (before[2] == np.random.get_state()[1]).all()  # noqa: NPY002
    tokens = loaded.tokenizer(["a photo of a star"])
    with torch.no_grad():
        assert torch.equal(loaded.model.encode_image(images), clip.encode_image(images))
        assert torch.equal(loaded.model.encode_text(tokens), clip.encode_text(tokens))
    assert loaded.checkpoint_hash == file_sha256(tmp_path / file)
    assert (loaded.name, loaded.has_text, loaded.embed_dim) == (f"tiny-quickgelu@{tmp_path / file}", True, 16)
    assert not any(module.training for module in loaded.model.modules())


def test_the_origin_says_that_averaged_weights_were_taken(clip, images, tmp_path):
    last = load_encoder("tiny-quickgelu", pretrained=False, seed=8).model
    torch.save({"state_dict": last.state_dict(), "model_ema": clip.state_dict()}, tmp_path / "both.pt")
    torch.save({"state_dict": last.state_dict()}, tmp_path / "last.pt")
    for file, model, words in (("both.pt", clip, ", averaged weights (model_ema)"), ("last.pt", last, "")):
        network = load_network(f"tiny-quickgelu@{tmp_path / file}")
        assert network.origin == f"weights of {tmp_path / file}{words}"
        assert bool(network.average) == bool(words)
        with torch.no_grad():
            assert torch.equal(network.model(images), model.encode_image(images))


def test_half_precision_is_read_into_the_models_own(clip, images, tmp_path):
    torch.save({name: value.half() for name, value in clip.state_dict().items()}, tmp_path / "half.pt")
    loaded = load_encoder(f"tiny-quickgelu@{tmp_path / 'half.pt'}")
    assert {value.dtype for value in loaded.model.state_dict().values()} == {torch.float32}
    torch.testing.assert_close(loaded.model.encode_image(images), clip.encode_image(images), rtol=0.02, atol=0.02)


def archive(path, clip):
    """What OpenAI's archives hold: the traced CLIP and three numbers."""
    del clip.context_length, clip.vocab_size
    for name, value in (("input_resolution", 32), ("context_length", 16), ("vocab_size", 49408)):
        clip.register_buffer(name, torch.tensor(value))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        clip.requires_grad_(False)
        tokens = torch.zeros(1, 16, dtype=torch.long)
        torch.jit.save(torch.jit.trace(clip, (torch.zeros(1, 3, 32, 32), tokens), check_trace=False), str(path))


def test_openais_archives_load_with_quick_gelu_and_are_refused_without(clip, images, tmp_path):
    with torch.no_grad():
        expected = clip.encode_image(images)
    archive(tmp_path / "ViT.pt", clip)
    loaded = load_encoder(f"tiny-quickgelu@{tmp_path / 'ViT.pt'}")
    with torch.no_grad():
        assert torch.equal(loaded.model.encode_image(images), expected)
    with pytest.raises(ValueError, match=r"it is a TorchScript archive.*use 'tiny-quickgelu@.*ViT\.pt'"):
        load_encoder(f"tiny@{tmp_path / 'ViT.pt'}")


class Data(pl.LightningDataModule):
    class_names, templates, val_loader_names = ["star", "heart"], ["a photo of a {}"], ["reference"]

    def __init__(self, captions):
        super().__init__()
        items = torch.rand(8, 3, 32, 32)
        self.items = list(zip(items, ["a star", "a red heart"] * 4 if captions else [0, 1] * 4, strict=True))
        self.held = list(zip(items, [0, 1] * 4, strict=True))

    def train_dataloader(self):
        return DataLoader(self.items, batch_size=4)

    def val_dataloader(self):
        return [DataLoader(self.held, batch_size=4)]


@pytest.mark.parametrize("kind", [ClassifierFinetuning, ContrastivePretraining])
def test_checkpoints_of_this_projects_trainings(tiny_folder, images, tmp_path, kind):
    module = kind(f"local-dir:{tiny_folder}")
    trainer = pl.Trainer(
        accelerator="cpu", max_steps=2, logger=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=tmp_path, enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(module, datamodule=Data(kind is ContrastivePretraining))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    name = f"local-dir:{tiny_folder}@{tmp_path / 'last.ckpt'}"
    loaded = load_encoder(name)
    trained = module.model.encoder if kind is ClassifierFinetuning else module.encoder
    state = trained.state_dict()
    assert state.keys() == loaded.model.state_dict().keys()
    assert all(torch.equal(state[entry], value) for entry, value in loaded.model.state_dict().items())
    assert not torch.equal(
        load_encoder(f"local-dir:{tiny_folder}").model.visual.conv1.weight, trained.visual.conv1.weight
    )
    untrained, plain = load_encoder(name, pretrained=False), load_encoder(f"local-dir:{tiny_folder}", pretrained=False)
    assert untrained.checkpoint_hash == plain.checkpoint_hash
    assert untrained.name == name


def test_an_image_tower_alone_has_no_text(tiny, tiny_folder, images, tmp_path):
    state = {f"model.encoder.{name}": value for name, value in tiny.model.state_dict().items() if "visual." in name}
    torch.save({"state_dict": {**state, "model.head.weight": torch.ones(3, 16)}}, tmp_path / "supervised.ckpt")
    loaded = load_encoder(f"local-dir:{tiny_folder}@{tmp_path / 'supervised.ckpt'}")
    assert not loaded.has_text
    assert torch.equal(loaded.model.encode_image(images), tiny.model.encode_image(images))
    assert ImageClassifier(loaded.model, torch.ones(3, 16))(images).shape == (2, 3)
    with pytest.raises(ValueError, match=r"supervised\.ckpt' has no text tower"):
        loaded.tokenizer(["a star"])
    with pytest.raises(ValueError, match="no text tower"):
        zero_shot_head(loaded.model, loaded.tokenizer, ["star"], ["a {}"])


def test_wise_fts_classifier_without_its_text_blocks_gives_the_image_tower(clip, images, tmp_path):
    """wise-ft deletes `transformer` from the CLIP that it finetunes and keeps the rest of the text tower."""
    state = {name: value for name, value in clip.state_dict().items() if not name.startswith("transformer.")}
    wise_ft_converted(tmp_path / "c.pt", state)
    loaded = load_encoder(f"tiny-quickgelu@{tmp_path / 'c.pt'}")
    assert not loaded.has_text
    assert torch.equal(loaded.model.encode_image(images), clip.encode_image(images))


def test_an_older_form_of_a_separate_text_tower_is_renamed(tiny, tiny_folder, tmp_path, images):
    """open_clip moved the text tower under `text.`; files from before have it at the top."""
    for file in tiny_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = (tmp_path / "open_clip_config.json").read_text()
    (tmp_path / "open_clip_config.json").write_text(config.replace('"embed_dim"', '"custom_text": true, "embed_dim"'))
    file = tmp_path / "open_clip_model.safetensors"
    loaded = load_encoder(f"local-dir:{tmp_path}@{file}")
    tokens = loaded.tokenizer(["a star"])
    assert hasattr(loaded.model, "text")
    torch.testing.assert_close(loaded.model.encode_text(tokens), tiny.model.encode_text(tokens))


class Pickled(torch.nn.Module):
    """In the place of wise-ft's `src.models.modeling.ImageClassifier`."""

    ran = False

    def __setstate__(self, state):
        Pickled.ran = True
        super().__setstate__(state)


def test_pickled_objects_are_refused_with_the_way_to_convert_them_and_nothing_runs(architectures, tmp_path):
    torch.save(Pickled(), tmp_path / "checkpoint_1.pt")
    with pytest.raises(ValueError, match="pickled Python objects") as caught:
        load_encoder(f"tiny-quickgelu@{tmp_path / 'checkpoint_1.pt'}")
    message = str(caught.value)
    assert "torch.load('checkpoint_1.pt', weights_only=False), take .state_dict()" in message
    assert "Pickled" in message
    assert "\n" not in message
    assert not Pickled.ran


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "cannot be read as a weights file"),
        (b"PK\x03\x04 half of an archive", "cannot be read as a weights file"),
        ([1, 2], "holds no state dict"),
        ({"state_dict": {}}, "holds no state dict"),
        ({"epoch": 3, "lr": 0.1}, "holds no state dict"),
        ({"something.weight": torch.ones(2)}, "not states of the same architecture"),
        (torch.ones(3), "holds no state dict"),
    ],
)
def test_files_that_hold_no_such_model(architectures, tmp_path, content, sentence):
    file = tmp_path / "bad.pt"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    with pytest.raises(ValueError, match=sentence) as caught:
        load_encoder(f"tiny-quickgelu@{file}")
    assert "\n" not in str(caught.value)
    assert "bad.pt" in str(caught.value)


def test_a_cut_safetensors_file_and_a_missing_one(clip, tmp_path):
    file = tmp_path / "a.safetensors"
    save_tensors(file, clip.state_dict())
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match="is not a whole safetensors file"):
        load_encoder(f"tiny-quickgelu@{file}")
    with pytest.raises(ValueError, match=r"there is no file .*none\.pt with weights"):
        load_encoder(f"tiny-quickgelu@{tmp_path / 'none.pt'}")
    with pytest.raises(ValueError, match="names no file after '@'"):
        load_encoder("tiny-quickgelu@")
    save_tensors(file, clip.state_dict())
    with pytest.raises(ValueError, match="Unknown encoder 'tinny'"):
        load_encoder(f"tinny@{file}")


def test_weights_of_another_architecture_are_refused(tiny, clip, tmp_path):
    save_tensors(tmp_path / "resnet.safetensors", tiny.model.state_dict())
    with pytest.raises(ValueError, match="are not states of the same architecture") as caught:
        load_encoder(f"tiny-quickgelu@{tmp_path / 'resnet.safetensors'}")
    assert "the architecture 'tiny-quickgelu'" in str(caught.value)


def test_where_the_file_begins(tmp_path):
    odd = tmp_path / "run@home"
    odd.mkdir()
    assert split_file(f"local-dir:{odd}") == (f"local-dir:{odd}", None)
    assert split_file(f"local-dir:{odd}@{odd}/a.pt") == (f"local-dir:{odd}", odd / "a.pt")
    assert split_file(f"ViT-B-32@{odd}/a.pt") == ("ViT-B-32", odd / "a.pt")
    assert split_file("scenes-clip") == ("scenes-clip", None)


def test_the_preprocessing_of_a_files_tag(architectures, monkeypatch):
    assert preprocessing("ViT-L-14")["image_mean"] == open_clip.OPENAI_DATASET_MEAN
    assert preprocessing("ViT-L-14", "laion2b_s32b_b82k")["image_mean"] == (0.5, 0.5, 0.5)
    assert preprocessing("ViT-B-16-SigLIP")["image_resize_mode"] == "squash"
    assert preprocessing("tiny") == {}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny", open_clip.pretrained._PRETRAINED["ViT-B-16-SigLIP"])
    for name in ("tiny", "tiny/webli"):
        transform = repr(load_encoder(name, pretrained=False).transform)
        assert re.search(r"mean=\(0\.5, 0\.5, 0\.5\)", transform)
        assert "CenterCrop" not in transform  # squashed, as SigLIP wants it


def test_the_preprocessing_beside_a_file_is_used_and_a_contradiction_refused(clip, tmp_path, tiny_folder, tiny):
    file = tmp_path / "checkpoints" / "epoch_1.pt"
    file.parent.mkdir()
    torch.save(clip.state_dict(), file)
    (tmp_path / "params.txt").write_text("image_mean: [0.5, 0.5, 0.5]\nimage_std: None\nimage_resize_mode: squash\n")
    loaded = load_encoder(f"tiny-quickgelu@{file}")
    assert "mean=(0.5, 0.5, 0.5)" in repr(loaded.transform)
    assert "CenterCrop" not in repr(loaded.transform)
    assert loaded.config["preprocess_cfg"]["mean"] == (0.5, 0.5, 0.5)
    assert loaded.config["preprocess_cfg"]["size"] in (32, (32, 32))
    (file.parent / "open_clip_config.json").write_text(
        '{"model_cfg": {"quick_gelu": true}, "preprocess_cfg": {"interpolation": "bilinear"}}'
    )
    assert "interpolation=bilinear" in repr(load_encoder(f"tiny-quickgelu@{file}").transform)
    (file.parent / "open_clip_config.json").write_text('{"preprocess_cfg": {"mean": [0.1, 0.2, 0.3]}}')
    torch.save(tiny.model.state_dict(), file)
    with pytest.raises(ValueError, match=r"config\.json says mean=\[0\.1, 0\.2, 0\.3\] of the preprocessing"):
        load_encoder(f"local-dir:{tiny_folder}@{file}")


def test_tags_that_disagree_in_preprocessing_are_said(clip, tmp_path, monkeypatch):
    table = open_clip.pretrained._PRETRAINED
    monkeypatch.setitem(table, "tiny-quickgelu", table["ViT-H-14-quickgelu"])
    torch.save(clip.state_dict(), tmp_path / "a.pt")
    with pytest.warns(UserWarning, match=r"differ in preprocessing.* 'tiny-quickgelu/TAG@"):
        load_encoder(f"tiny-quickgelu@{tmp_path / 'a.pt'}")
    load_encoder(f"tiny-quickgelu/dfn5b@{tmp_path / 'a.pt'}")


def test_entries_of_another_model_beside_an_image_tower_are_refused(clip, tmp_path):
    state = {name: value for name, value in clip.state_dict().items() if name.startswith("visual.")}
    torch.save({**state, "adapter.weight": torch.ones(2)}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match=r"only in .*adapter\.weight"):
        load_encoder(f"tiny-quickgelu@{tmp_path / 'a.pt'}")


def test_a_training_checkpoint_with_its_arguments(clip, tmp_path):
    torch.save({"args": argparse.Namespace(lr=0.1), "state_dict": clip.state_dict()}, tmp_path / "a.pth.tar")
    loaded = load_encoder(f"tiny-quickgelu@{tmp_path / 'a.pth.tar'}")
    assert torch.equal(loaded.model.visual.conv1.weight, clip.visual.conv1.weight)

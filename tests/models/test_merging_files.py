"""Checkpoints of every format under shared names; what is written loads strictly in plain open_clip."""

import argparse

import lightning.pytorch as pl
import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader, TensorDataset

from lightning_robust.models import ImageClassifier, interpolate, load_theta, save_tensors
from lightning_robust.models.merging_files import (
    alpha_names,
    check_mergeable,
    has_head,
    read_checkpoint,
    to_dtype,
    write_merged,
)
from lightning_robust.models.weights_file import read_weights, unwrapped
from lightning_robust.results import file_sha256
from lightning_robust.training import ClassifierFinetuning


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture
def clip(tiny):
    return {name: value.clone() for name, value in tiny.model.state_dict().items()}


@pytest.fixture
def classifier(tiny):
    generator = torch.Generator().manual_seed(3)
    return ImageClassifier(tiny.model, torch.randn(4, 16, generator=generator)).state_dict()


def prefixed(prefix, state):
    return {prefix + name: value for name, value in state.items()}


def adam(state):
    parameters = [torch.nn.Parameter(value.clone()) for value in state.values() if value.is_floating_point()]
    optimizer = torch.optim.AdamW(parameters)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return optimizer.state_dict()


WRITERS = {
    "safetensors": lambda path, clip: save_file(clip, path),
    "state dict": lambda path, clip: torch.save(clip, path),
    "state dict of the old format": lambda path, clip: torch.save(clip, path, _use_new_zipfile_serialization=False),
    "parallel state dict": lambda path, clip: torch.save(prefixed("module.", clip), path),
    "open_clip training": lambda path, clip: torch.save(
        {"epoch": 3, "name": "x", "state_dict": prefixed("module.", clip), "optimizer": adam(clip), "scaler": None},
        path,
    ),
    "compiled open_clip training": lambda path, clip: torch.save(
        {"epoch": 3, "state_dict": prefixed("module._orig_mod.", clip)}, path
    ),
    "pretraining of this package": lambda path, clip: torch.save(
        {"pytorch-lightning_version": "2.6.6", "state_dict": prefixed("encoder.", clip)}, path
    ),
    "another LightningModule": lambda path, clip: torch.save(
        {"pytorch-lightning_version": "2.6.6", "state_dict": prefixed("model._orig_mod.", clip)}, path
    ),
}


@pytest.mark.parametrize("form", WRITERS)
def test_every_format_gives_open_clips_names(form, clip, tmp_path):
    path = tmp_path / ("x.safetensors" if form == "safetensors" else "x.pt")
    WRITERS[form](path, clip)
    found = read_checkpoint(path)
    assert same(found.state, clip)
    assert found.checkpoint_hash == file_sha256(path)
    assert not found.has_head
    if form != "safetensors":  # which maps its files
        path.write_bytes(b"")
        assert same(found.state, clip)


def test_a_model_compiled_in_parts_loses_the_compilers_name(tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    plain = model.state_dict()
    model[1] = torch.compile(model[1])
    torch.save(model.state_dict(), tmp_path / "x.pt")
    found = read_checkpoint(tmp_path / "x.pt")
    assert same(found.state, plain)
    assert found.form == "state dict, without the prefix _orig_mod."


def test_the_head_beside_a_file_of_wise_ft_comes_along(clip, classifier, tmp_path):
    save_tensors(tmp_path / "alpha=0.50.safetensors", clip)
    save_tensors(tmp_path / "alpha=0.50.head.safetensors", {"weight": classifier["head.weight"]})
    found = read_checkpoint(tmp_path / "alpha=0.50.safetensors")
    assert found.has_head
    assert same(found.state, classifier)
    assert found.head_hash == file_sha256(tmp_path / "alpha=0.50.head.safetensors")
    with pytest.raises(ValueError, match=r"is a head: give the model beside it, alpha=0.50.safetensors"):
        read_checkpoint(tmp_path / "alpha=0.50.head.safetensors")


def test_a_lightning_checkpoint_of_finetuning_is_a_classifier(tmp_path, tiny_folder):
    module = ClassifierFinetuning(encoder=f"local-dir:{tiny_folder}", class_names=["star", "heart"], templates=["a {}"])
    off = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(max_steps=2, accelerator="cpu", default_root_dir=tmp_path, **off)
    loader = DataLoader(TensorDataset(torch.rand(4, 3, 32, 32), torch.arange(4) % 2), batch_size=2)
    trainer.fit(module, loader, loader)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    found = read_checkpoint(tmp_path / "last.ckpt")
    assert found.form == "Lightning checkpoint, without the prefix model."
    assert found.has_head
    assert same(found.state, module.model.state_dict())


def test_names_of_another_model_stay_even_if_they_begin_alike(tmp_path):
    state = {"encoder.layer.0.weight": torch.ones(2), "head.weight": torch.ones(2), "pooler.weight": torch.ones(1)}
    save_tensors(tmp_path / "x.safetensors", state)
    found = read_checkpoint(tmp_path / "x.safetensors")
    assert same(found.state, state)
    assert not found.has_head
    partly = {"module.a": torch.ones(1), "b": torch.ones(1)}
    torch.save(partly, tmp_path / "x.pt")
    assert same(read_checkpoint(tmp_path / "x.pt").state, partly)


@pytest.mark.parametrize("entry", ["state_dict_ema", "model_ema"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_averaged_weights_are_merged_as_they_are_evaluated(clip, tmp_path, entry, wrapped):
    average = {name: value + 1 if value.is_floating_point() else value for name, value in clip.items()}
    own = {"n_averaged": torch.tensor(7), **prefixed("module.", average)} if wrapped else average
    content = {"epoch": 3, "args": argparse.Namespace(lr=0.1), "state_dict": clip, entry: own}
    for new in (True, False):
        torch.save(content, tmp_path / "x.pt", _use_new_zipfile_serialization=new)
        found = read_checkpoint(tmp_path / "x.pt")
        assert same(found.state, average)
        assert found.form.startswith(f"training checkpoint, its entry {entry}")
        judged = read_weights(tmp_path / "x.pt")
        assert same(unwrapped(judged.state, set(clip)), found.state)
        assert same(unwrapped(load_theta(tmp_path / "x.pt"), set(clip)), found.state)
    torch.save({**content, entry: None}, tmp_path / "none.pt")
    assert same(read_checkpoint(tmp_path / "none.pt").state, clip)
    torch.save({"model": clip}, tmp_path / "model.pt")
    assert read_checkpoint(tmp_path / "model.pt").form == "training checkpoint, its entry model"


def test_files_that_hold_no_plain_weights_are_refused(tmp_path):
    with pytest.raises(ValueError, match="No file"):
        read_checkpoint(tmp_path / "absent.pt")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pt")
    with pytest.raises(ValueError, match=r"pickled model that you trust.* save its state_dict\(\)"):
        read_checkpoint(tmp_path / "module.pt")
    (tmp_path / "text.pt").write_text("no weights")
    with pytest.raises(ValueError, match="cannot be read as plain tensors"):
        read_checkpoint(tmp_path / "text.pt")
    (tmp_path / "half.safetensors").write_bytes(b"\x10\x00")
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        read_checkpoint(tmp_path / "half.safetensors")
    for name, content in {"list": [torch.ones(1)], "mixed": {"a": torch.ones(1), "lr": 0.1}}.items():
        torch.save(content, tmp_path / f"{name}.pt")
        with pytest.raises(ValueError, match="holds no state dict"):
            read_checkpoint(tmp_path / f"{name}.pt")
    torch.save({}, tmp_path / "empty.pt")
    with pytest.raises(ValueError, match="holds no tensors"):
        read_checkpoint(tmp_path / "empty.pt")


def saved(path, state):
    save_tensors(path, state)
    return read_checkpoint(path)


def test_checkpoints_of_two_models_are_refused_in_one_sentence(clip, classifier, tmp_path):
    one = saved(tmp_path / "one.safetensors", clip)
    shorter = saved(tmp_path / "other.safetensors", {k: v for k, v in clip.items() if k != "visual.conv1.weight"})
    with pytest.raises(ValueError, match=r"1 only in .*one.safetensors \(visual.conv1.weight\)"):
        check_mergeable(one, shorter)
    headed = saved(tmp_path / "headed.safetensors", classifier)
    for pair in ((one, headed), (headed, one)):
        with pytest.raises(ValueError, match=r"headed.safetensors has a classification head and .*one"):
            check_mergeable(*pair)
    with pytest.raises(ValueError, match=r"head.weight \(4, 16\) against \(3, 16\)"):
        check_mergeable(headed, saved(tmp_path / "three.safetensors", {**classifier, "head.weight": torch.ones(3, 16)}))
    integers = {"logit_scale": torch.tensor(1)}
    with pytest.raises(ValueError, match="of different dtype"):
        check_mergeable(one, saved(tmp_path / "integers.safetensors", {**clip, **integers}))
    check_mergeable(one, saved(tmp_path / "half.safetensors", to_dtype(clip, torch.float16)))


def test_only_floating_point_entries_are_converted():
    state = {"w": torch.ones(2, dtype=torch.float16), "v": torch.ones(1), "n": torch.tensor(1)}
    found = to_dtype(state, torch.float32)
    assert {name: value.dtype for name, value in found.items()} == {
        "w": torch.float32, "v": torch.float32, "n": torch.int64
    }  # fmt: skip
    assert found["v"] is state["v"]
    assert to_dtype(state, None)["w"] is state["w"]


def test_what_is_written_loads_strictly_in_plain_open_clip(tiny_folder, classifier, tmp_path):
    other = {name: value + 1 if value.is_floating_point() else value for name, value in classifier.items()}
    mixed = interpolate(classifier, other, 0.5)
    assert has_head(mixed)
    assert not has_head({"encoder.w": torch.ones(1)})
    written = write_merged(tmp_path / "mixed.safetensors", mixed)
    assert [path.name for path in written] == ["mixed.safetensors", "mixed.head.safetensors"]
    model = open_clip.create_model(f"local-dir:{tiny_folder}")
    model.load_state_dict(load_file(written[0]), strict=True)
    torch.testing.assert_close(model.visual.conv1.weight.detach(), classifier["encoder.visual.conv1.weight"] + 0.5)
    torch.nn.Linear(16, 4, bias=False).load_state_dict(load_file(written[1]), strict=True)
    assert same(read_checkpoint(written[0]).state, mixed)
    assert (tmp_path / "mixed.safetensors").read_bytes() == write_merged(tmp_path / "a.safetensors", mixed)[
        0
    ].read_bytes()


def test_a_vision_transformer_too(tmp_path):
    torch.manual_seed(0)
    vision = {"image_size": 16, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
    text = {"context_length": 5, "vocab_size": 11, "width": 16, "heads": 2, "layers": 1}
    models = [open_clip.CLIP(16, vision, text) for _ in range(3)]
    for k in (0, 1):
        torch.save({"epoch": k, "state_dict": prefixed("module.", models[k].state_dict())}, tmp_path / f"{k}.pt")
    start, end = (read_checkpoint(tmp_path / f"{k}.pt").state for k in (0, 1))
    (path,) = write_merged(tmp_path / "x.safetensors", interpolate(start, end, 0.25))
    models[2].load_state_dict(load_file(path), strict=True)
    exact = 0.75 * models[0].visual.proj.double() + 0.25 * models[1].visual.proj.double()
    torch.testing.assert_close(models[2].visual.proj.double(), exact, rtol=1e-6, atol=1e-8)


def test_names_of_files(tmp_path):
    for name in ("x.pt", "x.head.safetensors"):
        with pytest.raises(ValueError, match="is called"):
            write_merged(tmp_path / name, {"w": torch.ones(1)})
    assert list(tmp_path.iterdir()) == []
    assert alpha_names([0.0, 0.1, 1.0]) == [
        "alpha=0.00.safetensors",
        "alpha=0.10.safetensors",
        "alpha=1.00.safetensors",
    ]
    assert alpha_names([0.1, 0.125])[0] == "alpha=0.10.safetensors"  # two decimals tell them apart
    near = [0.5, 0.5 + 2.0**-53 * 2, 1.0]
    assert len(set(alpha_names(near))) == 3


@pytest.mark.parametrize(("settings", "has_head"), [({"positives": "own"}, False), ({"lr": 0.1}, True)])
def test_a_head_that_the_text_tower_makes_is_not_merged(tmp_path, settings, has_head):
    state = {
        "model.encoder.visual.w": torch.ones(2),
        "model.encoder.t": torch.ones(2),
        "model.head.weight": torch.ones(3),
    }
    content = {"pytorch-lightning_version": "2.6", "hyper_parameters": settings, "state_dict": state}
    torch.save(content, tmp_path / "last.ckpt")
    found = read_checkpoint(tmp_path / "last.ckpt")
    assert found.has_head == has_head
    assert has_head or set(found.state) == {"visual.w", "t"}
    assert has_head or "without its head" in found.form

"""Blocks in shards on two processes over gloo: losses, weights, curves and files are those of one process."""

import json
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging
from lightning.pytorch.strategies import ModelParallelStrategy
from processes import run_script
from safetensors.torch import load_file
from torch import nn

from lightning_robust.callbacks.step_checkpoints import step_files
from lightning_robust.errors import UserError
from lightning_robust.models import load_encoder, write_clip_folder
from lightning_robust.models.checkpoint_files import save_tensors
from lightning_robust.training import ContrastivePretraining
from lightning_robust.training.sharding import check_shardable, clip_shards, is_sharded, whole_state

SCRIPT = Path(__file__).with_name("sharding_processes.py")
SETTINGS = ["infonce", "chunked", "checkpointed", "locked", "accumulated"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A transformer of a width that two processes cannot halve everywhere, with a file of weights."""
    folder = tmp_path_factory.mktemp("clip") / "vit"
    words = ["a", "photo", "of", "the", "red", "blue", "star", "heart", "truck"]
    write_clip_folder(folder, words, vision="vit", embed_dim=8, vision_layers=2, vision_width=9, vision_head_width=3)
    state = load_encoder(f"local-dir:{folder}", pretrained=False).model.state_dict()
    save_tensors(folder / "open_clip_model.safetensors", state)
    return f"local-dir:{folder}"


@pytest.fixture(scope="module")
def folder(encoder, tmp_path_factory):
    """What one process left, and two."""
    folder = tmp_path_factory.mktemp("runs")
    for count in (1, 2):
        run_script(SCRIPT, folder, encoder, count, processes=count, timeout=600)
    return folder


def check_states(found, expected, tolerance=1e-11):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert (found[name] - value).abs().max() < tolerance, name


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_losses_and_weights_are_those_of_one_process(name, folder):
    (one, two, second) = (
        torch.load(folder / f"{which}.pt", weights_only=True)[name] for which in ("1.0", "2.0", "2.1")
    )
    assert (one["sharded"], two["sharded"], second["sharded"]) == (False, True, True)
    assert len(one["losses"]) == 4
    assert two["losses"] == pytest.approx(one["losses"], rel=1e-11)
    check_states(two["state"], one["state"])
    assert second["state"] == {}


@pytest.mark.slow
def test_curves_are_those_of_one_process_and_the_same_on_both(folder):
    one, two, second = (json.loads((folder / f"followed{n}.json").read_text()) for n in ("1.0", "2.0", "2.1"))
    assert str(two["history"]) == str(second["history"])
    assert one["done"] == two["done"] == [entry["step"] for entry in two["history"]] == [0, 1, 2, 3, 4]
    for found, expected in zip(two["history"], one["history"], strict=True):
        assert found["scalars"] == pytest.approx(expected["scalars"], rel=1e-9, abs=1e-12, nan_ok=True)
        assert any("in_proj_weight" in tag for tag in found["scalars"])


@pytest.mark.slow
def test_files_are_those_of_one_process(folder):
    one, two = (step_files(folder / f"steps{count}") for count in (1, 2))
    assert list(one) == list(two) == [0, 1, 2, 3, 4]
    for step, path in two.items():
        check_states(load_file(path), load_file(one[step]))
    exported = (load_file(folder / f"clip{count}" / "open_clip_model.safetensors") for count in (2, 1))
    check_states(*exported)


@pytest.mark.slow
def test_a_step_checkpoint_loads_as_an_encoder(folder, encoder):
    path = step_files(folder / "steps2")[4]
    loaded = load_encoder(f"{encoder}@{path}").model.state_dict()
    check_states(loaded, {name: value.to(loaded[name].dtype) for name, value in load_file(path).items()}, 1e-7)


@pytest.mark.slow
def test_a_run_goes_on_as_one_process_does(folder):
    one, two = (json.loads((folder / f"followed{n}.json").read_text()) for n in ("1.0", "2.0"))
    assert two["resumed"] == pytest.approx(one["resumed"], rel=1e-11)
    assert len(two["resumed"]) == 2
    states = (torch.load(folder / f"followed{n}.pt", weights_only=True)[1] for n in ("2.0", "1.0"))
    check_states(*states)


def refused(module, **options):
    strategy = ModelParallelStrategy(
        1, options.pop("tensor", 1), save_distributed_checkpoint=options.pop("parts", False)
    )
    settings = {"accelerator": "cpu", "devices": 1, "logger": False, "enable_checkpointing": False} | options
    trainer = pl.Trainer(strategy=strategy, **settings)
    mesh = {"tensor_parallel": torch.empty(strategy._tensor_parallel_size)}
    strategy._device_mesh = {name: type("Mesh", (), {"size": value.numel})() for name, value in mesh.items()}
    check_shardable(trainer, module)


def test_what_cannot_work_is_refused(encoder):
    module = ContrastivePretraining(encoder)
    refused(module)
    for options, said in [
        ({"tensor": 2}, "tensor_parallel_size"),
        ({"parts": True}, "save_distributed_checkpoint"),
        ({"callbacks": [EMAWeightAveraging()]}, "WeightAveraging"),
        ({"gradient_clip_val": 1.0, "gradient_clip_algorithm": "value"}, "gradient_clip_algorithm"),
    ]:
        with pytest.raises(UserError, match=said):
            refused(module, **options)
    with pytest.raises(UserError, match="has none"):
        refused(nn.Linear(2, 2))


def test_clipping_is_that_of_torch():
    layers = [nn.Linear(3, 4), nn.Linear(3, 4)]
    layers[1].load_state_dict(layers[0].state_dict())
    for layer in layers:
        (layer(torch.ones(2, 3)) * torch.arange(4.0)).sum().backward()
    expected = nn.utils.clip_grad_norm_(layers[0].parameters(), 0.5)
    assert clip_shards(layers[1].parameters(), 0.5) == pytest.approx(expected)
    for one, other in zip(*(layer.parameters() for layer in layers), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_without_the_strategy_nothing_is_sharded(encoder):
    module = ContrastivePretraining(encoder)
    module.configure_model()
    module.make_whole()
    assert not is_sharded(module)
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in whole_state(module).items())

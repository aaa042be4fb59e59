"""A linear probe and a contrast over two processes are those of one."""

from pathlib import Path

import pytest
import torch
from processes import run_script

from lightning_robust.models import load_encoder, write_clip_folder
from lightning_robust.models.checkpoint_files import save_tensors

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).with_name("recipe_processes.py")
WORDS = ["a", "photo", "of", "the", "star", "heart", "truck"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A transformer: batch norm would see other batches on two processes."""
    folder = tmp_path_factory.mktemp("clip") / "vit"
    write_clip_folder(folder, WORDS, vision="vit", embed_dim=16, vision_layers=2, vision_width=16, vision_head_width=8)
    state = load_encoder(f"local-dir:{folder}", pretrained=False, seed=1).model.state_dict()
    save_tensors(folder / "open_clip_model.safetensors", state)
    return f"local-dir:{folder}"


@pytest.fixture(scope="module")
def runs(encoder, tmp_path_factory):
    found = []
    for devices in (1, 2):
        folder = tmp_path_factory.mktemp(f"on{devices}")
        run_script(SCRIPT, folder, encoder, devices, processes=devices, timeout=600)
        found += [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(devices)]
    return found


def test_the_probe_is_the_same_on_every_process_and_that_of_one(runs):
    one, first, second = (run["probe"]["head"] for run in runs)
    assert torch.equal(first, second)
    assert one.norm() > 1.0
    torch.testing.assert_close(first, one, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["flyp", "same"])
def test_each_image_is_contrasted_with_the_captions_of_all_processes(runs, name):
    one, first, second = (run[name] for run in runs)
    for run in (first, second):
        torch.testing.assert_close(run["loss"], one["loss"], rtol=1e-5, atol=1e-6)
        assert set(run["gradients"]) == set(one["gradients"])
        assert any(name.startswith("encoder.transformer") for name in run["gradients"])
        for parameter, expected in one["gradients"].items():
            torch.testing.assert_close(run["gradients"][parameter], expected, rtol=1e-4, atol=1e-6)

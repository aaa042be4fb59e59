"""A batch that several processes share is contrasted as on one."""

from pathlib import Path

import pytest
import torch
from processes import run_script

from lightning_robust.models import write_clip_folder
from lightning_robust.training.gathering import of_all_processes, own_rows, process_count

SCRIPT = Path(__file__).with_name("contrastive_processes.py")
WORDS = ["a", "the", "red", "blue", "star", "heart", "truck"]
SETTINGS = ["infonce", "open_clip", "siglip", "siglip_own", "chunked", "checkpointed", "single"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A transformer: batch norm would see other batches on two processes."""
    folder = tmp_path_factory.mktemp("clip") / "vit"
    write_clip_folder(folder, WORDS, vision="vit", embed_dim=8, vision_layers=2, vision_width=16, vision_head_width=8)
    return f"local-dir:{folder}"


def run(folder, encoder, count):
    run_script(SCRIPT, folder, encoder, count, processes=count, timeout=600)
    return [torch.load(folder / f"{count}.{rank}.pt", weights_only=True) for rank in range(count)]


@pytest.fixture(scope="module")
def runs(encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    (one,) = run(folder, encoder, 1)
    return one, run(folder, encoder, 2)


@pytest.fixture(scope="module")
def four(encoder, tmp_path_factory):
    return run(tmp_path_factory.mktemp("four"), encoder, 4)


def check(shares, whole, name):
    assert "transformer.resblocks.0.attn.in_proj_weight" in whole[name]["gradients"]
    assert whole[name]["gradients"]["logit_scale"].abs() > 1e-4
    tolerance = 1e-5 if name == "single" else 1e-12
    for share in shares:
        torch.testing.assert_close(share[name]["losses"], whole[name]["losses"], rtol=tolerance, atol=0.0)
        assert set(share[name]["gradients"]) == set(whole[name]["gradients"])
        for parameter, expected in whole[name]["gradients"].items():
            assert (share[name]["gradients"][parameter] - expected).norm() <= tolerance * expected.norm(), parameter


@pytest.mark.parametrize("name", SETTINGS)
def test_loss_and_gradients_of_two_processes_are_those_of_one(runs, name):
    one, two = runs
    check(two, one, name)


@pytest.mark.long
@pytest.mark.parametrize("name", SETTINGS)
def test_loss_and_gradients_of_four_processes_are_those_of_one(runs, four, name):
    check(four, runs[0], name)


def test_what_is_computed_again_is_the_same_and_the_losses_are_not(runs):
    one, _ = runs
    check([{"infonce": one["chunked"]}], one, "infonce")
    check([{"siglip": one["checkpointed"]}], one, "siglip")
    first = [float(one[name]["losses"][0]) for name in ("infonce", "siglip", "siglip_own")]
    assert len({round(value, 3) for value in first}) == 3


def test_for_infonce_positives_among_identical_captions_change_nothing(runs):
    """Every caption comes more than once; tied embeddings make both losses and their gradients the same."""
    one, _ = runs
    check([{"infonce": one["open_clip"]}], one, "infonce")


def test_rows_of_all_processes_and_the_sum_of_their_gradients(runs):
    two = runs[1]
    for rank in two:
        found = rank["gathered"]
        assert torch.equal(found["whole"], torch.cat([other["gathered"]["rows"] for other in two]))
    asked = 3.0 * torch.arange(12.0).reshape(6, 2)  # once and twice the place of a number
    assert torch.equal(torch.cat([rank["gathered"]["gradient"] for rank in two]), asked)


def test_unequal_shares_are_refused_on_every_process(runs):
    for rank in runs[1]:
        assert rank["uneven"].startswith("The processes share a batch in parts of [2, 3] pairs")


def test_one_process_has_its_own_rows():
    rows = torch.ones(2, 3)
    assert process_count() == 1
    assert of_all_processes(rows) is rows
    assert own_rows(2, rows.device) == slice(None)

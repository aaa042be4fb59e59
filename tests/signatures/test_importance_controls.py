"""The metric of importance and its controls: the contract of every metric, and the metrics that it replaces."""

import inspect

import numpy as np
import pytest
import test_metric_contract as contract
import torch
from metric_cases import HEAD, Case, D, data

from lightning_robust.signatures import FeatureSpectrum, direction_importance, reduced_rank
from lightning_robust.signatures.head_controls import random_head, rotated_head
from lightning_robust.signatures.importance_controls import ImportanceControls, median

SEEDS = (0, 3)
HEADS = {
    "head": [HEAD],
    "random": [random_head(HEAD, seed) for seed in SEEDS],
    "rotated": [rotated_head(HEAD, seed) for seed in SEEDS],
}


def naive(W, h):
    """Importance, and what is kept by the most important directions, image by image."""
    _, sigma, Vh = np.linalg.svd(W, full_matrices=False)
    r = np.linalg.matrix_rank(W)
    unit = h / np.linalg.norm(h, axis=1, keepdims=True)
    importance = np.array([sigma[i] * np.mean([abs(Vh[i] @ x) for x in unit]) for i in range(r)])
    order = np.argsort(-importance)
    total = np.mean([np.sum((W @ x) ** 2) for x in unit])
    kept = []
    for k in range(1, r + 1):
        V = Vh[order[:k]].T
        kept.append(1 - np.mean([np.sum((W @ x - W @ V @ (V.T @ x)) ** 2) for x in unit]) / total)
    return {
        "importance": importance,
        "privileged": importance > 10 * np.median(importance),
        "kept": np.array(kept),
    }


def reference(h, _):
    result = {"n": len(h), "not_finite": 0}
    unit = h / np.linalg.norm(h, axis=1, keepdims=True)
    for form in ("raw", "centred"):
        for which, heads in HEADS.items():
            matrices = [W.numpy() - (W.numpy().mean(axis=0) if form == "centred" else 0) for W in heads]
            found = [naive(W, h) for W in matrices]
            for key in found[0]:
                result[f"{key}/{form}/{which}"] = np.stack([one[key] for one in found])
            if which == "head":
                energies = np.linalg.svd(unit @ matrices[0].T, compute_uv=False) ** 2 / len(h)
                result[f"energies/{form}"] = energies
                result[f"kept/{form}/best"] = np.cumsum(energies) / energies.sum()
    return result


CASE = Case(
    lambda d=D, **kw: ImportanceControls(HEAD[:, :d], SEEDS, **kw),
    reference,
    scale={
        f"{key}/{form}/{which}": 0 for key in ("importance", "kept") for form in ("raw", "centred") for which in HEADS
    }
    | {"energies/raw": 0, "energies/centred": 0, "kept/raw/best": 0},
)


def laws():
    """Every law of the contract suite that asks for a metric, with each choice of its other parameters."""
    found = []
    for name, law in vars(contract).items():
        names = set(inspect.signature(law).parameters) if name.startswith("test_") else set()
        subject = names & {"case", "counting_case"}
        choices = [dict.fromkeys(subject, CASE)]
        for mark in getattr(law, "pytestmark", []):
            if mark.name == "parametrize" and mark.args[0] not in subject:
                choices = [{**chosen, mark.args[0]: value} for chosen in choices for value in mark.args[1]]
        if subject and set(choices[0]) >= names:
            found += [pytest.param(law, choice, id=f"{name}-{i}") for i, choice in enumerate(choices)]
    return found


@pytest.mark.parametrize(("law", "arguments"), laws())
def test_contract(law, arguments):
    law(**arguments)


def test_the_contract_was_found():
    found = {param.values[0].__name__ for param in laws()}
    assert {"test_reference", "test_split", "test_order", "test_merge_laws", "test_reset", "test_state_size"} <= found
    assert {"test_copies_go_on_by_themselves", "test_scale_law", "test_ranks", "test_dtype_is_kept"} <= found
    assert {"test_images_that_are_not_finite_are_left_out_and_counted", "test_nothing_finite"} <= found


@pytest.mark.parametrize("unit_norm", [True, False])
def test_one_pass_equals_a_pass_for_each_head_and_one_for_the_spectrum(unit_norm):
    h, _ = data()
    metric = ImportanceControls(HEAD, SEEDS, unit_norm=unit_norm)
    for batch in h.split(17):
        metric.update(batch)
    result = metric.compute()
    for form in ("raw", "centred"):
        for which, heads in HEADS.items():
            for s, W in enumerate(heads):
                alone = direction_importance(W, h, centred=form == "centred")
                got = result[f"importance/{form}/{which}"][s]
                torch.testing.assert_close(got, alone.importance, rtol=1e-9, atol=0)
                sigma = metric.sigma[f"{form}/{which}"][s]
                torch.testing.assert_close(sigma, alone.singular_values, rtol=1e-9, atol=0)
                assert result[f"privileged/{form}/{which}"][s].nonzero().flatten().tolist() == list(alone.privileged)
    spectrum = FeatureSpectrum()
    spectrum.update(h / h.norm(dim=1, keepdim=True) if unit_norm else h)
    torch.testing.assert_close(metric.moments().second_moment, spectrum.moments().second_moment, rtol=1e-12, atol=1e-12)
    for form in ("raw", "centred"):
        best = reduced_rank(HEAD, spectrum.moments().second_moment, centred=form == "centred")
        torch.testing.assert_close(result[f"energies/{form}"][: best.r], best.energies, rtol=1e-9, atol=0)
        kept = [result[f"kept/{form}/{which}"] for which in HEADS]
        assert all(bool((k.diff(dim=1) >= 0).all()) for k in kept)
        assert bool((kept[0][0] <= result[f"kept/{form}/best"][: best.r] + 1e-9).all())


def test_directions_are_those_of_the_heads():
    metric = CASE.make()
    for name, V in metric.directions.items():
        form, which = name.split("/")
        for s, W in enumerate(HEADS[which]):
            matrix = W - W.mean(dim=0) if form == "centred" else W
            torch.testing.assert_close(V[s].T @ V[s], torch.eye(V.shape[2], dtype=torch.float64), rtol=0, atol=1e-12)
            lengths = torch.linalg.vector_norm(matrix @ V[s], dim=0)
            torch.testing.assert_close(lengths, metric.sigma[name][s], rtol=1e-9, atol=0)


def test_an_image_that_points_nowhere_counts_as_zero():
    h, _ = data()
    base, half = CASE.make(), CASE.make()
    base.update(h)
    half.update(torch.cat([h, torch.zeros_like(h)]))
    for key in ("importance/raw/rotated", "energies/centred"):
        torch.testing.assert_close(half.compute()[key], base.compute()[key] / 2, rtol=1e-10, atol=1e-15)


def test_one_feature_one_direction():
    metric = ImportanceControls(torch.tensor([[3.0], [1.0]]), [0])
    metric.update(torch.tensor([[2.0], [-5.0]]))
    result = metric.compute()
    assert float(result["importance/raw/head"]) == pytest.approx(10**0.5)
    assert float(result["importance/raw/rotated"]) == pytest.approx(10**0.5)
    assert float(result["importance/centred/head"]) == pytest.approx(2**0.5)
    assert float(result["energies/raw"]) == pytest.approx(10)


def test_a_single_image():
    metric = CASE.make()
    metric.update(data()[0][:1])
    best = metric.compute()["kept/raw/best"]
    torch.testing.assert_close(best, torch.ones_like(best), rtol=1e-12, atol=0)


def test_median():
    rows = torch.tensor([[5.0, 1.0, 2.0], [float("inf"), 1.0, 3.0], [float("nan"), 1.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(median(rows)[:, 0], torch.tensor([2.0, 3.0, float("nan")]).double(), equal_nan=True)
    even = torch.randn(4, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(median(even)[:, 0], np.median(even.numpy(), axis=1), rtol=1e-15)


def test_refusals():
    with pytest.raises(ValueError, match="all 3 classes of the head have the same weights"):
        ImportanceControls(torch.ones(3, 4))
    with pytest.raises(ValueError, match="different numbers"):
        ImportanceControls(HEAD, [])
    with pytest.raises(ValueError, match=f"reads {D} features, the layer gave 8"):
        CASE.make().update(torch.ones(2, 8))

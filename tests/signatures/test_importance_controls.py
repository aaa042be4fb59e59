"""The metric of importance and its controls equals the metrics that it replaces (its contract: tests/contracts)."""

import numpy as np
import pytest
import torch
from controls_reference import SEEDS, heads
from metric_cases import HEAD, D, data

from lightning_robust.signatures import FeatureSpectrum, ImportanceControls, direction_importance, reduced_rank
from lightning_robust.signatures.importance_controls import median

HEADS = heads(HEAD)


def make(**options):
    return ImportanceControls(HEAD, SEEDS, **options)


@pytest.mark.parametrize("unit_norm", [True, False])
def test_one_pass_equals_a_pass_for_each_head_and_one_for_the_spectrum(unit_norm):
    h, _ = data()
    metric = make(unit_norm=unit_norm)
    for batch in h.split(17):
        metric.update(batch)
    result = metric.compute()
    for form in ("raw", "centred"):
        for which, made in HEADS.items():
            for s, W in enumerate(made):
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
    metric = make()
    for name, V in metric.directions.items():
        form, which = name.split("/")
        for s, W in enumerate(HEADS[which]):
            matrix = W - W.mean(dim=0) if form == "centred" else W
            torch.testing.assert_close(V[s].T @ V[s], torch.eye(V.shape[2], dtype=torch.float64), rtol=0, atol=1e-12)
            lengths = torch.linalg.vector_norm(matrix @ V[s], dim=0)
            torch.testing.assert_close(lengths, metric.sigma[name][s], rtol=1e-9, atol=0)


def test_an_image_that_points_nowhere_counts_as_zero():
    h, _ = data()
    base, half = make(), make()
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
    metric = make()
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
        make().update(torch.ones(2, 8))

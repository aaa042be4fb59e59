"""The metric of importance and its controls equals the metrics that it replaces (its contract: tests/contracts)."""

import pytest
import torch
from controls_reference import SEEDS, heads
from metric_cases import HEAD, D, data

from lightning_robust.signatures import FeatureSpectrum, ImportanceControls, direction_importance, reduced_rank

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


def test_a_half_precision_head_has_the_directions_of_its_float64_copy_and_so_have_its_controls():
    h, _ = data()
    W = (HEAD + 2).half()
    low, high = ImportanceControls(W, SEEDS), ImportanceControls(W.double(), SEEDS)
    for metric in (low, high):
        metric.update(h)
    got, want = low.compute(), high.compute()
    for form, r in (("raw", 7), ("centred", 6)):
        assert {name: sigma.shape[1] for name, sigma in low.sigma.items() if name.startswith(form)} == {
            f"{form}/{which}": r for which in HEADS
        }
        for key in (f"importance/{form}/head", f"importance/{form}/rotated", f"energies/{form}"):
            torch.testing.assert_close(got[key], want[key], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("W", [torch.ones(1, 4), torch.full((3, 4), 0.1), torch.zeros(3, 4)])
def test_a_head_without_directions_has_none_and_goes_on(W):
    metric, other = ImportanceControls(W, SEEDS), ImportanceControls(W, SEEDS)
    h = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    metric.update(h)
    other.update(h)
    metric.merge_state(other)
    result = metric.compute()
    assert int(result["n"]) == 12
    assert metric.sigma["raw/head"].shape == (1, int(W.any()))
    assert metric.sigma["centred/head"].shape == (1, 0)
    assert result["importance/centred/head"].numel() == 0
    assert not result["energies/centred"].any()
    assert result["kept/centred/best"].isnan().all()


def test_refusals():
    with pytest.raises(ValueError, match="head must be finite"):
        ImportanceControls(torch.full((3, 4), float("nan")))
    with pytest.raises(ValueError, match="different numbers"):
        ImportanceControls(HEAD, [])
    with pytest.raises(ValueError, match=f"reads {D} features, the layer gave 8"):
        make().update(torch.ones(2, 8))

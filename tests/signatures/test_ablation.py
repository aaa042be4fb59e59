"""Ablation of units of h against a loop over images, and what must hold whatever the numbers."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from lightning_robust.models.class_mask import NO_CLASS, largest_class
from lightning_robust.signatures import random_rotation, right_singular_vectors
from lightning_robust.signatures.ablation import (
    CLIP_AT,
    KINDS,
    AblationOf,
    UnitValues,
    ablated,
    ablated_predictions,
    feature_axes,
    unit_values,
)
from lightning_robust.signatures.bases import thin_svd


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_hand(h, units, kind, values):
    """One image at a time: the least-norm step after which the coordinates are those wanted, by lstsq."""
    rows = []
    for image in h.to(torch.float64):
        wanted = []
        for unit, mean, std in zip(units.T, values.mean, values.std, strict=True):
            value = float(unit @ image)
            limits = float(mean - 3 * std), float(mean + 3 * std)
            wanted.append({"zero": 0.0, "mean": float(mean), "clip": min(max(value, limits[0]), limits[1])}[kind])
        missing = torch.tensor(wanted, dtype=torch.float64) - units.T @ image
        step = torch.linalg.lstsq(units.T, missing[:, None], driver="gelsd").solution[:, 0]
        rows.append(image + step)
    return torch.stack(rows)


def units_of(form, d, m):
    if form == "features":
        return feature_axes(d, list(range(d))[-m:])
    if form == "directions":
        return right_singular_vectors(numbers(max(m, 3), d, seed=5))[:, :m]
    oblique = numbers(d, m, seed=6)
    return oblique / torch.linalg.vector_norm(oblique, dim=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["features", "directions", "oblique"])
@pytest.mark.parametrize("m", [1, 3])
def test_representations_are_those_of_a_loop_over_images(kind, form, m):
    calibration, h = numbers(200, 8) * 0.3 + 1, numbers(40, 8, seed=1)
    units = units_of(form, 8, m)
    values = unit_values(calibration, units)
    expected = by_hand(h, units, kind, values)
    torch.testing.assert_close(ablated(h, AblationOf(units, kind, values)), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_a_feature_alone_changes_and_is_what_the_kind_says(kind):
    h = numbers(50, 6).float()
    h[:, 2] = h[:, 2] * 5 + 40
    values = unit_values(h, feature_axes(6, [2]))
    h[0, 2] = 1000
    found = ablated(h, AblationOf(feature_axes(6, [2]), kind, values))
    others = [0, 1, 3, 4, 5]
    assert torch.equal(found[:, others], h[:, others].double())
    mean, std = h[1:, 2].double().mean(), h[1:, 2].double().std(correction=0)
    wanted = {
        "zero": torch.zeros(49),
        "mean": values.mean.expand(49),
        "clip": h[1:, 2].double().clamp(float(values.low[0]), float(values.high[0])),
    }[kind]
    torch.testing.assert_close(found[1:, 2], wanted.double(), rtol=0, atol=1e-12)
    assert abs(float(mean - values.mean)) < 1.0
    assert abs(float(std - values.std)) < 1.0
    assert (float(found[0, 2]) == pytest.approx(float(values.high[0]))) == (kind == "clip")


def test_limits_are_three_standard_deviations_from_the_mean():
    h = numbers(300, 4) * 2 + 7
    values = unit_values(h.float(), feature_axes(4, [3, 0]))
    column = h.float().double()[:, 3].numpy()
    assert float(values.mean[0]) == pytest.approx(column.mean(), abs=1e-12)
    assert float(values.std[0]) == pytest.approx(column.std(), abs=1e-12)
    assert float(values.high[0] - values.mean[0]) == pytest.approx(CLIP_AT * column.std())
    assert float(values.mean[0] - values.low[0]) == pytest.approx(CLIP_AT * column.std())
    taken = values.take([1])
    assert taken.mean.tolist() == [float(values.mean[1])]
    assert taken.n == 300


def test_images_that_are_no_numbers_leave_the_values_and_stay_as_they_are():
    h = numbers(10, 5).float()
    whole = unit_values(h, feature_axes(5, [1]))
    broken = torch.cat([h, torch.full((1, 5), math.inf), torch.full((1, 5), math.nan)])
    values = unit_values(broken, feature_axes(5, [1]))
    assert (values.n, float(values.mean)) == (10, float(whole.mean))
    found = ablated(broken, AblationOf(feature_axes(5, [1]), "zero"))
    assert torch.equal(found[10], torch.full((5,), math.inf, dtype=torch.float64))
    assert bool(found[11].isnan().all())
    predicted = ablated_predictions(
        numbers(3, 5), broken, [None, AblationOf(feature_axes(5, [1]), "zero")], largest_class, unit_norm=True
    )
    assert predicted[:, 10:].tolist() == [[NO_CLASS, NO_CLASS]] * 2
    assert bool((predicted[:, :10] >= 0).all())
    with pytest.raises(ValueError, match="no image has finite features"):
        unit_values(broken[10:], feature_axes(5, [1]))


@pytest.mark.parametrize("unit_norm", [True, False])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize(("classes", "d"), [(4, 9), (9, 4), (1, 3)])
def test_predictions_are_those_of_one_step_after_the_other(unit_norm, biased, classes, d):
    W, h = numbers(classes, d, seed=2), numbers(70, d, seed=3) * 2 + 0.5
    h[5] = 0
    bias = numbers(classes, seed=4) if biased else None
    calibration = numbers(30, d, seed=9)
    ablations = [None]
    for form in ("features", "directions", "oblique"):
        units = units_of(form, d, 2)
        ablations += [AblationOf(units, kind, unit_values(calibration, units)) for kind in KINDS]
    found = ablated_predictions(W, h, ablations, largest_class, unit_norm=unit_norm, bias=bias, block=7)
    for row, one in zip(found, ablations, strict=True):
        changed = h if one is None else ablated(h, one)
        read = functional.normalize(changed, dim=1) if unit_norm else changed
        logits = read @ W.T + (0 if bias is None else bias)
        top = logits.topk(min(2, classes), dim=1).values
        clear = (top[:, 0] - top[:, -1] > 1e-9) | (classes == 1)
        assert int(clear.sum()) >= 69 - (not biased)
        assert torch.equal(row[clear], logits.argmax(dim=1)[clear])
    whole = ablated_predictions(W, h, ablations, largest_class, unit_norm=unit_norm, bias=bias, block=1000)
    assert torch.equal(found, whole)


def test_what_nearly_all_of_h_lies_in_leaves_exact_logits():
    h = numbers(40, 6, seed=1)
    h[:, 4] = 1e9 * (1 + h[:, 4].abs())
    W, bias = numbers(5, 6, seed=2), numbers(5, seed=3)
    zero = AblationOf(feature_axes(6, [4]), "zero")
    kept = []
    predict = lambda logits: kept.append(logits) or largest_class(logits)  # noqa: E731
    ablated_predictions(W, h, [zero], predict, unit_norm=True, bias=bias)
    h[:, 4] = 0
    expected = functional.normalize(h, dim=1) @ W.T + bias
    torch.testing.assert_close(torch.cat(kept), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("unit_norm", [True, False])
def test_ablating_all_of_h_leaves_the_bias(unit_norm):
    h, bias = numbers(30, 4), torch.tensor([0.0, 2.0, 1.0])
    everything = AblationOf(random_rotation(4, 4, seed=1), "zero")
    for shift, wanted in ((bias, 1), (None, 0)):
        found = ablated_predictions(numbers(3, 4), h, [everything], largest_class, unit_norm=unit_norm, bias=shift)
        assert found.unique().tolist() == [wanted]


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("unit_norm", [True, False])
@pytest.mark.parametrize("shape", [(20, 128), (7, 5)])
def test_without_all_directions_of_the_head_no_class_is_preferred(centred, unit_norm, shape):
    """What is left of the logits is rounding, which would depend on the size of a block."""
    W, h = numbers(*shape, seed=1) + 2, numbers(500, shape[1], seed=2) * 30
    everything = AblationOf(thin_svd(W, centred=centred)[1], "zero")
    for block in (1, 7, 256):
        found = ablated_predictions(W, h, [None, everything], largest_class, unit_norm=unit_norm, block=block)
        assert found[1].unique().tolist() == [0]
        assert len(found[0].unique()) > 3
    nearly = AblationOf(everything.units[:, 1:], "zero")  # one direction still tells classes apart
    assert len(ablated_predictions(W, h, [nearly], largest_class, unit_norm=unit_norm).unique()) > 1
    # images that are no numbers are no first class
    h[0] = torch.nan
    found = ablated_predictions(W, h, [everything], largest_class, unit_norm=unit_norm)
    assert found[0, :2].tolist() == [NO_CLASS, 0]


def test_a_direction_that_every_class_shares_changes_no_prediction_however_important():
    W = numbers(6, 10, seed=1)
    shared = torch.nn.functional.normalize(numbers(10, seed=2), dim=0)
    W = W - W.mean(dim=0)
    W = W - torch.outer(W @ shared, shared) + 50 * shared
    h = numbers(300, 10, seed=3) + 4 * shared
    first = right_singular_vectors(W)[:, :1]
    assert float((first[:, 0] @ shared).abs()) > 0.999999999
    second = right_singular_vectors(W)[:, 1:2]
    none, alone, other = ablated_predictions(
        W, h, [None, AblationOf(first, "zero"), AblationOf(second, "zero")], largest_class, unit_norm=True
    )
    assert torch.equal(none, alone)
    assert not torch.equal(none, other)


def test_what_no_image_uses_changes_nothing_at_all():
    h = numbers(20, 5).float()
    h[:, 3] = 0
    zero = AblationOf(feature_axes(5, [3]), "zero")
    assert torch.equal(ablated(h, zero), h.double())
    inside = UnitValues(*(torch.tensor([v], dtype=torch.float64) for v in (0.0, 9.0, -9.0, 9.0)), n=1)
    assert torch.equal(ablated(h, AblationOf(feature_axes(5, [0]), "clip", inside)), h.double())


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), d=st.integers(2, 9), m=st.integers(1, 4))
def test_laws(seed, d, m):
    m = min(m, d)
    h, units = numbers(12, d, seed=seed), random_rotation(d, m, seed=seed)
    zero = AblationOf(units, "zero")
    once = ablated(h, zero)
    torch.testing.assert_close(ablated(once, zero), once, rtol=0, atol=1e-12)  # a projection
    assert bool((once.norm(dim=1) <= h.norm(dim=1) + 1e-12).all())
    # orthonormal units: at once is one after the other, in any order
    step = h
    for column in torch.randperm(m, generator=torch.Generator().manual_seed(seed)).tolist():
        step = ablated(step, AblationOf(units[:, [column]], "zero"))
    torch.testing.assert_close(step, once, rtol=0, atol=1e-12)
    # signs do not matter, for no kind
    signs = torch.where(numbers(m, seed=seed) > 0, 1.0, -1.0).double()
    for kind in KINDS:
        one, other = (ablated(h, AblationOf(U, kind, unit_values(h, U))) for U in (units, units * signs))
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    # a rotation of everything changes nothing
    Q = random_rotation(d, d, seed=seed + 1)
    torch.testing.assert_close(ablated(h @ Q, AblationOf(Q.T @ units, "zero")), once @ Q, rtol=0, atol=1e-11)


def test_mean_ablation_keeps_the_mean_of_h_on_its_own_images():
    h = numbers(30, 6) + 2
    units = random_rotation(6, 2, seed=0)
    found = ablated(h, AblationOf(units, "mean", unit_values(h, units)))
    torch.testing.assert_close(found.mean(dim=0), h.mean(dim=0), rtol=0, atol=1e-12)
    torch.testing.assert_close(found @ units, (h @ units).mean(dim=0).expand(30, 2), rtol=0, atol=1e-12)


def test_units_that_depend_on_one_another_are_removed_together():
    h = numbers(9, 4)
    axis = feature_axes(4, [1])
    twice = ablated(h, AblationOf(torch.cat([axis, axis], dim=1), "zero"))
    torch.testing.assert_close(twice, ablated(h, AblationOf(axis, "zero")), rtol=0, atol=1e-12)


def test_bad_input_is_one_sentence():
    h = numbers(3, 4)
    with pytest.raises(ValueError, match="kind must be one of zero, mean, clip, not 'noise'"):
        ablated(h, AblationOf(feature_axes(4, [0]), "noise"))
    with pytest.raises(ValueError, match="'mean' needs the values"):
        ablated(h, AblationOf(feature_axes(4, [0]), "mean"))
    with pytest.raises(ValueError, match="units have 5 features, h has 4"):
        ablated(h, AblationOf(feature_axes(5, [0]), "zero"))
    with pytest.raises(ValueError, match="at least one"):
        ablated_predictions(numbers(2, 4), h, [AblationOf(feature_axes(4, []), "zero")], largest_class, unit_norm=True)
    with pytest.raises(ValueError, match=r"features must lie in 0 … 3, not \[4\]"):
        feature_axes(4, [4])
    with pytest.raises(ValueError, match="finite"):
        ablated_predictions(torch.full((2, 4), math.nan), h, [None], largest_class, unit_norm=True)

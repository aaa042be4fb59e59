"""Parts of `prune` by themselves: heads with a bias, masks, few images, heads without directions, grids."""

import argparse

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_robust.cli import prune_counts
from lightning_robust.cli.head_features import HeadFeatures, HeadModel, SetFeatures
from lightning_robust.cli.opened_evaluation import Opened
from lightning_robust.cli.processes import Processes
from lightning_robust.cli.prune_curves import GRID, JUDGED_FRACTIONS, grid_of
from lightning_robust.cli.prune_pruned import pruned_model, sweep_draws
from lightning_robust.cli.prune_threads import threads_of
from lightning_robust.data import DistributionShift
from lightning_robust.errors import UserError

MASKED = ((3, 1), (5,), (0,))
SETS = (
    DistributionShift("reference", "made up"),
    DistributionShift("plain", "made up"),
    DistributionShift("masked", "made up", "three labels", MASKED),
)


def opened(sets=SETS, points=1.0, baseline=None):
    args = argparse.Namespace(points=points, seed=0)
    return Opened(args, Processes(), None, {}, tuple(sets), baseline, torch.device("cpu"))


def features(C=8, d=12, n=60, seed=0, *, bias=True, unit_norm=False, head=None, calibration=50, sets=SETS):
    """Features around directions of the classes, more noise on the shifts."""
    draw = np.random.default_rng(seed)
    W = draw.normal(size=(C, d)) if head is None else head
    centres = draw.normal(size=(C, d)) if head is None else W

    def made(name, count, noise):
        targets = draw.integers(C, size=count)
        h = (centres[targets] + noise * draw.normal(size=(count, d))).astype(np.float32)
        return SetFeatures(name, count, torch.as_tensor(h), torch.as_tensor(targets), torch.arange(count))

    first = made("reference", calibration, 0.5)
    judged = tuple(made(one.name, n + 7 * k, 0.5 + 0.4 * k) for k, one in enumerate(sets))
    b = torch.as_tensor(draw.normal(size=C).astype(np.float32)) if bias else None
    model = HeadModel("made", "made up", "0" * 64, None, torch.as_tensor(W.astype(np.float32)), b, unit_norm)
    return HeadFeatures(model, first, judged)


def naive(found, part, project, groups=None):
    """Right answers on a set whose features are projected before the head."""
    h = part.h.double().numpy()
    if found.model.unit_norm:
        h = h / np.linalg.norm(h, axis=1, keepdims=True)
    logits = h @ project @ found.model.head.double().numpy().T
    if found.model.bias is not None:
        logits = logits + found.model.bias.double().numpy()
    targets = part.targets.numpy()
    if groups is None:
        return int((logits.argmax(1) == targets).sum())
    group_of = {index: k for k, group in enumerate(groups) for index in group}
    scores = np.stack([logits[:, list(group)].max(1) for group in groups], axis=1)
    return sum(group_of.get(int(t)) == int(guess) for t, guess in zip(targets, scores.argmax(1), strict=True))


@pytest.mark.parametrize("unit_norm", [False, True])
@pytest.mark.parametrize("form", ["raw", "centred"])
@pytest.mark.parametrize(("C", "d"), [(8, 12), (12, 7), (8, 8)])
def test_a_bias_stays_and_masks_hold_at_every_k(C, d, form, unit_norm):
    found = features(C, d, unit_norm=unit_norm)
    model, _ = pruned_model(found, "asked", opened(), (0,))
    W = found.model.head.double().numpy()
    W = W - W.mean(0) if form == "centred" else W
    _, s, Vt = np.linalg.svd(W, full_matrices=False)
    r = int((s > 1e-5).sum())
    h = found.calibration.h.double().numpy()
    importance = s[:r] * np.abs(h / np.linalg.norm(h, axis=1, keepdims=True) @ Vt[:r].T).mean(0)
    kept = Vt[:r][np.argsort(-importance)]
    curve = model.curve("importance", form)
    assert curve.total == (model.rank_raw if form == "raw" else model.rank_centred) == r
    for place, k in enumerate(curve.kept):
        for part, one in zip(found.judged, SETS, strict=True):
            if k:
                assert curve.correct[one.name][0][place] == naive(found, part, kept[:k].T @ kept[:k], one.groups)
    for part, one in zip(found.judged, SETS, strict=True):
        assert curve.correct[one.name][0][0] == naive(found, part, np.eye(d), one.groups)
        only_bias = naive(found, part, np.zeros((d, d)), one.groups)
        assert [draw[-1] for c in model.curves for draw in c.correct[one.name]] == [only_bias] * sum(
            c.draws for c in model.curves
        )
    masked = model.unpruned.rows[2]
    covered = sum(int(t) in {3, 1, 5, 0} for t in found.judged[0].targets)
    assert masked.matched_images == covered
    assert masked.matched_correct == naive(found, found.judged[0], np.eye(d), MASKED)


def test_what_is_judged_does_not_depend_on_how_many_seeds_there_are():
    found = features()
    one, _ = pruned_model(found, "asked", opened(), (0,))
    three, _ = pruned_model(found, "asked", opened(), (0, 1, 2))
    for few, many in zip(one.curves, three.curves, strict=True):
        for name in few.correct:
            assert few.correct[name][0] == many.correct[name][0]
        assert [headlines[0] for headlines in few.headlines.values()] == [
            headlines[0] for headlines in many.headlines.values()
        ]
    assert len({three.curve("random", "raw").correct["reference"]}) == 1
    assert len(set(three.curve("random", "raw").correct["reference"])) == 3


def test_progress_is_told_of_every_answer():
    found, told = features(), []
    pruned_model(found, "asked", opened(), (0, 1), told.append)
    assert sum(told) == sweep_draws(2) * sum(len(part.h) for part in found.judged)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("piece", [1, 7, 10_000])
def test_pieces_and_threads_change_nothing(monkeypatch, threads, piece):
    found = features(n=20, calibration=15)
    expected, _ = pruned_model(found, "asked", opened(), (0,))
    monkeypatch.setattr(prune_counts, "_PIECE", piece)
    before, told = torch.get_num_threads(), []
    torch.set_num_threads(threads)
    try:
        assert pruned_model(found, "asked", opened(), (0,), told.append)[0] == expected
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert sum(told) == sweep_draws(1) * sum(len(part.h) for part in found.judged)


def test_an_error_in_a_thread_is_raised_and_the_threads_are_given_back():
    def failing():
        with threads_of(torch.device("cpu")) as apply:
            assert torch.get_num_threads() == 1
            assert list(apply(lambda _: torch.get_num_threads(), range(3))) == [1, 1, 1]
            list(apply(lambda x: 1 // x, [1, 0, 1]))

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(ZeroDivisionError):
            failing()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_images_without_finite_features_are_wrong_for_every_k():
    found = features(unit_norm=True)
    for part in (found.calibration, *found.judged):
        part.h[:4] = torch.nan
        part.h[4, 3] = torch.inf
    model, _ = pruned_model(found, "asked", opened(), (0,))
    assert [row.not_numbers for row in model.unpruned.rows] == [5, 5, 5]
    assert [row.images for row in model.unpruned.rows] == [60, 67, 74]
    clean = features(unit_norm=True)
    for part in clean.judged:
        part.targets[:5] = 7 if part.set == "masked" else -7  # right for no class; the mask has no class 7
    object.__setattr__(clean, "calibration", SetFeatures(
        "reference", 50, clean.calibration.h[5:], clean.calibration.targets[5:], torch.arange(45)
    ))  # fmt: skip
    expected, _ = pruned_model(clean, "asked", opened(), (0,))
    for curve, other in zip(model.curves, expected.curves, strict=True):
        assert curve.correct == other.correct


def test_few_calibration_images_leave_ranks_that_cost_nothing_on_them():
    found = features(calibration=3)
    model, _ = pruned_model(found, "asked", opened(), (0,))
    curve = model.curve("reduced_rank", "raw")
    assert (curve.total, curve.kept) == (8, tuple(range(8, -1, -1)))
    counts = curve.correct["reference"][0]
    assert counts[0] == model.unpruned.rows[0].correct
    assert len(set(counts[1:6])) == 1  # ranks 7 to 3: the head of rank 3
    h, W = found.calibration.h.double().numpy(), found.model.head.double().numpy()
    U = np.linalg.svd(W @ h.T, full_matrices=False)[0][:, :3]
    part = found.judged[0]
    logits = part.h.double().numpy() @ (U @ U.T @ W).T + found.model.bias.double().numpy()
    assert counts[5] == int((logits.argmax(1) == part.targets.numpy()).sum())


def test_a_rank_below_classes_and_features_is_the_r_of_fractions():
    draw = np.random.default_rng(1)
    low = draw.normal(size=(8, 3)) @ draw.normal(size=(3, 12))
    model, _ = pruned_model(features(head=low), "asked", opened(), (0,))
    assert (model.rank_raw, model.null, model.comparable) == (3, 9, False)
    assert model.curve("importance", "raw").fractions == pytest.approx((0, 1 / 3, 2 / 3, 1))
    assert model.curve("random_head", "raw").total == 8  # a random head has all of them


@pytest.mark.parametrize("C", [1, 4])
def test_classes_that_are_all_alike_have_no_centred_directions(C):
    row = np.random.default_rng(0).normal(size=(1, 12))
    found = features(C, head=np.repeat(row, C, axis=0), bias=False, sets=SETS[:2])
    model, without = pruned_model(found, "asked", opened(SETS[:2]), (0,))
    assert (model.rank_raw, model.rank_centred) == (1, 0)
    assert {curve.form for curve in model.curves} == {"raw", ""}
    (sentence,) = without
    assert sentence.startswith("made: its centred head has no directions")
    headline = model.curve("importance", "raw").headlines["reference"][0]
    assert (headline.kept, headline.fraction.estimate) == (1, 0.0)  # k = 0 is no candidate


def test_nothing_to_estimate_importance_from():
    found = features()
    found.calibration.h.fill_(torch.nan)
    with pytest.raises(UserError, match="none of the 50 calibration images has finite features"):
        pruned_model(found, "asked", opened(), (0,))
    with pytest.raises(UserError, match="all weights of its head are zero"):
        pruned_model(features(4, head=np.zeros((4, 12)), bias=False, sets=SETS[:2]), "asked", opened(SETS[:2]), (0,))


def test_outlier_features_go_first_and_are_marked():
    found = features(d=200, n=40)
    for part in (found.calibration, *found.judged):
        part.h[:, 150] = 400.0
        part.h[:, 20] = -600.0
    model, _ = pruned_model(found, "asked", opened(), (0,))
    assert model.outliers_by_rule == 2
    curve = model.curve("outlier_features")
    assert (200 - 2) in curve.kept
    assert len(curve.kept) > GRID
    project = np.eye(200)
    project[[20, 150], [20, 150]] = 0
    place = curve.kept.index(198)
    assert curve.correct["reference"][0][place] == naive(found, found.judged[0], project)
    assert pruned_model(features(d=12), "asked", opened(), (0,))[0].outliers_by_rule is None


def test_headlines_are_searched_between_the_points_of_the_grid():
    """150 directions of which 101 do nothing: no grid point is at 49 kept, and the headline is."""
    draw = np.random.default_rng(0)
    Q = np.linalg.qr(draw.normal(size=(150, 150)))[0]
    sigma = np.where(np.arange(150) < 49, 1.0, 1e-3)
    W = np.linalg.qr(draw.normal(size=(160, 150)))[0] * sigma @ Q.T
    found = features(160, 150, n=400, head=W, bias=False, calibration=300, sets=SETS[:2])
    model, _ = pruned_model(found, "asked", opened(SETS[:2], points=0.0), (0,))
    curve = model.curve("importance", "raw")
    headline = curve.headlines["reference"][0]
    even = {round(150 * step / GRID) for step in range(GRID + 1)}
    assert headline.kept in curve.kept
    _, s, Vt = np.linalg.svd(found.model.head.double().numpy(), full_matrices=False)
    h = found.calibration.h.double().numpy()
    order = np.argsort(-s * np.abs(h / np.linalg.norm(h, axis=1, keepdims=True) @ Vt.T).mean(0))
    whole = naive(found, found.judged[0], np.eye(150))
    fits = [
        k for k in range(1, 151)
        if naive(found, found.judged[0], Vt[order[:k]].T @ Vt[order[:k]]) >= whole
    ]  # fmt: skip
    assert headline.kept == min(fits)
    assert {str(k) for k in (150, 112, 75, 38, 15)} <= set(curve.judged)
    assert set(curve.kept) >= even


@given(total=st.integers(1, 3000), marked=st.sets(st.integers(0, 3000), max_size=5))
def test_a_grid_falls_from_all_to_none(total, marked):
    marked = {min(k, total) for k in marked}
    grid = grid_of(total, marked)
    assert grid[0] == total
    assert grid[-1] == 0
    assert list(grid) == sorted(set(grid), reverse=True)
    assert marked <= set(grid)
    assert len(grid) <= GRID + 1 + len(marked)
    if total <= GRID:
        assert len(grid) == total + 1


def test_judged_fractions_are_those_of_the_design():
    assert JUDGED_FRACTIONS == (0.0, 0.25, 0.5, 0.75, 0.9)
    model, _ = pruned_model(features(40, 64, n=80, sets=SETS[:2]), "asked", opened(SETS[:2]), (0,))
    curve = model.curve("importance", "raw")
    assert {"40", "30", "20", "10", "4"} <= set(curve.judged)
    for k, point in curve.judged.items():
        place = curve.kept.index(int(k))
        for row in point.rows:
            assert row.correct == curve.correct[row.set][0][place]
            assert row.low <= row.accuracy <= row.high

"""Many ridge regressions at once are scikit-learn's pipelines one by one."""

import numpy as np
import pytest
from diagnosis_tables import family_rows
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lightning_robust.robustness.diagnosis_regression import (
    PENALTIES,
    FamilyRows,
    best_penalties,
    family_moments,
    penalty_folds,
    ridge,
)


def pipeline(rows, penalty, used):
    made = make_pipeline(StandardScaler(), Ridge(alpha=penalty))
    weights = rows.weights[used]
    made.fit(rows.x[used], rows.y[used], standardscaler__sample_weight=weights, ridge__sample_weight=weights)
    return made


def some_sets(families, count=4):
    sets = np.random.default_rng(3).random((count, families)) < 0.7
    sets[0] = True
    sets[:, :3] = True
    return sets


@pytest.mark.parametrize("seed", [0, 1])
def test_fits_are_those_of_scikit_learn(seed):
    rows = family_rows(families=9, seed=seed)
    sets, penalties = some_sets(9), (0.01, 1.0, 300.0)
    fitted = ridge(np.einsum("bf,fqr->bqr", sets.astype(float), family_moments(rows)), penalties)
    for members, paths in zip(sets, fitted, strict=True):
        for penalty, path in zip(penalties, paths, strict=True):
            reference = pipeline(rows, penalty, members[rows.family])
            np.testing.assert_allclose(rows.with_one @ path, reference.predict(rows.x), rtol=0, atol=1e-10)


def test_a_figure_that_does_not_vary_has_no_slope_and_is_as_if_it_were_not_there():
    rows = family_rows(families=7)
    x = rows.x.copy()
    x[:, 1] = 4.5
    rows = FamilyRows(x, rows.y, rows.family)
    fitted = ridge(family_moments(rows).sum(axis=0)[None], [2.0])[0, 0]
    others = FamilyRows(x[:, [0, 2]], rows.y, rows.family)
    reference = pipeline(others, 2.0, np.ones(len(x), dtype=bool))
    np.testing.assert_allclose(rows.with_one @ fitted, reference.predict(others.x), rtol=0, atol=1e-10)
    assert fitted[2] == 0


def test_nothing_varies_and_the_mean_over_families_is_left():
    rows = FamilyRows(np.ones((3, 2)), np.array([1.0, 2.0, 6.0]), np.array([0, 0, 1]))
    np.testing.assert_allclose(ridge(family_moments(rows).sum(axis=0)[None], [0.0])[0, 0], [3.75, 0, 0])


def test_as_many_copies_of_a_family_as_one_likes_change_nothing():
    rows = family_rows(families=5)
    twice = np.concatenate([np.arange(len(rows.y)), np.flatnonzero(rows.family == 2)])
    again = FamilyRows(rows.x[twice], rows.y[twice], rows.family[twice])
    np.testing.assert_allclose(family_moments(again), family_moments(rows), rtol=1e-12)


def test_the_penalty_is_the_one_that_a_loop_over_pipelines_finds():
    for seed in range(2):
        rows = family_rows(families=7, noise=2.0, seed=seed)
        sets = some_sets(7, count=2)
        found = best_penalties(family_moments(rows), penalty_folds(rows.family, sets))
        for members, penalty in zip(sets, found, strict=True):
            used = np.flatnonzero(members[rows.family])
            assert penalty == by_a_loop(rows, used)


def by_a_loop(rows, used):
    losses = []
    splits = list(GroupKFold(min(5, len(set(rows.family[used])))).split(used, groups=rows.family[used]))
    for penalty in PENALTIES:
        loss = 0.0
        for train, test in splits:
            held_out = used[test]
            missed = rows.y[held_out] - pipeline(rows, penalty, used[train]).predict(rows.x[held_out])
            loss += float(rows.weights[held_out] @ missed**2)
        losses.append(loss)
    return PENALTIES[int(np.argmin(losses))]


def test_penalties_differ_with_what_there_is_to_learn():
    sets = np.ones((1, 12), dtype=bool)
    weak, strong = (
        best_penalties(family_moments(rows), penalty_folds(rows.family, sets))[0]
        for rows in (family_rows(families=12, noise=noise) for noise in (0.01, 50.0))
    )
    assert weak < 1 < strong


def test_the_strongest_of_equal_penalties_is_taken():
    rows = FamilyRows(np.ones((4, 1)), np.array([1.0, 2.0, 3.0, 4.0]), np.arange(4))
    sets = np.ones((1, 4), dtype=bool)
    assert best_penalties(family_moments(rows), penalty_folds(rows.family, sets)).tolist() == [PENALTIES[-1]]


def test_folds_hold_every_family_of_the_set_out_once():
    family = family_rows(families=8).family
    folds = penalty_folds(family, np.array([[True] * 8, [False, True] * 4]))
    assert sorted(set(folds[0].tolist())) == [0, 1, 2, 3, 4]
    assert sorted(folds[1].tolist()) == [-1, -1, -1, -1, 0, 1, 2, 3]


def test_one_family_has_no_fold():
    with pytest.raises(ValueError, match="of 1 none can be"):
        penalty_folds(np.array([0, 0, 1]), np.array([[True, False]]))

"""Correlations of a made-up study against scipy, row by row."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from lightning_robust.results import DataDescription, Interval, collect_provenance
from lightning_robust.results.study_record import StudyRecord, StudyRow
from lightning_robust.robustness.family_permutation import holm
from lightning_robust.robustness.study_correlations import correlation_rows, study_correlations, study_figures
from lightning_robust.robustness.study_paths import along_alpha
from lightning_robust.robustness.study_scopes import reference_accuracy, scope_points

KURTOSIS = "kurtosis/h/width_adjusted"
ALPHAS = (0.25, 0.5, 1.0)


def row(name, family, kind, alpha, draw, *, backbone="rn", extrapolated=0.0):
    robust, kurtosis = draw.normal(), draw.normal()
    figures = {
        "accuracy/photo": draw.uniform(0.4, 0.9), "accuracy/sketch": 0.5, "accuracy/shifts": 0.5, "er/sketch": robust,
        "er/mean": robust, "er/mean/low": robust - 1, "er/extrapolated": extrapolated,
        KURTOSIS: robust + kurtosis, "rankme/h": draw.normal(), "head/alpha": draw.normal(),
        "prune/reference/fraction/low": 0.1,
    }  # fmt: skip
    labels = {"backbone": backbone}
    return StudyRow(name=name, model=name, family=family, kind=kind, alpha=alpha, labels=labels, figures=figures)


@pytest.fixture(scope="module")
def record():
    draw, rows = np.random.default_rng(0), []
    for k in range(12):
        family = f"clip-{k}"
        where = {"backbone": "vit" if k % 2 else "rn", "extrapolated": float(k < 2)}
        rows.append(row(family, family, "zero-shot", None, draw, **where))
        for alpha in ALPHAS:
            kind = "finetuned" if alpha == 1 else "interpolated"
            rows.append(row(f"{family} {alpha}", family, kind, alpha, draw, backbone=where["backbone"]))
    rows += [row(f"twin-{k}", f"twin-{k}", "supervised", None, draw) for k in range(3)]
    rows += [row("noise", "noise", "random", None, draw)]
    return StudyRecord(
        name="made up", provenance=collect_provenance(), seeds={}, conventions=(), baseline="scenes",
        shifts=("sketch",), data=DataDescription(dataset="scenes", protocol="", images={}), rows=tuple(rows),
    )  # fmt: skip


@pytest.fixture(scope="module")
def found(record):
    tags = [KURTOSIS, "accuracy/photo", "head/alpha"]
    made = study_correlations(record, tags, replicates=200, permutations=499)
    return {(one.figure, one.scope, one.given, one.without_extrapolated): one for one in made}


def pairs(rows):
    return [row.value(KURTOSIS) for row in rows], [row.value("er/mean") for row in rows]


def families(record, *kinds):
    names = dict.fromkeys(row.family for row in record.of_kind(*kinds))
    return [[row for row in record.of_kind(*kinds) if row.family == name] for name in names]


def test_what_can_be_set_against_robustness(record):
    assert study_figures(record) == (KURTOSIS, "accuracy/photo", "rankme/h", "head/alpha")
    assert reference_accuracy(record) == "accuracy/photo"


def test_over_all_rows_but_random_ones(record, found):
    rows = record.of_kind("zero-shot", "finetuned", "interpolated", "supervised")
    one = found[KURTOSIS, "all", "", False]
    assert one.correlation.estimate == pytest.approx(stats.spearmanr(*pairs(rows)).statistic)
    assert (one.rows, one.families, one.extrapolated, one.role) == (51, 15, 2, "signature")
    assert math.isnan(one.p), "rows of one path are not exchangeable"


def test_between_pretrained_models(record, found):
    one = found[KURTOSIS, "pretrained", "", False]
    assert one.correlation.estimate == pytest.approx(stats.spearmanr(*pairs(record.of_kind("zero-shot"))).statistic)
    assert (one.rows, one.families) == (12, 12)
    fewer = [row for row in record.of_kind("zero-shot") if row.value("er/extrapolated") == 0]
    without = found[KURTOSIS, "pretrained", "", True]
    assert without.correlation.estimate == pytest.approx(stats.spearmanr(*pairs(fewer)).statistic)
    assert (without.rows, without.extrapolated) == (10, 0)


def test_pretrained_models_that_share_a_family_are_not_exchangeable(record):
    rows = tuple(replace(row, family="clip-0") if row.family == "clip-1" else row for row in record.rows)
    found = study_correlations(replace(record, rows=rows), [KURTOSIS], replicates=50, permutations=99)
    one = next(one for one in found if one.scope == "pretrained" and not one.given and not one.without_extrapolated)
    assert (one.rows, one.families) == (12, 11)
    assert math.isnan(one.p)


def test_between_families_is_of_their_means(record, found):
    groups = families(record, "zero-shot", "finetuned", "interpolated", "supervised")
    means = np.array([np.mean(pairs(rows), axis=1) for rows in groups])
    one = found[KURTOSIS, "families", "", False]
    assert one.correlation.estimate == pytest.approx(stats.spearmanr(*means.T).statistic)
    assert (one.rows, one.families, one.extrapolated) == (15, 15, 2)


def test_along_paths_is_the_mean_over_families(record, found):
    inside = [
        stats.spearmanr(*pairs(rows)).statistic for rows in families(record, "zero-shot", "finetuned", "interpolated")
    ]
    one = found[KURTOSIS, "paths", "", False]
    assert one.correlation.estimate == pytest.approx(np.mean(inside))
    draws = np.random.default_rng(0).multinomial(12, np.full(12, 1 / 12), size=200)
    naive = [np.mean(np.repeat(inside, counts)) for counts in draws]
    assert (one.correlation.low, one.correlation.high) == pytest.approx(tuple(np.quantile(naive, [0.025, 0.975])))


def test_controls_are_those_that_say_something(found):
    def given(scope, figure=KURTOSIS):
        return [key[2] for key in found if key[:2] == (figure, scope) and not key[3] and key[2]]

    assert given("all") == ["reference accuracy", "kind", "backbone"]
    assert given("pretrained") == ["reference accuracy", "backbone"]
    assert given("families") == given("paths") == ["reference accuracy"]
    assert given("pretrained", "accuracy/photo") == ["backbone"], "nothing is left of the accuracy given itself"


def test_with_accuracy_held_fixed(record, found):
    rows = record.of_kind("zero-shot")
    x, y, z = (stats.rankdata(values) for values in (*pairs(rows), [row.value("accuracy/photo") for row in rows]))
    r = np.corrcoef([x, y, z])
    expected = (r[0, 1] - r[0, 2] * r[1, 2]) / math.sqrt((1 - r[0, 2] ** 2) * (1 - r[1, 2] ** 2))
    one = found[KURTOSIS, "pretrained", "reference accuracy", False]
    assert one.correlation.estimate == pytest.approx(expected)
    assert math.isnan(one.p)


def test_chances_are_adjusted_among_the_figures_of_a_role(found):
    own = [
        one for one in found.values() if one.scope == "pretrained" and not one.given and not one.without_extrapolated
    ]
    assert [one.role for one in own] == ["signature", "rival", "other"]
    assert [one.p_holm for one in own] == pytest.approx([one.p for one in own]), "one figure in each role"
    assert all(0 < one.p <= 1 for one in own)


def test_chances_of_several_figures_are_adjusted_together(record):
    made = study_correlations(record, ["rankme/h", "accuracy/photo"], replicates=5, permutations=99)
    own = [one for one in made if one.scope == "paths" and not one.given and not one.without_extrapolated]
    assert [one.p_holm for one in own] == pytest.approx(holm([one.p for one in own]))


def test_nothing_hangs_on_the_order_of_rows(record, found):
    backwards = replace(record, rows=record.rows[::-1])
    for one in study_correlations(backwards, [KURTOSIS], replicates=5, permutations=99):
        same = found[one.figure, one.scope, one.given, one.without_extrapolated]
        assert one.correlation.estimate == pytest.approx(same.correlation.estimate)


def test_a_row_without_a_figure_is_left_out(record):
    gap = replace(record.rows[0], figures={**record.rows[0].figures, KURTOSIS: math.nan})
    absent = replace(record.rows[4], figures={k: v for k, v in record.rows[4].figures.items() if k != KURTOSIS})
    fewer = replace(record, rows=(gap, *record.rows[1:4], absent, *record.rows[5:]))
    points = scope_points(fewer, KURTOSIS, "pretrained")
    assert len(points.x) == 10
    assert points.families == 10


def test_a_scope_that_there_is_not_is_refused(record):
    with pytest.raises(ValueError, match="a scope is one of all, pretrained, families, paths, got 'models'"):
        scope_points(record, KURTOSIS, "models")


def test_what_has_fewer_than_three_points_is_absent(record):
    few = replace(record, rows=record.rows[:4])
    assert {one.scope for one in study_correlations(few, [KURTOSIS], replicates=5)} == {"all", "paths"}
    assert study_correlations(few, ["concepts/unique_0.9"], replicates=5) == ()


def test_a_constant_figure_has_no_correlation(record):
    still = replace(record, rows=tuple(replace(r, figures={**r.figures, KURTOSIS: 3.0}) for r in record.rows))
    for one in study_correlations(still, [KURTOSIS], replicates=5, permutations=9):
        assert math.isnan(one.correlation.estimate)
        assert math.isnan(one.p)


def test_rows_of_the_table(found):
    rows = correlation_rows(list(found.values()))
    assert len(rows) == len(found)
    first = rows[0]
    one = found[KURTOSIS, "all", "", False]
    assert (first["figure"], first["scope"], first["given"]) == (KURTOSIS, "all", "")
    assert (first["spearman"], first["low"], first["high"]) == (
        one.correlation.estimate, one.correlation.low, one.correlation.high,
    )  # fmt: skip
    assert first["p"] is None
    assert (first["level"], first["replicates"], first["seed"]) == (0.95, 200, 0)
    assert not any(isinstance(cell, float) and math.isnan(cell) for cells in rows for cell in cells.values())


def test_means_along_the_path(record):
    made = along_alpha(record, KURTOSIS, replicates=300, seed=1)
    assert [one.alpha for one in made] == [0.0, *ALPHAS]
    values = np.array([pairs(rows)[0] for rows in families(record, "zero-shot", "finetuned", "interpolated")])
    assert [one.mean.estimate for one in made] == pytest.approx(values.mean(axis=0))
    change = values[:, 3] - values[:, 0]
    draws = np.random.default_rng(1).multinomial(12, np.full(12, 1 / 12), size=300)
    naive = [np.mean(np.repeat(change, counts)) for counts in draws]
    assert (made[3].change.low, made[3].change.high) == pytest.approx(tuple(np.quantile(naive, [0.025, 0.975])))
    assert made[0].change == Interval(0.0, 0.0, 0.0, 0.95, 300, 1)
    assert [one.extrapolated for one in made] == [2, 0, 0, 0]
    assert {one.families for one in made} == {12}


def test_a_family_that_lacks_an_alpha_is_in_no_mean(record):
    assert {one.families for one in along_alpha(replace(record, rows=record.rows[:-5]), KURTOSIS)} == {11}
    assert along_alpha(replace(record, rows=record.rows[:4]), KURTOSIS) == ()
    assert along_alpha(record, "concepts/unique_0.9") == ()

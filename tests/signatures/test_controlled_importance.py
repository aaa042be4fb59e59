"""Importance beside its controls as a record and a table: a planted direction stands out, a random head does not."""

import dataclasses
import math
import statistics

import pytest
import torch

from lightning_robust.signatures import centre_head, direction_importance, head_controls, reduced_rank_regression
from lightning_robust.signatures.controlled_importance import importance_with_controls, importance_with_controls_report
from lightning_robust.signatures.importance_controls import ImportanceControls

SEEDS = (0, 1, 2, 3, 4, 5)


def cone(C=20, d=40, n=300):
    """Classes and images that share a mean: a cone, as the embeddings of a CLIP."""
    generator = torch.Generator().manual_seed(0)
    shared = torch.zeros(d, dtype=torch.float64)
    shared[0] = 1
    W = torch.randn(C, d, generator=generator, dtype=torch.float64) + 40 * shared
    return W, torch.randn(n, d, generator=generator, dtype=torch.float64) + 3 * shared


def rows_of(W, h, **options):
    return {(row["form"], row["head"]): row for row in importance_with_controls(W, h, **options).table()}


def test_a_cone_stands_out_raw_and_not_centred_and_no_control_has_it():
    W, h = cone()
    rows = rows_of(W, h, seeds=SEEDS)
    raw, centred = rows["raw", "head"], rows["centred", "head"]
    assert raw["privileged"] == 1
    assert raw["max_over_median"] > 50
    assert raw["directions_for_90"] == 1
    assert centred["privileged"] == 0
    assert centred["max_over_median"] < 5
    for form in ("raw", "centred"):
        assert rows[form, "random head"]["privileged"] == 0
        assert rows[form, "random head"]["max_over_median"] < 6
    # a rotation keeps the large singular value and loses the images: less than the head, more than nothing
    rotated = rows["raw", "random rotation"]
    assert rotated["max_over_median"] + 2 * rotated["max_over_median_sd"] < raw["max_over_median"]
    assert rotated["max_over_median"] > rows["raw", "random head"]["max_over_median"]


def test_the_table_repeats_what_each_head_gives_alone():
    W, h = cone()
    rows = rows_of(W, h, seeds=SEEDS)
    makers = {"random head": head_controls.random_head, "random rotation": head_controls.rotated_head}
    for form in ("raw", "centred"):
        alone = {"head": [direction_importance(W, h, centred=form == "centred")]}
        for name, make in makers.items():
            alone[name] = [direction_importance(make(W, s), h, centred=form == "centred") for s in SEEDS]
        for name, reports in alone.items():
            row = rows[form, name]
            columns = {
                "max_over_median": [report.max_over_median for report in reports],
                "largest": [float(report.normalised.max()) for report in reports],
                "privileged": [len(report.privileged) for report in reports],
            }
            for column, values in columns.items():
                assert row[column] == pytest.approx(statistics.mean(values), rel=1e-8)
                sd = statistics.stdev(values) if len(values) > 1 else math.nan
                assert row[f"{column}_sd"] == pytest.approx(sd, rel=1e-6, abs=1e-9, nan_ok=True)
            assert (row["draws"], row["r"], row["n"]) == (len(reports), reports[0].r, 300)


@pytest.mark.parametrize("unit_norm", [True, False])
def test_the_rows_of_the_reduced_rank_regression(unit_norm):
    W, h = cone()
    rows = rows_of(W, h, unit_norm=unit_norm)
    for form in ("raw", "centred"):
        row, best = (
            rows[form, "reduced-rank regression"],
            reduced_rank_regression(centre_head(W) if form == "centred" else W, h, unit_norm=unit_norm),
        )
        s = best.energies.sqrt().tolist()
        assert row["r"] == best.r == (19 if form == "centred" else 20)
        assert row["max_over_median"] == pytest.approx(max(s) / statistics.median(s))
        assert row["largest"] == pytest.approx(max(s) / sum(s))
        assert row["privileged"] == sum(x > 10 * statistics.median(s) for x in s)
        assert row["kept_by_one"] == pytest.approx(float(best.explained[0]))
        assert row["directions_for_90"] == best.rank_for(0.9)
        for name in ("head", "random head", "random rotation"):
            assert rows[form, name]["kept_by_one"] <= 1
        assert rows[form, "head"]["kept_by_one"] <= row["kept_by_one"] + 1e-12
        assert rows[form, "head"]["directions_for_90"] >= row["directions_for_90"]


def test_the_norms_of_images_matter_to_the_logits_alone():
    W, h = cone()
    far = h * torch.logspace(-2, 2, len(h), dtype=torch.float64)[:, None]
    unit, raw = (rows_of(W, far, unit_norm=u)["raw", "head"] for u in (True, False))
    assert unit["largest"] == pytest.approx(raw["largest"])
    assert unit["kept_by_one"] == pytest.approx(rows_of(W, h)["raw", "head"]["kept_by_one"])
    assert unit["kept_by_one"] != pytest.approx(raw["kept_by_one"], rel=1e-6)


def test_the_record_from_batches_equals_the_record_from_all_images():
    W, h = cone()
    metric = ImportanceControls(W, SEEDS)
    for batch in h.split(70):
        metric.update(batch)
    record, whole = (
        importance_with_controls_report(metric.compute(), metric),
        importance_with_controls(W, h, seeds=SEEDS),
    )
    for one, other in zip(record.table(), whole.table(), strict=True):
        for key, value in one.items():
            expected = other[key] if isinstance(value, str) else pytest.approx(other[key], rel=1e-9, nan_ok=True)
            assert value == expected
    assert (record.seeds, record.d, record.n, record.not_finite, record.unit_norm) == (SEEDS, 40, 300, 0, True)
    assert "10 x the median" in record.rule
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.n = 3


def test_a_table_is_flat_and_says_what_it_cannot_know():
    W, h = cone()
    rows = importance_with_controls(W, torch.cat([h[:5], h[:1] * math.nan]), seeds=[0]).table()
    assert len(rows) == 8
    assert len({tuple(row) for row in rows}) == 1
    assert all(isinstance(value, str | int | float) for row in rows for value in row.values())
    assert all(row["n"] == 6 and math.isnan(row["largest_sd"]) for row in rows)
    nothing = importance_with_controls(W, h[:2] * math.nan)
    assert nothing.not_finite == 2
    assert all(
        math.isnan(row[key]) for row in nothing.table() for key in ("largest", "kept_by_one", "directions_for_90")
    )


def test_one_direction():
    (row, *_) = importance_with_controls(torch.tensor([[3.0], [1.0]]), torch.tensor([[2.0]]), seeds=[0, 1]).table()
    assert (row["max_over_median"], row["privileged"], row["r"]) == (1, 0, 1)


@pytest.mark.parametrize(
    ("W", "r"), [(torch.ones(1, 4), (1, 0)), (torch.full((3, 4), 0.1), (1, 0)), (torch.zeros(2, 4), (0, 0))]
)
def test_a_head_without_directions_has_a_table_all_the_same(W, r):
    h = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    rows = {(row["form"], row["head"]): row for row in importance_with_controls(W, h, seeds=[0, 1]).table()}
    assert len(rows) == 8
    for form, directions in zip(("raw", "centred"), r, strict=True):
        for name in ("head", "random rotation", "reduced-rank regression"):
            row = rows[form, name]
            assert (row["r"], row["n"]) == (directions, 6)
            figures = [row[key] for key in ("max_over_median", "largest", "kept_by_one", "directions_for_90")]
            assert all(math.isnan(figure) == (directions == 0) for figure in figures)
            assert row["privileged"] == 0


def test_no_image_is_an_error():
    W, h = cone()
    with pytest.raises(ValueError, match="no rows"):
        importance_with_controls(W, h[:0])


def test_the_report_is_where_the_figures_are():
    """A metric's heads may lie on the CPU while its figures were computed on a GPU, as the command `probe` has it."""
    W, h = cone()
    metric = ImportanceControls(W, SEEDS)
    metric.update(h)
    counts = ("n", "not_finite")
    elsewhere = {key: v if key in counts else v.to("meta") for key, v in metric.compute().items()}
    drawn = importance_with_controls_report(elsewhere, metric).heads["raw/random"]
    assert drawn.normalised.device == drawn.importance.device == torch.device("meta")

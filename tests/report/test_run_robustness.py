"""Effective robustness of a run in its table and pictures, from records alone."""

import dataclasses
import io
import re

import numpy as np
import pytest
from rich.console import Console

from lightning_robust.report import curves as curves_module
from lightning_robust.report import curves_figure, print_run
from lightning_robust.report.path_scatter import path_scatter, write_path_scatter
from lightning_robust.results import AlphaRow, CurveRow, DataDescription, RunRecord, collect_provenance
from lightning_robust.robustness import Baseline, ModelAccuracies

NAMES = ("v2", "sketch", "rendition", "objectnet", "adversarial")
IMAGES = dict.fromkeys(("reference", *NAMES), 1000)
MODELS = [
    ModelAccuracies(f"m{k}", a, {name: a * f for name, f in zip(NAMES, (0.9, 0.5, 0.6, 0.7, 0.3), strict=True)})
    for k, a in enumerate(np.linspace(0.4, 0.85, 12).tolist())
]
BASELINE = Baseline.fit(MODELS, n=IMAGES, name="made up")
FIGURES = {"kurtosis/model.encoder.visual": 2.81, "importance/model.encoder.visual/raw/max_over_median": 113.6}


def row(alpha):
    reference = 0.6 + 0.3 * alpha
    shifts = dict(zip(NAMES, (0.7 + 0.1 * alpha, 0.5, 0.45, 0.5, 0.35 - 0.2 * alpha), strict=True))
    return AlphaRow(
        alpha=alpha, val_reference=reference, reference=reference, shifts=shifts, signatures=FIGURES,
        shifts_mean=float(np.mean(list(shifts.values()))),
        effective_robustness=BASELINE.effective_robustness(reference, shifts, IMAGES, replicates=200),
    )  # fmt: skip


RECORD = RunRecord(
    kind="ClassifierFinetuning", provenance=collect_provenance(threads=1), seeds={}, config={},
    data=DataDescription(dataset="scenes", protocol="top-1", images={}),
    wise_ft=tuple(row(alpha) for alpha in (0.0, 0.5, 1.0)), baseline="made up: 12 models",
)  # fmt: skip


def printed(record, tmp_path, width=160):
    out = io.StringIO()
    print_run(record, tmp_path, Console(file=out, width=width))
    return out.getvalue()


def points(value):
    return f"{100 * value:+.1f}"


@pytest.mark.parametrize("width", [80, 100, 120, 160])
def test_the_table_has_the_mean_with_its_interval(width, tmp_path):
    text = printed(RECORD, tmp_path, width)
    assert "…" not in text
    for one in RECORD.wise_ft:
        mean = one.effective_robustness.mean
        mark = "†" if one.reference > 0.85 else ""
        assert f"{points(mean.estimate)}{mark} [{points(mean.interval.low)}, {points(mean.interval.high)}]" in text
    assert max(len(line) for line in text.splitlines()[:-2]) <= width


def test_it_says_who_is_beyond_a_standard_model(tmp_path):
    text = " ".join(printed(RECORD, tmp_path).split())
    beyond = [f"{r.alpha:g}" for r in RECORD.wise_ft if r.effective_robustness.mean.prediction.low > 0]
    assert 0 < len(beyond) < 3
    assert f"all of it above 0: α = {', '.join(beyond)}." in text
    assert "Baseline made up: 12 models." in text
    assert "† an extrapolation" in text
    inside = dataclasses.replace(RECORD, wise_ft=RECORD.wise_ft[:2])
    assert "†" not in printed(inside, tmp_path)


def test_a_run_without_it_has_no_column(tmp_path):
    rows = tuple(dataclasses.replace(one, effective_robustness=None) for one in RECORD.wise_ft)
    assert not re.search(r"\bER\b", printed(dataclasses.replace(RECORD, wise_ft=rows, baseline=None), tmp_path))


def test_the_scatter_has_every_alpha_in_every_panel():
    figure = path_scatter(RECORD, BASELINE)
    assert [axes.get_title() for axes in figure.axes] == [*NAMES, "mean"]
    for axes, name in zip(figure.axes, NAMES, strict=False):
        drawn = [tuple(map(tuple, line.get_xydata())) for line in axes.lines]
        x = [np.log(r.reference / (1 - r.reference)) for r in RECORD.wise_ft]
        y = [np.log(r.shifts[name] / (1 - r.shifts[name])) for r in RECORD.wise_ft]
        assert any(len(line) == 3 and np.allclose(line, np.transpose([x, y])) for line in drawn)


def test_no_scatter_without_effective_robustness_or_baseline(tmp_path):
    rows = tuple(dataclasses.replace(one, effective_robustness=None) for one in RECORD.wise_ft)
    assert path_scatter(dataclasses.replace(RECORD, wise_ft=rows), BASELINE) is None
    assert write_path_scatter(RECORD, tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_the_picture_of_the_curves_gets_two_panels_more(tmp_path, monkeypatch):
    kept = []

    class Kept(curves_module.Figure):
        def __init__(self, **options):
            super().__init__(**options)
            kept.append(self)

    monkeypatch.setattr(curves_module, "Figure", Kept)
    plain = [CurveRow(epoch, 10 * epoch, tag, value) for epoch in range(3) for tag, value in FIGURES.items()]
    values = {"er/mean": 0.1, "er/mean/low": 0.05, "er/mean/high": 0.15, "er/mean/prediction_low": 0.0,
              "er/mean/prediction_high": 0.2, "er/sketch": 0.3, "er/sketch/low": 0.1}  # fmt: skip
    values["er/extrapolated"] = 0.0
    live = [
        CurveRow(epoch, 10 * epoch, tag, value + epoch / 100) for epoch in range(3) for tag, value in values.items()
    ]
    curves_figure(plain, tmp_path / "plain.png")
    curves_figure([*plain, *live], tmp_path / "live.png")
    before, after = kept
    assert len(after.axes) == len(before.axes) + 2
    titles = {axes.get_title(): axes for axes in after.axes}
    mean, shifts = titles["effective robustness, points"], titles["effective robustness by shift, points"]
    np.testing.assert_allclose(mean.lines[0].get_xydata(), [[0, 10], [1, 11], [2, 12]])
    wide, narrow = (band.get_paths()[0].vertices[:, 1] for band in mean.collections)
    assert (wide.min(), wide.max()) == pytest.approx((0, 22))
    assert (narrow.min(), narrow.max()) == pytest.approx((5, 17))
    assert [line.get_label() for line in shifts.lines if not line.get_label().startswith("_")] == ["sketch"]
    np.testing.assert_allclose(shifts.lines[0].get_ydata(), [30, 31, 32])

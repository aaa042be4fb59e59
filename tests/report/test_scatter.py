"""The scatter: what stands where, every option, and files written whole or not at all."""

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure
from standard_models import IMAGES, logit, on_a_line

from lightning_robust.errors import UserError
from lightning_robust.report.scatter import scatter_figure, write_scatter
from lightning_robust.results import ModelAccuracies
from lightning_robust.robustness import Baseline

MODELS = on_a_line(scatter=0.15)
JUDGED = ModelAccuracies("clip", 0.65, {"sketch": 0.7, "art": 0.5}, {"art": 0.8})
PATH = {
    a: ModelAccuracies(f"{a}", 0.65 + 0.2 * a, {"sketch": 0.7 - 0.1 * a, "art": 0.5 - 0.1 * a}) for a in (1.0, 0.0, 0.5)
}


@pytest.fixture(scope="module")
def baseline():
    return Baseline.fit(MODELS, n=IMAGES)


def line(axes, label):
    return next(one for one in axes.lines if one.get_label() == label)


def test_a_panel_for_each_shift_and_the_mean(baseline):
    figure = scatter_figure(baseline, {"CLIP": [JUDGED]}, PATH)
    assert [axes.get_title() for axes in figure.axes] == ["sketch", "art", "mean"]
    sketch, art, mean = figure.axes
    for axes, x, y in (
        (sketch, [m.reference for m in MODELS], [m.shifts["sketch"] for m in MODELS]),
        (mean, [m.reference for m in MODELS], [(m.shifts["sketch"] + m.shifts["art"]) / 2 for m in MODELS]),
    ):
        drawn = line(axes, "20 standard models")
        np.testing.assert_allclose(drawn.get_xdata(), logit(x))
        np.testing.assert_allclose(drawn.get_ydata(), logit(y))
    clip = line(art, "CLIP")
    np.testing.assert_allclose((clip.get_xdata()[0], clip.get_ydata()[0]), (logit(0.65), logit(0.5)))


def test_the_path_runs_by_alpha_with_both_ends_named(baseline):
    axes = scatter_figure(baseline, path=PATH).axes[0]
    drawn = line(axes, "Wise-FT")
    np.testing.assert_allclose(drawn.get_xdata(), logit([0.65, 0.75, 0.85]))
    np.testing.assert_allclose(drawn.get_ydata(), logit([0.7, 0.65, 0.6]))
    assert [text.get_text() for text in axes.texts] == ["α = 0", "α = 1"]


def test_the_line_is_the_baselines_and_solid_inside_its_range(baseline):
    axes = scatter_figure(baseline, {"weak": [ModelAccuracies("weak", 0.1, {"sketch": 0.05, "art": 0.05})]}).axes[0]
    fitted = baseline.lines["sketch"]
    solid = line(axes, "their line")
    np.testing.assert_allclose(
        solid.get_ydata(), fitted.intercept + fitted.slope * np.asarray(solid.get_xdata()), rtol=1e-9
    )
    known = logit([MODELS[0].reference, MODELS[-1].reference])
    np.testing.assert_allclose((solid.get_xdata()[0], solid.get_xdata()[-1]), known)
    dashed = next(one for one in axes.lines if one.get_linestyle() == "--")
    assert dashed.get_xdata()[0] < known[0]


def test_every_point_lies_inside_the_limits(baseline):
    extreme = {"all wrong": [ModelAccuracies("zero", 0.65, {"sketch": 0.0, "art": 1.0})]}
    for axes in scatter_figure(baseline, extreme, PATH).axes:
        (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
        for one in (one for one in axes.lines if one.get_marker() not in ("None", "")):
            x, y = np.asarray(one.get_xdata()), np.asarray(one.get_ydata())
            assert ((left < x) & (x < right) & (low < y) & (y < high)).all()


@pytest.mark.parametrize("scale", ["probit", "linear"])
@pytest.mark.parametrize("x", ["full", "matched"])
def test_other_scales_and_matched_classes(scale, x):
    figure = scatter_figure(Baseline.fit(MODELS, n=IMAGES, scale=scale, x=x), {"CLIP": [JUDGED]})
    figure.savefig("/dev/null", format="png")
    label = figure.axes[0].get_xlabel()
    assert label == f"accuracy on {'its classes of the reference' if x == 'matched' else 'the reference'} (%)"
    place = line(figure.axes[1], "CLIP").get_xdata()[0]
    expected = {"full": 0.65, "matched": 0.8}[x]
    assert place == pytest.approx(expected) if scale == "linear" else place != expected


def test_one_shift_has_one_panel(baseline):
    assert [axes.get_title() for axes in scatter_figure(baseline.on(["art"]), {"CLIP": [JUDGED]}).axes] == ["art"]


def test_a_model_that_lacks_a_shift_is_left_out_of_its_panels_only(baseline):
    figure = scatter_figure(baseline, {"CLIP": [ModelAccuracies("clip", 0.65, {"art": 0.5})]})
    figure.savefig("/dev/null", format="png")
    drawn = [np.isfinite(line(axes, "CLIP").get_ydata()).all() for axes in figure.axes]
    assert drawn == [False, True, False]


@pytest.mark.parametrize(
    ("ending", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF"), ("PNG", b"\x89PNG")]
)
def test_files_by_their_ending(tmp_path, ending, start):
    write_scatter(Figure(), tmp_path / f"scatter.{ending}")
    assert (tmp_path / f"scatter.{ending}").read_bytes().startswith(start)
    assert [file.name for file in tmp_path.iterdir()] == [f"scatter.{ending}"]


def test_refusals_of_a_file(tmp_path):
    with pytest.raises(UserError, match=r"a scatter is a .png, .svg or .pdf, got .*jpg"):
        write_scatter(Figure(), tmp_path / "scatter.jpg")
    with pytest.raises(UserError, match="there is no folder"):
        write_scatter(Figure(), tmp_path / "nowhere" / "scatter.png")
    assert list(tmp_path.iterdir()) == []


def test_importing_it_loads_no_torch():
    code = "import lightning_robust.report.scatter, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("options", "title"),
    [({}, "mean"), ({"x": "matched"}, "mean accuracy"), ({"aggregate": "accuracy"}, "mean accuracy")],
)
def test_the_mean_panel_says_which_mean(options, title):
    """With matched classes each shift has an abscissa of its own, so the line there is that on the mean accuracy."""
    assert scatter_figure(Baseline.fit(MODELS, n=IMAGES, **options)).axes[-1].get_title() == title

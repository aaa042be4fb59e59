"""The pictures of `prune`, from records alone."""

import dataclasses
import itertools
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import same_color
from PIL import Image
from prune_data import Pruning, pruned, record, twin, with_fraction, world

from lightning_robust.report import write_pruning_figures
from lightning_robust.report.prune_figure import pruning_figure
from lightning_robust.report.prune_headline_figure import headline_figure
from lightning_robust.report.prune_path_figure import path_figure
from lightning_robust.report.prune_pictures import pruning_pages
from lightning_robust.report.prune_words import ORDERS

REFERENCE, SHIFTS, ROBUSTNESS, AGREEMENT, FEATURES = range(5)


def lines(axes, order):
    """The lines of an order, raw and then centred, without headlines and marks."""
    found = [one for one in axes.lines if same_color(one.get_color(), ORDERS[order].colour) and one.get_alpha() is None]
    return sorted(found, key=lambda one: one.get_linestyle() != "-")


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes]


def path(*alphas):
    return [dataclasses.replace(pruned(), name=f"run/wise_ft/{alpha}", alpha=alpha) for alpha in alphas]


def test_a_row_for_each_model_shows_what_the_record_says():
    model = pruned()
    figure = pruning_figure(record(model, twin()))
    assert len(figure.axes) == 10
    for form, place in (("raw", 0), ("centred", 1)):
        for order in ("importance", "reduced_rank", "random", "smallest_first"):
            curve = model.curve(order, form)
            x = 100 * (1 - np.array(curve.kept) / curve.total)
            for panel, figures in (
                (REFERENCE, model.accuracies(curve, "reference")), (SHIFTS, model.shift_accuracies(curve)),
            ):  # fmt: skip
                drawn = lines(figure.axes[panel], order)[place]
                np.testing.assert_allclose(drawn.get_xdata(), x)
                np.testing.assert_allclose(drawn.get_ydata(), 100 * np.mean(figures, axis=0))
    curve = model.curve("random_head", "raw")
    drawn = lines(figure.axes[AGREEMENT], "random_head")[0]
    np.testing.assert_allclose(drawn.get_ydata(), 100 * np.mean(model.agreements(curve, "reference"), axis=0))
    curve = model.curve("outlier_features")
    drawn = lines(figure.axes[FEATURES], "outlier_features")[0]
    np.testing.assert_allclose(drawn.get_ydata(), 100 * np.array(model.accuracies(curve, "reference")[0]))


def test_robustness_is_pale_where_it_is_extrapolated():
    model = pruned()
    curve = model.curve("importance", "raw")
    unsure = np.array(curve.extrapolated[0])
    assert 0 < unsure.sum() < len(unsure)
    figure = pruning_figure(record(model))
    y = lines(figure.axes[ROBUSTNESS], "importance")[0].get_ydata()
    np.testing.assert_array_equal(np.isnan(y), unsure)
    pale = [one for one in figure.axes[ROBUSTNESS].lines if one.get_alpha()]
    known = np.array([np.nan if er is None else er for er in curve.robustness[0]])
    assert any(np.array_equal(one.get_ydata(), 100 * known, equal_nan=True) for one in pale)


def test_headlines_stand_at_their_fractions_with_their_intervals():
    model = with_fraction(pruned(), "importance", "raw", "reference", 0.5, 0.25, 0.625)
    axes = pruning_figure(record(model)).axes[REFERENCE]
    (mark,) = [one for one in axes.lines if one.get_marker() == "D" and one.get_markerfacecolor() != "white"]
    assert list(mark.get_xdata()) == [50.0]
    assert any(list(one.get_xdata()) == [25.0, 62.5] for one in axes.lines)


def test_the_band_goes_from_the_lowest_to_the_highest_draw():
    model = pruned()
    rows = 100 * np.array(model.accuracies(model.curve("random", "raw"), "reference"))
    (band,) = pruning_figure(record(model)).axes[REFERENCE].collections
    ends = band.get_paths()[0].vertices[:, 1]
    assert ends.max() == pytest.approx(rows.max())
    assert ends.min() == pytest.approx(rows.min())


@pytest.mark.parametrize(("shifts", "robust", "panels"), [((), False, 3), (("v2",), False, 4), (("v2",), True, 5)])
def test_panels_without_figures_are_left_out(shifts, robust, panels):
    figure = pruning_figure(record(pruned(shifts=shifts, robust=robust)))
    assert len(figure.axes) == panels
    assert any("shifts" in title for title in titles(figure)) == bool(shifts)
    assert len(headline_figure(record(pruned(shifts=shifts, robust=robust))).axes) == (3 if shifts else 2)


def test_models_of_a_column_share_its_axis_and_headlines_lie_above_the_curves():
    figure = pruning_figure(record(pruned(), twin()))
    for column in range(5):
        above, below = figure.axes[column], figure.axes[5 + column]
        assert above.get_ylim() == below.get_ylim()
        low, high = above.get_ylim()
        assert max(above.dataLim.y1, below.dataLim.y1) <= low + 0.88 * (high - low)


def test_rows_of_headlines_are_the_record():
    model = with_fraction(pruned(), "importance", "raw", "reference", 0.5, 0.25, 0.625)
    figure = headline_figure(record(model, twin()))
    reference, shifts, same = figure.axes
    words = [label.get_text() for label in reference.get_yticklabels()]
    assert words[0] == "scenes-clip, r = 8 of 24"
    assert words[6] == "scenes-supervised (supervised twin), r = 8 of 24"
    place = words.index("most important kept")
    (mark,) = [
        one for one in reference.lines
        if one.get_marker() == "o" and abs(one.get_ydata()[0] - place) < 0.5 and one.get_markerfacecolor() != "white"
        and same_color(one.get_markeredgecolor(), ORDERS["importance"].colour)
    ]  # fmt: skip
    assert list(mark.get_xdata()) == [50.0]
    drawn = [100 * one.fraction.estimate for one in model.curve("random", "raw").headlines["shifts"]]
    assert any(list(one.get_xdata()) == [min(drawn), max(drawn)] for one in shifts.lines)
    assert [sum(one.get_marker() == "D" for one in axes.lines) for axes in (reference, shifts, same)] == [0, 0, 4]
    blue = [one for one in same.lines if same_color(one.get_markeredgecolor(), ORDERS["importance"].colour)]
    own = model.curve("importance", "raw").headlines["agreement"][0].fraction.estimate
    assert 100 * own in [one.get_xdata()[0] for one in blue if one.get_marker() == "o"]
    assert figure._suptitle.get_text().endswith("or 99 % of the answers the same (right)")


def test_a_model_at_chance_says_so_in_the_pictures():
    found = record(dataclasses.replace(pruned(), near_chance=True), twin())
    titles = [one._suptitle.get_text() for one in pruning_figure(found).subfigs]
    assert titles[0].endswith("; near chance: nothing to conclude")
    assert "chance" not in titles[1]
    words = [label.get_text() for label in headline_figure(found).axes[0].get_yticklabels()]
    assert [word for word in words if "near chance" in word] == ["scenes-clip, r = 8 of 24, near chance"]


def test_a_twin_that_was_asked_for_stands_on_each_page_once():
    models = [dataclasses.replace(pruned(), name=f"runs/{k}/m.ckpt") for k in range(7)]
    pages = pruning_pages(record(*models, twin="runs/1/m.ckpt"))
    assert [[model.name[5] for model in page] for page in pages] == [["0", "1", "2"], ["3", "4", "5", "1"], ["6", "1"]]
    labels = {
        label.get_text()
        for label in headline_figure(record(*models[:2], twin="runs/1/m.ckpt")).axes[0].get_yticklabels()
    }
    assert "1 (also the twin), r = 8 of 24" in labels


def test_a_path_is_drawn_along_alpha():
    models = path(0.0, 0.5, 1.0)
    models[1] = with_fraction(models[1], "importance", "raw", "reference", 0.75, 0.5, 0.875)
    figure = path_figure(record(*reversed(models), twin()))
    line = lines(figure.axes[0], "importance")[0]
    assert list(line.get_xdata()) == [0.0, 0.5, 1.0]
    assert line.get_ydata()[1] == 75.0
    own = 100 * twin().curve("importance", "raw").headlines["reference"][0].fraction.estimate
    assert any(set(one.get_ydata()) == {own} for one in figure.axes[0].lines)
    head = lines(figure.axes[2], "random_head")
    assert len(head) == 2  # raw and centred, where answers stay alone
    assert not lines(figure.axes[0], "random_head")
    robust = figure.axes[3].lines[0]
    assert list(robust.get_ydata()) == [100 * model.unpruned.robustness.mean.estimate for model in models]
    assert path_figure(record(pruned(), twin())) is None
    assert path_figure(record(pruned(), dataclasses.replace(pruned(), name="other"))) is None


def test_pages_hold_three_models_and_the_twin():
    models = path(*(k / 10 for k in range(7)))
    pages = pruning_pages(record(*models, twin()))
    assert [len(page) for page in pages] == [4, 4, 2]
    assert all(page[-1].role == "supervised twin" for page in pages)
    assert [model.alpha for page in pages for model in page[:-1]] == [model.alpha for model in models]


def test_files_are_png_and_svg_and_names_are_no_formulas(tmp_path):
    model = dataclasses.replace(pruned(shifts=("a$x^{$b", "_under")), name=r"runs/$\frac{$_1/<b>&.ckpt")
    files = write_pruning_figures(record(model, twin(name="_$twin")), tmp_path)
    assert sorted(file.name for file in files) == ["curves.png", "curves.svg", "headlines.png", "headlines.svg"]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    for file in files:
        if file.suffix == ".png":
            with Image.open(file) as picture:
                assert min(picture.size) > 400
        else:
            ET.parse(file)


def test_pictures_of_a_path(tmp_path):
    names = {file.name for file in write_pruning_figures(record(*path(0.0, 0.3, 0.6, 1.0)), tmp_path)}
    assert names == {
        f"{stem}.{form}" for stem in ("curves", "curves_2", "headlines", "path") for form in ("png", "svg")
    }


def test_a_head_without_centred_directions_and_one_with_more_than_its_dimensions():
    model = pruned()
    bare = tuple(curve for curve in model.curves if curve.form == "raw" and curve.order == "importance")
    figure = pruning_figure(record(dataclasses.replace(model, curves=bare, rank_centred=0)))
    assert not any("features" in title for title in titles(figure))
    large = Pruning("many classes", *world(0, 70, 40, 60), points_at=17).model()
    assert large.comparable
    figure = pruning_figure(record(large))
    assert len(lines(figure.axes[0], "importance")[0].get_xdata()) == 17
    words = " ".join(text.get_text() for text in headline_figure(record(large)).legends[0].get_texts())
    assert "not comparable" not in words


def drawn_words(figure):
    """What is written, with where it stands."""
    FigureCanvasAgg(figure).draw()
    texts = [text for legend in figure.legends for text in legend.get_texts()]
    texts += [one._suptitle for one in (figure, *figure.subfigs) if one._suptitle]
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            texts += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
        texts += [axes._left_title, axes.xaxis.label, axes.yaxis.label]
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts if text.get_visible() and text.get_text()]
    return [(words, box) for words, box in boxes if box.width > 0]


def misplaced(figure):
    """Words that lie outside the picture, and pairs that overlap."""
    boxes = drawn_words(figure)
    assert len(boxes) > 20
    width, height = figure.bbox.size
    outside = [words for words, box in boxes if min(box.x0, box.y0) < -1 or box.x1 > width + 1 or box.y1 > height + 1]
    return outside + [(a, b) for (a, x), (b, y) in itertools.combinations(boxes, 2) if x.overlaps(y)]


@pytest.mark.parametrize("draw", [pruning_figure, headline_figure])
def test_words_in_the_pictures_do_not_overlap(draw):
    name = "checkpoints/finetune/007-a-long-name-of-a-run/wise_ft/alpha=0.50.safetensors"
    few = () if draw is pruning_figure else ("v2", "sketch")  # the fewer panels the less room
    figure = draw(record(dataclasses.replace(pruned(shifts=few, robust=bool(few)), name=name), twin()))
    assert misplaced(figure) == []


@pytest.mark.parametrize("robust", [True, False])
def test_words_in_the_picture_of_a_path_do_not_overlap(robust):
    models = [dataclasses.replace(pruned(robust=robust), name=f"run/{k}", alpha=k / 10) for k in range(11)]
    figure = path_figure(record(*models, twin(name="checkpoints/supervised/007-a-long-name/last.ckpt")))
    assert len(figure.axes) == 3 + robust
    assert misplaced(figure) == []

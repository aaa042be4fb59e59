"""Onsets with known answers, statistics against scipy, and what is printed and drawn of a comparison."""

import io
import math
from dataclasses import replace

import numpy as np
import pytest
from emergence_data import STEPS, VARIANTS, made_up
from rich.console import Console
from scipy import stats

from lightning_robust.report.emergence_axis import place
from lightning_robust.report.emergence_cells import table_parts
from lightning_robust.report.emergence_figure import emergence_figure
from lightning_robust.report.emergence_onset import BEYOND, beyond_standard, common_points, half_rise, leaves, onset
from lightning_robust.report.emergence_onset_figure import onset_figure
from lightning_robust.report.emergence_shown import shown_figures
from lightning_robust.report.emergence_summary import LAST_POINTS, summarised
from lightning_robust.report.emergence_table import emergence_rows, print_emergence
from lightning_robust.report.student_t import mean_interval, t_quantile
from lightning_robust.results.emergence_record import EmergencePoint, EmergenceRun

NAN = math.nan


@pytest.fixture(scope="module")
def record():
    return made_up(missing={"supervised_broad, seed 3": "it failed"})


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 7, 10, 31])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.99])
def test_quantiles_are_those_of_scipy(degrees, level):
    assert t_quantile(degrees, level) == pytest.approx(stats.t.ppf(0.5 + level / 2, degrees), rel=1e-10)


def test_the_interval_of_a_mean_is_scipys():
    values = [0.3, 0.9, 0.4, 0.35]
    mean, half = mean_interval(values)
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert (mean - half, mean + half) == pytest.approx((low, high))
    assert mean_interval([2.0])[0] == 2.0
    assert math.isnan(mean_interval([2.0])[1])
    assert math.isnan(mean_interval([])[0])
    assert math.isnan(mean_interval([1.0, NAN])[0])


@pytest.mark.parametrize(("degrees", "level"), [(0, 0.95), (2, 1.0), (2, 0.0)])
def test_no_quantile_outside_its_range(degrees, level):
    with pytest.raises(ValueError, match="degrees"):
        t_quantile(degrees, level)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 0, 1, 1, 1], 20),  # a step
        ([0, 1, 2, 3, 4], 20),  # exactly half counts as passed
        ([0, 4, 1, 3, 4], 40),  # passed early, but not kept
        ([5, 4, 2, 1, 1], 20),  # a fall
        ([0, 0, 0, 0, 1], 80),  # at the very end
        ([0, 9, 9, 9, -1], 80),  # an excursion the other way
        ([0, NAN, 1, 1, 1], 20),  # a gap before it
        ([0, 0, 1, NAN, 1], 20),  # and one after
    ],
)
def test_half_rise(values, expected):
    assert half_rise([0, 10, 20, 40, 80], values) == expected


@pytest.mark.parametrize("values", [[1, 2, 3, 2, 1], [NAN, 1, 2, 3, 4], [0, 1, 2, 3, NAN]])
def test_no_half_rise_without_a_net_change(values):
    assert math.isnan(half_rise([0, 10, 20, 40, 80], values))


def test_half_rise_does_not_hang_on_units_or_direction():
    images, curve = [0, 1, 2, 4, 8, 16], np.array([3.0, 3.1, 2.9, 4.0, 6.0, 6.5])
    assert half_rise(images, curve) == half_rise(images, -7 * curve + 2) == 8


def test_leaves_is_where_a_paired_t_test_rejects_from_there_to_the_end():
    draw = np.random.default_rng(3)
    images = [0, *(2**k for k in range(12))]
    curves = 0.4 * draw.normal(size=(3, 13)) + np.array([0, *(0.25 * k for k in range(12))])
    rejected = [stats.ttest_1samp(curves[:, k] - curves[:, 0], 0).pvalue < 0.05 for k in range(1, 13)]
    assert not all(rejected)
    last_kept = max(k for k, is_rejected in enumerate(rejected, start=1) if not is_rejected)
    expected = images[last_kept + 1] if last_kept < 12 else NAN
    assert leaves(images, curves) == pytest.approx(expected, nan_ok=True)
    assert rejected[-1], "this seed has an onset"


def test_one_seed_leaves_never_as_nothing_is_known_of_its_noise():
    assert math.isnan(leaves([0, 1, 2], [[0.0, 5.0, 9.0]]))


def test_it_leaves_on_the_side_of_its_last_value_only():
    curves = [[0.0, -1.0 - e, -2.0 - e, 2.0 + e] for e in (0.0, 0.01, 0.02)]
    assert leaves([0, 10, 20, 40], curves) == 40
    assert leaves([0, 10, 20, 40], [[-value for value in curve] for curve in curves]) == 40


def test_a_gap_in_one_seed_does_not_move_its_leaving():
    curves = [[0.0, 1.0 + e, 2.0 + e, 3.0 + e, 4.0 + e] for e in (0.0, 0.01, 0.02)]
    assert leaves([0, 1, 2, 4, 8], curves) == 1
    curves[1][2] = NAN
    assert leaves([0, 1, 2, 4, 8], curves) == 1
    for end in (0, -1):
        assert math.isnan(leaves([0, 1, 2, 4, 8], [*curves[:2], [*curves[2][:4], NAN][:: 1 if end else -1]]))


def test_a_seed_that_goes_the_other_way_has_no_half_rise():
    ends = (3.0, 3.1, 3.2, 3.0, 3.1, 3.3, -0.1)
    runs = [
        EmergenceRun(
            variant="a", seed=seed, folder="", reference="reference", checkpoint=None,
            points=tuple(
                EmergencePoint(step=k, images=k, figures={"kurtosis/h": part * end})
                for k, part in enumerate((0, 0.6, 1))
            ),
        )
        for seed, end in enumerate(ends)
    ]  # fmt: skip
    found = onset("kurtosis/h", "a", runs)
    assert found.clear
    assert found.half_rise[:-1] == (1.0,) * 6
    assert math.isnan(found.half_rise[-1])


def test_pure_noise_leaves_in_one_of_twenty_cases():
    draw = np.random.default_rng(1)
    found = [not math.isnan(leaves(range(25), draw.normal(size=(3, 25)))) for _ in range(2000)]
    # that of the last point alone, whatever the number of points: a sampling error of 0.5 % in 2,000 cases
    assert 0.035 < np.mean(found) < 0.065


def point(images, low, extrapolated):
    return EmergencePoint(step=images, images=images, figures={BEYOND: low, "er/extrapolated": extrapolated})


def test_beyond_a_standard_model_only_without_extrapolation_and_to_the_end():
    points = [point(0, 0.1, 1.0), point(1, 0.2, 1.0), point(2, 0.2, 0.0), point(3, -0.1, 0.0), point(4, 0.1, 0.0)]
    assert beyond_standard(points) == 4
    assert beyond_standard([*points[:3], points[4]]) == 2
    assert math.isnan(beyond_standard(points[:4]))
    assert math.isnan(beyond_standard([point(0, NAN, 0.0)]))


def test_seeds_are_compared_at_the_steps_that_all_of_them_have():
    runs = [made_up(seeds=(seed,), variants=VARIANTS[:1], steps=steps).runs[0] for seed, steps in
            ((0, (0, 1, 2, 4)), (1, (0, 2, 3, 4)))]  # fmt: skip
    assert [[p.step for p in points] for points in common_points(runs)] == [[0, 2, 4]] * 2
    assert onset("spectrum/visual/rankme", VARIANTS[0], runs).half_rise == (512.0, 512.0)


def test_onsets_of_curves_whose_half_is_known(record):
    onsets = {(one.figure, one.variant): one for one in record.onsets}
    rank = onsets["spectrum/visual/rankme", "contrastive_broad"]
    # half of the way at step 30, and the first measured step after it is 32
    assert rank.half_rise == (128.0 * 32,) * 3
    robust = onsets["er/mean", "contrastive_broad"]
    # halves at 300, 360 and 420 of 2,400 steps, a little earlier as the last point is not the end of the curve
    assert robust.half_rise == (128.0 * 362, 128.0 * 362, 128.0 * 512)
    assert not onsets["outliers/visual.layer3/features", "contrastive_broad"].clear
    assert math.isnan(onsets["outliers/visual.layer3/features", "contrastive_broad"].half_rise[0])
    assert onsets["outliers/visual.layer4/features", "contrastive_broad"].half_rise == (128.0 * 724,) * 3
    assert math.isnan(onsets[BEYOND, "supervised_reference"].half_rise[0])


def test_an_onset_below_the_baseline_is_marked(record):
    onsets = {one.variant: one for one in record.onsets if one.figure == "er/mean"}
    for variant, found in onsets.items():
        below = {
            p.images for run in record.runs if run.variant == variant for p in run.points
            if p.figures["er/extrapolated"] == 1.0 and p.images == found.half_rise[run.seed]
        }  # fmt: skip
        assert found.extrapolated == bool(below)
    assert len({found.extrapolated for found in onsets.values()}) == 2
    assert not any(one.extrapolated for one in record.onsets if one.figure == "val/reference/accuracy")


def test_last_values_and_correlations_are_those_of_the_points(record):
    final = next(f for f in record.finals if (f.figure, f.variant) == ("kurtosis/visual", "supervised_broad"))
    values = [run.points[-1].figures["kurtosis/visual"] for run in record.runs if run.variant == "supervised_broad"]
    assert (final.mean, final.half_width) == pytest.approx(mean_interval(values))
    found = {(c.figure, c.variant): c for c in record.correlations}
    within = found["kurtosis/visual", "contrastive_broad"]
    run = record.runs[1]
    figures = [[p.figures[tag] for p in run.points] for tag in ("kurtosis/visual", "er/mean")]
    assert within.values[1] == pytest.approx(stats.spearmanr(*figures).statistic)
    assert within.points == (len(STEPS),) * 3
    assert found["kurtosis/visual", LAST_POINTS].points == (12,)
    assert ("er/mean", LAST_POINTS) not in found


def printed(record, width=140):
    console = Console(file=io.StringIO(), width=width)
    print_emergence(record, "folder", console)
    return console.file.getvalue()


def test_the_tables_say_what_the_record_says(record):
    text = printed(record)
    row = next(line for line in text.splitlines() if "RankMe of h" in line)
    assert "60.0 ± 0.0" in row
    assert "supervised_broad, seed 3 is missing: it failed" in text
    assert "not within this run" in text
    assert "no clear change" in text
    # of half-rises at 46,336, 46,336 and 65,536 images
    assert "↑ 52.7k (46.3k–65.5k)" in text
    assert "↓ 52.7k" in text
    assert "not independent" in " ".join(text.split())
    assert "†" in text


def some_seeds(record):
    """The record with onsets in two of three seeds, the widest cells that there are."""
    onsets = [
        replace(one, half_rise=(46336.0, 65536.0, NAN), extrapolated=one.figure.startswith("er"))
        for one in record.onsets
    ]
    return replace(record, onsets=tuple(onsets))


@pytest.mark.parametrize("width", [80, 90, 100, 120, 132, 160])
@pytest.mark.parametrize("change", [lambda record: record, some_seeds])
def test_every_label_and_cell_stands_whole_in_its_line(record, width, change):
    record = change(record)
    lines = printed(record, width).splitlines()
    assert max(len(line) for line in lines) <= width
    shown = shown_figures(record.runs)
    for part in table_parts(record, shown):
        start = lines.index(part.title)
        # the form is the one whose labels stand there, and every cell of it stands in the label's own line
        block = lines[start : next(k for k in range(start + 3, len(lines)) if not lines[k].strip())]
        whole = []
        for form in part.forms:
            rows = part.rows(form)
            whole.append(all(f" {label} " in line and all(cell in line for cell in cells)
                             for (label, cells), line in zip(rows, block[-len(rows) :], strict=False)))  # fmt: skip
        assert any(whole), (part.title, block)
    assert len(lines) < 120


def test_a_table_too_wide_for_its_terminal_is_parted_by_variants():
    record = made_up(seeds=(0, 1), variants=VARIANTS, steps=(0, 5, 40))
    names = {name: f"{name}_with_a_long_tail_of_words" for name in VARIANTS}
    runs = tuple(replace(run, variant=names[run.variant]) for run in record.runs)
    record = summarised(replace(record, runs=runs))
    text = printed(record, 48)
    assert max(len(line) for line in text.splitlines()) <= 48
    onsets = [line for line in text.splitlines() if line.startswith(" privileged, centred ")]
    # four tables, each of more than one piece
    assert len(onsets) > 4
    assert text.count("contrastive,") > 4


def test_one_seed_has_neither_intervals_nor_leaving():
    text = printed(made_up(seeds=(4,)))
    assert "±" not in text.replace("Mean over the seeds ± half", "")
    assert "Leaves" not in text
    assert "seed 4" in text


def test_a_narrow_terminal_has_means_without_ranges_and_says_so(record):
    text = printed(record, 100)
    assert "↑ 52.7k" in text
    assert "46.3k–65.5k" not in text
    assert "range" not in " ".join(text.split("Half-rise")[1].split("Leaves")[0].split())
    assert "and their range" in " ".join(printed(record, 140).split())


def test_a_variant_with_one_seed_leaves_is_not_defined(record):
    some = replace(record, runs=record.runs[:4])
    lines = printed(summarised(some), 140).split("Leaves its")[1].split("Rank correlation")[0].splitlines()
    row = next(line for line in lines if "RankMe of h" in line)
    assert row.split()[-2:] == ["128", "–"]
    assert "–: not defined for one seed" in " ".join(" ".join(lines).split())


def test_what_was_not_measured_in_a_variant_is_a_dash_and_no_missing_change(record):
    def without(run):
        points = tuple(
            replace(p, figures={tag: value for tag, value in p.figures.items() if "/rankme" not in tag})
            for p in run.points
        )
        return replace(run, points=points)

    some = replace(record, runs=tuple(without(run) if run.variant == VARIANTS[0] else run for run in record.runs))
    lines = [line for line in printed(summarised(some), 140).splitlines() if "RankMe of h" in line]
    assert [line.split()[3] for line in lines] == ["–"] * 4


def test_names_with_brackets_stand_as_they_are():
    record = made_up(seeds=(0, 1), variants=VARIANTS[:1], steps=(0, 5, 40))
    runs = tuple(replace(run, variant="[red]x") for run in record.runs)
    text = printed(summarised(replace(record, runs=runs)))
    assert text.count("[red]x") == 4


def test_rows_hold_every_point_and_figure(record):
    rows = emergence_rows(record)
    assert len(rows) == 12 * len(STEPS)
    run = record.runs[5]
    own = [row for row in rows if (row["variant"], row["seed"]) == (run.variant, run.seed)]
    assert [row["images"] for row in own] == [128 * step for step in STEPS]
    assert own[0]["train/loss"] is None
    assert own[7]["er/mean"] == run.points[7].figures["er/mean"]


def test_a_panel_for_each_figure_with_seeds_thin_and_means_thick(record):
    figure = emergence_figure(record)
    shown = shown_figures(record.runs)
    still = [f"outlier features of {layer}" for layer in ("layer3", "h")]  # 0 at every point
    drawn = [one.words for one in shown if one.words not in still]
    assert [axes.get_title(loc="left") for axes in figure.axes if axes.axison] == drawn
    said = [axes.get_legend().get_title().get_text() for axes in figure.axes if axes.get_legend()]
    assert said == [f"0 at every point: {', '.join(still)}"]
    axes = figure.axes[0]
    thick = [line for line in axes.lines if line.get_linewidth() > 2]
    thin = [line for line in axes.lines if line.get_linewidth() < 1]
    assert (len(thick), len(thin)) == (4, 12)
    assert len({line.get_color() for line in thick}) == 4
    mean = np.mean([[p.figures[shown[0].tag] for p in run.points] for run in record.runs[:3]], axis=0)
    np.testing.assert_allclose(thick[0].get_ydata(), 100 * mean)
    assert list(thick[0].get_xdata()) == place([128 * step for step in STEPS], 128)


def test_extrapolated_robustness_is_dashed_only(record):
    axes = next(a for a in emergence_figure(record).axes if a.get_title(loc="left").startswith("effective"))
    solid = [line for line in axes.lines if line.get_linewidth() > 2]
    extrapolated = np.any(
        [[p.figures["er/extrapolated"] == 1.0 for p in run.points] for run in record.runs[:3]], axis=0
    )
    np.testing.assert_array_equal(np.isnan(solid[0].get_ydata()), extrapolated)


def drawn_ticks(axis):
    low, high = sorted(axis.get_view_interval())
    return [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]


def test_words_in_the_pictures_do_not_overlap(record):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    for figure in (emergence_figure(record), onset_figure(record)):
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        boxes = [
            (text.get_text(), text.get_window_extent())
            for axes in figure.axes
            for text in (*drawn_ticks(axes.xaxis), *drawn_ticks(axes.yaxis), axes._left_title, axes.xaxis.label)
            if text.get_text() and text.get_visible()
        ]
        boxes = [(words, box) for words, box in boxes if box.width > 0]
        assert len(boxes) > 20
        hits = [(a, b) for k, (a, x) in enumerate(boxes) for b, y in boxes[k + 1 :] if x.overlaps(y)]
        assert hits == []


def test_other_variants_and_figures_are_drawn_too():
    record = made_up(seeds=(0,), variants=VARIANTS[:1], steps=(0, 5))
    assert emergence_figure(record).axes
    assert onset_figure(record).axes


def test_triangles_point_where_a_figure_goes(record):
    axes = onset_figure(record).axes[0]
    triangles = [line.get_marker() for line in axes.lines if line.get_marker() in ("^", "v")]
    rises = [one for one in record.onsets if any(value == value for value in one.half_rise)]
    assert len(triangles) == len(rises)
    assert triangles.count("v") == sum(one.change < 0 and one.figure != BEYOND for one in rises) > 0


def test_an_onset_of_some_seeds_only_is_told_from_one_of_all(record):
    def words(axes):
        return [text.get_text() for text in axes.texts]

    assert words(onset_figure(record).axes[0]) == []
    figure = onset_figure(some_seeds(record))
    rows = len(shown_figures(record.runs)) + 1
    assert words(figure.axes[0]) == ["2/3"] * rows * len(VARIANTS)
    assert "so many of the seeds only" in [text.get_text() for text in figure.legends[0].get_texts()]
    dots = [line for line in emergence_figure(some_seeds(record)).axes[0].lines if line.get_marker() == "o"]
    assert [dot.get_markerfacecolor() for dot in dots] == ["white"] * 4


@pytest.mark.parametrize("draw", [emergence_figure, onset_figure])
def test_names_with_formulas_are_drawn_as_they_are(draw):
    record = made_up(seeds=(0,), variants=VARIANTS[:1], steps=(0, 5))
    runs = tuple(replace(run, variant="a$x^{$b") for run in record.runs)
    figure = draw(summarised(replace(record, runs=runs)))
    figure.canvas.draw()
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend())]
    assert legends[0].get_texts()[0].get_text() == r"a\$x^{\$b"


def test_layers_are_told_apart_by_their_names():
    layers = ("visual.blocks.1", "visual.blocks.2", "visual.blocks.1.mlp", "visual.blocks.2.mlp", "visual")
    point = EmergencePoint(step=0, images=0, figures={f"kurtosis/{layer}": 3.0 for layer in layers})
    run = EmergenceRun(variant="a", seed=0, folder="", reference="reference", checkpoint=None, points=(point,))
    names = [one.words.removeprefix("kurtosis of ") for one in shown_figures([run])]
    assert len(set(names)) == len(layers)
    assert {"blocks.2", "1.mlp", "2.mlp"} < set(names)

"""Tables and pictures of a compression, from a record that a small network gave."""

import io
import math
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from compression_record import compress_record
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console

from lightning_robust.report import print_compression, write_compression_figures
from lightning_robust.report.compress_figure import accuracy_figure
from lightning_robust.report.compress_ranks_figure import budgeted, kept_shares, ranks_figure
from lightning_robust.report.compress_speed_figure import speed_figure
from lightning_robust.report.compress_summary import SHIFTS, gains, loss, shown_shares, smallest
from lightning_robust.report.compress_words import all_series, count_words, file_words, milliseconds, point_label

FIVE = ("v2-like", "sketch", "rendition", "objectnet-like", "a-like")


@pytest.fixture(scope="module")
def record():
    return compress_record()


def printed(record, folder, width=80):
    file = io.StringIO()
    print_compression(record, folder, Console(file=file, width=width))
    return file.getvalue()


def flat(text):
    return " ".join(text.split())


def test_the_smallest_network_of_each_kind_against_a_search_by_hand(record):
    for one in smallest(record):
        for name, found in (("reference", one.reference), (SHIFTS, one.shifts)):
            dense = record.dense.shifts_mean if name == SHIFTS else record.dense.reference.accuracy
            fitting = []
            for point in record.points[1:]:
                own = point.shifts_mean if name == SHIFTS else point.reference.accuracy
                if point_label(record, point) == one.series.label and round(400 * 2 * (dense - own)) <= 8:
                    fitting.append((record.share(point), point))
            assert found is (min(fitting, key=lambda pair: pair[0])[1] if fitting else None)
    by_label = {one.series.label: one for one in smallest(record)}
    assert by_label["calibrated+ft"].shifts is not None
    assert by_label["uniform"].reference is None
    assert smallest(record, points=1.0)[0].reference.keep == 0.25


def test_a_loss_of_exactly_one_point_is_one_point():
    record = compress_record(keeps=(0.5,), shifts=(), finetune=0)
    dense = record.dense
    for correct, fits in ((dense.reference.correct - 4, True), (dense.reference.correct - 5, False)):  # of 400
        rows = (replace(dense.reference, correct=correct),)
        other = replace(record, points=(dense, replace(record.points[1], rows=rows)))
        assert (smallest(other)[0].reference is not None) == fits
        assert smallest(other)[0].shifts is None
        assert math.isnan(loss(other, other.points[1], SHIFTS))
        assert math.isnan(loss(other, other.points[1], "sketch"))


def test_the_table_says_what_is_smaller_faster_and_what_it_costs(record, tmp_path):
    text = printed(record, tmp_path)
    assert max(map(len, text.splitlines()[:-4])) <= 80
    for title in ("Smallest network of each kind", "Size, times as fast, accuracy in % and its change in points"):
        assert title in text
    point = next(one for one in record.points if (one.method, one.keep, one.finetuned_epochs) == ("calibrated", 0.5, 0))
    size, flops = (100 * one / whole for one, whole in (
        (point.parameters, record.dense.parameters), (point.flops, record.dense.flops),
    ))  # fmt: skip
    faster = " ".join(f"{point.latency[batch].speedup:.2f}" for batch in ("1", "64"))
    pairs = ((point.reference.accuracy, "reference"), (point.shifts_mean, SHIFTS))
    accuracies = [(f"{100 * own:.1f}", point.differences[name]) for own, name in pairs]
    short = " ".join(f"{own} {100 * change.estimate:+.1f}" for own, change in accuracies)
    er = point.robustness.mean
    assert f"50% calibrated {size:.0f}% {flops:.0f}% {faster} {short} {100 * er.estimate:+.1f}" in flat(text)
    assert (
        "95 % intervals: results.json, or a terminal of 130 characters. Times, their ranges and ranks: results.json."
        in flat(text)
    )
    text = printed(record, tmp_path, 140)
    long = " ".join(
        f"{own} {100 * change.estimate:+.1f} [{100 * change.low:+.1f}, {100 * change.high:+.1f}]"
        for own, change in accuracies
    )
    er = f"{100 * er.estimate:+.1f} [{100 * er.interval.low:+.1f}, {100 * er.interval.high:+.1f}]"
    assert f"{size:.0f}% {flops:.0f}% {file_words(point.file_bytes)} {faster} {long} {er}" in flat(text)
    assert "[ ]: 95 %" in flat(text)
    dense = record.dense
    words = f"dense: {count_words(dense.parameters)} parameters, {count_words(dense.flops)} FLOPs an image, a file of "
    assert f"{words}{file_words(dense.file_bytes)}, {milliseconds(dense.latency['1'].median_ms)} ms for" in flat(text)
    assert "* magnitude" not in text
    assert "They are stored and multiplied still: neither smaller nor faster." in flat(text)
    assert "Networks there, which evaluate, probe and prune take as --model: keep=0.75, keep=0.50, keep=0.25" in flat(
        text
    )
    assert str(tmp_path) in text


def test_the_first_table_tells_budget_and_calibration_apart(record, tmp_path):
    text = flat(printed(record, tmp_path))
    table = text[: text.index("Where the gain")]
    by = {(p.method, p.keep): p for p in record.points if not p.finetuned_epochs}
    parts = []
    for keep, share in ((0.5, "50"), (0.25, "25")):
        a, b, c = (by[method, keep] for method in ("uniform", "plain", "calibrated"))
        for one in (a, b, c):
            assert f"{100 * one.reference.accuracy:.1f} / {100 * one.shifts_mean:.1f}" in table
        first, second = (
            f"{100 * (y.reference.accuracy - x.reference.accuracy):+.1f} / {100 * (y.shifts_mean - x.shifts_mean):+.1f}"
            for x, y in ((a, b), (b, c))
        )
        parts.append(f"at {share}% the budget (plain - uniform) {first}, calibration on top {second}")
    assert f"in points on reference / mean of shifts: {'; '.join(parts)}." in text
    assert [gain.keep for gain in gains(record)] == [0.5, 0.25]
    for gain in gains(record):
        whole = by["calibrated", gain.keep].shifts_mean - by["uniform", gain.keep].shifts_mean
        assert gain.budget[1] + gain.calibration[1] == pytest.approx(whole)


def test_without_a_rival_nothing_is_told_apart(record, tmp_path):
    lacking = replace(record, points=tuple(p for p in record.points if p.method != "plain"))
    assert gains(lacking) == []
    assert "Where the gain" not in printed(lacking, tmp_path)
    alone = compress_record(keeps=(0.6,), shifts=(), baseline=False, finetune=0)
    assert shown_shares(alone) == [0.6]
    assert "in points on the reference: at 60% the budget (plain - uniform) " in flat(printed(alone, tmp_path))


def test_a_budget_of_multiplications_is_named(record, tmp_path):
    flops = replace(record, budget="flops", points=tuple(p for p in record.points if not p.masked))
    assert flops.share(flops.points[1]) == flops.points[1].flops / flops.dense.flops
    assert "one budget of multiplications over all of them" in flat(printed(flops, tmp_path))
    assert "one budget of parameters over all of them" in flat(printed(record, tmp_path))
    for drawn, word in ((flops, "multiplications kept (%)"), (record, "parameters kept (%)")):
        for figure in (accuracy_figure(drawn), speed_figure(drawn)):
            assert figure.axes[0].get_xlabel().startswith(word)


def test_what_times_were_compared_is_said(record, tmp_path):
    assert "in turns, by the clock, 1 thread" in flat(printed(record, tmp_path))
    assert "By processor time each is " in flat(printed(record, tmp_path))

    def timed(point):
        latency = {batch: replace(one, speedup_by="processor", median_ms=50.0) for batch, one in point.latency.items()}
        return replace(point, latency=latency)

    text = flat(printed(replace(record, points=tuple(map(timed, record.points))), tmp_path))
    assert "in turns, by processor time, which other work on the machine disturbs less, 1 thread" in text
    speeds = [record.speedup(point, batch) for point in record.points[1:] for batch in point.latency]
    assert f"By the clock each is {1 / max(speeds):.2f} to {1 / min(speeds):.2f} of that." in text


def test_masked_is_said_where_a_share_is_named(tmp_path):
    record = compress_record(keeps=(0.9,), finetune=0)
    assert re.search(r"magnitude\* 91%‡? \(masked\) 91%‡? \(masked\)", flat(printed(record, tmp_path)))


@pytest.mark.parametrize("width", [80, 140])
def test_many_sets_fit_and_no_line_is_broken(width, tmp_path):
    record = compress_record(keeps=(0.75, 0.25), shifts=FIVE)
    text = printed(record, tmp_path, width)
    tables = text[: text.index("calibrated: weight")]
    assert max(map(len, tables.splitlines())) <= width
    for line in tables.splitlines():
        assert line.count("[") == line.count("]")
    for name in FIVE:
        assert name in tables
    assert tables.count("calibrated+ft") == (2 if width == 80 else 1) + 2 * 2  # with ranges the first table is two
    each = tables[tables.index("Accuracy on each shift, dense and calibrated; all others: accuracies.csv") :]
    assert "uniform" not in each
    assert "plain" not in each
    calibrated = record.points[1]
    assert f"75% calibrated {' '.join(f'{100 * row.accuracy:.1f}' for row in calibrated.shifts)}" in flat(each)


def test_without_shifts_baseline_times_and_finetuning(tmp_path):
    text = printed(compress_record(shifts=(), baseline=False, timed=False, finetune=0), Path("runs"))
    for word in ("shifts", "ER", "×", "times as fast", "b=1", "+ft", "nan", " ms"):
        assert word not in text
    assert "calibrated" in text


def test_only_the_dense_network(tmp_path):
    record = compress_record(keeps=())
    text = printed(record, tmp_path)
    assert "Smallest" not in text
    assert "dense" in text
    write_compression_figures(record, tmp_path)


def test_extrapolation_is_marked(record, tmp_path):
    assert "†" not in printed(record, tmp_path)
    far = replace(record.points[1], robustness=extrapolated(record.points[1].robustness))
    text = printed(replace(record, points=(record.dense, far)), tmp_path)
    assert f"{100 * far.robustness.mean.estimate:+.1f}†" in text
    assert "† extrapolation" in text


def extrapolated(robustness):
    return replace(robustness, mean=replace(robustness.mean, extrapolated=True))


def test_names_from_outside_are_shown_as_they_are(tmp_path):
    record = compress_record(keeps=(0.5,), shifts=("[red]a$x^{$", "[/bold]"), finetune=2)
    record = replace(
        record, model="[/green]$\\frac$", data=replace(record.data, dataset="[bold]$d_{"), baseline="[/dim]",
        conventions=("[/i] left out: $x_{$",),
        points=(record.dense, *(replace(p, method=p.method if p.masked else "[/x]$m_{") for p in record.points[1:])),
    )  # fmt: skip
    text = printed(record, tmp_path / "[bold]", 140)
    for name in ("[red]a$x^{$", "[/bold]", "[/green]$\\frac$", "[bold]$d_{", "[/dim]", "[/i] left out", "[/x]$m_{+ft"):
        assert name in text
    write_compression_figures(record, tmp_path)
    for name in ("accuracy", "speed"):  # a formula would be refused, or drawn as one; as text it stands in a comment
        assert "[/green]$\\frac$" in (tmp_path / f"{name}.svg").read_text(encoding="utf-8")


def test_epochs_are_named_where_they_differ(record):
    tuned = next(p for p in record.points if p.finetuned_epochs)
    assert point_label(record, tuned) == "calibrated+ft"
    both = replace(record, points=(*record.points, replace(tuned, finetuned_epochs=3)))
    assert [s.label for s in all_series(both)][1:3] == ["calibrated+ft1", "plain"]
    assert all_series(both)[-1].label == "calibrated+ft3"
    assert all_series(both)[-1].words == "low rank, one budget, calibrated, finetuned 3 epochs"


def test_the_pictures_are_written_whole(record, tmp_path):
    write_compression_figures(record, tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "accuracy.png", "accuracy.svg", "ranks.png", "ranks.svg", "speed.png", "speed.svg",
    ]  # fmt: skip
    for name in ("accuracy", "ranks", "speed"):
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert min(picture.size) > 400
            assert np.asarray(picture.convert("L")).std() > 5
        assert ElementTree.parse(tmp_path / f"{name}.svg").getroot().tag.endswith("svg")


def test_without_times_and_sizes_there_is_no_picture_of_them(tmp_path):
    record = compress_record(keeps=(0.5,), timed=False)
    write_compression_figures(replace(record, matrices={}), tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["accuracy.png", "accuracy.svg"]


def test_the_lines_of_accuracy_pass_through_the_points(record):
    figure = accuracy_figure(record)
    assert isinstance(figure, Figure)
    assert [axes.get_title(loc="left").split(" (")[0] for axes in figure.axes] == [
        "accuracy on reference", "mean accuracy on the shifts", "effective robustness, mean over shifts",
    ]  # fmt: skip
    for axes, value in zip(
        figure.axes,
        (lambda p: p.reference.accuracy, lambda p: p.shifts_mean, lambda p: p.robustness.mean.estimate),
        strict=True,
    ):
        lines = {tuple(np.round(line.get_xydata().ravel(), 9)) for line in axes.get_lines()}
        for series in all_series(record):
            points = (record.dense, *series.points)
            wanted = np.array([(100 * record.share(p), 100 * value(p)) for p in points])
            assert tuple(np.round(wanted.ravel(), 9)) in lines
        left, right = axes.get_xlim()
        assert left > 100 > 31 > right  # smaller to the right
    assert len(accuracy_figure(compress_record(keeps=(0.5,), shifts=(), baseline=False)).axes) == 1


def test_the_lines_of_finetuned_networks_begin_at_the_finetuned_dense_one(record):
    rows = (replace(record.dense.reference, correct=record.dense.reference.correct - 40), *record.dense.rows[1:])
    tuned = replace(record.dense, finetuned_epochs=1, rows=rows, differences=record.points[1].differences)
    figure = accuracy_figure(replace(record, points=(*record.points, tuned)))
    starts = {line.get_ydata()[0] for line in figure.axes[0].get_lines() if len(line.get_xdata()) == 4}
    assert starts == {100 * record.dense.reference.accuracy, 100 * rows[0].accuracy}


def test_bars_are_the_interval_of_the_change_about_the_dense_network(record):
    axes = accuracy_figure(record).axes[0]
    bars = {
        tuple(np.round(segment[:, 1], 6)) for collection in axes.collections for segment in collection.get_segments()
    }
    for point in record.points[1:]:
        change, dense = point.differences["reference"], record.dense.reference.accuracy
        ends = (min(dense + change.low, point.reference.accuracy), max(dense + change.high, point.reference.accuracy))
        assert tuple(np.round(100 * np.array(ends), 6)) in bars


def test_the_lines_of_speed(record):
    figure = speed_figure(record)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[:2] == ["times as fast as dense, batch of 1", "times as fast as dense, batch of 64"]
    assert titles[2:] == [
        "change of accuracy on reference (points)", "change of accuracy on the mean of the shifts (points)",
    ]  # fmt: skip
    for axes, batch in zip(figure.axes[:2], ("1", "64"), strict=True):
        lines = {tuple(np.round(line.get_xydata().ravel(), 9)) for line in axes.get_lines()}
        for series in (one for one in all_series(record) if not one.tuned):
            speeds = [(100.0, 1.0), *((100 * record.share(p), record.speedup(p, batch)) for p in series.points)]
            assert tuple(np.round(np.array(speeds).ravel(), 9)) in lines
            ideal = [(100.0, 1.0), *((100 * record.share(p), record.dense.flops / p.flops) for p in series.points)]
            assert tuple(np.round(np.array(ideal).ravel(), 9)) in lines
    lines = {tuple(np.round(line.get_xydata().ravel(), 9)) for line in figure.axes[2].get_lines()}
    for series in all_series(record):
        cost = [(record.speedup(p, "64"), -100 * loss(record, p, "reference")) for p in series.points]
        assert tuple(np.round(np.array(cost).ravel(), 9)) in lines


def test_the_ranks_are_drawn_as_shares_of_their_matrices(record):
    points = budgeted(record)
    assert [point.keep for point in points] == [0.75, 0.5, 0.25]
    figure = ranks_figure(record)
    (axes, _) = figure.axes
    drawn = np.asarray(axes.get_images()[0].get_array())
    assert drawn.shape == (2, 3)
    for j, point in enumerate(points):
        ranks = [point.ranks["first.weight"], point.ranks["second.weight"]]
        assert drawn[:, j] == pytest.approx([ranks[0] * 136 / 3840, ranks[1] * 192 / 9216])
        assert [text.get_text() for text in axes.texts][j::3] == [str(rank) for rank in ranks]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["first  96 × 40", "second  96 × 96"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["77%", "54%", "31%"]
    dense = replace(points[0], ranks={"first.weight": None, "second.weight": 4})
    assert kept_shares(record, dense) == {"first.weight": 1.0, "second.weight": 4 * 192 / 9216}
    assert budgeted(replace(record, matrices={})) == []


def test_what_was_finetuned_stands_beside_what_it_came_from_whatever_the_order_of_the_record(record, tmp_path):
    dense_tuned = replace(record.dense, finetuned_epochs=1, differences=record.points[1].differences)
    untuned, tuned = ([p for p in record.points[1:] if (p.finetuned_epochs > 0) == late] for late in (False, True))
    text = printed(replace(record, points=(record.dense, *untuned, dense_tuned, *tuned)), tmp_path)
    table = text[text.index("Size, times as fast") :]
    order = (
        "dense ",
        "dense+ft",
        "75%  calibrated ",
        "calibrated+ft",
        "plain ",
        "plain+ft",
        "uniform ",
        "uniform+ft",
        "magnitude*",
        "50%  cal",
    )
    places = [table.index(f"{name}") for name in order]
    assert places == sorted(places)
    assert "+ft is to be compared with it" in flat(text)
    assert "dense+ft" not in text[: text.index("At most one point")]
    assert "100%" not in text[text.index("dense+ft") - 8 : text.index("dense+ft")]
    assert "compared with it" not in flat(printed(record, tmp_path))

"""What `prune` prints, from records alone."""

import dataclasses
import io
import re

import numpy as np
import pytest
from prune_data import pruned, record, twin, with_fraction
from rich.console import Console
from scipy.stats import spearmanr

from lightning_robust.report import print_pruning
from lightning_robust.report.prune_cells import percent, pruned_cells
from lightning_robust.report.prune_findings import findings
from lightning_robust.report.prune_words import clipped, model_labels
from lightning_robust.results.prune_record import read_pruning, write_pruning


def printed(*models, width=80, folder="checkpoints/prune/001", **changes):
    out = io.StringIO()
    print_pruning(record(*models, **changes), folder, Console(file=out, width=width))
    return out.getvalue()


def flat(out):
    """Without the breaks of lines."""
    return " ".join(out.split())


def told(model, other=None):
    return "\n".join(": ".join(pair) for pair in findings(record(model, *([other] if other else [])), model, "M"))


def test_a_model_and_its_twin_fit_80_characters_and_nothing_is_cut():
    out = printed(pruned(), twin())
    assert max(map(len, out.splitlines())) <= 80
    assert "…" not in out
    for words in (
        "scenes-clip",
        "scenes-supervised (supervised twin)",
        "most important kept",
        "random ‡",
        "same answers on 99 % of the reference images",
    ):
        assert words in out
    model = pruned()
    fraction = model.curve("importance", "raw").headlines["reference"][0].fraction
    row = next(line for line in out.splitlines() if line.strip().startswith("most important kept"))
    assert re.search(rf"\b{100 * fraction.estimate:.0f} \[{100 * fraction.low:.0f}, {100 * fraction.high:.0f}\]", row)
    assert f"{100 * model.curve('importance', 'raw').headlines['reference'][0].accuracy:.1f}" in row
    assert f"reads {model.rank_raw} of {model.d} dimensions" in out
    assert f"other {model.d - model.rank_raw} are null" in flat(out)


def test_controls_with_several_draws_show_mean_and_range():
    model = pruned()
    drawn = [100 * one.fraction.estimate for one in model.curve("random", "raw").headlines["reference"]]
    row = next(line for line in printed(model).splitlines() if line.strip().startswith("random kept"))
    assert f"{sum(drawn) / len(drawn):.0f} ({min(drawn):.0f}–{max(drawn):.0f})" in row


def test_every_word_and_mark_of_the_table_is_explained():
    out = flat(printed(pruned(), twin()))
    for words in ("Bold: the finding", "[95 % interval", "(Lowest–highest) of 3 draws", "centred: the head without",
                  "reduced-rank regr.: ", "least important kept: ", "‡ Gaussian weights", "same answers: ",
                  "without a break: ", "outliers zeroed: ", "ER: ",
                  "† extrapolation"):  # fmt: skip
        assert words in out, words
    assert "§" in out  # 8 of 24
    like = printed(pruned(classes=20))
    assert "§" not in like
    assert "the paper, ImageNet" in like
    assert "the other 4 are null" in flat(like)
    assert "there is no null space" in flat(printed(dataclasses.replace(pruned(), rank_raw=24)))
    assert "comparable, if the controls" in flat(like)


def test_points_of_other_sizes_are_named():
    out = printed(pruned(), points=0.005)
    assert "can be pruned for 0.5 points" in out
    assert "1 point" not in out.replace("0.5 points", "")


@pytest.mark.parametrize("shifts", [(), ("v2",)])
def test_without_shifts_or_with_one(shifts):
    out = printed(pruned(shifts=shifts, robust=bool(shifts)))
    assert ("shifts" in out.partition("Bold: ")[0]) == bool(shifts)
    assert ("ER [95 %]" in out) == bool(shifts)
    assert ("ER: " in out) == bool(shifts)


def test_without_a_baseline_nothing_is_said_of_robustness():
    out = printed(pruned(robust=False))
    assert "obustness" not in out
    assert "ER" not in out


def test_a_curve_that_comes_back_is_marked_and_the_unbroken_fraction_said():
    model = pruned()
    assert "* pruning less" not in printed(with_unbroken(model, broken=False))
    out = flat(printed(with_unbroken(model, broken=True)))
    assert re.search(r"\*\d+ \[", out)
    assert "most important kept (raw), reference 25 %" in out


def with_unbroken(model, *, broken):
    """Curves without a break, but for the most important directions of the raw head on the reference."""

    def change(curve):
        here = broken and (curve.order, curve.form) == ("importance", "raw")
        new = {
            what: tuple(
                dataclasses.replace(
                    one,
                    unbroken_kept=one.kept + (1 if here and what == "reference" else 0),
                    unbroken=dataclasses.replace(one.unbroken, estimate=0.25),
                )
                for one in found
            )
            for what, found in curve.headlines.items()
        }
        return dataclasses.replace(curve, headlines=new)

    return dataclasses.replace(model, curves=tuple(map(change, model.curves)))


def test_names_are_no_markup_and_no_figure_is_lost_in_a_narrow_terminal():
    name = "runs/[bold]a[/] [link=x]/m.ckpt"
    model = dataclasses.replace(pruned(shifts=("[red]v2", "a_$x")), name=name)
    out = printed(model, width=60, folder="checkpoints/[x]/001", missing=("no [twin] here",))
    assert name in out
    assert "checkpoints/[x]/001" in out
    assert "Missing: no [twin] here" in out
    assert "[red]" not in out or "[red]v2" in out
    assert max(map(len, out.partition("Bold: ")[0].splitlines())) <= 60
    assert "…" not in out
    assert "shifts, mean" in out


def test_many_models_have_a_row_each_and_sentences_together():
    models = [
        dataclasses.replace(pruned(), name=f"run/wise_ft/alpha={k / 5:.2f}.safetensors", alpha=k / 5) for k in range(6)
    ]
    models[3] = with_fraction(models[3], "importance", "raw", "reference", 0.875, 0.75, 0.875)
    out = printed(*models, twin())
    assert max(map(len, out.splitlines())) <= 80
    assert (
        sum(line.strip().startswith("α = 0.4") for line in out.splitlines()) == 3 + 2
    )  # orders; answers that stay: raw, centred
    assert "scenes-clip" not in out
    assert sum(line.strip().startswith("supervised twin ") for line in out.splitlines()) == 3 + 2
    assert not any(mark in out for mark in "§†")
    assert "Bold" not in out
    out = flat(out)
    assert "between 0 % [0, 25] (α = 0) and 88 % [75, 88] (α = 0.6) of r" in out
    random = [one.fraction.estimate for one in pruned().curve("random", "raw").headlines["reference"]]
    own = pruned().curve("importance", "raw").headlines["reference"][0].fraction.estimate
    better = 4 * (own > max(random)) + (max(random) < 0.875)
    assert f"in {better} of 6 models more of them can go" in out
    assert "comparable in 0 of 6 models" in out
    assert "supervised twin scenes-supervised" in out
    assert (
        "in the mean of the shifts the least important 12 % [0, 25] of r can go for 1 point in every one of the 6"
        in out
    )


OVERLAP = "undetermined, for the intervals of"


@pytest.mark.parametrize(
    ("after", "robust", "words"),
    [
        ((0.75, 0.70, 0.80), (-0.1, 0.02), ": it goes the other way, beyond the intervals of both."),
        ((0.25, 0.20, 0.30), (-0.1, 0.02), ": it follows, beyond the intervals of both."),
        ((0.75, 0.70, 0.80), (0.1, 0.02), ": it follows, beyond the intervals of both."),
        ((0.65, 0.55, 0.75), (-0.1, 0.02), f"{OVERLAP} what can go overlap"),  # they touch
        ((0.45, 0.35, 0.45), (-0.1, 0.02), f"{OVERLAP} what can go overlap"),
        ((0.50, 0.45, 0.55), (-0.1, 0.02), f"{OVERLAP} what can go overlap"),  # no gain
        ((0.75, 0.70, 0.80), (-0.1, 0.05), f"{OVERLAP} robustness overlap"),  # touch again
        ((0.75, 0.70, 0.80), (-0.1, None), f"{OVERLAP} robustness overlap"),
        ((0.50, 0.50, 0.60), (0.0, 0.02), f"{OVERLAP} what can go and robustness overlap"),
        ((0.75, 0.70, 0.80), None, "to 75 % [70, 80]."),
    ],
)
def test_along_a_path_what_can_go_is_compared_with_robustness_by_intervals(after, robust, words):
    """Robustness changes by so much, give or take so much at each end; before, 50 % [45, 55] can go."""
    names = [f"run/wise_ft/alpha={alpha}" for alpha in (1, 0)]  # in any order
    end, start = (
        dataclasses.replace(pruned(robust=robust is not None), name=name, alpha=1.0 - k) for k, name in enumerate(names)
    )
    start = with_fraction(start, "importance", "raw", "reference", 0.5, 0.45, 0.55)
    end = with_fraction(end, "importance", "raw", "reference", *after)
    if robust:
        start, end = with_robustness(start, 0.25, robust[1]), with_robustness(end, 0.25 + robust[0], robust[1])
    out = flat(printed(end, start))
    assert f"what can go on the reference changes from 50 % [45, 55] to {100 * after[0]:.0f} %" in out
    assert words in out
    lost = dataclasses.replace(end, near_chance=True)
    assert "α = 1 is at chance, so nothing can be concluded." in flat(printed(lost, start))


def with_robustness(model, estimate, half):
    """The model with another mean effective robustness; without half a width it has no interval."""
    er = model.unpruned.robustness
    interval = None if half is None else dataclasses.replace(
        er.mean.interval, estimate=estimate, low=estimate - half, high=estimate + half
    )  # fmt: skip
    mean = dataclasses.replace(er.mean, estimate=estimate, interval=interval)
    return dataclasses.replace(
        model, unpruned=dataclasses.replace(model.unpruned, robustness=dataclasses.replace(er, mean=mean))
    )


def several(pruned_at, robust_at, *, path=False):
    found = []
    for k, (fraction, er) in enumerate(zip(pruned_at, robust_at, strict=True)):
        model = dataclasses.replace(pruned(), name=f"runs/{k}/m.ckpt", alpha=None)
        if path:
            model = dataclasses.replace(model, name=f"run/wise_ft/{k}", alpha=k / 10)
        model = with_robustness(model, er, 0.02)
        found.append(with_fraction(model, "importance", "raw", "reference", fraction, fraction, fraction))
    return found


def test_a_rank_correlation_with_robustness_over_many_models():
    x, y = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7], [0.1, 0.3, 0.2, 0.4, 0.5, 0.7, 0.6]
    expected = spearmanr(x, y).statistic
    z, half = np.arctanh(expected), 1.96 * np.sqrt((1 + expected**2 / 2) / 4)
    interval = f"{expected:+.2f} [{np.tanh(z - half):+.2f}, {np.tanh(z + half):+.2f}]"
    out = flat(printed(*several(x, y)))
    assert f"over 7 models: {interval}: more can go where robustness is larger." in out
    assert "not independent" not in out
    out = flat(printed(*several(x, [-er for er in y], path=True)))
    assert "no verdict. Points of one path are not independent" in out
    assert "Spearman" not in printed(*several(x[:5], y[:5]))
    assert "over 6 models" in flat(printed(*several(x[:6], y[:6])))
    assert "more can go where robustness is smaller." in flat(printed(*several(x, [-er for er in y])))
    assert ": undetermined." in flat(printed(*several(x, [0.3, 0.1, 0.7, 0.2, 0.6, 0.4, 0.5])))
    assert "+1.00, the ranks agree fully, and no interval" in flat(printed(*several(x, x)))
    assert "none, for one of the two is the same in all" in flat(printed(*several([0.5] * 7, y)))
    lost = several(x, y)
    lost[0] = dataclasses.replace(lost[0], near_chance=True)
    out = flat(printed(*lost))
    assert "over 6 models" in out
    assert "nothing can be concluded of 0: " in out
    assert "between 20 % [20, 20] (1) and 70 %" in out


def test_of_a_model_at_chance_nothing_is_concluded():
    model = dataclasses.replace(pruned(), near_chance=True)
    (only,) = findings(record(model, twin(), points=0.005), model, "M")
    assert only[1].startswith("nothing can be concluded: M is right on ")
    assert only[1].endswith("how much can go for 0.5 points of accuracy says nothing.")
    assert f"and on {100 * model.without_directions:.1f} % with no direction left" in only[1]
    assert "So near to chance that nothing can be concluded" in flat(printed(model))
    out = told(pruned(), twin(near_chance=True))
    assert "the supervised twin scenes-supervised is at chance, so it says nothing." in out
    assert "its supervised twin up to" not in out


def test_heads_and_random_heads_are_compared_by_answers_that_stay():
    model = with_fraction(pruned(), "random_head", "raw", "agreement", 0.25, 0.25, 0.25)
    for low, high, words in (
        (0.375, 0.5, "further than every random one"), (0.25, 0.5, "does not tell the head from a random one"),
        (0.0, 0.25, "does not tell the head"), (0.0, 0.125, "less far than every random one"),
    ):  # fmt: skip
        own = with_fraction(model, "importance", "raw", "agreement", high, low, high)
        other = with_fraction(twin(), "importance", "raw", "agreement", 0.125, 0.0, 0.375)
        out = told(own, other)
        assert "keeps 99 % of its own answers on the reference up to " in out
        assert "its supervised twin up to 12 % [0, 38]" in out
        assert "weights up to 25 % pruned, in the mean of 3 (25–25): " in out
        assert words in out
    early = without_agreement(model)
    assert "the head itself was not held to that here" in told(early)
    assert "same answers" not in printed(early)


def without_agreement(model):
    """As records of an early date have it."""
    curves = (
        one if one.order == "random_head"
        else dataclasses.replace(one, headlines={k: v for k, v in one.headlines.items() if k != "agreement"})
        for one in model.curves
    )  # fmt: skip
    return dataclasses.replace(model, curves=tuple(curves))


def test_random_heads_stand_in_no_column_of_accuracy():
    out = printed(pruned(), twin())
    above, _, below = out.partition("same answers on 99 %")
    assert "random head" not in above
    curves = [pruned().curve(order, "raw") for order in ("importance", "reduced_rank", "random_head")]
    cells = [
        " ".join("".join(pair) if not pair[1] else " ".join(pair) for pair in [pruned_cells(one, "agreement")])
        for one in curves
    ]
    row = next(line for line in below.splitlines() if line.strip().startswith("scenes-clip"))
    assert " ".join(row.split()) == " ".join(["scenes-clip", *" ".join(cells).split()])


def test_a_twin_that_was_asked_for_is_the_twin_of_the_others_and_not_its_own():
    models = [dataclasses.replace(pruned(), name="scenes-clip"), twin(role="asked")]
    found = record(*models, twin="scenes-supervised")
    assert "of the supervised twin scenes-supervised" in str(findings(found, models[0], "M"))
    assert "twin" not in str(findings(found, models[1], "M"))
    assert "scenes-supervised (also the twin): what this says" in printed(*models, twin="scenes-supervised")


def test_long_names_are_shortened_to_what_tells_them_apart_and_said_once():
    name = "/home/someone/checkpoints/finetune/001/wise_ft/alpha=0.50.safetensors"
    other = "/home/someone/checkpoints/supervised/002/last.ckpt"
    models = [dataclasses.replace(pruned(), name=name), twin(name=other)]
    labels = model_labels(models)
    assert labels == [
        "…/001/wise_ft/alpha=0.50.safetensors",
        "…/checkpoints/supervised/002/last.ckpt (supervised twin)",
    ]
    out = printed(*models)
    assert out.count(name) == 1
    assert out.count(other) == 1
    assert "of the supervised twin …/checkpoints/supervised/002/last.ckpt, " in flat(out)


def test_long_curves_have_the_fraction_without_a_break_beside():
    """Features always; directions from 65 on."""
    model = with_unbroken(pruned(), broken=True)
    out = printed(model)
    rows = [line.strip() for line in out.splitlines()]
    place = next(k for k, row in enumerate(rows) if row.startswith("outliers zeroed"))
    curve = model.curve("outlier_features")
    assert rows[place + 1].split()[:4] == ["without", "a", "break", "25"]
    assert sum(row.startswith("without a break ") for row in rows) == 2
    assert f"the best of {curve.total} tries, so rather high" in flat(out)
    assert "As the best of 24 tries that is rather high; without a break: 25 %" in told(model)
    large = dataclasses.replace(model, curves=tuple(dataclasses.replace(c, total=65) for c in model.curves))
    assert "As the best of 65 tries that is rather high; without a break: 25 %" in told(large).partition("Artefact")[0]
    small = dataclasses.replace(model, curves=tuple(dataclasses.replace(c, total=64) for c in model.curves))
    assert "As the best" not in told(small).partition("Artefact")[0]
    several_ = [dataclasses.replace(large, name=f"runs/{k}/m") for k in range(6)]
    out = printed(*several_)
    assert max(map(len, out.splitlines())) <= 80
    assert sum(line.strip().startswith("without a break ") for line in out.splitlines()) == 3 * 6
    assert "*" not in out


def test_a_single_draw_and_a_single_direction():
    model = with_fraction(pruned(), "importance", "raw", "reference", 0.5, 0.375, 0.625)
    one = dataclasses.replace(model, curves=tuple(first_draw(curve) for curve in model.curves))
    one = with_fraction(one, "random", "raw", "reference", 0.25, 0.125, 0.25)
    out = told(one)
    assert "more than in the one draw of random directions, of which 25 % can go." in out
    assert "mean of" not in out
    out = told(dataclasses.replace(model, rank_raw=1, rank_centred=0))
    assert "the head of M reads a single direction, so none can go." in out
    assert "the 1 directions" not in out
    assert "The centred head reads a single one." in told(dataclasses.replace(model, rank_raw=2, rank_centred=1))


def first_draw(curve):
    headlines = {what: found[:1] for what, found in curve.headlines.items()}
    return dataclasses.replace(curve, seeds=curve.seeds[:1], headlines=headlines)


def test_labels_of_models():
    a, b = (dataclasses.replace(pruned(), name=f"r/{k}/last.ckpt") for k in "ab")
    assert model_labels([a, b, twin()]) == ["a", "b", "scenes-supervised (supervised twin)"]
    assert model_labels([a]) == ["r/a/last.ckpt"]
    points = [dataclasses.replace(a, name=f"r/a/alpha={k}", alpha=float(k)) for k in (0, 1)]
    assert model_labels(points) == ["α = 0", "α = 1"]
    elsewhere = dataclasses.replace(points[1], name="r/b/alpha=1")
    assert model_labels([points[0], elsewhere]) == ["a/alpha=0", "b/alpha=1"]
    assert clipped("x" * 9, 5) == "…xxxx"


def test_findings_say_what_the_figures_say():
    model = with_fraction(pruned(), "importance", "raw", "reference", 0.5, 0.375, 0.625)
    model = with_fraction(model, "importance", "centred", "reference", 0.5, 0.375, 0.625)
    model = with_fraction(model, "reduced_rank", "raw", "reference", 0.75, 0.7, 0.75)
    model = with_fraction(model, "random", "raw", "reference", 0.25, 0.25, 0.25)
    out = told(model)
    assert "50 % [38, 62] on the reference" in out
    assert "more than in any draw of random directions" in out
    assert "a matter of truncating well" in out
    assert "of the raw head" not in out
    assert "16 of the 24 dimensions are null space" in out
    kept = model.curve("importance", "raw").headlines["reference"][0].kept
    assert f"would read {100 * (1 - kept / 24):.0f} %" in out
    assert "not comparable" in out
    assert "twin" not in out


def test_findings_where_the_controls_do_as_well():
    model = with_fraction(pruned(), "importance", "raw", "reference", 0.25, 0.125, 0.375)
    model = with_fraction(model, "reduced_rank", "raw", "reference", 0.1, 0.0, 0.1)
    model = with_fraction(model, "random", "raw", "reference", 0.25, 0.25, 0.25)
    out = told(model)
    assert "no more than in the best draw of random directions" in out
    assert "less far than the most important directions, beyond both intervals" in out


@pytest.mark.parametrize(
    ("best", "own", "words"),
    [
        ((0.25, 0.25), (0.25, 0.5), "the intervals overlap"),  # they touch
        ((0.0, 0.25), (0.25, 0.5), "the intervals overlap"),
        ((0.5, 0.625), (0.25, 0.5), "the intervals overlap"),
        ((0.625, 0.75), (0.25, 0.5), "further than the most important directions, beyond both intervals"),
        ((0.0, 0.125), (0.25, 0.5), "less far than the most important directions, beyond both intervals"),
        ((0.0, 0.0), (0.0, 0.0), "nothing can go either way, so there is nothing to conclude"),
    ],
)
def test_a_good_truncation_is_compared_by_intervals(best, own, words):
    model = with_fraction(pruned(), "importance", "raw", "reference", own[1], *own)
    model = with_fraction(model, "reduced_rank", "raw", "reference", best[1], *best)
    said = [sentence for _, sentence in findings(record(model), model, "M") if "reduced-rank" in sentence]
    assert words in said[0]


@pytest.mark.parametrize(
    ("raw", "centred", "differs"),
    [
        ((4, 4, 4), (4, 4, 4), False),  # the same number of 8 and of 7: the denominators alone differ
        ((5, 5, 6), (4, 4, 4), True),
        ((5, 4, 6), (4, 3, 4), False),  # they touch
        ((3, 3, 3), (4, 4, 4), False),  # the raw head has the smaller number
    ],
)
def test_raw_and_centred_heads_are_compared_by_how_many_directions_go(raw, centred, differs):
    model = pruned()
    for form, numbers in (("raw", raw), ("centred", centred)):
        total = model.curve("importance", form).total
        model = with_fraction(model, "importance", form, "reference", *(number / total for number in numbers))
    assert model.curve("importance", "centred").total == 7
    out = told(model)
    assert ("part of the raw figure is what a direction does" in out) == differs
    assert (f"of the raw head {raw[0]} directions can go and of the centred one {centred[0]}, beyond" in out) == differs


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(0.0, 0.25, "can be pruned further is beyond"), (0.75, 0.9, "less far is beyond"), (0.3, 0.6, "overlap")],
)
def test_the_twin_is_compared_by_intervals(low, high, words):
    model = with_fraction(pruned(), "importance", "raw", "reference", 0.5, 0.375, 0.625)
    other = with_fraction(twin(), "importance", "raw", "reference", (low + high) / 2, low, high)
    other = with_fraction(other, "reduced_rank", "raw", "reference", 0.45, 0.35, 0.45)
    out = told(model, other)
    assert words in out
    assert "By reduced-rank regression: 45 % [35, 45] against" in out


def test_a_head_without_a_centred_form_and_without_features():
    model = pruned()
    curves = tuple(curve for curve in model.curves if curve.form == "raw" and curve.order in ("importance", "random"))
    out = printed(dataclasses.replace(model, curves=curves, rank_centred=0))
    assert "centred head, %" not in out
    assert "features, %" not in out
    assert "most important kept" in out
    assert "‡" not in out
    assert printed(dataclasses.replace(model, curves=()))  # says at least what the model is


def test_outliers_by_the_rule_are_counted():
    assert "not defined for so few" in told(pruned())  # d = 24
    assert "no outlier features" in told(dataclasses.replace(pruned(), outliers_by_rule=0))
    assert "1 outlier feature by" in told(dataclasses.replace(pruned(), outliers_by_rule=1))


def test_the_same_is_printed_from_the_file(tmp_path):
    found = record(pruned(), twin())
    write_pruning(found, tmp_path / "results.json")
    out, again = io.StringIO(), io.StringIO()
    print_pruning(found, tmp_path, Console(file=out, width=80))
    print_pruning(read_pruning(tmp_path / "results.json"), tmp_path, Console(file=again, width=80))
    assert out.getvalue() == again.getvalue()


@pytest.mark.parametrize(
    ("share", "words"),
    [(0, "0"), (1, "100"), (0.5, "50"), (0.999, "99.9"), (0.9999, ">99.9"), (511 / 512, "99.8"), (0.994, "99"),
     (0.001, "0.1"), (0.0003, "<0.1"), (0.0061, "1"), (0.995, "99.5"), (0.9951, "99.5")],
)  # fmt: skip
def test_percent_is_not_all_where_something_is_left_and_not_nothing_where_it_is_not(share, words):
    assert percent(share) == words

"""What `prune` prints, from records alone."""

import dataclasses
import io
import re

import pytest
from prune_data import pruned, record, twin, with_fraction
from rich.console import Console

from lightning_robust.report import print_pruning
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
    for words in ("scenes-clip", "scenes-supervised (supervised twin)", "most important kept", "random head ‡"):
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
                  "reduced-rank regr.: ", "least important kept: ", "‡ Gaussian weights", "outliers zeroed: ", "ER: ",
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
    assert sum(line.strip().startswith("α = 0.4") for line in out.splitlines()) == 3  # orders
    assert "scenes-clip" not in out
    assert sum(line.strip().startswith("supervised twin ") for line in out.splitlines()) == 3
    assert not any(mark in out for mark in "‡§†")
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


@pytest.mark.parametrize(
    ("after", "robust", "words"),
    [(0.75, True, ": which it does not follow."), (0.25, True, ": the same way."), (0.75, False, "to 75 % [70, 80].")],
)
def test_along_a_path_what_can_go_is_compared_with_robustness(after, robust, words):
    """At its end robustness is 10 points lower."""
    names = [f"run/wise_ft/alpha={alpha}" for alpha in (1, 0)]  # in any order
    end, start = (dataclasses.replace(pruned(robust=robust), name=name, alpha=1.0 - k) for k, name in enumerate(names))
    start = with_fraction(start, "importance", "raw", "reference", 0.5, 0.45, 0.55)
    end = with_fraction(end, "importance", "raw", "reference", after, after - 0.05, after + 0.05)
    if robust:
        er = end.unpruned.robustness
        lower = dataclasses.replace(er, mean=dataclasses.replace(er.mean, estimate=er.mean.estimate - 0.1))
        end = dataclasses.replace(end, unpruned=dataclasses.replace(end.unpruned, robustness=lower))
    out = flat(printed(end, start))
    assert f"from α = 0 to α = 1 what can go on the reference changes from 50 % [45, 55] to {100 * after:.0f} %" in out
    assert words in out


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
    model = with_fraction(model, "reduced_rank", "raw", "reference", 0.75, 0.625, 0.75)
    model = with_fraction(model, "random", "raw", "reference", 0.25, 0.25, 0.25)
    out = told(model)
    assert "50 % [38, 62] on the reference" in out
    assert "more than in any draw of random directions" in out
    assert "a matter of truncating well" in out
    assert "raw and centred head differ" not in out
    assert "16 of the 24 dimensions are null space" in out
    kept = model.curve("importance", "raw").headlines["reference"][0].kept
    assert f"would read {100 * (1 - kept / 24):.0f} %" in out
    assert "not comparable" in out
    assert "twin" not in out


def test_findings_where_the_controls_do_as_well():
    model = with_fraction(pruned(), "importance", "raw", "reference", 0.25, 0.125, 0.375)
    model = with_fraction(model, "importance", "centred", "reference", 0.625, 0.5, 0.75)
    model = with_fraction(model, "reduced_rank", "raw", "reference", 0.125, 0.0, 0.25)
    model = with_fraction(model, "random", "raw", "reference", 0.25, 0.25, 0.25)
    out = told(model)
    assert "no more than in the best draw of random directions" in out
    assert "less far than the most important directions" in out
    assert "raw and centred head differ beyond their intervals" in out


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

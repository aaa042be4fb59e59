"""Tables of baselines: the figures that stand in them, wide and narrow, and rows for a CSV file."""

import io
from dataclasses import replace

import pytest
from rich.console import Console
from standard_models import IMAGES, on_a_line

from lightning_robust.report.baseline_table import baseline_rows, print_baseline, print_zoo, robustness_cells, zoo_rows
from lightning_robust.results import ModelAccuracies
from lightning_robust.robustness import Baseline, load_baseline
from lightning_robust.robustness.zoo import zero_shot_zoo


@pytest.fixture(scope="module")
def imagenet():
    return load_baseline("imagenet")


@pytest.fixture(scope="module")
def zoo(imagenet):
    return zero_shot_zoo(imagenet, replicates=200)


def printed(function, what, width=120):
    console = Console(file=io.StringIO(), width=width)
    function(what, console)
    return console.file.getvalue()


def test_the_lines_of_imagenet(imagenet):
    text = printed(print_baseline, imagenet)
    rows = {line.split("  ")[0].strip(): line.split() for line in text.splitlines()}
    assert rows["a"] == ["a", "3.1986", "-6.4869", "0.7735", "4.9", "56.5", "–", "84.7", "%"]
    assert rows["mean accuracy"][2:5] == ["1.0443", "-1.8933", "0.9471"]
    assert "81 models, logit scale, x = full; mean effective robustness: mean over the shifts." in text
    assert "1.6 in the mean" in " ".join(text.split())
    assert "Clipped" not in text


def test_options_and_clipped_models_are_said():
    models = [*on_a_line(scatter=0.1), ModelAccuracies("zero", 0.6, {"sketch": 0.4, "art": 0.0})]
    baseline = Baseline.fit(models, n=IMAGES, scale="probit", aggregate="accuracy")
    text = printed(print_baseline, baseline)
    assert "probit scale, x = full; mean effective robustness: by the line on the mean accuracy." in text
    assert "Clipped, because an accuracy is 0 or 1: zero." in text


def test_the_zoo_in_points(zoo):
    text = printed(print_zoo, zoo)
    row = next(line.split() for line in text.splitlines() if line.strip().startswith("ViT-B-32/openai"))
    assert row[1:3] == ["63.3", "+26.8"]
    assert len(row) == 11  # with the interval and five shifts
    outside = next(line for line in text.splitlines() if "nllb-clip-large-siglip/v1" in line)
    assert outside.count("†") == 6
    assert len([line for line in text.splitlines() if "/" in line]) == 121


def test_a_narrow_terminal_keeps_names_whole(zoo):
    text = printed(print_zoo, zoo, width=80)
    row = next(line.split() for line in text.splitlines() if line.strip().startswith("ViT-B-32/openai"))
    assert row[:3] == ["ViT-B-32/openai", "63.3", "+26.8"]
    assert len(row) == 6


def test_cells_without_an_interval(imagenet):
    found = imagenet.on(["v2"]).effective_robustness(0.6332, {"v2": 0.5592}, imagenet.images, replicates=0)
    assert robustness_cells(found) == ["+5.9", "–", "+5.9"]


def test_rows_for_a_file(imagenet, zoo):
    rows = baseline_rows(imagenet)
    assert len(rows) == 81
    assert rows[0]["model"] == "FixPNASNet"
    assert rows[0]["matched/r"] == 0.9601
    assert rows[0]["source"].startswith("modestyachts/imagenet-testbed")
    row = next(row for row in zoo_rows(zoo) if row["model"] == "ViT-B-32/openai")
    assert round(row["mean/er"], 4) == 0.2679
    assert row["mean/prediction/low"] < row["mean/interval/low"] < row["mean/er"] < row["mean/prediction/high"]
    assert row["a/accuracy"] == 0.3155
    assert row["extrapolated"] is False


def test_rows_without_intervals(imagenet):
    rows = zoo_rows(zero_shot_zoo(imagenet, replicates=0))
    assert not any("interval" in column for column in rows[0])


def test_a_shift_on_which_all_are_alike_has_no_r_squared():
    models = [ModelAccuracies(f"m{k}", 0.3 + 0.05 * k, {"a": 0.01, "b": 0.2 + 0.04 * k}) for k in range(11)]
    console = Console(file=io.StringIO(), width=120)
    print_baseline(Baseline.fit(models, n={"reference": 1000, "a": 1000, "b": 1000}), console)
    row = next(line for line in console.file.getvalue().splitlines() if line.strip().startswith("a "))
    assert row.split()[3] == "–"


def test_square_brackets_of_names_are_kept(imagenet, zoo):
    lines = {"phone [old]": imagenet.lines["a"], "x[/b]": imagenet.lines["v2"]}
    own = replace(imagenet, name="own [i]", description="made of a[/x].csv", lines=lines)
    text = printed(print_baseline, own)
    for words in ("own [i]: made of a[/x].csv", "phone [old]", "x[/b]"):
        assert words in text
    models = [*on_a_line(scatter=0.1), ModelAccuracies("m [red]", 0.6, {"sketch": 0.4, "art": 0.0})]
    assert "0 or 1: m [red]." in printed(print_baseline, Baseline.fit(models, n=IMAGES))
    named = replace(zoo[0], accuracies=replace(zoo[0].accuracies, name="model [old]"))
    assert "model [old]" in printed(print_zoo, [named])

"""What `probe` over steps prints and draws, from records alone."""

import dataclasses
import io
import math

import pytest
from rich.console import Console

from lightning_robust.report.steps_figure import steps_figure
from lightning_robust.report.steps_table import print_steps
from lightning_robust.results import DataDescription, ProbedLayer, collect_provenance
from lightning_robust.results.steps_record import Agreement, ProbedStep, StepsRecord

H, BLOCK = "model.encoder.visual", "model.encoder.visual.layer4"


def point(step):
    figures = {
        f"kurtosis/{H}": 3.0 + step / 1000,
        f"kurtosis/{BLOCK}": 7.0,
        f"outliers/{H}/features": math.nan,
        f"outliers/{BLOCK}/features": 2.0,
        f"spectrum/{H}/rankme": 12.34,
        f"importance/{H}/raw/max_over_median": 1234.5,
        f"importance/{H}/raw/privileged": 16.0,
        f"importance/{H}/centred/max_over_median": math.nan if step == 0 else 52.1,
        f"importance/{H}/centred/privileged": 3.0,
        f"concepts/{H}/singular_vectors/mean_best_ap": 0.4567,
        f"concepts/{H}/random_rotation/mean_best_ap": 0.4,
        f"not_finite/{BLOCK}/kurtosis": 3.0 if step == 1 else 0.0,
    }
    return ProbedStep(step=step, checkpoint_hash="", head_hash=None, figures=figures)


def record(steps=(0, 1, 11, 128, 100_000), **changes):
    fields = {
        "provenance": collect_provenance(threads=1),
        "seeds": {},
        "run": "checkpoints/supervised_broad/001/steps",
        "origin": "SupervisedPretraining, architecture of RN50",
        "parameters": 1_425_881,
        "classes": 20,
        "data": DataDescription(dataset="own", protocol="own", images={"the run's validation loader 0": 2000}),
        "conventions": (),
        "representation": H,
        "layers": tuple(ProbedLayer(name=name, form="2 features", d=2) for name in (BLOCK, H)),
        "points": tuple(map(point, steps)),
    }
    return StepsRecord(**fields | changes)


def agreed(largest, **where):
    return Agreement(figures=7, steps=2, largest=largest, **where)


def printed(found, width=80):
    out = io.StringIO()
    print_steps(found, "somewhere", Console(file=out, width=width))
    return out.getvalue()


def without(found, *starts):
    """The record without figures whose tags begin so."""
    points = [
        dataclasses.replace(p, figures={t: v for t, v in p.figures.items() if not t.startswith(starts)})
        for p in found.points
    ]
    return dataclasses.replace(found, points=tuple(points))


def test_a_row_for_each_step_in_80_columns():
    text = printed(record())
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    rows = {line.split()[0]: line.split()[1:] for line in lines if line[:8].strip() and line.split()[0].isdecimal()}
    assert rows["0"] == ["3.00", "12.3", "1234.5", "16", "–", "3", "0.457"]  # outliers are defined at no step
    assert rows["100000"] == ["103.00", "12.3", "1234.5", "16", "52.1", "3", "0.457"]
    assert "5 steps, 0 to 100,000 · 1.43 M parameters" in " ".join(text.split())
    assert f"{BLOCK}: images left out at step 1: features not finite" in " ".join(text.split())
    assert "Every figure of 2 layers" in text


def test_what_was_not_measured_is_not_there():
    text = printed(without(record(classes=0), "importance", "concepts"))
    assert "raw" not in text
    assert "No head, so no importance" in text
    kurtosis = printed(without(record(), "importance", "concepts", "spectrum", "kurtosis"))
    assert "step by step" not in kurtosis  # nothing is left of h


@pytest.mark.parametrize(
    ("agreement", "sentence"),
    [
        (agreed(0.0), "All 7 figures at 2 steps that the run's signatures.csv has too"),
        (agreed(2e-7, tag="a/b", step=4), "are 2.0e-07 apart, relatively: a/b at step 4"),
        (agreed(math.inf, tag="a/b", step=4), "not defined in one of both: a/b at step 4"),
    ],
)
def test_the_agreement_in_one_sentence(agreement, sentence):
    assert sentence in " ".join(printed(record(agreement=agreement)).split())


def lines_of(axes):
    return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}


def test_the_picture_has_step_0_at_the_left_end_of_a_logarithmic_axis():
    figure = steps_figure(record(steps=(0, 2, 11, 1500)))
    assert len(figure.axes) == 6
    kurtosis = figure.axes[0]
    assert kurtosis.get_xscale() == "log"
    lines = lines_of(kurtosis)
    assert set(lines) == {"visual.layer4", "h"}
    assert list(lines["h"].get_xdata()) == [1.0, 2.0, 11.0, 1500.0]  # half of the first step above 0
    assert list(lines["h"].get_ydata()) == [3.0, 3.002, 3.011, 4.5]
    labels = {
        tick: text.get_text() for tick, text in zip(kurtosis.get_xticks(), kurtosis.get_xticklabels(), strict=True)
    }
    assert labels == {1.0: "0", 10.0: "10", 100.0: "100", 1000.0: "1k"}
    assert set(lines_of(figure.axes[3])) == {"raw head", "centred head"}
    assert figure.axes[3].get_yscale() == "log"
    assert set(lines_of(figure.axes[5])) == {"head's singular vectors", "random directions"}
    assert set(lines_of(figure.axes[1])) == {"visual.layer4"}


@pytest.mark.parametrize("steps", [(0,), (7,), (0, 5), (3, 4)])
def test_a_picture_of_few_steps(steps, tmp_path):
    figure = steps_figure(record(steps=steps))
    figure.savefig(tmp_path / "picture.png")  # warnings are errors
    ticks = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    assert ticks[0] == str(steps[0])
    assert len(figure.axes[2].lines[0].get_xdata()) == len(steps)


def test_panels_of_what_was_not_measured_say_so():
    figure = steps_figure(without(record(), "importance", "concepts"))
    said = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert said == [[], [], [], ["not measured"], ["not measured"], ["not measured"]]

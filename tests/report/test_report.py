"""Tables and pictures from records alone."""

import io
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from lightning_robust.report import curves_figure, headline, print_run
from lightning_robust.results import AlphaRow, CurveRow, DataDescription, RunRecord, collect_provenance
from lightning_robust.results.effective_robustness import EffectiveRobustness, ShiftRobustness
from lightning_robust.robustness import choose_alpha, paired_bootstrap

LAYER = "model.encoder.visual"
SIGNATURES = {
    f"kurtosis/{LAYER}.layer4": 8.0,
    f"kurtosis/{LAYER}": 2.81,
    f"importance/{LAYER}/raw/max_over_median": 113.6,
    f"importance/{LAYER}/centred/max_over_median": 2.24,
    f"concepts/{LAYER}/singular_vectors/unique_0.9": 5.0,
    f"concepts/{LAYER}/singular_vectors/mean_best_ap": 0.487,
}


def record(**changes):
    rng = np.random.default_rng(0)
    validation = rng.random((3, 400)) < np.array([[0.7], [0.8], [0.9]])
    rows = [
        AlphaRow(
            alpha=alpha, val_reference=0.8, reference=0.7 + 0.1 * alpha, shifts={"sketch": 0.6 - 0.2 * alpha},
            shifts_mean=0.6 - 0.2 * alpha, signatures=SIGNATURES,
        )
        for alpha in (0.0, 0.5, 1.0)
    ]  # fmt: skip
    fields = {
        "kind": "ClassifierFinetuning",
        "provenance": collect_provenance(threads=1),
        "seeds": {"everything": 0},
        "config": {},
        "data": DataDescription(dataset="scenes", protocol="top-1", images={"sketch": 400}),
        "wise_ft": tuple(rows),
        "choice": choose_alpha(validation, [0.0, 0.5, 1.0]),
        "intervals": {"reference: α=0.5 − α=1": paired_bootstrap(validation[1], validation[2])},
        "reference_lines": {"untrained": {f"kurtosis/{LAYER}": 2.76}},
    }
    return RunRecord(**fields | changes)


def printed(run, tmp_path, width=140):
    out = io.StringIO()
    print_run(run, tmp_path, Console(file=out, width=width))
    return out.getvalue()


def test_headline_is_about_the_layer_that_the_head_reads():
    found = headline(SIGNATURES)
    assert found.layer == LAYER
    assert found.kurtosis == f"kurtosis/{LAYER}"
    assert found.concepts == f"concepts/{LAYER}/singular_vectors/unique_0.9"


def test_headline_without_measurements():
    assert headline([]).kurtosis is None


def test_table_has_every_figure(tmp_path):
    text = printed(record(), tmp_path)
    for figure in ("70.0", "80.0", "60.0", "40.0", "2.81", "113.6", "2.2", "5 (0.49)", "2.76", "*1"):
        assert figure in text
    assert "Finetuning: reference 70.0 → 80.0, mean of the shifts 60.0 → 40.0." in text
    assert "95% paired bootstrap" in text
    assert re.search(r"α=0.5 − α=1 +-\d+\.\d \[-\d+\.\d, ", text)
    assert f"tensorboard --logdir {tmp_path}" in text


def test_undefined_figures_are_dashes_not_numbers(tmp_path):
    row = AlphaRow(alpha=0.0, val_reference=0.5, reference=0.5, shifts={"sketch": 0.5}, shifts_mean=0.5,
                   signatures={f"kurtosis/{LAYER}": math.nan})  # fmt: skip
    text = printed(record(wise_ft=(row,), choice=None, intervals={}, reference_lines={}), tmp_path)
    assert "nan" not in text
    assert "–" in text


def test_a_run_without_a_path_says_where_its_curves_are(tmp_path):
    text = printed(record(wise_ft=(), choice=None, intervals={}), tmp_path)
    assert "Results and curves" in text


@pytest.mark.parametrize("width", [80, 100, 140])
def test_no_figure_is_cut_at_usual_widths(width, tmp_path):
    text = printed(record(), tmp_path, width)
    assert "…" not in text
    assert "113.6" in text


def test_curves_picture(tmp_path):
    rows = [CurveRow(epoch, 10 * epoch, tag, value + epoch) for epoch in range(3) for tag, value in SIGNATURES.items()]
    rows += [CurveRow(epoch, 10 * epoch, "val/reference/accuracy", 0.5) for epoch in range(3)]
    curves_figure(rows, tmp_path / "signatures.png")
    with Image.open(tmp_path / "signatures.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 10
    assert [p.name for p in tmp_path.iterdir()] == ["signatures.png"]


def test_the_title_says_what_training_began_from(tmp_path):
    assert "Before training (α = 0) to finetuned" in printed(record(), tmp_path)
    text = printed(record(start="a linear probe, l2 = 0.01"), tmp_path)
    assert "From a linear probe, l2 = 0.01 (α = 0) to finetuned (α = 1)" in text
    assert "zero-shot" not in text


def test_what_was_not_measured_has_no_column(tmp_path):
    row = AlphaRow(alpha=0.0, val_reference=0.5, reference=0.625, shifts={}, shifts_mean=math.nan)
    text = printed(record(wise_ft=(row,), choice=None, intervals={}, reference_lines={}), tmp_path)
    assert "62.5" in text
    for absent in ("nan", "–", "shifts", "kurtosis", "concepts"):
        assert absent not in text


def test_an_end_that_is_chosen_is_told_once(tmp_path):
    right = np.random.default_rng(0).random((2, 400)) < np.array([[0.9], [0.5]])
    pair = {"reference: α=1 − α=0": (1, 0), "reference: α=0 − α=1": (0, 1)}
    intervals = {name: paired_bootstrap(right[a], right[b]) for name, (a, b) in pair.items()}
    choice = choose_alpha(np.stack([right[0], right[1] & False, right[1] & False]), [0.0, 0.5, 1.0])
    assert choice.alpha_star == 0.0
    text = printed(record(choice=choice, intervals=intervals), tmp_path)
    assert "α=1 − α=0" in text
    assert "α=0 − α=1" not in text


def test_square_brackets_of_a_folder_are_kept(tmp_path):
    text = printed(record(), tmp_path / "run [red]")
    assert text.count("run [red]") == 2


def test_square_brackets_of_names_are_kept(tmp_path):
    rows = tuple(replace(row, shifts={"phone [old]": row.shifts_mean}) for row in record().wise_ft)
    name = "phone [old]: α=0.5 − α=1"
    intervals = {name: next(iter(record().intervals.values()))}
    text = printed(record(wise_ft=rows, intervals=intervals, start="a probe of a[/x].ckpt"), tmp_path)
    assert text.count("phone [old]") == 2
    assert "From a probe of a[/x].ckpt" in text
    er = EffectiveRobustness(
        shifts={}, mean=ShiftRobustness(accuracy=0.5, expected=0.4, estimate=0.1, interval=None, prediction=None,
                                        extrapolated=False),
        baseline="own", scale="logit", x="full", aggregate="er",
    )  # fmt: skip
    robust = tuple(replace(row, effective_robustness=er) for row in rows)
    assert "Baseline own [i] of b[/x].csv." in " ".join(
        printed(record(wise_ft=robust, baseline="own [i] of b[/x].csv"), tmp_path).split()
    )

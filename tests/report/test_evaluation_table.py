"""The tables of an evaluation, from records alone."""

import io

import pytest
from rich.console import Console

from lightning_robust.report import print_evaluation
from lightning_robust.report.shorten import short_paths
from lightning_robust.results import (
    AccuracyRow,
    DataDescription,
    Difference,
    EvaluationRecord,
    Interval,
    ModelEvaluation,
    collect_provenance,
)
from lightning_robust.results.effective_robustness import EffectiveRobustness, ShiftRobustness

SHIFTS = ("v2", "sketch", "rendition", "objectnet", "adversarial")


def shift(estimate, extrapolated):
    interval = Interval(estimate, estimate - 0.02, estimate + 0.02, 0.95, 2000, 0)
    wide = Interval(estimate, estimate - 0.0456, estimate + 0.0456, 0.95, 2000, 0)
    return ShiftRobustness(
        accuracy=0.5, expected=0.5 - estimate, estimate=estimate, interval=interval, prediction=wide,
        extrapolated=extrapolated,
    )  # fmt: skip


def model(name, alpha, k, *, robust=True, extrapolated=False, published=None, shifts=SHIFTS):
    rows = [AccuracyRow(set="reference", protocol="all", correct=800 + k, images=1000, low=0.7781, high=0.8234)]
    rows += [
        AccuracyRow(
            set=name_, protocol=f"{name_}: wise-ft (crop 2 px)", correct=500 - k, images=1000, low=0.47, high=0.53,
            matched_correct=333, matched_images=400,
        )
        for name_ in shifts
    ]  # fmt: skip
    each = {name_: shift(0.1234 + k / 1000, extrapolated and name_ == "v2") for name_ in shifts}
    er = EffectiveRobustness(
        shifts=each, mean=shift(0.1111, extrapolated), baseline="toy", scale="logit", x="full", aggregate="er"
    )
    return ModelEvaluation(
        name=name, origin="o", checkpoint_hash="c", alpha=alpha, rows=tuple(rows), robustness=er if robust else None,
        published=published or {},
    )  # fmt: skip


def printed(
    tmp_path, *models, width=100, conventions=(), shifts=SHIFTS, dataset="scenes world", baseline="toy: 14 models"
):
    interval = Interval(-0.05, -0.07, -0.03, 0.95, 2000, 0)
    record = EvaluationRecord(
        provenance=collect_provenance(threads=1),
        seeds={},
        data=DataDescription(dataset=dataset, protocol="top-1", images={}),
        conventions=conventions,
        baseline=baseline,
        models=models,
        differences=tuple(
            Difference(set=name, model=one.name, other=models[0].name, interval=interval)
            for one in models[1:]
            for name in ("reference", *shifts, "shifts")
        ),
    )
    out = io.StringIO()
    print_evaluation(record, tmp_path, Console(file=out, width=width))
    return out.getvalue()


def test_one_model_has_a_row_for_each_set(tmp_path):
    out = printed(tmp_path, model("ViT-B-32/openai", None, 0, published={"reference": 0.633}))
    row = next(line for line in out.splitlines() if line.strip().startswith("sketch"))
    for cell in ("50.0 [47.0, 53.0]", "1,000", "83.2", "+12.3 [+10.3, +14.3]", "[+7.8, +16.9]", "–"):
        assert cell in row
    assert max(map(len, out.splitlines()[:-1])) <= 100
    assert "63.3" in next(line for line in out.splitlines() if line.strip().startswith("reference"))
    assert "objectnet: wise-ft (crop 2 px)" in out
    assert "objectnet: objectnet" not in out
    assert "†" not in out


@pytest.mark.parametrize("width", [60, 80, 100])
def test_no_word_and_no_figure_is_broken_in_a_narrow_terminal(tmp_path, width):
    name = "checkpoints/finetune/007/wise_ft/alpha=0.50.safetensors"
    out = printed(tmp_path, model(name, None, 0, published={"reference": 0.633}), width=width)
    assert name in out
    tables = out[out.index(name) : out.index("reference: all")].splitlines()
    assert max(map(len, tables)) <= width
    for label in ("reference", *SHIFTS, "mean of shifts"):
        assert sum(line.strip().startswith(label) for line in tables) == (1 if width == 100 else 2)
    (row,) = (line for line in tables if line.startswith(" mean of shifts") and "[" in line)
    assert "+11.1 [+9.1, +13.1]" in row
    assert "[+6.6, +15.7]" in row
    several = printed(tmp_path, *(model(f"ViT-B-32-quickgelu/tag{k}", None, k) for k in range(3)), width=width)
    assert all(word in several for word in ("adversarial", "ViT-B-32-quickgelu", "-5.0 [-7.0, -3.0]"))


def test_a_path_has_a_row_for_each_alpha(tmp_path):
    models = [model(f"run/wise_ft/alpha={a / 10:.2f}.safetensors", a / 10, a) for a in range(11)]
    out = printed(tmp_path, *models)
    lines = [line for line in out.splitlines() if "α = 0.5" in line]
    assert len(lines) == 3  # accuracy, effective robustness, difference
    assert all(figure in lines[0] for figure in ("80.5", "49.5"))
    assert "+11.1 [+9.1, +13.1]" in lines[1]
    assert "-5.0 [-7.0, -3.0]" in lines[2]
    assert "Against α = 0, points" in out
    assert max(map(len, out.splitlines()[:-1])) <= 100
    assert "baseline toy: 14 models" in out


def test_names_without_what_they_share_and_marks(tmp_path):
    models = [
        model("r/a/b/x.ckpt", None, 0),
        model("r/a/b/c/y.ckpt", None, 5, extrapolated=True, published={"reference": 0.7}),
        model("r/a/z.ckpt", None, 2, robust=False),
    ]  # fmt: skip
    out = printed(tmp_path, *models, conventions=("an image of v2 was left out: a.png: empty", "accuracy: top-1"))
    assert "b/x.ckpt" in out
    assert "a/b/x.ckpt" not in out
    assert "+12.8†" in out
    assert "† extrapolation" in out
    assert "an image of v2 was left out: a.png: empty" in out
    assert "accuracy: top-1" not in out
    assert "publ. ref." in out
    assert sum("z.ckpt" in line for line in out.splitlines()) == 2  # no effective robustness for it


def test_without_a_baseline_nothing_is_said_of_it(tmp_path):
    out = printed(tmp_path, model("a", None, 0, robust=False))
    assert "ER" not in out
    out = printed(tmp_path, model("a", None, 0, robust=False), model("b", None, 0, robust=False))
    assert "Effective" not in out


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["a/b/c", "a/b/d"], ["c", "d"]),
        (["a/b/c/d", "a/b/c"], ["c/d", "c"]),
        (["r/a/last.ckpt", "r/b/last.ckpt"], ["a", "b"]),
        (["a/b/c", "a/b/c"], ["c", "c"]),
        (["a", "a/b"], ["a", "a/b"]),
        (["x/last.ckpt", "RN50/openai"], ["x/last.ckpt", "RN50/openai"]),
    ],
)
def test_short_paths(names, short):
    assert short_paths(names) == short


@pytest.mark.parametrize("count", [1, 3])
def test_square_brackets_of_names_are_kept(tmp_path, count):
    shifts = ("phone [old]", "x[/b]")
    models = [model(f"runs [red]/m{k}.ckpt", None, k, shifts=shifts) for k in range(count)]
    out = printed(
        tmp_path / "out [bold]", *models, width=160, shifts=shifts, dataset="photos [dim]",
        baseline="own [i]: 14 models", conventions=("an image of phone [old] was left out: a[/x].png: empty",),
    )  # fmt: skip
    for text in ("photos [dim], test images", "out [bold]", "was left out: a[/x].png", "x[/b]"):
        assert text in out
    assert out.count("phone [old]") >= 3
    if count == 1:
        assert "phone [old]: wise-ft" in out
        assert "runs [red]/m0.ckpt" in out
    else:
        assert "baseline own [i]" in out

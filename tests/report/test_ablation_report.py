"""Tables, figure and contact sheets of ablations, from a record and its small pictures alone."""

import dataclasses
import io
import math

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from lightning_robust.report import print_ablation, write_ablation_figures
from lightning_robust.report.ablation_figure import ablation_figure
from lightning_robust.report.ablation_findings import findings
from lightning_robust.report.ablation_words import ROBUSTNESS, SHIFTS, change, drawn, percent
from lightning_robust.report.contact_sheet import contact_sheets
from lightning_robust.results import (
    AccuracyRow,
    ConceptEntry,
    DataDescription,
    Interval,
    ModelDescription,
    collect_provenance,
)
from lightning_robust.results.ablation_record import AblatedUnit, Ablation, AblationRecord, TopImage, UnitGroup
from lightning_robust.results.effective_robustness import EffectiveRobustness, ShiftRobustness

SETS = ("reference", "v2", "sketch")
N = 200


def rows(*right):
    return tuple(
        AccuracyRow(set=name, protocol="top-1", correct=one, images=N, low=one / N - 0.05, high=one / N + 0.05)
        for name, one in zip(SETS, right, strict=False)
    )


def robust(mean):
    one = ShiftRobustness(
        accuracy=0.6, expected=0.6 - mean, estimate=mean, interval=None, prediction=None, extrapolated=False
    )
    return EffectiveRobustness(
        shifts={"v2": one, "sketch": one}, mean=one, baseline="toy", scale="logit", x="full", aggregate="er"
    )


def interval(estimate, width=0.01):
    return Interval(estimate, estimate - width, estimate + width, 0.95, 2000, 0)


def ablation(unit, form, kind, members, lost, *, control="", draw=None, width=0.01):
    """`lost` answers fewer on the reference, half as many on each shift."""
    differences = {} if control else {name: interval(-lost / N / (1 + (name != "reference")), width) for name in SETS}
    if not control:
        differences["shifts"] = interval(-lost / N / 2, width)
    return Ablation(
        unit=unit, form=form, kind=kind, members=members, count=max(1, len(members)), together=len(members) != 1,
        control=control, draw=draw, rows=rows(180 - lost, 120 - lost // 2, 100 - lost // 2),
        robustness=robust(0.3 - lost / 1000), differences=differences, changed=dict.fromkeys(SETS, lost),
    )  # fmt: skip


def unit(index, **changes):
    fields = {
        "unit": "feature", "by_rule": False, "far_out": 0.01, "mean_z": 2.5, "share": 0.05, "importance": 0.02,
        "common": 0.3, "mean": 1.0, "std": 2.0, "low": -5.0, "high": 7.0,
    }  # fmt: skip
    return AblatedUnit(index=index, **fields | changes)


def tops(count, sign=1):
    return tuple(
        TopImage(image=f"v2/{k}", set="v2", place=k, label="guitar", score=sign * (9.0 - k), file=f"top_images/{k}.png")
        for k in range(count)
    )


LOST = {"zero": 40, "mean": 20, "clip": 0}


@pytest.fixture
def record():
    none = {"far_out": math.nan, "mean_z": math.nan, "unit": "direction", "form": "raw", "by_rule": True}
    entry = ConceptEntry(concept="scene:forest", category="scene", average_precision=0.87, prevalence=0.09, sign=-1)
    found = []
    for kind, lost in LOST.items():
        found += [ablation("feature", "", kind, (k,), lost // 40) for k in (9, 4)]
        found += [ablation("feature", "", kind, (9, 4), lost // 20)]
        for draw in (0, 1):
            control = {"control": "random features", "draw": draw}
            found += [ablation("feature", "", kind, (k + draw,), lost // 40 + draw, **control) for k in (20, 30)]
            found += [ablation("feature", "", kind, (20 + draw, 30 + draw), lost // 20 + draw, **control)]
        found += [
            ablation("direction", "raw", kind, (0,), 0, width=0.0),
            ablation("direction", "raw", kind, (2,), lost),
        ]
        found += [ablation("direction", "raw", kind, (0, 2), lost)]
        for control, members in (("random directions of the head", (5,)), ("random directions of the space", ())):
            one = ablation("direction", "raw", kind, members, lost // 20, control=control, draw=0)
            found += [
                dataclasses.replace(one, together=False, count=1),
                dataclasses.replace(one, together=True, count=2),
            ]
    return AblationRecord(
        provenance=collect_provenance(threads=1),
        seeds={"draw 1": 0},
        data=DataDescription(dataset="toy world", protocol="own", images=dict.fromkeys(SETS, N)),
        conventions=("a rule", "an image of v2 was left out: x.png: not an image"),
        split="test",
        baseline="toy",
        model=ModelDescription(name="some/model", origin="o", checkpoint_hash="h", parameters=7, classes=6),
        layer="encoder.visual",
        form="64 features, h as the encoder gives it",
        d=64,
        at_head=True,
        calibration=50,
        untouched=rows(180, 120, 100),
        robustness=robust(0.3),
        groups=(
            UnitGroup(
                unit="feature", words="largest features (no outlier by the rule)", members=(9, 4), by_rule=False,
                found=0, of=64,
            ),
            UnitGroup(
                unit="direction", form="raw", words="privileged directions of the raw head", members=(0, 2),
                by_rule=True, found=2, of=6,
            ),
        ),
        units=(
            unit(4, top=tops(3)),
            unit(9, top=tops(3), bottom=tops(2, -1)),
            unit(0, **none | {"common": 0.999, "importance": 0.4}, top=tops(3), concepts=(entry,)),
            unit(2, **none, top=tops(3), bottom=tops(3, -1)),
        ),
        ablations=tuple(found),
        random_concepts=(0.4, 0.5),
        files={"scores.csv": "scores"},
    )  # fmt: skip


def text(record, folder, width=80):
    told = io.StringIO()
    print_ablation(record, folder, Console(width=width, file=told))
    return told.getvalue()


def test_changes_are_in_points(record):
    one = record.ablations_of(record.groups[1], "zero", together=False, member=2)[0]
    found = change(record, one, "reference")
    assert (found.estimate, found.low, found.high) == pytest.approx((-20, -21, -19))
    assert found.certain
    assert change(record, one, SHIFTS).estimate == pytest.approx(-10)
    assert change(record, one, ROBUSTNESS).estimate == pytest.approx(-4)
    assert not change(record, one, ROBUSTNESS).certain
    without = dataclasses.replace(record, robustness=None, untouched=record.untouched[:1])
    assert change(without, one, ROBUSTNESS) is None
    assert change(without, one, SHIFTS) is None


def test_draws_have_a_mean_and_a_range(record):
    found = drawn(record, record.groups[0], "zero", "reference", "random features", together=True)
    assert found == pytest.approx((-1.25, -1.5, -1.0))
    assert drawn(record, record.groups[0], "zero", "reference", "random features", together=False) == pytest.approx(
        (-0.75, -1.0, -0.5)
    )
    assert drawn(record, record.groups[0], "zero", "reference", "no such", together=True) is None


def test_shares():
    assert [percent(share) for share in (0.5, 0.00049, 0.0, 1.0)] == ["50.0", "<0.1", "0.0", "100.0"]


def test_tables_fit_and_hold_the_figures(record, tmp_path):
    said = text(record, tmp_path)
    lines = said.split("\nEverything")[0].splitlines()
    assert max(map(len, lines)) <= 80
    row = next(line for line in lines if line.strip().startswith("direction 3"))
    assert row.split() == ["direction", "3", "-20.0", "[-21.0,", "-19.0]", "-10.0", "[-11.0,", "-9.0]", "-4.0"]
    random = next(line for line in lines if "random, of the head: one" in line)
    assert "-1.0 (-1.0 to -1.0)" in random
    assert "clip changes nothing anywhere" in " ".join(said.split())
    assert "clip: ref." not in said
    assert "mean: ref." in said
    assert "−scene:forest 0.87 (0.09)" in said
    assert "The best of 2 random directions: 0.40 to 0.50" in " ".join(said.split())
    assert "x.png: not an image" in said
    assert "Untouched: reference 90.0 %, mean of shifts 55.0 %" in said


def test_findings_follow_from_the_figures(record):
    found = [f"{topic}: {sentence}" for topic, sentence in findings(record)]
    assert any("no outlier by the rule; the features with the largest mean |z| stand in" in one for one in found)
    assert any(
        one.startswith("features: the 2 together set to zero: -1.0 points [-2.0, +0.0] on reference, an")
        and "as random ones" in one
        for one in found
    )
    together = next(one for one in found if one.startswith("raw directions: the 2 together") and "reference" in one)
    assert "-20.0 points [-21.0, -19.0]" in together
    assert together.count("below all draws") == 2
    shared = next(one for one in found if "same for every class" in one)
    assert "direction 1 has 40.0 % of all importance, and 99.9 % of what it adds" in shared
    assert "+0.0 points" in shared.replace("-0.0", "+0.0")
    plain = dataclasses.replace(record, units=tuple(dataclasses.replace(one, common=0.5) for one in record.units))
    assert not any("same for every class" in one for _, one in findings(plain))


def test_what_changes_no_answer_is_said_so(record):
    still = tuple(
        ablation("feature", "", one.kind, one.members, 0, width=0.0)
        if one.unit == "feature" and not one.control
        else one
        for one in record.ablations
    )
    found = [sentence for _, sentence in findings(dataclasses.replace(record, ablations=still))]
    assert any("no answer on reference becomes right or wrong" in one for one in found)


def test_groups_of_one_have_no_row_for_all(record, tmp_path):
    group = dataclasses.replace(record.groups[0], members=(9,))
    kept = tuple(
        one
        for one in record.ablations
        if one.unit == "feature" and (one.members == (9,) or (one.control and not one.together))
    )
    # a group of one together is that one alone
    kept += tuple(dataclasses.replace(one, together=True) for one in kept)
    said = text(dataclasses.replace(record, groups=(group,), ablations=kept), tmp_path)
    assert "together  " not in said
    assert "feature 9 set to zero" in said
    assert len(ablation_figure(dataclasses.replace(record, groups=(group,), ablations=kept)).axes) == 3


def test_the_figure_has_a_column_for_each_group(record):
    figure = ablation_figure(record)
    assert len(figure.axes) == 6
    bars = figure.axes[1].containers[0]
    assert [y for y in bars.lines[0].get_ydata()] == pytest.approx([0, -20, -20])  # noqa: C416 - may be an array
    without = dataclasses.replace(record, robustness=None, untouched=record.untouched[:1])
    assert len(ablation_figure(without).axes) == 2


def test_contact_sheets_show_the_small_pictures(record, tmp_path):
    (tmp_path / "top_images").mkdir()
    for k in range(2):
        Image.fromarray(np.full((8, 12, 3), 40 * k, dtype=np.uint8)).save(tmp_path / "top_images" / f"{k}.png")
    sheets = contact_sheets(record, tmp_path)
    assert list(sheets) == ["features", "raw_directions"]
    (axes,) = sheets["features"].axes
    assert len(axes.images) == 6  # of feature 9 two and two, of feature 4 two
    words = [one.get_text() for one in axes.texts]
    assert words.count("no picture") == 2
    assert any("feature 9" in one and "mean |z| 2.5, beyond 6 on 1.0 %" in one for one in words)
    (axes,) = sheets["raw_directions"].axes
    assert any("− scene:forest 0.87 (0.09)" in one.get_text() for one in axes.texts)
    bare = dataclasses.replace(record, units=tuple(dataclasses.replace(one, top=(), bottom=()) for one in record.units))
    assert contact_sheets(bare, tmp_path) == {}


def test_pictures_are_files(record, tmp_path):
    found = write_ablation_figures(record, tmp_path)
    assert {file.name for file in found} == {
        "ablation.png", "ablation.svg", "contact_sheet_features.png", "contact_sheet_raw_directions.png",
    }  # fmt: skip
    with Image.open(tmp_path / "ablation.png") as image:
        assert image.width >= 1000

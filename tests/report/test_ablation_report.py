"""Tables, figure and contact sheets of ablations, from a record and its small pictures alone."""

import dataclasses
import io
import math

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D
from matplotlib.text import Text
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
        "importance_share": math.nan, "common": 0.3, "mean": 1.0, "std": 2.0, "low": -5.0, "high": 7.0,
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
    shared = {"common": 0.999, "importance": 0.16, "importance_share": 0.4}
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
        for control, members in (("random directions of the head", (5, 3)), ("random directions of the space", ())):
            one = ablation("direction", "raw", kind, members[:1], lost // 20, control=control, draw=0)
            two = ablation("direction", "raw", kind, members, lost // 10, control=control, draw=0)
            found += [
                dataclasses.replace(one, together=False, count=1),
                dataclasses.replace(two, together=True, count=2),
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
            unit(0, **none | shared, top=tops(3), concepts=(entry,)),
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
    assert dataclasses.astuple(found) == pytest.approx((-1.25, -1.5, -1.0, 2, 2))
    alone = drawn(record, record.groups[0], "zero", "reference", "random features", together=False)
    assert dataclasses.astuple(alone) == pytest.approx((-0.75, -1.0, -0.5, 4, 1))
    # a unit that several draws hold counts once
    again = tuple(dataclasses.replace(one, members=(20,)) if one.members == (30,) else one for one in record.ablations)
    again = dataclasses.replace(record, ablations=again)
    alone = drawn(again, record.groups[0], "zero", "reference", "random features", together=False)
    assert dataclasses.astuple(alone) == pytest.approx((-2.5 / 3, -1.0, -0.5, 3, 1))
    assert drawn(record, record.groups[0], "zero", "reference", "no such", together=True) is None


def test_shares():
    assert [percent(share) for share in (0.5, 0.00049, 0.0, 1.0)] == ["50.0", "<0.1", "0.0", "100.0"]


def test_tables_fit_and_hold_the_figures(record, tmp_path):
    said = text(record, tmp_path)
    lines = said.split("\nEverything")[0].splitlines()
    assert max(map(len, lines)) <= 80
    row = next(line for line in lines if line.strip().startswith("direction 3"))
    assert row.split() == ["direction", "3", "-20.0", "[-21.0,", "-19.0]", "-10.0", "[-11.0,", "-9.0]", "-4.0"]
    at = next(k for k, line in enumerate(lines) if "random, of the head: one" in line)
    assert lines[at].split()[-3:] == ["-1.0", "-0.5", "-0.2"]  # one draw has no span
    assert lines[at + 1].split() == ["2", "together", "-2.0", "-1.0", "-0.4"]
    at = next(k for k, line in enumerate(lines) if "random: one" in line)
    assert "-0.8 (-1.0 to -0.5)" in lines[at]
    assert "2 together" in lines[at + 1]
    assert " (-1.5 to -1.0)" in lines[at + 1]
    words = " ".join(said.split())
    assert "over 1 to 2 draws, one by one, and all of a draw together" in words
    facts = next(line for line in lines if line.strip().startswith("raw 1"))
    assert facts.split()[:5] == ["raw", "1", "5.0", "40.0", "99.9"]  # of all importance, not of the sum of σ
    assert "clip changes nothing anywhere" in " ".join(said.split())
    assert "clip: ref." not in said
    assert "mean: ref." in said
    assert "−scene:forest 0.87 (0.09)" in said
    assert "2 random directions reach 0.40 to 0.50" in " ".join(said.split())
    assert "x.png: not an image" in said
    assert "Untouched: reference 90.0 %, mean of shifts 55.0 %" in said
    assert "changes without a unit, in points" in words
    assert "-0.0" not in said.replace("-0.05", "")


def test_findings_follow_from_the_figures(record):
    found = [f"{topic}: {sentence}" for topic, sentence in findings(record)]
    assert any("no outlier by the rule; the features with the largest mean |z| stand in" in one for one in found)
    held = next(one for one in found if one.startswith("features: the 2 together") and "on reference" in one)
    assert held == (
        "features: the 2 together set to zero: -1.0 points [-2.0, 0.0] on reference, an interval that holds 0; "
        "random features -1.3 (-1.5 to -1.0)."
    )
    together = next(one for one in found if one.startswith("raw directions: the 2 together") and "reference" in one)
    assert "-20.0 points [-21.0, -19.0]" in together
    assert together.count("below the only draw") == 2
    shared = next(one for one in found if "same for every class" in one)
    assert shared == (
        "raw directions: direction 1 has 40.0 % of the importance of all 6 directions, and 99.9 % of what it adds to "
        "the logits is the same for every class, which no prediction can depend on (the other 0.1 % tells classes "
        "apart); without it: 0.0 points [0.0, 0.0] on reference, 0.0 points [0.0, 0.0] on the mean of the shifts."
    )
    plain = dataclasses.replace(record, units=tuple(dataclasses.replace(one, common=0.5) for one in record.units))
    assert not any("same for every class" in one for _, one in findings(plain))


def sentence_of(record, lost, width=0.01, **changes):
    """What is said of the two directions together on the reference, with as many points lost as given."""
    ablations = []
    for one in record.ablations:
        if (one.form, one.together, one.control) == ("raw", True, ""):
            ablations.append(ablation("direction", "raw", one.kind, one.members, lost, width=width))
        elif one.control == "random directions of the head":
            for draw, cost in enumerate((4, 6, 8)):
                members = tuple(range(10 * draw + 3, 10 * draw + 3 + one.count))
                moved = ablation("direction", "raw", one.kind, members, cost, control=one.control, draw=draw)
                moved = dataclasses.replace(moved, together=one.together, count=one.count)
                ablations.append(dataclasses.replace(moved, **changes))
        else:
            ablations.append(one)
    found = findings(dataclasses.replace(record, ablations=tuple(ablations)))
    return next(one for topic, one in found if topic == "raw directions" and "together" in one and "reference" in one)


@pytest.mark.parametrize(
    ("lost", "verdict"), [(10, "below each of the 3 draws"), (2, "above each of the 3 draws"), (6, "within the draws")]
)
def test_a_verdict_names_the_draws(record, lost, verdict):
    said = sentence_of(record, lost, width=0.001)
    assert f"random directions of the head -3.0 (-4.0 to -2.0), {verdict}" in said


def test_without_certainty_or_equal_numbers_there_is_no_verdict(record):
    held = sentence_of(record, 10, width=0.2)
    assert "an interval that holds 0; random directions of the head -3.0 (-4.0 to -2.0); random" in held
    few = sentence_of(record, 10, width=0.001, count=1)
    assert "; 1 random directions of the head -3.0 (-4.0 to -2.0), all that are left to draw and not compared;" in few
    assert "below the only draw" in few  # the directions of the space are as many


def test_fewer_random_units_are_called_by_their_number(record, tmp_path):
    few = tuple(
        dataclasses.replace(one, members=(5,), count=1) if one.control == "random directions of the head" else one
        for one in record.ablations
    )
    few = dataclasses.replace(record, ablations=few, notes=("only 1 other is left",))
    said = text(few, tmp_path)
    lines = said.splitlines()
    at = next(k for k, line in enumerate(lines) if "random, of the head: one" in line)
    assert lines[at + 1].split()[:2] == ["1", "together"]
    assert "Note: only 1 other is left." in said
    axes = ablation_figure(few).axes[1]  # a line each behind the single ones, none of the head behind both
    spans = [line.get_xdata().tolist() for line in axes.lines if line.get_linewidth() == 2]
    assert spans == [[-0.5, 1.5], [-0.5, 1.5], [1.5, 2.5]]


def test_where_no_concept_is_eligible_that_is_said(record, tmp_path):
    units = tuple(dataclasses.replace(one, concepts=()) for one in record.units)
    said = " ".join(text(dataclasses.replace(record, units=units, random_concepts=(math.nan,) * 3), tmp_path).split())
    assert "No concept of the set is eligible" in said
    assert "nan" not in said


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
    ends = [segment[:, 1].tolist() for segment in bars.lines[2][0].get_segments()]
    assert ends == [pytest.approx([0, 0]), pytest.approx([-21, -19]), pytest.approx([-21, -19])]
    filled = [one for one in figure.axes[0].collections if isinstance(one, PolyCollection)]
    bands = [one.get_datalim(figure.axes[0].transData) for one in filled]
    bands = [(box.x0, box.x1, box.y0, box.y1) for box in bands]
    assert bands == [pytest.approx((-0.5, 1.5, -1.0, -0.5)), pytest.approx((1.5, 2.5, -1.5, -1.0))]
    (legend,) = figure.legends
    words = [one.get_text() for one in legend.get_texts()]
    assert "random features, set to zero (2 draws)" in words
    assert "random, of the head, set to zero (1 draw)" in words
    handles = [one for name, one in zip(words, legend.legend_handles, strict=True) if "random" in name]
    colours = {to_hex(one.get_color() if isinstance(one, Line2D) else one.get_facecolor()) for one in handles}
    assert len(colours) == len(handles) == 3
    without = dataclasses.replace(record, robustness=None, untouched=record.untouched[:1])
    assert len(ablation_figure(without).axes) == 2


def cut(figure):
    """Texts that reach beyond the picture."""
    FigureCanvasAgg(figure).draw()
    box = figure.bbox
    shown = [one for one in figure.findobj(Text) if one.get_text() and one.get_visible()]
    inside = [one.get_window_extent() for one in shown]
    return [one.get_text() for one, at in zip(shown, inside, strict=True) if at.x0 < box.x0 - 1 or at.x1 > box.x1 + 1]


def test_titles_are_not_cut(record, tmp_path):
    model = dataclasses.replace(record.model, name="checkpoints/finetune/001/wise_ft/alpha=0.50.safetensors")
    words = "largest features (too few features for the rule)"
    group = dataclasses.replace(record.groups[0], members=(9,), words=words)
    small = dataclasses.replace(
        record,
        model=model,
        groups=(group,),
        ablations=tuple(one for one in record.ablations if one.members == (9,) or one.control),
        units=tuple(dataclasses.replace(one, top=one.top[:1], bottom=()) for one in record.units),
    )
    assert cut(ablation_figure(small)) == []
    assert cut(contact_sheets(small, tmp_path)["features"]) == []
    assert cut(ablation_figure(record)) == []


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
    height = {one.get_text().splitlines()[-1]: one.get_position()[1] for one in axes.texts[2:]}
    marks = [one.get_position()[1] for one in axes.texts if one.get_text() == "+"]
    assert height["−"] == pytest.approx(height["v2 −9.00"] - 0.5)
    assert marks[0] == pytest.approx(height["−"] - 1.32)  # feature 9: largest above smallest
    assert [one.get_position()[1] for one in axes.texts if one.get_text().endswith("v2 9.00")] == [
        pytest.approx(mark + 0.5) for mark in marks
    ]
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

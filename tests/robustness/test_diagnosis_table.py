"""Which rows and figures of a study are used, and what is said of the others."""

import dataclasses
import math

import pytest
from diagnosis_tables import TELLS, made_up_rows

from lightning_robust.robustness.diagnosis_predictors import PREDICTORS, RIVALS
from lightning_robust.robustness.diagnosis_table import diagnosis_table


def changed(row, **changes):
    figures = {**row.figures, **changes.pop("figures", {})}
    return dataclasses.replace(row, **changes, figures=figures)


def without(row, tag):
    return dataclasses.replace(row, figures={name: value for name, value in row.figures.items() if name != tag})


def test_rows_of_every_kind_but_random_ones_and_those_that_were_not_measured():
    rows = made_up_rows(families=5, rows=2)
    rows[1] = changed(rows[1], kind="finetuned")
    rows[2] = changed(rows[2], kind="supervised")
    rows[3] = changed(rows[3], kind="random")
    rows[4] = without(rows[4], "er/mean")
    rows[5] = changed(rows[5], figures={"er/mean": math.nan})
    table = diagnosis_table(rows)
    assert [point.name for point in table.points] == [row.name for row in rows[:3] + rows[6:]]
    assert table.left_out == {
        rows[3].name: "its weights are random",
        rows[4].name: "its effective robustness was not measured",
        rows[5].name: "its effective robustness was not measured",
    }
    assert (table.figures, table.rivals, table.notes) == (PREDICTORS, RIVALS, ())
    first = table.points[0]
    assert first.figures == {tag: rows[0].value(tag) for tag in {*PREDICTORS, *RIVALS}}
    assert (first.target, first.family, first.checkpoint_hash) == (rows[0].value("er/mean"), "m00", "0-0-0")
    assert math.isnan(first.predicted)


def test_a_figure_that_few_rows_have_is_not_read_and_one_that_most_have_costs_the_others():
    rows = made_up_rows(families=10, rows=2)
    few = [without(row, "rankme/h") if k < 3 else row for k, row in enumerate(rows)]
    table = diagnosis_table(few)
    assert "rankme/h" not in table.figures
    assert table.notes == ("rankme/h is not read: 17 of 20 rows have it.",)
    assert len(table.points) == 20
    assert "rankme/h" in table.rivals
    most = [without(row, "rankme/h") if k < 2 else row for k, row in enumerate(rows)]
    table = diagnosis_table(most)
    assert table.figures == PREDICTORS
    assert table.left_out == dict.fromkeys([rows[0].name, rows[1].name], "it has no rankme/h")


def test_a_figure_that_never_changes_is_not_read():
    rows = [changed(row, figures={"head/effective_rank": 9.0}) for row in made_up_rows(families=5)]
    table = diagnosis_table(rows)
    assert "head/effective_rank" not in table.figures
    assert table.notes == ("head/effective_rank is not read: it is the same in every row.",)


def test_a_figure_that_is_asked_for_costs_what_it_costs():
    rows = made_up_rows(families=5, rows=2)
    rows = [without(row, TELLS) if k < 8 else row for k, row in enumerate(rows)]
    table = diagnosis_table(rows, (TELLS,))
    assert table.figures == (TELLS,)
    assert len(table.points) == 2


def test_the_same_weights_count_once_and_make_families_one():
    rows = made_up_rows(families=5, rows=2)
    rows[4] = changed(rows[4], checkpoint_hash=rows[0].checkpoint_hash)
    rows[7] = changed(rows[7], checkpoint_hash=rows[5].checkpoint_hash)
    table = diagnosis_table(rows)
    assert table.left_out == {
        rows[4].name: f"its weights are those of {rows[0].name}",
        rows[7].name: f"its weights are those of {rows[5].name}",
    }
    assert {point.name: point.family for point in table.points} == {
        row.name: "m00" if row.family in ("m02", "m03") else row.family
        for row in rows
        if row.name not in table.left_out
    }
    assert table.notes == (
        "m02 shares weights with m00 and is counted as that family.",
        "m03 shares weights with m00 and is counted as that family.",
    )
    assert [point.family for point in table.points] == sorted(point.family for point in table.points)


def test_rows_of_unknown_weights_are_all_kept():
    rows = [changed(row, checkpoint_hash="") for row in made_up_rows(families=4)]
    table = diagnosis_table(rows)
    assert len(table.points) == 16
    assert len({point.family for point in table.points}) == 4


@pytest.mark.parametrize(
    ("figures", "message"),
    [
        ((), "one or more different figures, got none"),
        ((TELLS, TELLS), "different figures"),
        (("accuracy/sketch",), "reference images alone give, and 'accuracy/sketch' is not among it"),
        (("concepts/mean_best_ap",), "'concepts/mean_best_ap' is not among it"),
        (("head/alpha",), "no row of the study has the figure 'head/alpha'"),
    ],
)
def test_figures_that_cannot_be_read(figures, message):
    with pytest.raises(ValueError, match=message):
        diagnosis_table(made_up_rows(families=4), figures)


def test_studies_without_figures_or_with_a_name_twice():
    rows = made_up_rows(families=4, rows=1)
    bare = [dataclasses.replace(row, figures={"er/mean": 0.1}) for row in rows]
    with pytest.raises(ValueError, match="no row of the study has a figure that a diagnosis reads: kurtosis/last"):
        diagnosis_table(bare)
    unmeasured = [without(row, "er/mean") for row in rows]
    with pytest.raises(ValueError, match="no row of the study has measured effective robustness, er/mean"):
        diagnosis_table(unmeasured)
    with pytest.raises(ValueError, match="two are called 'm00'"):
        diagnosis_table([*rows, rows[0]])

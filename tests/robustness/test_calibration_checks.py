"""Calibrations that were edited by hand or damaged, and whole ones."""

import json
import math
from dataclasses import replace

import pytest
from diagnosis_tables import PROVENANCE, TELLS, made_up_rows, study_of

from lightning_robust.errors import UserError
from lightning_robust.results.diagnosis_record import write_calibration
from lightning_robust.robustness.calibration_checks import calibration_fault
from lightning_robust.robustness.calibration_files import load_calibration
from lightning_robust.robustness.diagnosis import fit_calibration, without_family

FEW = (TELLS, "confidence/mean")


@pytest.fixture(scope="module")
def whole():
    return fit_calibration(study_of(made_up_rows(families=6, rows=2, tags=FEW)), FEW, provenance=PROVENANCE)


def test_a_whole_one_is_read_as_it_was_written(whole, tmp_path):
    assert math.isinf(whole.points[0].low)  # six families are few for 90 %
    write_calibration(whole, tmp_path / "table.json")
    assert load_calibration(tmp_path / "table.json")[0].points == whole.points
    assert calibration_fault(without_family(whole, "m03")) is None


def first(whole, **changes):
    return replace(whole, points=(replace(whole.points[0], **changes), *whole.points[1:]))


@pytest.mark.parametrize(
    ("damaged", "said"),
    [
        (lambda c: replace(c, points=c.points[2:]), "10 rows of 5 families, and says that it was judged on 12 of 6"),
        (lambda c: replace(c, points=c.points[1:]), "has 11 rows of 6 families"),
        (lambda c: replace(c, points=()), "has 0 rows of 0 families"),
        (lambda c: replace(c, points=(*c.points[1:], c.points[1])), "two rows are called"),
        (lambda c: replace(c, figures=(*FEW, "rankme/h")), "its row 'm00' has no rankme/h"),
        (lambda c: replace(c, figures=(*FEW, "er/mean")), "reads 'er/mean', which reference images alone do not"),
        (lambda c: replace(c, figures=()), "names none"),
        (lambda c: replace(c, figures=(TELLS, TELLS)), "one or more different figures"),
        (lambda c: first(c, figures={TELLS: math.nan, "confidence/mean": 1.0}), f"its row 'm00' has no {TELLS}"),
        (lambda c: first(c, figures={TELLS: -1.0, "confidence/mean": 1.0}), f"its row 'm00' has no {TELLS}"),
        (lambda c: first(c, target=math.nan), "its row 'm00' has no target"),
        (lambda c: first(c, low=math.nan), "its row 'm00' has no low"),
        (lambda c: first(c, kind="random"), "is of kind 'random'"),
        (lambda c: replace(c, target="accuracy"), "it predicts 'accuracy'"),
        (lambda c: replace(c, level=1.0), "its level is at least 0.5 and below 1, and says 1"),
        (lambda c: replace(c, margin=math.nan), "its margin is no number"),
        (lambda c: replace(c, seeds={}), "its seeds lack bootstrap"),
        (lambda c: replace(c, skills=c.skills[1:]), "does not say how well"),
        (lambda c: replace(c, skills=()), "does not say how well"),
    ],
)  # fmt: skip
def test_a_damaged_one_is_refused_in_a_sentence_that_says_where(whole, tmp_path, damaged, said):
    write_calibration(damaged(whole), tmp_path / "table.json")
    with pytest.raises(UserError, match=r"table\.json is no whole calibration: ") as error:
        load_calibration(tmp_path / "table.json")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_text_for_a_number_is_refused(whole, tmp_path):
    write_calibration(whole, tmp_path / "table.json")
    found = json.loads((tmp_path / "table.json").read_text())
    found["points"][0]["figures"][TELLS] = "high"
    (tmp_path / "table.json").write_text(json.dumps(found))
    with pytest.raises(UserError, match="should be a number, not 'high'"):
        load_calibration(tmp_path / "table.json")

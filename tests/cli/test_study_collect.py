"""From records to a study's row, where something is not there; times of trainings."""

import math
import time
from pathlib import Path

import pytest
import study_stand_in
from torch.utils.tensorboard import SummaryWriter

from lightning_robust.cli.study_figures import evaluation_figures, pruning_figures
from lightning_robust.cli.study_files import study_columns, write_study_files
from lightning_robust.cli.study_seconds import training_seconds
from lightning_robust.results import DataDescription, ModelEvaluation, collect_provenance
from lightning_robust.results.prune_record import JudgedPoint, PrunedModel
from lightning_robust.results.study_record import StudyRecord, StudyRow, read_study


def test_without_baseline_or_curves_figures_are_absent_and_not_zero():
    model = ModelEvaluation(**study_stand_in.about("x"), rows=study_stand_in.rows_of("x"))
    assert set(evaluation_figures(model)) == {f"accuracy/{name}" for name in (*study_stand_in.SETS, "shifts")}
    alone = ModelEvaluation(**study_stand_in.about("x"), rows=study_stand_in.rows_of("x")[:1])
    assert set(evaluation_figures(alone)) == {"accuracy/reference"}
    pruned = PrunedModel(
        **study_stand_in.about("x"), classes=4, d=8, unit_norm=True, bias=False, rank_raw=4, rank_centred=3,
        privileged_raw=1, privileged_centred=0, outliers_by_rule=None, calibration_images=10,
        unpruned=JudgedPoint(rows=study_stand_in.rows_of("x")), curves=(),
    )  # fmt: skip
    assert pruning_figures(pruned) == {}


def test_a_training_took_as_long_as_its_starts_together(tmp_path):
    assert training_seconds(tmp_path) is None
    for suffix in (".a", ".b"):  # broken off, and gone on with
        with SummaryWriter(tmp_path, filename_suffix=suffix) as writer:
            begun = time.time()
            for step in range(3):
                writer.add_scalar("train/loss", 0.0, step, walltime=begun + 1000 * step)
    assert training_seconds(tmp_path) == pytest.approx(4000, abs=60)


def test_rows_with_different_figures_have_the_same_columns(tmp_path: Path):
    rows = (
        StudyRow(name="a", model="a", family="a", kind="zero-shot", labels={"x": "1"}, figures={"er/mean": 0.25}),
        StudyRow(
            name="b", model="b", family="b", kind="random", figures={"outliers/h": math.nan}, seconds={"probe": 1.5}
        ),
    )  # fmt: skip
    record = StudyRecord(
        name="s", provenance=collect_provenance(threads=1), seeds={}, conventions=(), rows=rows,
        data=DataDescription(dataset="x", protocol="y", images={}),
    )  # fmt: skip
    first, second = study_columns(record)
    assert list(first) == list(second)
    assert (first["er/mean"], second["er/mean"], first["outliers/h"], second["seconds/probe"]) == (
        0.25,
        None,
        None,
        1.5,
    )
    assert second["outliers/h"] != second["outliers/h"]
    write_study_files(record, tmp_path)
    assert read_study(tmp_path / "study.json").rows[0] == rows[0]
    assert {path.name for path in tmp_path.iterdir()} == {"study.json", "study.csv", "study.parquet"}


@pytest.mark.parametrize("rows", [()])
def test_a_table_without_rows_is_a_table(tmp_path, rows):
    record = StudyRecord(
        name="s", provenance=collect_provenance(threads=1), seeds={}, conventions=(), rows=rows,
        data=DataDescription(dataset="x", protocol="y", images={}),
    )  # fmt: skip
    assert study_columns(record) == []
    write_study_files(record, tmp_path)

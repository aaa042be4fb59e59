"""What `diagnose` says of the images that a model was measured on."""

from dataclasses import replace

import pytest
from diagnosis_data import DATA, made_up_study

from lightning_robust.cli.diagnose_measured import Measured
from lightning_robust.cli.diagnose_record import diagnosis_record
from lightning_robust.results import DataDescription, ModelDescription, ProbeRecord, collect_provenance
from lightning_robust.results.study_record import StudyRecord
from lightning_robust.robustness.diagnosis import fit_calibration

SOURCE = f"{DATA.dataset}, reference test images"
OTHERS = {"reference": 2000, "probe: clean probe images (concepts)": 900}


def data(images):
    return DataDescription(dataset=DATA.dataset, protocol="", images=images)


def probe(images):
    model = ModelDescription(name="a", origin="", checkpoint_hash="e" * 64, parameters=1, classes=20)
    return ProbeRecord(
        provenance=collect_provenance(), seeds={}, model=model, conventions=(), layers=(), scalars={}, curves={},
        indices={}, data=data(images),
    )  # fmt: skip


def diagnosed(measured_on, table_on):
    """The table, and what is said by it of a model of which nothing was measured."""
    study = vars(made_up_study(6)) | {"data": data(OTHERS | table_on)}
    table = fit_calibration(StudyRecord(**study))
    return table, diagnosis_record([Measured("a", probe(measured_on), {})], table)


def reasons(measured_on, table_on):
    (found,) = diagnosed(measured_on, table_on)[1].models
    return found.reasons


@pytest.mark.parametrize(
    ("source", "count"),
    [(f"{SOURCE}, 60 of 2,000, evenly spaced", 60), (SOURCE, 1999), (SOURCE.replace("test", "validation"), 2000)],
)
def test_other_images_than_those_of_the_table_or_fewer_are_told_of(source, count):
    assert reasons({source: count}, {f"probe: {SOURCE}": 2000})[-1] == (
        f"Measured on {count:,} images ({source}), and the table on 2,000 images ({SOURCE}): "
        "figures such as RankMe depend on the images."
    )


def test_the_same_images_and_a_table_that_does_not_say_are_not():
    said = [*reasons({SOURCE: 2000}, {f"probe: {SOURCE}": 2000}), *reasons({SOURCE: 60}, {})]
    assert not any(reason.startswith("Measured on") for reason in said)


def test_the_margin_and_the_rows_are_those_of_the_table():
    table, record = diagnosed({SOURCE: 2000}, {})
    table = replace(table, margin=0.07)
    assert diagnosis_record([Measured("a", probe({SOURCE: 2000}), {})], table).margin == 0.07
    assert record.points == table.points

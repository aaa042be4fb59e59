"""results.json: a whole record there and back, versions, refusals."""

import dataclasses
import json
import math

import pytest

from lightning_robust.errors import UserError
from lightning_robust.results import (
    AlphaChoice,
    AlphaRow,
    DataDescription,
    Interval,
    RunRecord,
    collect_provenance,
    file_sha256,
    read_run,
    write_run,
)
from lightning_robust.results.effective_robustness import EffectiveRobustness, ShiftRobustness


@pytest.fixture
def record():
    shifts = {"sketch": 0.4, "art": 0.6}
    rows = tuple(
        AlphaRow(
            alpha=a, val_reference=0.8, reference=0.79, shifts=shifts, shifts_mean=0.5, signatures={"kurtosis": 3.0}
        )
        for a in (0.0, 0.5, 1.0)
    )
    choice = AlphaChoice(
        alpha_fixed=0.5,
        alpha_star=0.5,
        tolerance=0.01,
        alphas=(0.0, 0.5, 1.0),
        validation_accuracies=(0.7, 0.8, 0.8),
        bootstrap_shares=(0.0, 0.9, 0.1),
        images=2000,
        replicates=2000,
        seed=0,
        rule="the smallest α within 1 point",
    )
    return RunRecord(
        kind="finetune",
        provenance=collect_provenance(threads=1),
        seeds={"training": 0},
        config={"lr": 3e-4, "layers": ["layer4"], "head": None},
        data=DataDescription(dataset="scenes", protocol="top-1 of 20", images={"reference": 2000}),
        conventions=("Pearson kurtosis: a Gaussian gives 3",),
        wise_ft=rows,
        choice=choice,
        intervals={"art: α = 0.5 minus α = 1": Interval(0.1, 0.05, 0.15, 0.95, 2000, 0)},
        reference_lines={"untrained": {"kurtosis": 2.8}},
        checkpoints={"wise_ft/alpha=0.00.safetensors": "0" * 64},
    )


def test_round_trip_through_a_file(record, tmp_path):
    write_run(record, tmp_path / "results.json")
    assert read_run(tmp_path / "results.json") == record
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


def test_the_file_is_strict_json_with_null_for_nan(record, tmp_path):
    row = dataclasses.replace(record.wise_ft[0], signatures={"kurtosis": math.nan})
    path = tmp_path / "results.json"
    write_run(dataclasses.replace(record, wise_ft=(row,)), path)

    def refuse(constant):
        raise ValueError(constant)

    data = json.loads(path.read_text(), parse_constant=refuse)
    assert data["wise_ft"][0]["signatures"] == {"kurtosis": None}
    assert data["choice"]["rule"] == "the smallest α within 1 point"
    assert data["schema_version"] == 4
    assert math.isnan(read_run(path).wise_ft[0].signatures["kurtosis"])


def test_parts_that_a_run_need_not_have(record):
    data = record.to_json()
    for name in ("wise_ft", "choice", "intervals", "reference_lines", "checkpoints", "conventions"):
        del data[name]
    short = RunRecord.from_json(data)
    assert short.choice is None
    assert short.wise_ft == ()


def test_a_file_of_version_1_is_read(record, tmp_path):
    """It knows of no effective robustness."""
    data = record.to_json() | {"schema_version": 1}
    del data["baseline"]
    for row in data["wise_ft"]:
        del row["effective_robustness"], row["matched_reference"]
    path = tmp_path / "results.json"
    path.write_text(json.dumps(data))
    assert read_run(path) == dataclasses.replace(record, schema_version=1)


def test_what_could_not_be_read_there_and_back_and_in_an_older_file(record, tmp_path):
    path = tmp_path / "results.json"
    left_out = {"sketch": ("a.jpg: it is empty", "b.jpg: not an image")}
    changed = dataclasses.replace(record, data=dataclasses.replace(record.data, unreadable=left_out))
    write_run(changed, path)
    assert read_run(path) == changed
    data = record.to_json() | {"schema_version": 2}
    del data["data"]["unreadable"]
    path.write_text(json.dumps(data))
    assert read_run(path) == dataclasses.replace(record, schema_version=2)


def test_what_training_read_there_and_back_and_in_an_older_file(record, tmp_path):
    path = tmp_path / "results.json"
    changed = dataclasses.replace(record, data=dataclasses.replace(record.data, training="pairs.csv, 12 pairs"))
    write_run(changed, path)
    assert read_run(path) == changed
    data = record.to_json() | {"schema_version": 3}
    del data["data"]["training"]
    path.write_text(json.dumps(data))
    assert read_run(path) == dataclasses.replace(record, schema_version=3)


def test_effective_robustness_of_an_alpha_there_and_back(record, tmp_path):
    interval = Interval(0.1, 0.05, 0.15, 0.95, 2000, 0)
    one = ShiftRobustness(
        accuracy=0.5, expected=0.4, estimate=0.1, interval=interval, prediction=None, extrapolated=True
    )
    found = EffectiveRobustness(shifts={"art": one}, mean=one, baseline="own", scale="logit", x="full", aggregate="er")
    row = dataclasses.replace(record.wise_ft[0], effective_robustness=found, matched_reference={"art": 0.7})
    changed = dataclasses.replace(record, wise_ft=(row,), baseline="own: 12 models")
    write_run(changed, tmp_path / "results.json")
    assert read_run(tmp_path / "results.json") == changed


def test_a_newer_version_is_one_sentence(record, tmp_path):
    path = tmp_path / "results.json"
    path.write_text(json.dumps(record.to_json() | {"schema_version": 5, "unheard_of": 1}))
    with pytest.raises(
        UserError, match=r"results\.json: .*newer lightning-robust \(schema 5, this one reads up to 4\)"
    ):
        read_run(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a run's results.json"),
        ("[]", "no schema_version"),
        ('{"schema_version": "1"}', "no schema_version"),
        ('{"schema_version": 1}', "lacks parts that RunRecord needs: config"),
    ],
)
def test_bad_files_are_one_sentence(tmp_path, content, message):
    path = tmp_path / "results.json"
    path.write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        read_run(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match="no results at"):
        read_run(tmp_path / "results.json")


def test_a_config_that_cannot_be_written_leaves_the_old_file(record, tmp_path):
    path = tmp_path / "results.json"
    write_run(record, path)
    with pytest.raises(TypeError, match=r"results\.config\.model"):
        write_run(dataclasses.replace(record, config={"model": object()}), path)
    assert read_run(path) == record


def test_records_are_frozen(record):
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.kind = "other"


def test_hash_of_a_file(tmp_path):
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    assert file_sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_file_from_before_the_start_was_recorded_is_read(record, tmp_path):
    data = record.to_json()
    del data["start"]
    assert RunRecord.from_json(data).start is None
    begun = dataclasses.replace(record, start="a linear probe, l2 = 0.01")
    write_run(begun, tmp_path / "results.json")
    assert read_run(tmp_path / "results.json") == begun

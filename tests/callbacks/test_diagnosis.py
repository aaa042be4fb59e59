"""`Diagnosis` in real tiny trainings: what it logs, from which figures, and that it needs no shift."""

import dataclasses
import math

import numpy as np
import pytest
from callback_cases import (
    LAYER,
    OWN,
    QUIET,
    Data,
    ListLogger,
    Noisy,
    Ours,
    Scored,
    hooks,
    loader,
    made_up_baseline,
    seed_all,
    trainer,
)
from documented_tags import documented
from lightning.pytorch.loggers import TensorBoardLogger
from made_up_table import STEM, made_up_calibration, save
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from lightning_robust.callbacks import CurveRecorder, Diagnosis, EffectiveRobustness, SignatureMonitor, WiseFT
from lightning_robust.errors import UserError
from lightning_robust.models.networks import load_network
from lightning_robust.results import read_curves
from lightning_robust.robustness.diagnosed import FittedDiagnosis, diagnose_row
from lightning_robust.robustness.diagnosis import without_family
from lightning_robust.robustness.reference_figures import reference_figures

pytestmark = QUIET

TAGS = {f"diagnosis/{name}" for name in ("er/predicted", "er/low", "er/high", "distance", "verdict")}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return save(made_up_calibration(), tmp_path_factory.mktemp("table"))


def fit(callbacks, folder, module=None, **options):
    module = module or Ours()
    seed_all()
    run = trainer(folder, callbacks=callbacks, **options)
    run.fit(module, datamodule=Data())
    return run, module


def test_documented_tags_are_logged_before_training_and_after_each_epoch(table, tmp_path):
    own, log = Diagnosis(table, layers=[STEM, LAYER]), ListLogger()
    run, _ = fit([own], tmp_path, logger=log)
    assert documented(Diagnosis, "Logged tags") == TAGS
    assert [(entry["epoch"], entry["step"]) for entry in own.history] == [(0, 0), (1, 3), (2, 6)]
    assert all(set(entry["scalars"]) == TAGS for entry in own.history)
    logged = [(step, row["diagnosis/er/predicted"]) for step, row in log.rows if "diagnosis/er/predicted" in row]
    assert logged == [(entry["step"], entry["scalars"]["diagnosis/er/predicted"]) for entry in own.history]
    assert set(run.callback_metrics) >= TAGS


def test_it_says_what_the_table_says_of_the_figures_that_a_monitor_measures(table, tmp_path):
    own = Diagnosis(table, layers=[STEM, LAYER])
    monitor = SignatureMonitor(["kurtosis", "spectrum", "confidence"], layers=[STEM, LAYER], weights=["fc.weight"])
    fit([monitor, own], tmp_path)
    assert len(own.history) == len(monitor.history) == 3
    for mine, theirs in zip(own.history, monitor.history, strict=True):
        figures = reference_figures(theirs["scalars"], [STEM, LAYER], LAYER)
        expected = diagnose_row(own.calibration, figures)
        assert mine["scalars"]["diagnosis/er/predicted"] == pytest.approx(expected.predicted, rel=1e-12)
        assert mine["scalars"]["diagnosis/er/low"] == pytest.approx(expected.low, rel=1e-12)
        assert mine["scalars"]["diagnosis/distance"] == pytest.approx(expected.distance, rel=1e-12)
        code = {"robust": 1.0, "undetermined": 0.0, "not robust": -1.0}[expected.verdict]
        assert mine["scalars"]["diagnosis/verdict"] == code
    predicted = [entry["scalars"]["diagnosis/er/predicted"] for entry in own.history]
    assert len(set(predicted)) == 3


def test_only_reference_images_are_looked_at_and_only_in_the_validation_that_runs_anyway(table, tmp_path):
    _, plain = fit([], tmp_path)
    _, watched = fit([Diagnosis(table, layers=[STEM, LAYER], every_n_epochs=1)], tmp_path)
    extra = [one for one in watched.forwards if one not in plain.forwards]
    before = watched.forwards[: len(watched.forwards) - len(plain.forwards)]
    assert extra == []
    assert before  # the pass before training
    assert {name for _, name, _ in before} == {1}


def test_the_recorder_keeps_it_beside_what_is_measured_and_the_path_has_it_for_each_alpha(table, tmp_path):
    baseline = made_up_baseline()
    path = WiseFT([0.5], module="", replicates=10, baseline=baseline)
    callbacks = [Diagnosis(table, layers=[STEM, LAYER]), EffectiveRobustness(baseline, replicates=10), path]
    file = tmp_path / "signatures.csv"
    fit([*callbacks, CurveRecorder(file)], tmp_path, Scored(), num_sanity_val_steps=-1)
    rows = read_curves(file)
    predicted = {row.epoch: row.value for row in rows if row.tag == "diagnosis/er/predicted"}
    measured = {row.epoch: row.value for row in rows if row.tag == "er/mean"}
    assert predicted.keys() == measured.keys() == {0, 1, 2}
    assert all(set(row.signatures) >= TAGS for row in path.path.rows)
    assert len({row.signatures["diagnosis/er/predicted"] for row in path.path.rows}) == 3


def test_tensorboard_has_the_verdict_in_words_with_its_reasons(table, tmp_path):
    own = Diagnosis(table, layers=[STEM, LAYER])
    fit([own], tmp_path, logger=TensorBoardLogger(tmp_path))
    (file,) = tmp_path.rglob("events.out.tfevents*")
    log = EventAccumulator(str(file), size_guidance={"tensors": 0}).Reload()
    texts = [event.tensor_proto.string_val[0].decode() for event in log.Tensors("diagnosis/words/text_summary")]
    assert len(texts) == 3
    assert "effective robustness is predicted at" in texts[-1]
    assert all(reason in texts[-1] for reason in own.latest.reasons)


def test_a_run_that_goes_on_has_the_figures_of_one_that_was_not_broken(table, tmp_path):
    whole = Diagnosis(table, layers=[STEM, LAYER])
    fit([whole], tmp_path)
    first, module = Diagnosis(table, layers=[STEM, LAYER]), Ours()
    run, _ = fit([first], tmp_path, module, max_epochs=1)
    run.save_checkpoint(tmp_path / "half.ckpt")
    second = Diagnosis(table, layers=[STEM, LAYER])
    trainer(tmp_path, callbacks=[second]).fit(Ours(), datamodule=Data(), ckpt_path=tmp_path / "half.ckpt")
    assert [entry["step"] for entry in second.history] == [0, 3, 6]
    assert second.history[:2] == first.history == whole.history[:2]


class Begun(Ours):
    """Begins with weights that the table may know, as `ClassifierFinetuning.loaded` says."""

    def __init__(self, checkpoint_hash, name="", pretrained=True):
        super().__init__()
        self.save_hyperparameters("pretrained")
        self.loaded = type("Loaded", (), {"checkpoint_hash": checkpoint_hash, "name": name})()


def test_the_family_that_training_begins_with_is_left_out(table, tmp_path):
    known, unknown = Diagnosis(table, layers=[STEM, LAYER]), Diagnosis(table, layers=[STEM, LAYER])
    point = known.calibration.points[0]
    fit([known], tmp_path, Begun(point.checkpoint_hash), max_epochs=1)
    fit([unknown], tmp_path, Begun("f" * 64), max_epochs=1)
    assert (known.family, unknown.family) == (point.family, None)
    assert f"36 rows of 12 families, without the family {point.family}, from" in known.convention
    assert "without" not in unknown.convention
    expected = diagnose_row(without_family(known.calibration, point.family), known.latest.figures)
    assert known.latest.predicted == expected.predicted
    assert known.latest.predicted != unknown.latest.predicted


@pytest.mark.parametrize(("pretrained", "known"), [(True, True), (False, False)])
def test_the_family_is_known_by_name_too_unless_that_is_an_architecture_alone(table, tmp_path, pretrained, known):
    own = Diagnosis(table, layers=[STEM, LAYER])
    point = own.calibration.points[0]
    own.setup(trainer(tmp_path), Begun("f" * 64, point.name, pretrained), "fit")
    assert own.family == (point.family if known else None)


def test_two_with_different_tables_log_under_their_prefixes(table, tmp_path):
    other = save(made_up_calibration(seed=5), tmp_path)
    one, two = Diagnosis(table, layers=[STEM, LAYER]), Diagnosis(other, layers=[STEM, LAYER], prefix="b")
    fit([one, two], tmp_path)
    assert set(two.history[0]["scalars"]) == {f"b/{tag}" for tag in TAGS}
    assert one.history[0]["scalars"]["diagnosis/er/predicted"] != two.history[0]["scalars"]["b/diagnosis/er/predicted"]
    with pytest.raises(UserError, match=r"two monitors log .* give one of them a prefix="):
        fit([Diagnosis(table, layers=[STEM, LAYER]), Diagnosis(other, layers=[STEM, LAYER])], tmp_path)


def test_own_images_and_steps_of_its_own(table, tmp_path):
    own = Diagnosis(table, layers=[STEM, LAYER], images=loader(OWN, 20), every_n_steps=2, every_n_epochs=0)
    fit([own], tmp_path)
    assert [entry["step"] for entry in own.history] == [0, 2, 4, 6]
    assert own.history[0]["images"] == 20


def test_what_is_not_measured_of_a_module_is_told_once_and_predicts_nothing(table, tmp_path):
    own = Diagnosis(table, layers=[LAYER])  # no layer before the representation
    with pytest.warns(UserWarning, match="predicts nothing: Not measured: kurtosis/last/width_adjusted") as told:
        fit([own], tmp_path)
    assert len([one for one in told if "predicts nothing" in str(one.message)]) == 1
    assert all(math.isnan(entry["scalars"]["diagnosis/er/predicted"]) for entry in own.history)
    assert all(entry["scalars"]["diagnosis/verdict"] == 0 for entry in own.history)


class Wrapped(nn.Module):
    """A CLIP classifier where `ClassifierFinetuning` has it."""

    representation_layer = "model.encoder.visual"

    def __init__(self):
        super().__init__()
        self.model = load_network("scenes-clip", class_names=["star", "heart"]).model


def test_layers_are_found_where_the_module_names_its_representation(table):
    module = Wrapped()
    assert Diagnosis(table).layers_of(module) == ["model.encoder.visual.layer4", "model.encoder.visual"]
    everywhere = save(made_up_calibration(figures=("kurtosis/largest", "confidence/mean")), table.parent, "all.json")
    assert Diagnosis(everywhere).layers_of(module) == [
        *(f"model.encoder.visual.layer{k}" for k in range(1, 5)), "model.encoder.visual",
    ]  # fmt: skip
    only = save(made_up_calibration(figures=("rankme/h", "confidence/mean")), table.parent, "h.json")
    assert Diagnosis(only).layers_of(module) == ["model.encoder.visual"]
    assert Diagnosis(only).signatures == ("spectrum", "confidence")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda table: Diagnosis("nothing"), "no study 'nothing'"),
        (lambda table: Diagnosis(table, images="elsewhere"), "images is 'validation'"),
        (lambda table: Diagnosis(table.parent), "holds no study.json"),
    ],
)
def test_what_cannot_work_is_one_sentence(table, make, words):
    with pytest.raises(UserError, match=words) as raised:
        make(table)
    assert "\n" not in str(raised.value)


def test_a_module_without_a_head_is_refused_before_training(table, tmp_path):
    with pytest.raises(UserError, match="confidence needs a head"):
        fit([Diagnosis(table, layers=[STEM, LAYER])], tmp_path, Noisy())


def test_alpha_of_all_weights_is_the_mean_that_probe_reports(table, tmp_path):
    figures = ("weights/alpha", "head/effective_rank", "kurtosis/h")
    own = Diagnosis(save(made_up_calibration(figures=figures), tmp_path), layers=[STEM, LAYER])
    module = Ours()
    fit([own], tmp_path, module, max_epochs=1)
    from lightning_robust.signatures import weight_spectra

    rows = weight_spectra(module, names="all").table()
    defined = [row["alpha"] for row in rows if not math.isnan(row["alpha"])]
    assert own.latest.figures["weights/alpha"] == pytest.approx(np.mean(defined), rel=1e-9)
    (head,) = [row for row in rows if row["name"] == "fc.weight"]
    assert own.latest.figures["head/effective_rank"] == pytest.approx(head["effective_rank"], rel=1e-9)


@pytest.mark.parametrize("when", [1, 2])
def test_a_prediction_that_raises_leaves_nothing_behind(table, tmp_path, monkeypatch, when):
    plain, calls = FittedDiagnosis.diagnose, []

    def raising(self, figures, **options):
        calls.append(1)
        if len(calls) == when:
            raise RuntimeError("no prediction")
        return plain(self, figures, **options)

    monkeypatch.setattr(FittedDiagnosis, "diagnose", raising)
    own, module = Diagnosis(table, layers=[STEM, LAYER]), Ours()
    with pytest.raises(RuntimeError, match="no prediction"):
        fit([own], tmp_path, module)
    assert hooks(module) == 0
    assert own._listening is None
    assert len(module.losses) == (0 if when == 1 else 3)


class Elsewhere(Data):
    description = "another world"


def test_data_that_are_not_those_of_the_table_are_told_of_and_get_no_verdict(table, tmp_path, monkeypatch):
    plain = FittedDiagnosis.diagnose
    sure = {"verdict": "robust"}
    monkeypatch.setattr(FittedDiagnosis, "diagnose", lambda *a, **o: dataclasses.replace(plain(*a, **o), **sure))
    own = Diagnosis(table, layers=[STEM, LAYER])
    run = trainer(tmp_path, callbacks=[own], max_epochs=1)
    with pytest.warns(UserWarning, match="was measured on scenes and these data are another world"):
        run.fit(Ours(), datamodule=Elsewhere())
    assert own.latest.verdict == "undetermined"
    assert own.latest.reasons[-1].startswith("The table tiny was measured on scenes and these data are another")
    assert all(entry["scalars"]["diagnosis/verdict"] == 0 for entry in own.history)
    own.setup(run, Ours(), "fit")
    assert own._elsewhere == ""

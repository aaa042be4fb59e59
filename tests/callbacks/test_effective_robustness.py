"""Live effective robustness: the baseline's own numbers of the accuracies that a module logs, everywhere they go."""

import math
from types import SimpleNamespace

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from callback_cases import (
    REFERENCE,
    SHIFT,
    TRAIN,
    Data,
    ListLogger,
    NoValidation,
    Scored,
    draw,
    loader,
    made_up_baseline,
    same_state,
    seed_all,
    trainer,
)
from documented_tags import documented
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.data import DataLoader, IterableDataset

from lightning_robust.callbacks import CurveRecorder, EffectiveRobustness, logged_accuracies
from lightning_robust.errors import UserError
from lightning_robust.results import read_curves

STEPS = [0, 3, 6]
OPTIONS = {"num_sanity_val_steps": -1}


def follow(tmp_path, callback, *others, module=None, data=None, **options):
    """A run; gives the Trainer and the module."""
    seed_all()
    module = module or Scored()
    used = trainer(tmp_path, callbacks=[callback, *others], **(OPTIONS | options))
    used.fit(module, datamodule=data or Data())
    return used, module


def er(**options):
    return EffectiveRobustness(**({"baseline": made_up_baseline(), "replicates": 50} | options))


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logged")
    callback, recorder = er(), CurveRecorder(folder / "curves.csv")
    loggers = [TensorBoardLogger(folder / "tb"), CSVLogger(folder / "csv"), ListLogger()]
    used, module = follow(folder, callback, recorder, logger=loggers)
    return folder, callback, used, module


def test_figures_are_the_baseline_s_own_of_the_accuracies(logged):
    _, callback, _, module = logged
    assert [entry["step"] for entry in callback.history] == STEPS
    assert [entry["epoch"] for entry in callback.history] == [0, 1, 2]
    assert len({scores["val/reference/accuracy"] for scores in module.scores}) > 1
    for entry, scores in zip(callback.history, module.scores, strict=True):
        reference, sketch = scores["val/reference/accuracy"], scores["val/sketch/accuracy"]
        found = made_up_baseline().effective_robustness(
            reference, {"sketch": sketch}, {"reference": 30, "sketch": 20}, replicates=50
        )
        x = math.log(reference / (1 - reference))
        line = made_up_baseline().lines["sketch"]
        expected = 1 / (1 + math.exp(-(line.intercept + line.slope * x)))
        assert entry["scalars"]["er/sketch"] == pytest.approx(sketch - expected, abs=1e-6)
        assert entry["scalars"] == pytest.approx(
            {
                "er/sketch": found.shifts["sketch"].estimate,
                "er/sketch/low": found.shifts["sketch"].interval.low,
                "er/sketch/high": found.shifts["sketch"].interval.high,
                "er/mean": found.mean.estimate,
                "er/mean/low": found.mean.interval.low,
                "er/mean/high": found.mean.interval.high,
                "er/mean/prediction_low": found.mean.prediction.low,
                "er/mean/prediction_high": found.mean.prediction.high,
                "er/extrapolated": 0.0,
            },
            abs=1e-6,
        )


def test_every_logger_gets_the_documented_tags_at_every_epoch(logged):
    folder, callback, used, _ = logged
    promised = documented(EffectiveRobustness, "Logged tags", shift=["sketch"])
    assert len(promised) == 9
    assert all(set(entry["scalars"]) == promised for entry in callback.history)
    (file,) = (folder / "tb").rglob("events.out.tfevents*")
    events = EventAccumulator(str(file)).Reload()
    rows = read_curves(folder / "curves.csv")
    for tag in promised:
        expected = [entry["scalars"][tag] for entry in callback.history]
        assert [event.step for event in events.Scalars(tag)] == STEPS
        np.testing.assert_array_equal([event.value for event in events.Scalars(tag)], np.float32(expected))
        assert [(row.epoch, row.step, row.value) for row in rows if row.tag == tag] == [
            (k, step, value) for k, (step, value) in enumerate(zip(STEPS, expected, strict=True))
        ]
        assert [m[tag] for _, m in used.loggers[2].rows if tag in m] == expected
        assert used.callback_metrics[tag].item() == np.float32(expected[-1])


def test_without_a_whole_sanity_check_there_is_no_epoch_0(tmp_path):
    for checked in (0, 1):
        callback = er(replicates=0)
        follow(tmp_path, callback, num_sanity_val_steps=checked)
        assert [entry["step"] for entry in callback.history] == [3, 6]
        assert set(callback.history[0]["scalars"]) == {"er/sketch", "er/mean", "er/extrapolated"}


def test_validations_inside_an_epoch_are_measured(tmp_path):
    callback = er()
    follow(tmp_path, callback, val_check_interval=1, max_epochs=1)
    assert [(entry["epoch"], entry["step"]) for entry in callback.history] == [(0, 0), (0, 1), (0, 2), (1, 3)]


class ByStep(pl.LightningModule):
    """Anybody's module, which logs in the validation step as most do."""

    def __init__(self, **log):
        super().__init__()
        self.net, self.log_options = Scored(), log

    def training_step(self, batch, batch_idx):
        return torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        right = (self.net(batch[0]).argmax(dim=1) == batch[1]).float().mean()
        self.log("acc", right, batch_size=len(batch[0]), **self.log_options)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_a_module_of_anybody_with_tags_of_its_own(tmp_path):
    tags = {"reference": "acc/dataloader_idx_0", "shifts": {"sketch": "acc/dataloader_idx_1"}}
    callback = er(**tags)
    used = trainer(tmp_path, callbacks=[callback], num_sanity_val_steps=1)
    loaders = loader(TRAIN, 32), [loader(REFERENCE, 30, 7), loader(SHIFT, 20, 7)]
    used.fit(ByStep(), *loaders)
    metrics = used.callback_metrics
    found = made_up_baseline().effective_robustness(
        metrics["acc/dataloader_idx_0"].item(), {"sketch": metrics["acc/dataloader_idx_1"].item()},
        {"reference": 30, "sketch": 20}, replicates=50,
    )  # fmt: skip
    assert [entry["step"] for entry in callback.history] == [2, 4]
    assert callback.history[-1]["scalars"]["er/mean/low"] == found.mean.interval.low
    with pytest.warns(UserWarning, match="Lightning withholds what a module logs in the validation_step"):
        trainer(tmp_path, callbacks=[er(**tags)], num_sanity_val_steps=-1).fit(ByStep(), *loaders)


def test_numbers_of_images_may_be_given(tmp_path):
    counted, told = er(), er(images={"reference": 100_000, "sketch": 100_000}, prefix="told")
    follow(tmp_path, counted, told)
    narrow, wide = told.history[-1]["scalars"], counted.history[-1]["scalars"]
    assert set(narrow) == {f"told/{tag}" for tag in wide}
    assert narrow["told/er/sketch"] == pytest.approx(wide["er/sketch"], abs=0.02)  # clipped at 1/(2n)
    width = narrow["told/er/sketch/high"] - narrow["told/er/sketch/low"]
    assert width < 0.5 * (wide["er/sketch/high"] - wide["er/sketch/low"])


class Broken(Scored):
    """A figure that is not defined from the second epoch on."""

    broken = "val/sketch/accuracy"

    def on_validation_epoch_end(self):
        super().on_validation_epoch_end()
        if self.trainer.current_epoch >= 1:
            self.log(self.broken, torch.tensor(torch.nan))

    def scored(self, tag, value):
        if tag != self.broken or self.trainer.current_epoch < 1:
            self.log(tag, value)


class BrokenReference(Broken):
    broken = "val/reference/accuracy"


@pytest.mark.parametrize("module", [Broken, BrokenReference])
def test_an_accuracy_that_is_nan_makes_figures_nan_and_no_error(module, tmp_path):
    callback = er(baseline=made_up_baseline(shifts=("sketch", "art")), shifts={
        "sketch": "val/sketch/accuracy", "art": "val/reference/accuracy"})  # fmt: skip
    follow(tmp_path, callback, module=module(), data=Data())
    first, last = callback.history[0]["scalars"], callback.history[-1]["scalars"]
    assert set(first) == set(last)
    assert not any(math.isnan(value) for value in first.values())
    assert math.isnan(last["er/sketch"])
    assert math.isnan(last["er/mean"])
    assert math.isnan(last["er/mean/prediction_low"])
    assert math.isnan(last["er/art"]) == (module is BrokenReference)


def test_extrapolation_is_logged_and_told_once(tmp_path):
    high = made_up_baseline(low=0.9, high=0.99)
    callback = er(baseline=high)
    with pytest.warns(UserWarning, match=r"is an extrapolation.*lies outside the 12 models.* 0\.900 to 0\.990") as told:
        follow(tmp_path, callback)
    assert sum("extrapolation" in str(warning.message) for warning in told) == 1
    assert [entry["scalars"]["er/extrapolated"] for entry in callback.history] == [1.0, 1.0, 1.0]


def test_choosing_by_it_is_warned_of(tmp_path):
    best = ModelCheckpoint(tmp_path, monitor="er/mean", mode="max")
    with pytest.warns(UserWarning, match="ModelCheckpoint chooses by 'er/mean', measured on the shifts"):
        follow(tmp_path, er(), best, enable_checkpointing=True)
    assert best.best_model_score is not None


def test_going_on_from_a_checkpoint_keeps_the_history(tmp_path):
    whole = er()
    follow(tmp_path / "a", whole, max_epochs=2)
    first = er()
    used, _ = follow(tmp_path / "b", first, max_epochs=1)
    used.save_checkpoint(tmp_path / "a.ckpt")

    class Look(EarlyStopping):
        def on_train_batch_start(self, trainer, *_):
            self.seen = dict(trainer.callback_metrics)

    resumed, look = er(), Look("er/mean", strict=False, mode="max", patience=99)
    seed_all(1)
    module = Scored()
    run = trainer(tmp_path, callbacks=[resumed, look], max_epochs=2)
    with pytest.warns(UserWarning, match="EarlyStopping|Look"):
        run.fit(module, datamodule=Data(), ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    assert [entry["step"] for entry in resumed.history] == STEPS
    assert resumed.history[:2] == whole.history[:2] == first.history
    assert look.seen["er/mean"].item() == np.float32(first.history[-1]["scalars"]["er/mean"])


def test_a_second_run_begins_anew(tmp_path):
    callback = er()
    follow(tmp_path, callback, max_epochs=1)
    follow(tmp_path, callback, max_epochs=1)
    assert [entry["step"] for entry in callback.history] == [0, 3]


def test_training_is_bitwise_the_same_when_it_raises(tmp_path):
    seed_all()
    plain = Scored()
    trainer(tmp_path, max_epochs=1, **OPTIONS).fit(plain, datamodule=Data())

    class Percent(Scored):
        def scored(self, tag, value):
            self.log(tag, value if self.trainer.current_epoch == 0 and not self.losses else 100 * value)

    module = Percent()
    with pytest.raises(UserError, match=r"'val/reference/accuracy' is \d+.*, and accuracies are fractions"):
        follow(tmp_path, er(), module=module)
    assert same_state(module.state_dict(), plain.state_dict())


def matched(**options):
    return made_up_baseline(x="matched", **options)


class Both(Scored):
    """Logs the reference accuracy on some classes, too."""

    def scored(self, tag, value):
        self.log(tag, value)
        if tag == "val/reference/accuracy":
            self.log("val/matched/sketch/accuracy", 0.9 * value)


def test_a_baseline_of_matched_classes_reads_reference_accuracies_on_them(tmp_path):
    images = {"matched/sketch": 12}
    callback = er(baseline=matched(), reference={"sketch": "val/matched/sketch/accuracy"}, images=images)
    _, module = follow(tmp_path, callback, module=Both())
    scores = module.scores[-1]
    whole = scores["val/reference/accuracy"]
    found = matched().effective_robustness(
        {"reference": whole, "sketch": 0.9 * whole}, {"sketch": scores["val/sketch/accuracy"]},
        {"reference": 30, "sketch": 20, "matched/sketch": 12}, replicates=50,
    )  # fmt: skip
    assert callback.history[-1]["scalars"]["er/sketch"] == pytest.approx(found.mean.estimate, abs=1e-6)
    assert callback.history[-1]["scalars"]["er/mean/low"] == pytest.approx(found.mean.interval.low, abs=1e-6)


class Endless(IterableDataset):
    def __iter__(self):
        return iter([(x, y) for x, y in zip(*draw(REFERENCE, 20), strict=True)])


class NoLength(Data):
    def val_dataloader(self):
        return [DataLoader(Endless(), batch_size=4), loader(SHIFT, 20, self.batch)]


class OnlyTraining(Data):
    val_dataloader = pl.LightningDataModule.val_dataloader


class Elsewhere(Data):
    val_loader_names = ("reference", "paintings")


REFUSALS = {
    "a shift that the baseline lacks": (
        lambda: er(shifts={"sketsh": "val/sketch/accuracy"}), Scored, Data,
        "no line for sketsh: did you mean 'sketch'",
    ),
    "no shifts": (lambda: er(shifts={}), Scored, Data, "shifts is empty"),
    "no shift in common": (er, Scored, Elsewhere, "speaks of sketch, and the data of paintings: there is no effective"),
    "a shift with a taken name": (
        lambda: er(baseline=made_up_baseline(shifts=("extrapolated",)), shifts={"extrapolated": "a"}),
        Scored, Data, "rename it",
    ),
    "tags that nobody logs": (
        lambda: er(reference="val/acc"), Scored, Data,
        "logs no 'val/acc' at validation.*it logs 'val/reference/accuracy', 'val/sketch/accuracy'",
    ),
    "matched classes without tags": (
        lambda: er(baseline=matched()), Scored, Data, r"give reference=\{shift: tag\} for sketch",
    ),
    "matched classes without images": (
        lambda: er(baseline=matched(), reference={"sketch": "val/reference/accuracy"}), Scored, Data,
        r"give images=\{'matched/sketch': …\}",
    ),
    "tags of matched classes without effect": (
        lambda: er(reference={"sketch": "val/reference/accuracy"}), Scored, Data, "has no use for sketch",
    ),
    "images without effect": (lambda: er(images={"sketsh": 3}), Scored, Data, "images= has no use for 'sketsh'"),
    "a loader without a length": (
        er, Scored, NoLength, r"'val/reference/accuracy' is taken on cannot be known.*give images=\{'reference': …\}",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_work_is_refused_before_any_step(name, tmp_path):
    make, module, data, match = REFUSALS[name]
    module = module()
    with pytest.raises(UserError, match=match) as caught:
        follow(tmp_path, make(), module=module, data=data(), num_sanity_val_steps=2)
    assert "\n" not in str(caught.value)
    assert module.losses == []


def test_a_run_without_validation_is_refused(tmp_path):
    for options in ({"limit_val_batches": 0}, {"module": NoValidation(), "data": OnlyTraining()}):
        with pytest.raises(UserError, match=r"this Trainer runs none of (Scored|NoValidation)"):
            follow(tmp_path, er(), **options)


def test_two_under_the_same_tags_are_refused(tmp_path):
    module = Scored()
    with pytest.raises(UserError, match="give one of them a prefix="):
        follow(tmp_path, er(), er(baseline=made_up_baseline(name="another")), module=module)
    assert module.losses == []


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"replicates": -1}, "0 or more"),
        ({"images": {"sketch": 0}}, "at least one image for each name, got 0 for 'sketch'"),
        ({"baseline": 3}, "a name, a path or a Baseline, not a int"),
        ({"baseline": "imagnet"}, "imagnet"),
    ],
)
def test_settings_that_cannot_be(options, match):
    with pytest.raises(UserError, match=match):
        er(**options)


def test_shifts_left_out_are_told(tmp_path):
    with pytest.warns(UserWarning, match="measured on sketch, its mean over these; left out: the baseline's art"):
        follow(tmp_path, er(baseline=made_up_baseline(shifts=("sketch", "art"))), max_epochs=1)


def test_an_accuracy_of_one_process_alone_is_refused(monkeypatch):
    """As if each process had logged its own."""
    seen = {"val/acc": 0.5, "val/b": math.nan}
    many = SimpleNamespace(world_size=2)
    monkeypatch.setattr(logged_accuracies, "over_ranks", lambda figures: [figures, {**figures, "val/acc": 0.25}])
    with pytest.raises(UserError, match=r"'val/acc' differs between processes.*sync_dist=True"):
        logged_accuracies.check_same_on_all(many, seen)
    monkeypatch.setattr(logged_accuracies, "over_ranks", lambda figures: [figures, dict(figures)])
    logged_accuracies.check_same_on_all(many, seen)

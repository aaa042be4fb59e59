"""Tags logged are tags documented, in every logger, at epochs 0 to n."""

import csv
import math
import re

import numpy as np
import pytest
from callback_cases import LAYER, OWN, Data, ListLogger, Ours, loader, trainer
from documented_tags import documented
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_robust.callbacks import (
    ConceptMonitor,
    ConfidenceMonitor,
    KurtosisMonitor,
    SignatureMonitor,
    SpectrumMonitor,
)

LAYERS = [LAYER, "stem"]
BASES = ["singular_vectors", "neurons", "random_rotation"]
THRESHOLDS = ["0.5", "0.6", "0.7", "0.8", "0.9"]
MONITORS = {
    KurtosisMonitor: ({}, {}),
    SpectrumMonitor: ({"weights": ["fc.weight", "stem.weight"]}, {"name": ["fc.weight", "stem.weight"]}),
    ConceptMonitor: ({}, {"basis": BASES, "t": THRESHOLDS}),
    ConfidenceMonitor: ({}, {"representation": [LAYER]}),
}
STEPS = [0, 3, 6]


def events(folder):
    (file,) = folder.rglob("events.out.tfevents*")
    accumulator = EventAccumulator(str(file), size_guidance={"scalars": 0, "images": 0})
    return accumulator.Reload()


@pytest.mark.parametrize("cls", MONITORS)
def test_every_logger_gets_the_documented_tags_at_every_epoch(cls, tmp_path):
    options, names = MONITORS[cls]
    monitor = cls(layers=LAYERS, **options)
    loggers = [TensorBoardLogger(tmp_path / "tb"), CSVLogger(tmp_path / "csv"), ListLogger()]
    run = trainer(tmp_path, callbacks=[monitor], logger=loggers)
    run.fit(Ours(), datamodule=Data())
    promised = documented(cls, "Logged tags", layer=LAYERS, **names)
    assert len(promised) >= 7
    assert [entry["step"] for entry in monitor.history] == STEPS
    assert [entry["epoch"] for entry in monitor.history] == [0, 1, 2]
    for entry in monitor.history:
        assert set(entry["scalars"]) == promised
    own = {"train/loss", "val/loss/dataloader_idx_0", "val/loss/dataloader_idx_1", "epoch"}

    log = events(tmp_path / "tb")
    assert set(log.Tags()["scalars"]) - own - {"hp_metric"} == promised
    assert set(run.callback_metrics) - own == promised
    for tag in promised:
        expected = [entry["scalars"][tag] for entry in monitor.history]
        scalars = log.Scalars(tag)
        assert [event.step for event in scalars] == STEPS
        np.testing.assert_array_equal([event.value for event in scalars], np.float32(expected))
        np.testing.assert_array_equal(run.callback_metrics[tag].item(), np.float32(expected[-1]))

        rows = [(step, metrics[tag]) for step, metrics in loggers[2].rows if tag in metrics]
        assert [step for step, _ in rows] == STEPS
        np.testing.assert_array_equal([value for _, value in rows], expected)

    (file,) = (tmp_path / "csv").rglob("metrics.csv")
    with file.open() as text:
        rows = [row for row in csv.DictReader(text) if row[sorted(promised)[0]]]
    assert [int(row["step"]) for row in rows] == STEPS
    for row, entry in zip(rows, monitor.history, strict=True):
        np.testing.assert_array_equal([float(row[tag]) for tag in promised], [entry["scalars"][t] for t in promised])


def test_tensorboard_gets_a_figure_of_every_documented_curve_at_every_epoch(tmp_path):
    monitor = SpectrumMonitor(layers=LAYERS, weights=["fc.weight"])
    run = trainer(tmp_path, callbacks=[monitor], logger=TensorBoardLogger(tmp_path / "tb"))
    run.fit(Ours(), datamodule=Data())
    promised = documented(SpectrumMonitor, "TensorBoard figures", layer=LAYERS, name=["fc.weight"])
    assert len(promised) == 8
    log = events(tmp_path / "tb")
    assert set(log.Tags()["images"]) == promised
    for tag in promised:
        images = log.Images(tag)
        assert [event.step for event in images] == STEPS
        assert all(event.encoded_image_string.startswith(b"\x89PNG") for event in images)
        assert images[0].encoded_image_string != images[-1].encoded_image_string


def test_importance_is_for_layers_as_wide_as_the_head_only(tmp_path):
    monitor = SpectrumMonitor(layers=[LAYER, "fc"])
    trainer(tmp_path, callbacks=[monitor]).fit(Ours(), datamodule=Data())
    tags = [tag for tag in monitor.history[0]["scalars"] if tag.startswith("importance/")]
    assert len(tags) == 4
    assert all(tag.startswith(f"importance/{LAYER}/") for tag in tags)


def test_every_figure_has_the_untrained_model_s_beside_it(tmp_path):
    control = Ours(seed=99)
    monitors = [m(untrained=control) for m in (KurtosisMonitor, SpectrumMonitor, ConceptMonitor)]
    trainer(tmp_path, callbacks=monitors).fit(Ours(), datamodule=Data())
    alone = [KurtosisMonitor(), SpectrumMonitor(), ConceptMonitor()]
    trainer(tmp_path, callbacks=alone, max_epochs=1).fit(Ours(seed=99), datamodule=Data())
    for monitor, other in zip(monitors, alone, strict=True):
        found = other.history[0]["scalars"]
        for entry in monitor.history:
            lines = {tag: value for tag, value in entry["scalars"].items() if tag.endswith("/untrained")}
            changes = {tag for tag in found if tag.rpartition("/")[2] in ("persisted", "appeared", "vanished")}
            expected = {f"{tag}/untrained": value for tag, value in found.items() if tag not in changes}
            np.testing.assert_equal(lines, expected)
            assert len(entry["scalars"]) == 2 * len(lines) + len(changes)


def test_a_prefix_tells_two_monitors_of_a_layer_apart(tmp_path):
    here, there = KurtosisMonitor(), KurtosisMonitor(images=loader(OWN, 20), prefix="own", untrained=True)
    run = trainer(tmp_path, callbacks=[here, there])
    run.fit(Ours(), datamodule=Data())
    one, other = here.history[-1]["scalars"], there.history[-1]["scalars"]
    assert {f"own/{tag}" for tag in one} == {tag for tag in other if not tag.endswith("/untrained")}
    assert one[f"kurtosis/{LAYER}"] != other[f"own/kurtosis/{LAYER}"]
    assert run.callback_metrics[f"own/kurtosis/{LAYER}/untrained"] > 0


def test_early_stopping_watches_a_figure(tmp_path):
    monitor = KurtosisMonitor()
    stop = EarlyStopping(f"kurtosis/{LAYER}", mode="max", patience=1, min_delta=1e9)
    run = trainer(tmp_path, callbacks=[stop, monitor], max_epochs=5)
    run.fit(Ours(), datamodule=Data())
    assert run.current_epoch == 2
    assert stop.best_score.item() == np.float32(monitor.history[1]["scalars"][f"kurtosis/{LAYER}"])


def test_model_checkpoint_keeps_the_epoch_with_the_best_figure(tmp_path):
    monitor = SignatureMonitor(images=loader(OWN, 20))
    best = ModelCheckpoint(tmp_path, "{epoch}", monitor=f"spectrum/{LAYER}/rankme", mode="min")
    run = trainer(tmp_path, callbacks=[monitor, best], max_epochs=4, enable_checkpointing=True)
    run.fit(Ours(), datamodule=Data())
    figures = [entry["scalars"][f"spectrum/{LAYER}/rankme"] for entry in monitor.history[1:]]
    assert best.best_model_score.item() == np.float32(min(figures))
    assert re.search(r"epoch=(\d)", best.best_model_path).group(1) == str(int(np.argmin(figures)))


def test_the_last_figures_are_there_to_be_watched_after_resuming(tmp_path):
    options = {"max_epochs": 1, "check_val_every_n_epoch": 1}
    first = trainer(tmp_path, callbacks=[KurtosisMonitor()], **options)
    first.fit(Ours(), datamodule=Data())
    first.save_checkpoint(tmp_path / "a.ckpt")

    class Look(EarlyStopping):
        def on_train_batch_end(self, trainer, *_):
            self.seen = dict(trainer.callback_metrics)

    monitor, look = KurtosisMonitor(), Look(f"kurtosis/{LAYER}", strict=False)
    second = trainer(tmp_path, callbacks=[monitor, look], max_epochs=2, limit_val_batches=0)
    second.fit(Ours(), datamodule=Data(), ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    value = look.seen[f"kurtosis/{LAYER}"].item()
    assert value == np.float32(monitor.history[-1]["scalars"][f"kurtosis/{LAYER}"])
    assert not math.isnan(value)

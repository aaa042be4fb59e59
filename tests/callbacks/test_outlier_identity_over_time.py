"""Which outlier features persist, appear and vanish: over the measurements of a run, and along a Wise-FT path."""

import math

import pytest
import torch
from callback_cases import LAYER, OWN, Data, Ours, loader, trainer
from lightning.pytorch import Callback

from lightning_robust.callbacks import KurtosisMonitor, WiseFT
from lightning_robust.callbacks.kurtosis import follow_outliers_since
from lightning_robust.callbacks.signature import Reading

CHANGES = ("persisted", "appeared", "vanished")


def plant(module, *features):
    """Let one feature of the last layer stand out, or none: among 40 no two can be 6 deviations away."""
    with torch.no_grad():
        module.norm.weight[:] = 1.0
        module.norm.bias[:] = 0.0
        for feature in features:
            module.norm.bias[feature] = 300.0


class Planting(Callback):
    """Other outliers after each epoch."""

    def __init__(self, *epochs):
        self.epochs = epochs

    def on_train_start(self, trainer, pl_module):
        plant(pl_module, *self.epochs[0])

    def on_validation_start(self, trainer, pl_module):
        plant(pl_module, *self.epochs[trainer.current_epoch + 1])


def changes(scalars, start=""):
    return tuple(scalars[f"{start}outliers/{LAYER}/{name}"] for name in CHANGES)


def test_over_the_measurements_of_a_run(tmp_path):
    monitors = [KurtosisMonitor(), KurtosisMonitor(images=loader(OWN, 20), prefix="own", untrained=True)]
    planting = Planting([7], [7], [9], [])
    trainer(tmp_path, callbacks=[planting, *monitors], max_epochs=3).fit(Ours(), datamodule=Data())
    for monitor, start in zip(monitors, ("", "own/"), strict=True):
        found = [entry["indices"][f"{start}outliers/{LAYER}/indices"] for entry in monitor.history]
        assert found == [[7], [7], [9], []]
        first, *later = [changes(entry["scalars"], start) for entry in monitor.history]
        assert all(map(math.isnan, first))
        assert later == [(1, 0, 0), (0, 1, 1), (0, 0, 1)]
        assert not any(f"{name}/untrained" in tag for tag in monitor.history[0]["scalars"] for name in CHANGES)


def test_a_resumed_run_compares_with_the_measurement_before_it(tmp_path):
    first = trainer(tmp_path, callbacks=[Planting([7], [8]), KurtosisMonitor()], max_epochs=1)
    first.fit(Ours(), datamodule=Data())
    first.save_checkpoint(tmp_path / "a.ckpt")
    monitor = KurtosisMonitor()
    second = trainer(tmp_path, callbacks=[Planting([8], [], [9]), monitor], max_epochs=2)
    second.fit(Ours(), datamodule=Data(), ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    assert changes(monitor.history[-1]["scalars"]) == (0, 1, 1)


def test_along_a_path_against_its_beginning(tmp_path):
    wise = WiseFT([0.5], module="", replicates=5)
    monitors = [KurtosisMonitor(), KurtosisMonitor(images=loader(OWN, 20), prefix="own")]
    module = Ours()
    plant(module, 7)
    trainer(tmp_path, callbacks=[Planting([7], [9]), *monitors, wise], max_epochs=1).fit(module, datamodule=Data())
    for start in ("", "own/"):
        found = {row.alpha: changes(row.signatures, start) for row in wise.path.rows}
        assert found[0.0] == (1, 0, 0)
        assert found[1.0] == (0, 1, 1)
        assert found[0.5] == (0, 0, 1)  # both stand out now, by less than 6 deviations


@pytest.mark.parametrize("before", [None, {}])
def test_nothing_to_compare_with(before):
    wide = Reading({f"outliers/{LAYER}/features": 1.0}, indices={f"outliers/{LAYER}/indices": [3]})
    follow_outliers_since(wide, before)
    narrow = Reading({f"a/outliers/{LAYER}/features": math.nan, "other": 1.0})
    follow_outliers_since(narrow, {f"a/outliers/{LAYER}/indices": [3]})
    assert all(map(math.isnan, changes(wide.scalars)))
    assert all(map(math.isnan, changes(narrow.scalars, "a/")))
    assert len(narrow.scalars) == 5

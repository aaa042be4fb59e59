"""The CSV of a run holds every figure and the scalars of each validation, once."""

import pytest
from callback_cases import LAYER, OWN, TRAIN, Data, ListLogger, NoValidation, Ours, loader, trainer

from lightning_robust.callbacks import ConceptMonitor, CurveRecorder, KurtosisMonitor
from lightning_robust.errors import UserError
from lightning_robust.results import CurveFile, CurveRow, read_curves

VAL = ["val/loss/dataloader_idx_0", "val/loss/dataloader_idx_1"]


def run(tmp_path, *monitors, module=None, **options):
    recorder = CurveRecorder(tmp_path / "curves.csv")
    used = trainer(tmp_path, callbacks=[*monitors, recorder], **options)
    used.fit(module or Ours(), datamodule=Data())
    return read_curves(tmp_path / "curves.csv"), used


def test_every_figure_of_every_monitor_once_and_the_validations_beside_them(tmp_path):
    monitors = [KurtosisMonitor(every_n_steps=2), ConceptMonitor()]
    rows, used = run(tmp_path, *monitors)
    assert len({(row.step, row.tag) for row in rows}) == len(rows)
    figures = {(row.epoch, row.step, row.tag): row.value for row in rows if row.tag not in VAL}
    expected = {
        (entry["epoch"], entry["step"], tag): value
        for monitor in monitors
        for entry in monitor.history
        for tag, value in entry["scalars"].items()
    }
    assert figures == pytest.approx(expected, nan_ok=True, rel=0, abs=0)
    validations = [(row.epoch, row.step, row.tag) for row in rows if row.tag in VAL]
    assert validations == [(1, 3, VAL[0]), (1, 3, VAL[1]), (2, 6, VAL[0]), (2, 6, VAL[1])]
    assert [row.step for row in rows] == sorted(row.step for row in rows)
    last = {row.tag: row.value for row in rows}
    assert last[VAL[0]] == used.callback_metrics[VAL[0]].item()


class AtTheEnd(Ours):
    """Logs once for all loaders, as ClassifierFinetuning does."""

    def on_validation_epoch_start(self):
        self.hits = []

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        self.hits += (self(batch[0]).argmax(dim=1) == batch[1]).tolist()

    def on_validation_epoch_end(self):
        self.log("val/accuracy", sum(self.hits) / len(self.hits))
        self.log("other", 1.0)


def test_a_whole_sanity_check_gives_the_scalars_of_epoch_0(tmp_path):
    logger, module = ListLogger(), AtTheEnd()
    (only,) = trainer(tmp_path).validate(module, datamodule=Data(), verbose=False)[:1]
    rows, _ = run(tmp_path, module=module, num_sanity_val_steps=-1, logger=logger)
    assert [(row.epoch, row.step, row.tag) for row in rows] == [(n, 3 * n, "val/accuracy") for n in range(3)]
    assert rows[0].value == pytest.approx(only["val/accuracy"], rel=1e-6)
    assert logger.rows[0] == (0, {"val/accuracy": rows[0].value})


def test_the_sanity_check_of_a_run_that_goes_on_after_an_epoch_is_no_row(tmp_path):
    """Lightning checks once more there; epoch 1 has no validation of its own."""
    options = {"num_sanity_val_steps": -1, "check_val_every_n_epoch": 2}
    _, first = run(tmp_path, module=AtTheEnd(), max_epochs=1, **options)
    first.save_checkpoint(tmp_path / "a.ckpt")
    logger, recorder = ListLogger(), CurveRecorder(tmp_path / "curves.csv")
    used = trainer(tmp_path, callbacks=[recorder], logger=logger, **options)
    used.fit(AtTheEnd(), datamodule=Data(), ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    rows = read_curves(tmp_path / "curves.csv")
    assert [(row.epoch, row.step, row.tag) for row in rows] == [(0, 0, "val/accuracy"), (2, 6, "val/accuracy")]
    assert [step for step, row in logger.rows if "val/accuracy" in row] == [5]  # by Lightning's own count


def test_a_single_loader_s_sanity_check_too(tmp_path):
    recorder = CurveRecorder(tmp_path / "curves.csv")
    run = trainer(tmp_path, callbacks=[recorder], num_sanity_val_steps=-1, max_epochs=1)
    run.fit(Ours(), loader(TRAIN, 32), loader(OWN, 20))
    assert [(row.epoch, row.step, row.tag) for row in read_curves(tmp_path / "curves.csv")] == [
        (0, 0, "val/loss"),
        (1, 2, "val/loss"),
    ]


def test_a_sanity_check_of_a_few_batches_is_no_validation(tmp_path):
    rows, _ = run(tmp_path, module=AtTheEnd(), num_sanity_val_steps=1)
    assert [row.step for row in rows] == [3, 6]


def test_an_epoch_without_validation(tmp_path):
    recorder, monitor = CurveRecorder(tmp_path / "curves.csv"), KurtosisMonitor(layers=[LAYER], images=loader(OWN, 20))
    trainer(tmp_path, callbacks=[monitor, recorder]).fit(NoValidation(), loader(TRAIN, 32))
    rows = read_curves(tmp_path / "curves.csv")
    assert sorted({(row.epoch, row.step) for row in rows}) == [(0, 0), (1, 2), (2, 4)]
    assert len(rows) == 3 * len(monitor.history[0]["scalars"])


def test_another_run_s_curves_are_not_added_to(tmp_path):
    CurveFile(tmp_path / "curves.csv").append([CurveRow(0, 0, "a", 1.0)])
    module = Ours()
    with pytest.raises(UserError, match=r"curves\.csv holds the curves of another run"):
        run(tmp_path, module=module)
    assert module.losses == []
    assert read_curves(tmp_path / "curves.csv") == (CurveRow(0, 0, "a", 1.0),)

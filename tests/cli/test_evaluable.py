"""`validate` and `test` of what has no images or no such step: a sentence and status 2, not a traceback."""

import lightning.pytorch as pl
import pytest

from lightning_robust.cli.evaluable import check_evaluable
from lightning_robust.cli.main import main
from lightning_robust.data import CaptionsDataModule, ScenesDataModule
from lightning_robust.errors import UserError

CONFIG = """
model: {class_path: lightning_robust.training.ContrastivePretraining, init_args: {encoder: scenes-clip}}
data: {class_path: lightning_robust.data.CaptionsDataModule, init_args: {source: "csv:pairs.csv"}}
trainer: {accelerator: cpu}
"""


class Judged(pl.LightningModule):
    def validation_step(self, batch, batch_idx):
        pass

    test_step = validation_step


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (
            "validate",
            "'validate' needs images to judge on, and CaptionsDataModule has none: give it another data module",
        ),
        ("test", "ContrastivePretraining has no test_step, so that 'test' cannot run it; 'validate' judges it on the"),
    ],
)
def test_captions_without_evaluation(command, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "captions.yaml").write_text(CONFIG, encoding="utf-8")
    assert main([command, "--config", "captions.yaml"]) == 2
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith(f"lightning-robust: error: {sentence}")
    assert [path.name for path in tmp_path.iterdir()] == ["captions.yaml"]


def test_only_what_is_missing_is_refused():
    scenes = ScenesDataModule()
    for command in ("validate", "test"):
        check_evaluable(command, Judged(), scenes)
        check_evaluable(command, Judged(), CaptionsDataModule("csv:pairs.csv", evaluation=scenes))
        with pytest.raises(UserError, match=r"CaptionsDataModule has none: .* data\.init_args\.evaluation"):
            check_evaluable(command, Judged(), CaptionsDataModule("csv:pairs.csv"))
        with pytest.raises(UserError, match=r"LightningDataModule has none: it has no (val|test)_dataloader"):
            check_evaluable(command, Judged(), pl.LightningDataModule())
        with pytest.raises(
            UserError, match=rf"LightningModule has no .*_step, so that '{command}' cannot run it; 'eva"
        ):
            check_evaluable(command, pl.LightningModule(), scenes)

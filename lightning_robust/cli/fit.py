"""`fit`, `validate` and `test`: LightningCLI, with a folder for each run, exact resuming and a table at the end."""

import argparse
import logging
import shutil
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger

from lightning_robust.callbacks import CurveRecorder, RandomStates
from lightning_robust.cli.outcome import finish
from lightning_robust.cli.parser_errors import user_error
from lightning_robust.cli.refusals import refusal
from lightning_robust.cli.run_folder import LAST, folder_of_checkpoint, new_run_folder, old_run_folder
from lightning_robust.errors import UserError
from lightning_robust.results.names import CURVES


class RobustCLI(LightningCLI):
    """LightningCLI in which a run has a folder, and preprocessing goes from the model to the data."""

    folder: Path | None = None
    resume_step: int | None = None

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the run's name, and link the encoder's preprocessing to the data."""
        parser.add_argument(
            "--run_name", type=str | None, default=None, help="name of the run's folder; default: a number"
        )
        parser.link_arguments("model", "data.init_args.transform", compute_fn=_transform, apply_on="instantiate")

    def before_instantiate_classes(self) -> None:
        """Choose the run's folder, once the config is known to be good."""
        if self.subcommand != "fit":
            return
        config = self.config["fit"]
        stem = Path(str(config.config[-1])).stem if config.get("config") else "fit"
        checkpoint = config.get("ckpt_path")
        if checkpoint == "last":
            self.folder = old_run_folder(stem, config.run_name)
            config.ckpt_path = str(self.folder / LAST)
        elif checkpoint is not None:
            self.folder = folder_of_checkpoint(checkpoint)
        else:
            self.folder = new_run_folder(stem, config.run_name)
        if checkpoint is not None:
            self.resume_step = _step_of(Path(config.ckpt_path))
            self.save_config_callback = None  # the first config is kept; the callback would refuse to overwrite it
        config.trainer.default_root_dir = str(self.folder)
        for callback in config.trainer.callbacks or []:
            if callback.class_path.endswith(".ModelCheckpoint") and callback.init_args.dirpath is None:
                callback.init_args.dirpath = str(self.folder)

    def instantiate_classes(self) -> None:
        """Build everything; a run that cannot even begin leaves no folder behind."""
        try:
            super().instantiate_classes()
        except BaseException:
            self._discard_folder()
            raise

    def _run_subcommand(self, subcommand: str) -> None:
        try:
            super()._run_subcommand(subcommand)
        except Exception as error:
            if refusal(error) is not None:
                self._discard_folder()
            raise

    def _discard_folder(self) -> None:
        """Remove the folder that this run made, as long as it holds no checkpoint."""
        if self.folder is not None and self.resume_step is None and not any(self.folder.rglob("*.ckpt")):
            shutil.rmtree(self.folder, ignore_errors=True)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the Trainer with a logger and a curve file in the run's folder."""
        if self.folder is not None:
            settings = self._get(self.config_init, "trainer")
            if settings.logger in (None, True):
                purge = None if self.resume_step is None else self.resume_step + 1
                kwargs["logger"] = TensorBoardLogger(
                    self.folder, name="", version="", default_hp_metric=False, purge_step=purge
                )
            # rows are written before ModelCheckpoint saves, which comes last: no figure of a checkpoint can be missing
            recorder = CurveRecorder(self.folder / CURVES)
            kwargs["callbacks"] = [RandomStates(), *(settings.callbacks or []), recorder]
        return super().instantiate_trainer(**kwargs)

    def after_fit(self) -> None:
        """Write `results.json` and say what came out."""
        if self.folder is not None and self.trainer.is_global_zero:
            finish(self, self.folder)


def run(arguments: list[str]) -> int:
    """Run `fit`, `validate` or `test`.

    Args:
        arguments: The command line after the program's name.

    Returns:
        The exit status.
    """
    _quiet_lightning()
    quiet: Any = {"exit_on_error": False}
    try:
        RobustCLI(
            LightningModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            seed_everything_default=0,
            parser_kwargs={"prog": "lightning-robust", **quiet, **dict.fromkeys(("fit", "validate", "test"), quiet)},
            args=arguments,
        )
    except (argparse.ArgumentError, ValueError) as error:
        mistake = user_error(error)
        if mistake is None:
            raise
        raise mistake from error
    return 0


def _quiet_lightning() -> None:
    """Leave out what Lightning says about itself and not about the run."""
    warnings.filterwarnings("ignore", "LightningCLI's args parameter is intended")
    warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec")  # Lightning 2.6 with a newer torch
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero"):
        logging.getLogger(name).addFilter(_is_no_tip)


def _is_no_tip(record: logging.LogRecord) -> bool:
    return "litlogger" not in record.getMessage()


def _transform(model: Any) -> Any:
    """The model's own preprocessing, if it has one."""
    return getattr(model, "transform", None)


def _step_of(checkpoint: Path) -> int:
    """Optimiser steps that a checkpoint has seen."""
    try:
        return int(torch.load(checkpoint, map_location="cpu", weights_only=True)["global_step"])
    except Exception as error:
        reason = str(error).splitlines()[0][:160]
        raise UserError(f"{checkpoint} is no Lightning checkpoint that can be resumed: {reason}") from error

"""`fit`, `validate` and `test`: LightningCLI, with a folder for each run, exact resuming and a table at the end."""

import argparse
import logging
import shutil
import warnings
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger

from lightning_robust.callbacks import CurveRecorder, EffectiveRobustness, RandomStates, SignatureMonitor, WiseFT
from lightning_robust.cli.evaluable import check_evaluable
from lightning_robust.cli.outcome import finish
from lightning_robust.cli.parser_errors import user_error
from lightning_robust.cli.refusals import refusal
from lightning_robust.cli.resume import check_same_processes, check_same_settings, read_checkpoint
from lightning_robust.cli.run_folder import LAST, check_checkpoint, old_run_folder, shared_run_folder
from lightning_robust.cli.unreadable_images import unreadable_in_validation
from lightning_robust.errors import UserError
from lightning_robust.results.names import CURVES, RESULTS


class RobustCLI(LightningCLI):
    """LightningCLI in which a run has a folder, and preprocessing goes from the model to the data."""

    folder: Path | None = None
    resume_step: int | None = None
    _found: dict[str, Any] | None = None

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the run's name, and link the encoder's preprocessing to the data."""
        parser.add_argument(
            "--run_name", type=str | None, default=None, help="name of the run's folder; default: a number"
        )
        parser.link_arguments("model", "data.init_args.transform", compute_fn=_transform, apply_on="instantiate")

    def before_instantiate_classes(self) -> None:
        """Choose the run's folder, once the config is known to be good."""
        config = self.config[self.subcommand]
        stem = Path(str(config.config[-1])).stem if config.get("config") else "fit"
        checkpoint, name = config.get("ckpt_path"), config.get("run_name")
        if name is not None and checkpoint not in (None, "last"):
            raise UserError(
                "--run_name has no effect beside --ckpt_path FILE, whose folder is the run's; leave one out"
            )
        if checkpoint == "last":
            config.ckpt_path = str(old_run_folder(stem, name) / LAST)
        elif checkpoint is not None:
            check_checkpoint(checkpoint)
        if self.subcommand != "fit":
            if name is not None and checkpoint is None:
                raise UserError(f"--run_name names the run for --ckpt_path last; {self.subcommand} alone has no run")
            return
        if config.trainer.default_root_dir is not None:
            raise UserError(
                "a run lies in checkpoints/<config>/<run> below the working directory: leave default_root_dir out"
            )
        if checkpoint is None:
            self.folder = shared_run_folder(stem, name)
            return
        self.folder = Path(config.ckpt_path).absolute().parent
        self._check_resuming(config)
        self.save_config_callback = None  # the first config is kept; the callback would refuse to overwrite it

    def _check_resuming(self, config: Any) -> None:
        """Refuse other settings than the run's, and a run that is finished."""
        if self.folder is None:
            return
        found = self._found = read_checkpoint(Path(config.ckpt_path))
        parser = self._parser(self.subcommand)
        now = yaml.safe_load(parser.dump(config, skip_none=False, skip_validation=True))
        check_same_settings(now, self.folder / "config.yaml")
        self.resume_step = found["global_step"]
        epochs = config.trainer.max_epochs
        if epochs not in (None, -1) and found["epochs"] >= epochs and (self.folder / RESULTS).is_file():
            raise UserError(
                f"the run in {self.folder} is finished after {found['epochs']} epochs; 'show run' prints it again, and "
                "--trainer.max_epochs with a larger number trains on"
            )

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
        """Remove the folder that this run made, as long as nothing was trained."""
        trainer = getattr(self, "trainer", None)
        if self.folder is None or self.resume_step is not None or (trainer is not None and trainer.global_step > 0):
            return
        if not any(self.folder.rglob("*.ckpt")):
            shutil.rmtree(self.folder, ignore_errors=True)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the Trainer, with logger and curve file in the run's folder; to evaluate, one that writes nothing."""
        settings = self._get(self.config_init, "trainer")
        if self.subcommand != "fit":
            self.save_config_callback = None
            left_out = (ModelCheckpoint, SignatureMonitor, EffectiveRobustness, WiseFT)
            kept = [callback for callback in settings.callbacks or [] if not isinstance(callback, left_out)]
            kwargs |= {"callbacks": kept, "enable_checkpointing": False}
            if settings.logger in (None, True):
                kwargs["logger"] = False
        elif self.folder is not None:
            if settings.logger in (None, True):
                purge = None if self.resume_step is None else self.resume_step + 1
                kwargs["logger"] = TensorBoardLogger(
                    self.folder, name="", version="", default_hp_metric=False, purge_step=purge
                )
            # rows are written before ModelCheckpoint saves, which comes last: no figure of a checkpoint can be missing
            recorder = CurveRecorder(self.folder / CURVES)
            callbacks = [RandomStates(), *(settings.callbacks or []), recorder]
            for callback in callbacks:
                if isinstance(callback, ModelCheckpoint) and callback.dirpath is None:
                    callback.dirpath = str(self.folder)
            # not written into the config: it can be run again, in a folder of its own
            kwargs |= {"callbacks": callbacks, "default_root_dir": self.folder}
        return super().instantiate_trainer(**kwargs)

    def before_fit(self) -> None:
        """Refuse another number of processes inside an epoch, before any is started."""
        if self._found is not None:
            check_same_processes(self._found, self.trainer.world_size)

    def before_validate(self) -> None:
        """Refuse what cannot be judged."""
        check_evaluable("validate", self.model, self.datamodule)

    def before_test(self) -> None:
        """Refuse what cannot be judged."""
        check_evaluable("test", self.model, self.datamodule)

    def after_fit(self) -> None:
        """Write `results.json` and say what came out."""
        unreadable = unreadable_in_validation(self.trainer, self.datamodule)  # every process tells of its share
        if self.folder is not None and self.trainer.is_global_zero:
            finish(self, self.folder, unreadable)


def run(arguments: list[str]) -> int:
    """Run `fit`, `validate` or `test`.

    Args:
        arguments: The command line after the program's name.

    Returns:
        The exit status.
    """
    _quiet_lightning()
    if arguments[0] != "fit":  # evaluation needs none of the callbacks that a checkpoint has states of
        warnings.filterwarnings("ignore", "Be aware that when using `ckpt_path`, callbacks")
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
    warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")  # it is this run's own
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero"):
        logging.getLogger(name).addFilter(_is_no_tip)


def _is_no_tip(record: logging.LogRecord) -> bool:
    return "litlogger" not in record.getMessage()


def _transform(model: Any) -> Any:
    """The model's own preprocessing, if it has one."""
    return getattr(model, "transform", None)

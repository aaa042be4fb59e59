"""Batch norms that a validation sees with the statistics of the weights as they are, not of the steps before."""

import inspect
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, WeightAveraging
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn

from lightning_robust.callbacks.together import Together
from lightning_robust.callbacks.training_images import first_training_batches
from lightning_robust.errors import UserError, from_user
from lightning_robust.models.batch_norm import Moments, batch_norms, input_moments, put_moments


class RecalibratedStatistics:
    """Puts recomputed running statistics into the batch norms of a module, and takes them out again.

    A running mean and variance follow the weights with a momentum of 0.1, so that they are those of some fifty steps
    ago, and of no images at all before training: 0 and 1. Until they have caught up, whatever is measured in eval mode
    shows them and not the weights. Here they are recomputed over the first training images, as
    `models.recalibrate_batch_norm` does; see `first_training_batches`. Training never reads them, and gets its own
    back, so that it stays bitwise what it was; no checkpoint of Lightning's has them.

    Batch norms that are in eval mode while training are frozen, and stay as they are; those that are frozen only when
    an epoch begins are known from then on, with a warning. A batch norm that the images do not reach, or whose inputs
    are not finite, keeps its statistics, with a warning: a run that diverges goes on.

    Under several processes each runs its share of the images, the moments are merged, and an error of one ends all;
    but where running the module waits for the others (`SyncBatchNorm`, sharded weights) they wait for it.

    Args:
        images: Training images to run, those of all processes together; with 0 nothing is recomputed.
    """

    def __init__(self, images: int) -> None:
        self.images = images
        self._before: dict[str, tuple[Tensor, Tensor]] = {}
        self._in_place = False
        self._together: Together | None = None
        self._connector: Any = None
        self._first: set[str] | None = None
        #: Numbers of images that were run, and batch norms that were left out: what has to be told of a run.
        self.ran: list[int] = []
        self.left: dict[str, str] = {}

    def convention(self, *, validate: bool, checkpoints: bool) -> str:
        """Which statistics are measured, in words.

        Args:
            validate: Whether it is validated with them.
            checkpoints: Whether checkpoints are written with them.
        """
        if not self.images:
            return "running statistics of batch norms, if there are any: as training left them"
        if not self.ran:
            return "running statistics of batch norms: as training left them, for recalibrate= came to no step"
        images = " to ".join(f"{n:,}" for n in dict.fromkeys((min(self.ran), max(self.ran))))
        measured = "validation and the checkpoint" if validate and checkpoints else "validation"
        where = f"the {measured if validate else 'checkpoint'} of each step of LogSteps"
        where += "" if validate else " alone"
        words = (
            f"running statistics of batch norms: recomputed over {images} training images for {where}; "
            "what is measured at other moments has those of training"
        )
        return words + "".join(f"; {name!r} {reason}" for name, reason in sorted(self.left.items()))

    def begin(self, trainer: Trainer) -> None:
        """Let no checkpoint have recomputed statistics, a `weights_only` one neither, which asks no callback.

        Args:
            trainer: The Trainer, once its processes have met; each has to call this.
        """
        if not self.images:
            return
        self._together, self._connector = Together(trainer), trainer._checkpoint_connector
        dump = self._connector.dump_checkpoint

        def dumped(weights_only: bool | None = None) -> dict[str, Any]:
            checkpoint: dict[str, Any] = dump(weights_only)
            self.saved(checkpoint)
            return checkpoint

        vars(self._connector)["dump_checkpoint"] = dumped

    def end(self) -> None:
        """Leave the Trainer as it was."""
        if self._connector is not None:
            vars(self._connector).pop("dump_checkpoint", None)
        self._connector = self._together = self._first = None

    @contextmanager
    def around(self, trainer: Trainer, module: LightningModule) -> Iterator[None]:
        """Have recomputed statistics in place inside, and afterwards what was there before.

        Args:
            trainer: The Trainer.
            module: Its LightningModule, outside a validation or inside one that began with `put`.
        """
        already = self._in_place
        self.put(trainer, module)
        try:
            yield
        finally:
            if not already:
                self.take_out(module)

    def put(self, trainer: Trainer, module: LightningModule) -> None:
        """Recompute the statistics, outside a validation; nothing happens where they are in place.

        Raises:
            UserError: If the training images cannot be run through the module.
        """
        if self._in_place or not self.images:
            return
        layers = trained_batch_norms(module)
        self._note_frozen(layers)
        if not layers:
            return
        together = self._together or Together()
        share = math.ceil(self.images / together.world)

        def measured() -> tuple[int, dict[str, Moments]]:
            with first_training_batches(trainer) as batches, from_user(ValueError):
                images, moments = input_moments(module, batches, run=_forward(trainer), max_images=share, layers=layers)
            return images, {name: moment.cpu() if together.world > 1 else moment for name, moment in moments.items()}

        (images, moments), *others = together.each(measured)
        for more, found in others:
            images += more
            for name, moment in moments.items():
                moment.merge(found[name])
        usable = {name: moment for name, moment in moments.items() if not moment.lacking}
        self._leave_out({name: moment.lacking for name, moment in moments.items() if moment.lacking}, trainer)
        self._before = {name: (layers[name].running_mean.clone(), layers[name].running_var.clone()) for name in usable}
        self._in_place = True
        put_moments(module, usable)
        self.ran = sorted({*self.ran, images})

    def saved(self, checkpoint: dict[str, Any]) -> None:
        """Put training's statistics into a checkpoint that is written while recomputed ones are in place.

        Args:
            checkpoint: Lightning's, with the weights under `state_dict`; changed in place.
        """
        state = checkpoint["state_dict"]
        for name, (mean, variance) in self._before.items():
            own = {f"{name}.running_mean": mean.clone(), f"{name}.running_var": variance.clone()}
            state |= {key: value for key, value in own.items() if key in state}

    def take_out(self, module: nn.Module) -> None:
        """Give training its statistics back."""
        before, self._before, self._in_place = self._before, {}, False
        with torch.no_grad():
            for name, (mean, variance) in before.items():
                layer: Any = module.get_submodule(name)
                layer.running_mean.copy_(mean)
                layer.running_var.copy_(variance)

    def _note_frozen(self, layers: dict[str, Any]) -> None:
        """Tell of batch norms that training turned out to freeze after its first point was measured."""
        self._first = set(layers) if self._first is None else self._first
        frozen = sorted(name for name in self._first - set(layers) if name not in self.left)
        if frozen:
            rank_zero_warn(
                f"LogSteps recalibrate= recomputed the statistics of {_listed(frozen)} at its first step alone: "
                "training has frozen them since, in eval mode. Have them in eval mode before training"
            )
            self.left |= dict.fromkeys(frozen, "is frozen after the first of them")

    def _leave_out(self, lacking: dict[str, str], trainer: Trainer) -> None:
        new = {name: words for name, words in lacking.items() if name not in self.left}
        for words in dict.fromkeys(new.values()):
            names = _listed([name for name, own in new.items() if own == words])
            rank_zero_warn(
                f"LogSteps recalibrate= leaves the statistics of {names} as training has them at step "
                f"{trainer.global_step}: it {words}"
            )
            self.left |= {name: f"{words} at step {trainer.global_step}" for name, own in new.items() if own == words}


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ("batch norm " if len(names) == 1 else "batch norms ") + ", ".join(map(repr, names[:3])) + more


def trained_batch_norms(module: nn.Module) -> dict[str, Any]:
    """The batch norms whose running statistics training changes, by name.

    Args:
        module: In the modes that it is trained in.
    """
    return {name: layer for name, layer in batch_norms(module).items() if layer.training}


def untouched_batch_norms(module: nn.Module) -> bool:
    """Whether there are such batch norms that have seen no batch yet: their statistics are of no images.

    Args:
        module: In the modes that it is trained in.
    """
    return any(
        layer.num_batches_tracked is not None and not int(layer.num_batches_tracked)
        for layer in trained_batch_norms(module).values()
    )


def check_recalibrates(trainer: Trainer, module: LightningModule) -> None:
    """Check, before training, that statistics can be recomputed.

    Raises:
        UserError: If there are none, the weights are averaged, or the module cannot be run on images.
    """
    name = type(module).__name__
    if not trained_batch_norms(module):
        raise UserError(
            f"LogSteps recalibrate= is for batch norms with running statistics, and {name} trains none: leave it out"
        )
    if any(isinstance(callback, WeightAveraging) for callback in getattr(trainer, "callbacks", [])):
        raise UserError(
            "LogSteps recalibrate= does not go with averaged weights, which bring statistics of their own: leave it out"
        )
    if type(module).forward in (LightningModule.forward, nn.Module.forward):
        raise UserError(f"LogSteps recalibrate= runs images through {name}, which has no forward of its own")
    try:
        inspect.signature(module.forward).bind(None)
    except TypeError as error:
        raise UserError(
            f"LogSteps recalibrate= runs images alone through {name}, and its forward takes "
            f"{inspect.signature(module.forward)}: give it one of images, or leave recalibrate= out"
        ) from error


def warn_of_choices(trainer: Trainer) -> None:
    """Warn where a checkpoint would be chosen by a figure that is not its own.

    Args:
        trainer: One that validates with recomputed statistics.
    """
    chosen = [c for c in getattr(trainer, "callbacks", []) if isinstance(c, ModelCheckpoint) and c.monitor is not None]
    if chosen:
        rank_zero_warn(
            f"LogSteps recalibrate= validates with recomputed statistics, and ModelCheckpoint(monitor="
            f"{chosen[0].monitor!r}) saves those of training: what it chooses validates differently. The step "
            "checkpoints have what was validated"
        )


def _forward(trainer: Trainer) -> Any:
    context = trainer.precision_plugin.forward_context

    def run(module: nn.Module, images: Tensor) -> None:
        with context():
            module(images)

    return run

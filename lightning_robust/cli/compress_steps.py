"""One compression: calibrate, cut, finetune, let every version answer, time all, write."""

import copy
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from lightning_robust.cli.compress_costs import costs_of
from lightning_robust.cli.compress_finetuning import Finetuning, planned_finetuning
from lightning_robust.cli.compress_held import Held
from lightning_robust.cli.compress_images import LEAST, CalibrationImages
from lightning_robust.cli.compress_made import Budgets, Made, made
from lightning_robust.cli.compress_notes import IdleAttention, given_notes
from lightning_robust.cli.compress_outcome import Outcome, write_compressed
from lightning_robust.cli.compress_versions import DENSE, MAGNITUDE, Version, answered
from lightning_robust.cli.evaluate_asked import asked_models
from lightning_robust.cli.evaluate_models import LoadedModels, load_models
from lightning_robust.cli.evaluate_progress import EvaluationProgress
from lightning_robust.cli.evaluate_splits import divided_otherwise
from lightning_robust.cli.head_features import UNTRAINED_WORDS, calibrate_on_calibration_images
from lightning_robust.cli.opened_evaluation import Opened
from lightning_robust.errors import UserError, from_user
from lightning_robust.models.batch_norm import batch_norms

__all__ = ["Compression"]


class Compression:
    """One call of the command.

    Args:
        opened: Data, sets, baseline, device and arguments.
    """

    def __init__(self, opened: Opened) -> None:
        self.opened, self.args = opened, opened.args
        self.loaded, self.sentences = _model(opened)
        transform = self.loaded.transform
        self.images = opened.calibration_loader(transform)
        if self.images.share < LEAST:
            raise UserError(
                f"there is {self.images.share} image to calibrate on, which has no covariance: give at least {LEAST}"
            )
        opened.judged_loaders(transform)  # refuses what cannot be judged
        self.budgets = Budgets.of(self.loaded.network, sorted(set(self.args.keep), reverse=True), self.args.budget)
        already = sum(rank is not None for rank in self.loaded.network.ranks.values())
        self.notes = given_notes(self.budgets, already)
        self.finetuning = planned_finetuning(
            self.args.finetune, self.args.finetune_lr, opened.data, self.args.seed, opened.device
        )

    def run(self) -> None:
        """Calibrate, cut, finetune, let all answer, time all, write and print."""
        with tempfile.TemporaryDirectory() as folder:  # for weights of versions that are too large to be held
            self._run(Held(self.budgets.bytes(tuned=self.finetuning.epochs > 0), Path(folder)))

    def _run(self, held: Held) -> None:
        count = self.budgets.versions + (self.finetuning.epochs > 0) * self.budgets.finetuned
        with EvaluationProgress(True, 0, count) as progress:
            found = self._made(held, progress)
            versions = [*found.versions, *self._finetuned(found.versions, held, progress)]
            loaders = self.opened.judged_loaders(self.loaded.transform)
            progress.images(f"{len(versions)} versions", sum(loader.share for loader in loaders))
            answers = answered(versions, self.loaded, self.opened, progress.seen)
            progress.models(count)
            progress.images("timing, rounds", len(set(self.args.latency_batch)) * len(self.budgets.keep))
            costs = costs_of(versions, self.budgets.image, self.args.latency_batch, self.opened.device, progress.seen)
        said = (*self.sentences, self.finetuning.sentence)
        write_compressed(Outcome(self.opened, self.loaded, found, versions, answers, costs, said, self.notes))

    def _made(self, held: Held, progress: EvaluationProgress) -> Made:
        opened = self.opened
        opened.data.transform = self.loaded.transform
        self.loaded.place(opened.device)
        calibrate_on_calibration_images(opened, self.loaded)
        images = CalibrationImages(self.images, self.args.images, progress.seen)
        progress.images("calibration", len(images))
        idle = IdleAttention(self.budgets)
        found = made(self.budgets, idle.passing(images), opened.device, held)
        for sentence in found.notes:
            print(f"lightning-robust: warning: {sentence}", file=sys.stderr)
        self.notes = (*idle.notes(), *self.notes, *found.notes)
        reference = opened.sets[0].name
        self.sentences += tuple(f"a calibration image of {reference} was left out: {one}" for one in images.unreadable)
        return found

    def _finetuned(self, versions: Sequence[Version], held: Held, progress: EvaluationProgress) -> list[Version]:
        plan: Finetuning = self.finetuning
        found = []
        for one in versions if plan.epochs else ():
            if one.method == MAGNITUDE:
                continue
            progress.images(f"finetuning {one.name}", plan.epochs * plan.images)
            network = _tuned(plan, one.make(), self.opened.data, progress.seen)
            with from_user(ValueError):
                make = held.changed(network, _own(one))
            found.append(Version(one.method, one.keep, make, one.ranks, plan.epochs))
        return found


def _own(version: Version) -> Callable[[], nn.Module]:
    """Gives a network that may be changed, where versions are not held: all but the dense one are new then."""
    return (lambda: copy.deepcopy(version.make())) if version.method == DENSE else version.make


def _tuned(plan: Finetuning, network: nn.Module, data: Any, seen: Callable[[int], None]) -> nn.Module:
    mine = copy.deepcopy(network)
    return plan.run(mine, data, [name for name, _ in mine.named_parameters()], seen)


def _model(opened: Opened) -> tuple[LoadedModels, tuple[str, ...]]:
    """The one model, and what a reader has to know about it."""
    (asked,) = asked_models([opened.args.model])
    if asked.path:
        files = list(asked.path.values())
        raise UserError(f"{asked.name} is a path of {len(files)} models, and compress takes one: give {files[-1]}")
    with from_user(ValueError):
        mixed = divided_otherwise([asked.name], opened.options)
    for sentence in mixed:
        print(f"lightning-robust: warning: {sentence}", file=sys.stderr)
    loaded = load_models(asked, opened.data, opened.sets, opened.args.seed)
    untrained = (UNTRAINED_WORDS,) if loaded.untrained and batch_norms(loaded.module) else ()
    return loaded, (*mixed, *loaded.sentences, *untrained)

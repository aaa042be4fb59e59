"""`evaluate`: models on a reference and its shifts, with intervals; a sweep that was broken off goes on."""

import argparse
import sys
from collections.abc import Collection, Sequence
from typing import Any

from lightning_robust.cli.data_spec import data_settings, open_data
from lightning_robust.cli.evaluate_answers import ModelAnswers
from lightning_robust.cli.evaluate_asked import Asked, asked_models
from lightning_robust.cli.evaluate_baseline import chosen_baseline
from lightning_robust.cli.evaluate_device import chosen_device
from lightning_robust.cli.evaluate_models import Candidate, LoadedModels, load_models
from lightning_robust.cli.evaluate_pass import answers_of
from lightning_robust.cli.evaluate_progress import EvaluationProgress
from lightning_robust.cli.evaluate_record import evaluation_record, write_outcome
from lightning_robust.cli.evaluate_sets import evaluation_sets, ordered_loaders
from lightning_robust.cli.evaluate_splits import divided_otherwise
from lightning_robust.cli.evaluate_store import EvaluationSettings, EvaluationStore
from lightning_robust.cli.evaluate_untrained import calibrate_loaded
from lightning_robust.cli.processes import Processes, processes
from lightning_robust.cli.warnings_at_the_end import warnings_at_the_end
from lightning_robust.errors import UserError, from_user
from lightning_robust.results import EvaluationRecord
from lightning_robust.robustness import Baseline

__all__ = ["evaluated", "run"]

_Units = list[tuple[Asked, tuple[Candidate, ...]]]


def run(args: argparse.Namespace) -> int:
    """Evaluate one model, a path or several, and print what came out.

    Raises:
        UserError: For a model, data or a setting that cannot be had, before any image is read.
    """
    with processes() as here, warnings_at_the_end(here):
        data = open_data(args.data, download=True if args.download else None)
        options = {"scale": args.scale, "x": args.x, "aggregate": args.aggregate}
        baseline = chosen_baseline(args.baseline, args.data, data, args.split, options)
        _Evaluation(args, here, data, baseline).run()
    return 0


def evaluated(args: argparse.Namespace, asked: Sequence[Asked], wanted: Collection[str]) -> EvaluationRecord:
    """Evaluate models for another command: nothing is written and printed.

    Args:
        args: As of `evaluate`; its words after `--model` are not looked at.
        asked: Models and paths; each path is one pass over the images.
        wanted: Names of the models that are evaluated, of a path the files.

    Raises:
        UserError: For a model, data or a setting that cannot be had, before any image is read.
    """
    with processes() as here:
        data = open_data(args.data, download=True if args.download else None)
        options = {"scale": args.scale, "x": args.x, "aggregate": args.aggregate}
        baseline = chosen_baseline(args.baseline, args.data, data, args.split, options)
        return _Evaluation(args, here, data, baseline, asked).record(wanted)


class _Evaluation:
    """One call of the command.

    Args:
        args: Its arguments.
        here: This process among its fellows.
        data: The data module.
        baseline: Of effective robustness.
        asked: The models; None takes the words after `--model`.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        here: Processes,
        data: Any,
        baseline: Baseline | None,
        asked: Sequence[Asked] | None = None,
    ) -> None:
        self.args, self.here, self.data, self.baseline, self.asked = args, here, data, baseline, asked
        self.options = data_settings(args.data)
        self.sets = evaluation_sets(data, args.split)
        self.device = chosen_device(args.device, here)
        self.kept: LoadedModels | None = None
        self.sentences: list[str] = []

    def run(self) -> None:
        """Look at every model, let those answer that have not, write and print."""
        units = self._units()
        settings = self._settings()
        store = self._store(settings)
        try:
            self._answer(units, store)
        except Exception:
            if store is not None:
                store.discard_if_empty()
            raise
        if store is not None:
            candidates = [candidate for _, found in units for candidate in found]
            answers = [store.done(candidate) for candidate in candidates]
            sizes = {candidate.name: candidate.image_size for candidate in candidates}
            write_outcome(self, store.folder, [one for one in answers if one is not None], sizes)
            if others := store.others(candidates):
                print(
                    f"lightning-robust: {others} other {'model' if others == 1 else 'models'} of this run "
                    f"{'is' if others == 1 else 'are'} kept, but not in results.json and the tables, which hold what "
                    "--model names",
                    file=sys.stderr,
                )

    def record(self, wanted: Collection[str]) -> EvaluationRecord:
        """Let the models answer that are wanted, and keep nothing on disk.

        Args:
            wanted: Their names.
        """
        units, answers, sizes = self._units(), list[ModelAnswers](), dict[str, int]()
        with EvaluationProgress(False, 0, len(wanted)) as progress:
            for one, candidates in units:
                chosen = [candidate for candidate in candidates if candidate.name in wanted]
                answers += self._pass(one, candidates, chosen, progress)
                sizes |= {candidate.name: candidate.image_size for candidate in chosen}
        return evaluation_record(self, answers, sizes)[0]

    def _units(self) -> _Units:
        """What shares a pass; every model is loaded once before any image is read, to see whether it fits."""
        units: _Units = []
        asked = list(asked_models(self.args.model) if self.asked is None else self.asked)
        with from_user(ValueError):
            files = [file for one in asked for file in (one.path.values() if one.path else [one.name])]
            mixed = divided_otherwise(files, self.options)
        for sentence in mixed if self.here.first else ():
            print(f"lightning-robust: warning: {sentence}", file=sys.stderr)
        self.sentences += mixed
        for one in asked:
            self.kept = None  # before the next is loaded
            self.kept = load_models(one, self.data, self.sets, self.args.seed)
            self.sentences += self.kept.sentences
            units.append((one, self.kept.candidates))
        return units

    def _loaded(self, asked: Asked, candidates: Sequence[Candidate]) -> LoadedModels:
        if self.kept is None or self.kept.candidates != tuple(candidates):
            self.kept = None
            self.kept = load_models(asked, self.data, self.sets, self.args.seed)
        return self.kept

    def _loaders(self, transform: Any) -> Any:
        self.data.transform = transform
        return ordered_loaders(self.data, self.args.split, self.here.world, self.args.batch_size, self.args.num_workers)

    def _settings(self) -> EvaluationSettings:
        if self.kept is None:
            raise UserError("--model names no model")
        loaders = self._loaders(self.kept.transform)
        if len(loaders) != len(self.sets):
            raise UserError(f"the data have {len(loaders)} loaders and {len(self.sets)} names of them")
        return EvaluationSettings(
            data=self.args.data,
            description=self.data.description,
            split=self.args.split,
            sources={one.name: one.source for one in self.sets},
            protocols={one.name: one.protocol for one in self.sets},
            images={one.name: loader.images for one, loader in zip(self.sets, loaders, strict=True)},
            classes=list(self.data.class_names),
            templates=list(self.data.templates),
            options=self.options,
        )

    def _store(self, settings: EvaluationSettings) -> EvaluationStore | None:
        """The first process alone has one; what it refuses, all end with."""
        store, refused = None, None
        if self.here.first:
            try:
                store = EvaluationStore(self.args.run_name, settings)
            except UserError as error:
                refused = str(error)
        if refused := self.here.agree(refused):
            raise UserError(refused)
        return store

    def _answer(self, units: _Units, store: EvaluationStore | None) -> None:
        done = self.here.agree(
            [] if store is None else [one.key for _, found in units for one in found if store.done(one) is not None]
        )
        total = len({one.key for _, found in units for one in found})
        if done and self.here.first:
            print(
                f"lightning-robust: {len(set(done))} of {total} models were evaluated before and are skipped",
                file=sys.stderr,
            )
        with EvaluationProgress(self.here.first, len(set(done)), total) as progress:
            for asked, candidates in units:
                wanted = list({one.key: one for one in candidates if one.key not in done}.values())
                if not wanted:
                    continue
                for one, answers in zip(wanted, self._pass(asked, candidates, wanted, progress), strict=True):
                    if store is not None:
                        store.keep(one, answers)
                    done.append(one.key)
                progress.models(len(wanted))

    def _pass(
        self, asked: Asked, candidates: Sequence[Candidate], wanted: Sequence[Candidate], progress: EvaluationProgress
    ) -> list[ModelAnswers]:
        loaded = self._loaded(asked, candidates)
        loaders = self._loaders(loaded.transform)
        calibrate_loaded(loaded, self.data, self.args.split, self.here, self.device)
        progress.images(asked.name, sum(loader.share for loader in loaders))
        return answers_of(loaded, wanted, self.sets, loaders, self.here, self.device, progress.seen)

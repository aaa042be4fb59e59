"""`prune`: directions of the head's input go, the most important last, and everything that could explain it beside."""

import argparse
import shutil
from pathlib import Path

from lightning_robust.cli.evaluate_progress import EvaluationProgress
from lightning_robust.cli.opened_evaluation import Opened, open_evaluation
from lightning_robust.cli.processes import processes
from lightning_robust.cli.prune_models import Found, features_of, models_to_prune
from lightning_robust.cli.prune_outcome import print_outcome, pruning_record, write_outcome
from lightning_robust.cli.prune_pruned import pruned_model, sweep_draws
from lightning_robust.cli.run_folder import new_run_folder, refuse_unwritable
from lightning_robust.cli.warnings_at_the_end import warnings_at_the_end
from lightning_robust.results.prune_record import PruneRecord

__all__ = ["pruned", "run"]

_COMMAND = "prune"


def run(args: argparse.Namespace) -> int:
    """Prune one model, a path or several, and print what came out.

    Raises:
        UserError: For a model, data or a setting that cannot be had, before any image is read.
    """
    with processes() as here, warnings_at_the_end(here):
        refuse_unwritable(_COMMAND, args.run_name)
        opened = open_evaluation(args, here)
        found = models_to_prune(opened)
        record = _pruned(opened, found)
        folder = new_run_folder(_COMMAND, args.run_name)
        try:
            write_outcome(record, folder)
        except BaseException:  # nothing half-written stays, also after Ctrl-C
            shutil.rmtree(folder, ignore_errors=True)
            raise
        print_outcome(record, folder)
    return 0


def pruned(args: argparse.Namespace) -> PruneRecord:
    """Prune models for another command: nothing is written and printed.

    Args:
        args: As of `prune`.

    Raises:
        UserError: For a model, data or a setting that cannot be had, before any image is read.
    """
    with processes() as here:
        opened = open_evaluation(args, here)
        return _pruned(opened, models_to_prune(opened))


def _pruned(opened: Opened, found: Found) -> PruneRecord:
    args = opened.args
    seeds = tuple(range(args.seed, args.seed + args.seeds))
    models, left_out, missing = [], list[str](), list(found.missing)
    with EvaluationProgress(opened.here.first, 0, sum(len(one.wanted) for one in found.words)) as progress:
        for one, read in features_of(opened, found, progress):
            for features in read:
                images = sum(len(part.h) for part in features.judged)
                progress.images(f"{Path(features.model.name).name}: pruning", images * sweep_draws(args.seeds))
                model, without = pruned_model(features, one.role, opened, seeds, progress.seen)
                models.append(model)
                missing += without
                left_out += [
                    f"an image of {part.set} was left out: {sentence}"
                    for part in (features.calibration, *features.judged)
                    for sentence in part.unreadable
                ]
                progress.models(1)
    sentences = (*found.sentences, *dict.fromkeys(left_out))
    return pruning_record(opened, models, seeds, tuple(dict.fromkeys(missing)), sentences, found.twin)

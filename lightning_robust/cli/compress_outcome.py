"""The end of a compression: networks as folders, record, spreadsheet and tables."""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lightning_robust.cli.compress_costs import Costs, latency_words
from lightning_robust.cli.compress_made import Made
from lightning_robust.cli.compress_saved import save_versions
from lightning_robust.cli.compress_versions import Version
from lightning_robust.cli.evaluate_answers import ModelAnswers
from lightning_robust.cli.evaluate_models import LoadedModels
from lightning_robust.cli.evaluate_outcome import differences, evaluation_of, table_rows, without_numbers
from lightning_robust.cli.evaluation_words import accuracy_words, baseline_name, baseline_words, option_words
from lightning_robust.cli.opened_evaluation import Opened
from lightning_robust.cli.run_folder import new_run_folder
from lightning_robust.models.compressed_facts import STATE_FILE
from lightning_robust.results import DataDescription, ModelEvaluation, collect_provenance, write_table
from lightning_robust.results.compress_record import CompressedPoint, CompressRecord, write_compression
from lightning_robust.results.names import ACCURACIES, RESULTS

__all__ = ["Outcome", "write_compressed"]


@dataclass(frozen=True, eq=False)
class Outcome:
    """All that one compression found.

    Attributes:
        opened: Data, sets, baseline, device and arguments.
        loaded: The dense model.
        made: How the versions were made.
        versions: All versions, the dense one first.
        answers: What each answered, in the same order.
        costs: What each costs, in the same order.
        sentences: What a reader has to know.
        notes: What a reader has to know before the figures.
    """

    opened: Opened
    loaded: LoadedModels
    made: Made
    versions: Sequence[Version]
    answers: Sequence[ModelAnswers]
    costs: Sequence[Costs]
    sentences: Sequence[str]
    notes: Sequence[str] = ()


def write_compressed(outcome: Outcome) -> None:
    """Write the networks, `results.json`, `accuracies.csv` and figures, and print the tables.

    Args:
        outcome: The compression.
    """
    from rich.console import Console

    from lightning_robust.report.card import write_cards
    from lightning_robust.report.card_compressed import compressed_cards
    from lightning_robust.report.compress_figure import write_compression_figures
    from lightning_robust.report.compress_table import print_compression

    folder = new_run_folder("compress", outcome.opened.args.run_name)
    try:
        models = _evaluations(outcome)
        record = _record(outcome, models, folder)
        write_table(folder / ACCURACIES, table_rows(models))
        write_compression_figures(record, folder)
        write_cards(compressed_cards(record, folder))
        write_compression(record, folder / RESULTS)  # last: a run with a record is whole
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)  # a run is whole, or it is not there
        raise
    for model in models:
        for sentence in without_numbers(model):
            print(f"lightning-robust: warning: {sentence}", file=sys.stderr)
    print_compression(record, folder, Console())


def _evaluations(outcome: Outcome) -> tuple[ModelEvaluation, ...]:
    opened = outcome.opened
    return tuple(evaluation_of(one, opened.sets, opened.baseline, seed=opened.args.seed) for one in outcome.answers)


def _record(outcome: Outcome, models: Sequence[ModelEvaluation], folder: Path) -> CompressRecord:
    opened, dense = outcome.opened, outcome.loaded.candidates[0]
    seed = int(opened.args.seed)
    return CompressRecord(
        provenance=collect_provenance(device=str(opened.device)),
        seeds={"intervals, finetuning and untrained weights": seed},
        data=DataDescription(
            dataset=opened.data.description,
            protocol="top-1, the model's own preprocessing; each row names its protocol",
            images={one.set: one.images for one in outcome.answers[0].sets},
        ),
        conventions=_conventions(outcome),
        notes=tuple(outcome.notes),
        split=opened.args.split,
        baseline=None if opened.baseline is None else baseline_name(opened.baseline),
        model=dense.name,
        origin=dense.origin,
        checkpoint_hash=dense.checkpoint_hash,
        alpha=dense.alpha,
        budget=outcome.made.budgets.counted,
        calibration_images=outcome.made.calibration_images,
        threads=torch.get_num_threads(),
        matrices={name: (one.rows, one.columns) for name, one in outcome.made.budgets.matrices.items()},
        chance=None if outcome.loaded.network.head is None else 1 / len(outcome.loaded.network.head),
        already_low_rank=sum(rank is not None for rank in outcome.loaded.network.ranks.values()),
        points=_points(outcome, models, folder, seed),
    )


def _points(
    outcome: Outcome, models: Sequence[ModelEvaluation], folder: Path, seed: int
) -> tuple[CompressedPoint, ...]:
    against = _against(outcome.answers, seed)
    tuned = [k for k, version in enumerate(outcome.versions) if version.epochs]  # its dense network first
    against_tuned = _against([outcome.answers[k] for k in tuned], seed)
    points, saved = [], save_versions(outcome.versions, outcome.loaded, outcome.opened.data, folder)
    for version, model, costs in zip(outcome.versions, models, outcome.costs, strict=True):
        own = saved.get(version.name)
        points.append(
            CompressedPoint(
                method=version.method,
                finetuned_epochs=version.epochs,
                keep=version.keep,
                parameters=costs.parameters,
                nonzero=costs.nonzero,
                flops=costs.flops,
                file_bytes=costs.file_bytes if own is None else (folder / own / STATE_FILE).stat().st_size,
                latency=costs.latency,
                ranks=dict(version.ranks),
                rows=model.rows,
                robustness=model.robustness,
                differences=against.get(version.name, {}),
                tuned_differences=against_tuned.get(version.name, {}),
                folder=own,
            )
        )
    return tuple(points)


def _against(answers: Sequence[ModelAnswers], seed: int) -> dict[str, dict[str, Any]]:
    """By name of every network but the first, its intervals by set."""
    found: dict[str, dict[str, Any]] = {}
    for one in differences(answers, seed):
        found.setdefault(one.model, {})[one.set] = one.interval
    return found


def _conventions(outcome: Outcome) -> tuple[str, ...]:
    opened, of = outcome.opened, outcome.made.budgets.counted
    counted = "multiplications of one image" if of == "flops" else "parameters"
    magnitude = (
        "magnitude pruning is left out: a mask saves no multiplications"
        if of == "flops"
        else "magnitude: as torch.nn.utils.prune.global_unstructured, the smallest weights of the same matrices set to "
        "zero, as many as leave the same number of parameters; neither smaller nor faster"
    )
    return (
        opened.calibration_words,
        f"--keep: a share of the {counted} of image network and head, what no matrix has included",
        "parameters: those of image network and head, without a text tower; of a masked network all are stored; the "
        "head itself is never cut, for its directions are what prune and probe look at",
        "calibrated: each matrix W becomes A B with the least error of its outputs on the calibration images, counted "
        "by how far it moves the logits to first order (gradients of random projections on every eighth of these "
        "images); the mean of what is cut goes into the bias; ranks: one budget over all matrices, for the least sum "
        "of these errors; a matrix that would not become smaller stays dense",
        "plain: truncated SVD, without calibration; ranks: the same one budget over all matrices, for the least sum "
        "of the shares of squared singular values that are cut",
        "uniform: the same truncated SVD, with the same share of every matrix",
        magnitude,
        "floating-point operations: matrix products, convolutions and attention of one image, a multiplication and an "
        "addition counted as two",
        latency_words(opened.device),
        *accuracy_words(opened.data),
        "differences: paired bootstrap against the dense network over the images that both could read, 95 %",
        *baseline_words(opened.baseline, opened.sets),
        *option_words(opened.options, opened.data),
        *outcome.notes,
        *outcome.sentences,
        *_unreadable(outcome.answers),
    )


def _unreadable(answers: Sequence[ModelAnswers]) -> list[str]:
    """Each image once: all versions answer the same."""
    return [f"an image of {one.set} was left out: {said}" for one in answers[0].sets for said in one.unreadable]

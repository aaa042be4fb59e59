"""The end of an evaluation: record, spreadsheet and table."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning_robust.cli.evaluate_answers import ModelAnswers
from lightning_robust.cli.evaluate_outcome import differences, evaluation_of, table_rows, without_numbers
from lightning_robust.cli.evaluate_published import of_other_size, published_accuracies, unlike_published
from lightning_robust.cli.evaluation_words import accuracy_words, baseline_name, baseline_words, option_words
from lightning_robust.results import (
    DataDescription,
    EvaluationRecord,
    collect_provenance,
    write_evaluation,
    write_table,
)
from lightning_robust.results.names import ACCURACIES, RESULTS

__all__ = ["evaluation_record", "write_outcome"]


def evaluation_record(
    evaluation: Any, answers: Sequence[ModelAnswers], image_sizes: Mapping[str, int]
) -> tuple[EvaluationRecord, list[str]]:
    """Put everything into the record.

    Args:
        evaluation: The call: its arguments, data, sets, baseline, device and sentences.
        answers: What each model answered, in the order asked for.
        image_sizes: Height and width of the images that each is given, in pixels, by its name.

    Returns:
        The record, and a sentence for each model that is given images of another size than published figures are of.
    """
    args, data, sets, baseline = evaluation.args, evaluation.data, evaluation.sets, evaluation.baseline
    comparable = args.split == "test" and _is_imagenet(data)  # other images of the reference are no published ones
    sizes = image_sizes if comparable else {}
    published = {name: published_accuracies(name, sets, size) for name, size in sizes.items()}
    other_size = [said for name, size in sizes.items() if (said := of_other_size(name, size)) is not None]
    record = EvaluationRecord(
        provenance=collect_provenance(device=str(evaluation.device)),
        seeds={"intervals and untrained weights": args.seed},
        data=DataDescription(
            dataset=data.description,
            protocol="top-1, the model's own preprocessing; each row names its protocol",
            images={one.set: one.images for one in answers[0].sets},
        ),
        conventions=(
            *accuracy_words(data),
            "differences: paired bootstrap over the images that both models could read, 95 %",
            *baseline_words(baseline, sets),
            *option_words(evaluation.options, data),
            *evaluation.sentences,
            *other_size,
            *_unreadable(answers),
        ),
        split=args.split,
        baseline=None if baseline is None else baseline_name(baseline),
        models=tuple(evaluation_of(one, sets, baseline, published.get(one.name), seed=args.seed) for one in answers),
        differences=differences(answers, args.seed),
    )
    return record, other_size


def write_outcome(
    evaluation: Any, folder: Path, answers: Sequence[ModelAnswers], image_sizes: Mapping[str, int]
) -> None:
    """Write `results.json` and `accuracies.csv`, and print the table.

    Args:
        evaluation: The call: its arguments, data, sets, baseline, device and sentences.
        folder: The run's folder.
        answers: What each model answered, in the order asked for.
        image_sizes: Height and width of the images that each is given, in pixels, by its name.
    """
    record, other_size = evaluation_record(evaluation, answers, image_sizes)
    write_evaluation(record, folder / RESULTS)
    write_table(folder / ACCURACIES, table_rows(record.models))
    for sentence in other_size:
        print(f"lightning-robust: {sentence}", file=sys.stderr)
    for model in record.models:
        for sentence in (*without_numbers(model), *unlike_published(model)):
            print(f"lightning-robust: warning: {sentence}", file=sys.stderr)
    from rich.console import Console

    from lightning_robust.report import print_evaluation

    print_evaluation(record, folder, Console())


def _is_imagenet(data: Any) -> bool:
    from lightning_robust.data.imagenet import ImageNetDataModule

    return isinstance(data, ImageNetDataModule)


def _unreadable(answers: Sequence[ModelAnswers]) -> list[str]:
    """Each image once, whichever models could not read it."""
    return list(
        dict.fromkeys(
            f"an image of {one.set} was left out: {sentence}"
            for model in answers
            for one in model.sets
            for sentence in one.unreadable
        )
    )

"""The end of a pruning: record, spreadsheet, pictures and table."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from lightning_robust.cli.evaluation_words import accuracy_words, baseline_name, baseline_words, option_words
from lightning_robust.cli.opened_evaluation import Opened
from lightning_robust.results import DataDescription, collect_provenance, write_table
from lightning_robust.results.names import RESULTS
from lightning_robust.results.prune_record import (
    PRUNE_ORDERS,
    PruneCurve,
    PrunedModel,
    PruneRecord,
    write_pruning,
)

__all__ = ["CURVES", "curve_rows", "near_chance", "print_outcome", "pruning_record", "write_outcome"]

CURVES = "curves.csv"


def pruning_record(
    opened: Opened,
    models: Sequence[PrunedModel],
    seeds: Sequence[int],
    missing: Sequence[str],
    sentences: Sequence[str],
    twin: str | None = None,
) -> PruneRecord:
    """Put everything into the record.

    Args:
        opened: Data, sets, baseline and arguments.
        models: The models with their curves.
        seeds: Of the random controls.
        missing: A sentence for each control that is not there.
        sentences: What else a reader has to know.
        twin: Name of the model that is the supervised twin of the others.
    """
    args, data = opened.args, opened.data
    rows = models[0].unpruned.rows
    return PruneRecord(
        provenance=collect_provenance(device=str(opened.device)),
        seeds={"intervals and untrained weights": args.seed, **{f"draw {k + 1}": one for k, one in enumerate(seeds)}},
        data=DataDescription(
            dataset=data.description,
            protocol="top-1, the model's own preprocessing; each row names its protocol",
            images={row.set: row.images for row in rows},
        ),
        conventions=(
            *_conventions(opened),
            *accuracy_words(data),
            *baseline_words(opened.baseline, opened.sets),
            *option_words(opened.options, data),
            *sentences,
            *(said for model in models if (said := near_chance(model, args.points / 100)) is not None),
        ),
        split=args.split,
        baseline=None if opened.baseline is None else baseline_name(opened.baseline),
        points=args.points / 100,
        missing=tuple(missing),
        twin=twin,
        models=tuple(models),
    )


def _conventions(opened: Opened) -> Iterator[str]:
    yield opened.calibration_words
    yield (
        "pruning: h ← V_k V_kᵀ h before the head, V_k the k directions of an order that are kept, right singular "
        "vectors of the head (raw) or of the head without its mean row (centred); a bias stays; fractions are of "
        "r = rank of that head, the d − r directions of null space are reported apart"
    )
    yield "a direction's importance: σ · mean |cos(v, h)| on the calibration images"
    from lightning_robust.report.prune_cells import lost_words

    for order, words in PRUNE_ORDERS.items():
        yield f"{order}: {words}"
    yield (
        "headline: the largest fraction pruned, over every number kept from 1 on, that loses at "
        f"most {lost_words(opened.args.points / 100)} of accuracy; interval: paired bootstrap over the "
        "images, in which each replicate finds its own, 95 %"
    )
    yield (
        "features: set to zero before h is scaled to unit length; in order of the share of calibration images with "
        "|z| > 6, then of mean |z|; where the rule finds no outlier feature, of mean |z| alone"
    )
    yield (
        "agreement: images that are answered as by the whole head; of a random head, whose accuracy is chance, as by "
        "the whole random head; the headline of agreement is the largest fraction pruned that leaves at least "
        f"{100 - opened.args.points:g} % of these answers, which is asked for more than accuracy, where wins make up "
        "for losses: heads and random heads are compared by it"
    )
    if any(one.class_names is not None for one in opened.sets):
        yield (
            "a set with class names of its own is answered by a head of these names, which reads what is kept of the "
            "model's directions: with all of them kept it has lost the null space of the model's head already"
        )


def near_chance(model: PrunedModel, points: float) -> str | None:
    """A sentence where a model has so little to lose that its headlines say nothing; else None.

    Args:
        model: With its curves.
        points: Accuracy that a headline may lose, a fraction.
    """
    from lightning_robust.report.prune_cells import near_chance_words

    return near_chance_words(model, model.name, points) if model.near_chance else None


def write_outcome(record: PruneRecord, folder: Path) -> None:
    """Write `results.json`, `curves.csv` and the pictures.

    Args:
        record: What was found.
        folder: The run's folder.
    """
    from lightning_robust.report import write_pruning_figures

    write_pruning(record, folder / RESULTS)
    write_table(folder / CURVES, list(curve_rows(record)))
    write_pruning_figures(record, folder)


def print_outcome(record: PruneRecord, folder: Path) -> None:
    """Print the table; what is missing or no number is said on stderr.

    Args:
        record: What was found.
        folder: The run's folder.
    """
    from rich.console import Console

    from lightning_robust.report import print_pruning

    for model in record.models:
        for row in model.unpruned.rows:
            if row.not_numbers:
                print(
                    f"lightning-robust: warning: {model.name}: the logits of {row.not_numbers:,} images of {row.set} "
                    "are no numbers; they count as wrong",
                    file=sys.stderr,
                )
        if (said := near_chance(model, record.points)) is not None:
            print(f"lightning-robust: warning: {said}", file=sys.stderr)
    print_pruning(record, folder, Console())


def curve_rows(record: PruneRecord) -> Iterator[dict[str, str | int | float | None]]:
    """A row for each model, order, form, draw, number kept and set, for a spreadsheet; shares are fractions.

    Args:
        record: What was found.
    """
    for model in record.models:
        images = {row.set: row.images for row in model.unpruned.rows}
        for curve in model.curves:
            for draw in range(curve.draws):
                yield from _draw_rows(model, curve, draw, images)


def _draw_rows(
    model: PrunedModel, curve: PruneCurve, draw: int, images: dict[str, int]
) -> Iterator[dict[str, str | int | float | None]]:
    for place, (k, fraction) in enumerate(zip(curve.kept, curve.fractions, strict=True)):
        for name, count in images.items():
            correct, agreeing = curve.correct[name][draw][place], curve.agreement[name][draw][place]
            yield {
                "model": model.name,
                "alpha": model.alpha,
                "role": model.role,
                "order": curve.order,
                "form": curve.form,
                "of": curve.of,
                "seed": curve.seeds[draw] if curve.seeds else None,
                "total": curve.total,
                "kept": k,
                "fraction": fraction,
                "set": name,
                "images": count,
                "correct": correct,
                "accuracy": correct / count,
                "agreement": agreeing / count,
                "mean_er": curve.robustness[draw][place] if curve.robustness else None,
            }

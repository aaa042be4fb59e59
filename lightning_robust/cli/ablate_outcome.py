"""The end of an ablation: record, plain files, pictures, table."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from lightning_robust.cli.ablate_answers import AblatedSet
from lightning_robust.cli.ablate_concepts import Concepts
from lightning_robust.cli.ablate_files import CONCEPTS, FILES, write_exports, write_tables
from lightning_robust.cli.ablate_groups import Group
from lightning_robust.cli.ablate_images import JudgedImages, extremes, judged_images, largest, write_tiles
from lightning_robust.cli.ablate_judged import judged_ablations
from lightning_robust.cli.ablate_plan import Planned
from lightning_robust.cli.evaluate_models import LoadedModels
from lightning_robust.cli.evaluation_words import accuracy_words, baseline_name, baseline_words, option_words
from lightning_robust.cli.opened_evaluation import Opened
from lightning_robust.models.evaluate_rules import AnswerRule
from lightning_robust.results import ConceptEntry, DataDescription, ModelDescription, collect_provenance
from lightning_robust.results.ablation_record import AblatedUnit, AblationRecord, TopImage, write_ablation
from lightning_robust.results.names import RESULTS

__all__ = ["Ablated", "print_outcome", "write_outcome"]


@dataclass(eq=False)
class Ablated:
    """What one call found.

    Attributes:
        opened: Data, sets, baseline and arguments.
        loaded: The model.
        layer: Whose features were ablated.
        form: Its axis and pooling in words.
        at_head: Whether it is h.
        groups: What was ablated.
        plans: Every ablation of the record.
        rows: For each which one of those that were run it is.
        rules: By set.
        answers: By set.
        calibration: How many calibration images were read.
        mean: Of h, or of the pooled features, over these, `(d,)`.
        notes: What is not there.
        sentences: What a reader has to know.
        concepts: Of the units; None without a concept set.
    """

    opened: Opened
    loaded: LoadedModels
    layer: str
    form: str
    at_head: bool
    groups: list[Group]
    plans: list[Planned]
    rows: list[int]
    rules: Mapping[str, AnswerRule]
    answers: list[AblatedSet]
    calibration: int
    mean: Tensor
    notes: list[str] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)
    concepts: Concepts | None = None


def write_outcome(found: Ablated, folder: Path) -> AblationRecord:
    """Write `results.json`, the plain files, the small pictures and the figures.

    Args:
        found: What was found.
        folder: The run's folder.

    Returns:
        The record.
    """
    from lightning_robust.report import write_ablation_figures

    scores = torch.cat([one.scores for one in found.answers])
    images = judged_images(found.answers, found.opened.data, found.opened.args.split, found.rules)
    record = _record(found, scores, images, folder)
    write_exports(found.groups, scores, found.mean, images, folder)
    write_tables(record, folder)
    write_ablation(record, folder / RESULTS)
    write_ablation_figures(record, folder)
    return record


def print_outcome(record: AblationRecord, folder: Path) -> None:
    """Print the tables; logits that are no numbers are said on stderr.

    Args:
        record: What was found.
        folder: The run's folder.
    """
    from rich.console import Console

    from lightning_robust.report import print_ablation

    for row in record.untouched:
        if row.not_numbers:
            print(
                f"lightning-robust: warning: {record.model.name}: the logits of {row.not_numbers:,} images of "
                f"{row.set} are no numbers; they count as wrong",
                file=sys.stderr,
            )
    print_ablation(record, folder, Console())


def _record(found: Ablated, scores: Tensor, images: JudgedImages, folder: Path) -> AblationRecord:
    opened, args = found.opened, found.opened.args
    untouched, ablations = judged_ablations(found.answers, found.plans, found.rows, found.rules, opened)
    candidate, network = found.loaded.candidates[0], found.loaded.network
    counts = {row.set: row.images for row in untouched[0]}
    if found.concepts is not None:
        counts[f"{found.concepts.source} (concepts)"] = found.concepts.images
    return AblationRecord(
        provenance=collect_provenance(device=str(opened.device)),
        seeds={
            "intervals and untrained weights": args.seed,
            **{f"draw {k + 1}": args.seed + k for k in range(args.seeds)},
        },
        data=DataDescription(
            dataset=opened.data.description,
            protocol="top-1, the model's own preprocessing; each row names its protocol",
            images=counts,
        ),
        conventions=tuple(_conventions(found)),
        split=args.split,
        baseline=None if opened.baseline is None else baseline_name(opened.baseline),
        model=ModelDescription(
            name=candidate.name,
            origin=candidate.origin,
            checkpoint_hash=candidate.checkpoint_hash,
            parameters=sum(p.numel() for p in network.model.parameters()),
            classes=0 if network.head is None else len(network.head),
        ),
        layer=found.layer,
        form=found.form,
        d=len(found.mean),
        at_head=found.at_head,
        calibration=found.calibration,
        untouched=untouched[0],
        robustness=untouched[1],
        groups=tuple(group.record for group in found.groups),
        units=tuple(_units(found, scores, images, folder)),
        ablations=ablations,
        clip_at=args.clip,
        random_concepts=() if found.concepts is None else found.concepts.random,
        notes=tuple(found.notes),
        files={name: what for name, what in FILES.items() if name != CONCEPTS or found.concepts is not None},
    )


def _units(found: Ablated, scores: Tensor, images: JudgedImages, folder: Path) -> Iterator[AblatedUnit]:
    count = found.opened.args.images
    columns = list(scores.unbind(dim=1))
    wanted = [row for column in columns for sign in _signs(column) for row in largest(sign * column, count)]
    files = write_tiles(wanted, images, folder)
    at = 0
    for group in found.groups:
        for place, member in enumerate(group.record.members):
            sides = [extremes(columns[at], images, count, files, sign=sign) for sign in _signs(columns[at])]
            concepts = () if found.concepts is None else found.concepts.lists[at]
            yield _unit(group, place, member, sides, concepts)
            at += 1


def _signs(scores: Tensor) -> tuple[int, ...]:
    """The largest scores are looked for, and the smallest where any is below zero."""
    return (1, -1) if bool((scores < 0).any()) else (1,)


def _unit(
    group: Group, place: int, member: int, sides: Sequence[tuple[TopImage, ...]], concepts: tuple[ConceptEntry, ...]
) -> AblatedUnit:
    record, values, figures = group.record, group.values, group.figures
    return AblatedUnit(
        unit=record.unit,
        form=record.form,
        index=member,
        by_rule=record.by_rule,
        far_out=float(group.far_out[place]),
        mean_z=float(group.mean_z[place]),
        share=float(figures.share[place]),
        importance=float(figures.importance[place]),
        importance_share=group.importance_share(member),
        common=float(figures.common[place]),
        mean=float(values.mean[place]),
        std=float(values.std[place]),
        low=float(values.low[place]),
        high=float(values.high[place]),
        concepts=concepts,
        top=sides[0],
        bottom=sides[1] if len(sides) > 1 else (),
    )


def _conventions(found: Ablated) -> Iterator[str]:
    opened = found.opened
    yield opened.calibration_words
    yield (
        "outlier features: |z| > 6 within the image on at least 6 % of the calibration images, in order of that share, "
        "then of mean |z|; where the rule finds none, the features with the largest mean |z|"
    )
    if found.at_head:
        yield (
            "privileged directions: right singular vectors of the head (raw) or of the head without its mean row "
            "(centred) whose importance, σ · mean |cos(v, h)|, is above 10 × the median; where none is, the most "
            "important"
        )
        yield (
            "ablation: the smallest change of h, as the encoder gives it, after which the units' values ⟨u, h⟩ are 0 "
            f"(zero), their mean over the calibration images (mean), or limited to {opened.args.clip:g} standard "
            "deviations from it (clip); a model that normalises does so afterwards; several at once, not in turn"
        )
    else:
        yield (
            f"layer: {found.layer}, {found.form}; outliers are found in what is pooled, ablated at every position: 0 "
            "(zero), the mean over calibration images and positions (mean), or limited to "
            f"{opened.args.clip:g} standard deviations of the values at positions from it (clip)"
        )
    yield (
        "random units: as many as a group has, or all that are left, none of them in the group or found by the rule; a "
        "draw for each seed, the same units drawn again count once; one by one "
        + ("each of a draw" if found.at_head else "the first of each draw")
    )
    yield "difference: accuracy minus that of the model as it is, on the same images, paired bootstrap, 95 %"
    if found.at_head:
        yield (
            "common: share of what a unit adds to the logits, ‖W u‖², that is the same for every class and so can "
            "change no prediction"
        )
    if found.concepts is not None:
        yield (
            "concepts: features of unit length, AP of a unit and its negative, unknown labels ignored; eligible with "
            "10 positives, 10 negatives and a prevalence of at most 50 %"
        )
        yield from (f"an image of the concept set was left out: {one}" for one in found.concepts.unreadable)
    yield from accuracy_words(opened.data)
    yield from baseline_words(opened.baseline, opened.sets)
    yield from option_words(opened.options, opened.data)
    yield from dict.fromkeys(found.sentences)
    for one in found.answers:
        yield from (f"an image of {one.set} was left out: {sentence}" for sentence in one.unreadable)

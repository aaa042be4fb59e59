"""One pass of several models over every evaluation set, on one process or shared among several."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lightning_robust.cli.evaluate_answers import ModelAnswers, SetAnswers, pack
from lightning_robust.cli.evaluate_models import Candidate, LoadedModels
from lightning_robust.cli.evaluate_sets import OrderedLoader, evaluation_rules
from lightning_robust.cli.processes import Processes
from lightning_robust.data.shifts import DistributionShift
from lightning_robust.models.class_mask import NO_CLASS
from lightning_robust.models.evaluate_points import Point, evaluate_points
from lightning_robust.models.evaluate_rules import AnswerRule, answer_by, rules_of_reference, same_rule
from lightning_robust.models.modes import eval_mode, kept_random_state

__all__ = ["answers_of"]


@dataclass(frozen=True, eq=False)
class _Found:
    """Answers on one set, of every process, by image.

    Attributes:
        images: Images of the set.
        read: Which were read, `(n,)`.
        correct: By rule, which points are right on which image, `(A, n)`.
        covered: By rule, which images count, `(n,)`.
        unreadable: Sentences.
        not_numbers: Of each point, on how many images its logits are no numbers, `(A,)`.
    """

    images: int
    read: NDArray[np.bool_]
    correct: Mapping[str, NDArray[np.bool_]]
    covered: Mapping[str, NDArray[np.bool_]]
    unreadable: tuple[str, ...]
    not_numbers: NDArray[np.int64]


def answers_of(
    loaded: LoadedModels,
    wanted: Sequence[Candidate],
    sets: Sequence[DistributionShift],
    loaders: Sequence[OrderedLoader],
    here: Processes,
    device: Any,
    seen: Callable[[int], None] | None = None,
) -> list[ModelAnswers]:
    """Let models answer every image of every set; each image is read once.

    Args:
        loaded: The models with their module.
        wanted: Those that are to answer.
        sets: The sets, the reference first.
        loaders: Their loaders, in the same order.
        here: This process among its fellows.
        device: Where to run.
        seen: Called with numbers of images, for progress.

    Returns:
        What each answered, in the order of `wanted`; the same on every process.
    """
    rules = evaluation_rules(sets, loaded.own_heads)
    shifts = {one.name: rules[one.name] for one in sets[1:]}
    asked = rules_of_reference(shifts, rules[sets[0].name])
    loaded.place(device)
    found, points = list[_Found](), [loaded.points[candidate.key] for candidate in wanted]
    with torch.no_grad(), eval_mode(loaded.module), kept_random_state():
        for index, (one, loader) in enumerate(zip(sets, loaders, strict=True)):
            own = asked if index == 0 else {"": rules[one.name]}
            found.append(_one_set(points, one.name, loader, own, here, device, seen))
    matched = {
        name: next(known for known, other in asked.items() if same_rule(rule, other)) for name, rule in shifts.items()
    }
    return [_answers(candidate, row, sets, found, matched) for row, candidate in enumerate(wanted)]


def _one_set(
    points: Sequence[Point],
    name: str,
    loader: OrderedLoader,
    rules: Mapping[str, AnswerRule],
    here: Processes,
    device: Any,
    seen: Callable[[int], None] | None,
) -> _Found:
    places: list[torch.Tensor] = []

    def prepare(batch: Any) -> Any:
        places.append(batch[2])
        return batch[0].to(device), batch[1].to(device)

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "An image is left out")  # the record names each
        answers = evaluate_points(points, loader.batches, answer_by(rules), prepare, name=name, seen=seen)
    judged = {rule: by.correct(answers.predictions[rule], answers.targets) for rule, by in rules.items()}
    mine = (
        torch.cat(places).numpy(),
        {rule: (right.numpy(), covered.numpy()) for rule, (right, covered) in judged.items()},
        loader.unreadable,
        (answers.predictions[""] == NO_CLASS).sum(dim=1).numpy(),
    )
    return _put_together(loader.images, len(points), rules, here.gather(mine))


def _put_together(images: int, points: int, rules: Mapping[str, Any], shares: Sequence[Any]) -> _Found:
    read = np.zeros(images, dtype=bool)
    correct = {rule: np.zeros((points, images), dtype=bool) for rule in rules}
    covered = {rule: np.zeros(images, dtype=bool) for rule in rules}
    for places, judged, *_ in shares:
        read[places] = True
        for rule, (right, counts) in judged.items():
            correct[rule][:, places] = right
            covered[rule][places] = counts
    unreadable = tuple(sorted(sentence for share in shares for sentence in share[2]))
    return _Found(images, read, correct, covered, unreadable, np.sum([share[3] for share in shares], axis=0))


def _answers(
    candidate: Candidate,
    row: int,
    sets: Sequence[DistributionShift],
    found: Sequence[_Found],
    matched: Mapping[str, str],
) -> ModelAnswers:
    told = []
    for one, here in zip(sets, found, strict=True):
        rule = matched.get(one.name)
        told.append(
            SetAnswers(
                set=one.name,
                images=here.images,
                read=pack(here.read),
                correct=pack(here.correct[""][row]),
                matched_correct=None if rule is None else int(found[0].correct[rule][row].sum()),
                matched_images=None if rule is None else int(found[0].covered[rule].sum()),
                unreadable=here.unreadable,
                not_numbers=int(here.not_numbers[row]),
            )
        )
    return ModelAnswers(
        name=candidate.name,
        origin=candidate.origin,
        checkpoint_hash=candidate.checkpoint_hash,
        alpha=candidate.alpha,
        sets=tuple(told),
    )

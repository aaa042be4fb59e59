"""What a model answers under every ablation of h, by small matrix products, and what right answers come of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from lightning_robust.cli.ablate_plan import Planned
from lightning_robust.cli.head_features import HeadModel, SetFeatures
from lightning_robust.cli.judged import SetOutcome
from lightning_robust.models.class_mask import NO_CLASS
from lightning_robust.models.evaluate_rules import AnswerRule
from lightning_robust.signatures.ablation import ablated_predictions

__all__ = ["AblatedSet", "answers_at_head", "changed", "outcomes"]


@dataclass(frozen=True, eq=False)
class AblatedSet:
    """What every ablation answered on one set; row 0 is the model as it is.

    Attributes:
        set: Name of the set.
        predictions: By rule, predicted classes, `(A, n)`; the rule of the set itself is `""`.
        targets: True reference classes, `(n,)`.
        places: Which image of the set each is, `(n,)`.
        scores: Value of every unit of every group on each image, of the model as it is, `(n, m)`.
        unreadable: A sentence for each image that was left out.
    """

    set: str
    predictions: Mapping[str, Tensor]
    targets: Tensor
    places: Tensor
    scores: Tensor
    unreadable: tuple[str, ...] = ()


def answers_at_head(
    model: HeadModel, read: SetFeatures, rules: Mapping[str, AnswerRule], ablations: Sequence[Planned], units: Tensor
) -> AblatedSet:
    """Answers on one set, from what the head reads.

    Args:
        model: The head.
        read: One set.
        rules: How its images are answered.
        ablations: All of them.
        units: Columns of every group, for the scores, `(d, m)`.
    """
    wanted = [None, *(plan.of_h for plan in ablations)]
    found = {}
    for name, rule in rules.items():
        head, bias = (model.head, model.bias) if rule.head is None else (rule.head, None)
        found[name] = ablated_predictions(head, read.h, wanted, _predict(rule), unit_norm=model.unit_norm, bias=bias)
    return AblatedSet(read.set, found, read.targets, read.places, read.h.double() @ units, read.unreadable)


def _predict(rule: AnswerRule) -> Callable[[Tensor], Tensor]:
    """A set with class names of its own is answered by the logits of its own head."""
    return rule.predict if rule.head is None else lambda logits: rule.predict(logits, logits)


def outcomes(
    answers: Sequence[AblatedSet],
    rules: Mapping[str, AnswerRule],
    asked: Mapping[str, AnswerRule],
    matched: Mapping[str, str],
    row: int,
) -> dict[str, SetOutcome]:
    """Right answers of one ablation on every set.

    Args:
        answers: By set, the reference first.
        rules: By set.
        asked: What was asked of a reference image, by name of the rule.
        matched: By shift, which of these is its own.
        row: Of the ablation; 0 is the model as it is.
    """
    reference, found = answers[0], dict[str, SetOutcome]()
    for index, one in enumerate(answers):
        predicted = one.predictions[""][row]
        right, _ = rules[one.set].correct(predicted, one.targets)
        same = None if index == 0 else matched[one.set]
        numbers: tuple[int | None, int | None] = (None, None)
        if same is not None:
            as_there, covered = asked[same].correct(reference.predictions[same][row], reference.targets)
            numbers = int(as_there.sum()), int(covered.sum())
        found[one.set] = SetOutcome(
            correct=right.numpy(),
            matched_correct=numbers[0],
            matched_images=numbers[1],
            not_numbers=int((predicted == NO_CLASS).sum()),
        )
    return found


def changed(answers: Sequence[AblatedSet], row: int) -> dict[str, int]:
    """How many predictions differ from those of the model as it is, by set.

    Args:
        answers: By set.
        row: Of the ablation.
    """
    return {one.set: int((one.predictions[""][row] != one.predictions[""][0]).sum()) for one in answers}

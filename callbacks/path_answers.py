"""Answers of every point of a Wise-FT path, each set of images read once, under the rule of each set."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer
from numpy.typing import NDArray
from torch import Tensor, nn

from lightning_robust.callbacks.parts import unreadable_of
from lightning_robust.callbacks.shared_pass import as_validation, batch_preparation
from lightning_robust.callbacks.together import Together
from lightning_robust.errors import UserError
from lightning_robust.models.evaluate import Predict
from lightning_robust.models.evaluate_points import Answer, Point, evaluate_points
from lightning_robust.models.evaluate_rules import AnswerRule, answer_by
from lightning_robust.models.interpolate import interpolate_into
from lightning_robust.models.modes import eval_mode, kept_random_state

Rules = Mapping[str, AnswerRule]
"""Rules by name: `""` is the set's own, others are asked of the same images beside it."""

Correct = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class SetAnswers:
    """What the path says about one set of images, on all processes together.

    Attributes:
        correct: By rule, right or wrong of each α on each image that the rule counts, `(A, n)`, in the set's order.
        unreadable: What was left out, a sentence for each image.
    """

    correct: Mapping[str, Correct]
    unreadable: tuple[str, ...] = ()


def answer_path(
    trainer: Trainer,
    module: nn.Module,
    theta0: Mapping[str, Tensor],
    theta1: Mapping[str, Tensor],
    alphas: Sequence[float],
    loaders: Mapping[str, Iterable[Any]],
    rules: Mapping[str, Rules],
    predict: Predict | None = None,
    together: Together | None = None,
) -> dict[str, SetAnswers]:
    """Right or wrong of each α on each image, by loader; the same on every process.

    Args:
        trainer: The Trainer, for devices and precision.
        module: The working copy; it holds θ1 afterwards, also when a loader raises.
        theta0: State before finetuning.
        theta1: State after it.
        alphas: The A positions on the path.
        loaders: Images by name; of several processes each has its own stretch of them, as `parts_of` gives it.
        rules: How each loader's images are answered.
        predict: Answers in the place of the rules, which are then none but each set's own.
        together: The processes that share the images, all with the same module and θ's; None is one process.

    Raises:
        UserError: If a set has no batch, or more unreadable images than its loader allows; on every process.
    """
    state = module.state_dict()
    place = next((tensor.device for tensor in state.values()), torch.device("cpu"))
    start, end = ({name: tensor.to(place) for name, tensor in theta.items()} for theta in (theta0, theta1))
    points = [partial(_ready, module, state, start, end, alpha) for alpha in alphas]
    context, prepare = trainer.precision_plugin.forward_context, batch_preparation(trainer)
    processes, found = together or Together(), dict[str, SetAnswers]()
    try:
        with as_validation(trainer), torch.no_grad(), eval_mode(module), kept_random_state():
            for name, images in loaders.items():
                own = answer_by(rules[name]) if predict is None else _answer_of(predict)
                judge = partial(_judge, points, images, _inside(context, own), prepare, rules[name], name)
                found[name] = _joined(processes.each(judge), name, getattr(images, "max_unreadable", None))
    finally:
        with torch.no_grad():
            interpolate_into(state, start, end, 1.0)
    return found


def _judge(
    points: Sequence[Point],
    images: Iterable[Any],
    answer: Answer,
    prepare: Callable[[Any], Any],
    rules: Rules,
    name: str,
) -> SetAnswers:
    """One process's part of a set; without a rule where it has no image."""
    batches = iter(images)
    start = list(islice(batches, 1))
    if not start:
        return SetAnswers({}, unreadable_of(images))
    answers = evaluate_points(points, chain(start, batches), answer, prepare, name=name)
    correct = {
        rule: _correct(rules[rule], predicted, answers.targets) for rule, predicted in answers.predictions.items()
    }
    return SetAnswers(correct, unreadable_of(images))


def _joined(pieces: Sequence[SetAnswers], name: str, limit: int | None) -> SetAnswers:
    """A set's answers from those of every process, whose stretches follow one another."""
    judged = [piece.correct for piece in pieces if piece.correct]
    unreadable = tuple(sentence for piece in pieces for sentence in piece.unreadable)
    if limit is not None and len(unreadable) > limit:  # each process alone has kept to it
        raise UserError(
            f"{len(unreadable)} of the images of {name!r} cannot be read, more than {limit}, the first of them "
            f"{unreadable[0]}; the copy seems damaged or the folder wrong (max_unreadable raises the limit)"
        )
    if not judged:
        raise UserError(f"the images of {name!r} give no batch, so there is nothing to judge the path on")
    return SetAnswers({rule: np.concatenate([one[rule] for one in judged], axis=1) for rule in judged[0]}, unreadable)


def _ready(
    module: nn.Module, state: Mapping[str, Tensor], start: Mapping[str, Tensor], end: Mapping[str, Tensor], alpha: float
) -> nn.Module:
    interpolate_into(state, start, end, alpha)
    return module


def _answer_of(predict: Predict) -> Answer:
    def answer(model: nn.Module, batch: Any) -> tuple[dict[str, Tensor], Tensor]:
        predicted, true = predict(model, batch)
        return {"": predicted}, true

    return answer


def _inside(context: Callable[[], Any], answer: Answer) -> Answer:
    """In a context for each forward: autocast keeps casts of weights as long as it lasts, and weights change here."""

    def run(model: nn.Module, batch: Any) -> tuple[Mapping[str, Tensor], Tensor]:
        with context():
            return answer(model, batch)

    return run


def _correct(rule: AnswerRule, predicted: Tensor, targets: Tensor) -> Correct:
    right, counted = rule.correct(predicted, targets)
    kept: Correct = right[:, counted].numpy()
    return kept

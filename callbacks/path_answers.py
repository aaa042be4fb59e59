"""Answers of every point of a Wise-FT path, each set of images read once, under the rule of each set."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer
from numpy.typing import NDArray
from torch import Tensor, nn

from lightning_robust.callbacks.shared_pass import as_validation, batch_preparation
from lightning_robust.models.evaluate import Predict
from lightning_robust.models.evaluate_points import Answer, evaluate_points
from lightning_robust.models.evaluate_rules import AnswerRule, answer_by
from lightning_robust.models.interpolate import interpolate_into
from lightning_robust.models.modes import eval_mode, kept_random_state

Rules = Mapping[str, AnswerRule]
"""Rules by name: `""` is the set's own, others are asked of the same images beside it."""

Correct = NDArray[np.bool_]


def answer_path(
    trainer: Trainer,
    module: nn.Module,
    theta0: Mapping[str, Tensor],
    theta1: Mapping[str, Tensor],
    alphas: Sequence[float],
    loaders: Mapping[str, Iterable[Any]],
    rules: Mapping[str, Rules],
    predict: Predict | None = None,
) -> dict[str, dict[str, Correct]]:
    """Right or wrong of each α on each image that a rule counts, `(A, n)`, by loader and rule.

    Args:
        trainer: The Trainer, for devices and precision.
        module: The working copy; it holds θ1 afterwards, also when a loader raises.
        theta0: State before finetuning.
        theta1: State after it.
        alphas: The A positions on the path.
        loaders: Images by name.
        rules: How each loader's images are answered.
        predict: Answers in the place of the rules, which are then none but each set's own.
    """
    state = module.state_dict()
    place = next((tensor.device for tensor in state.values()), torch.device("cpu"))
    start, end = ({name: tensor.to(place) for name, tensor in theta.items()} for theta in (theta0, theta1))
    points = [partial(_ready, module, state, start, end, alpha) for alpha in alphas]
    context, prepare = trainer.precision_plugin.forward_context, batch_preparation(trainer)
    found = {}
    try:
        with as_validation(trainer), torch.no_grad(), eval_mode(module), kept_random_state():
            for name, loader in loaders.items():
                own = answer_by(rules[name]) if predict is None else _answer_of(predict)
                answers = evaluate_points(points, loader, _inside(context, own), prepare, name=name)
                found[name] = {
                    rule: _correct(rules[name][rule], predicted, answers.targets)
                    for rule, predicted in answers.predictions.items()
                }
    finally:
        with torch.no_grad():
            interpolate_into(state, start, end, 1.0)
    return found


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

"""Effective robustness of every point of a Wise-FT path, and the class masks under which its images are judged."""

from collections.abc import Mapping, Sequence
from typing import Any

from lightning_robust.callbacks.baseline_shifts import REFERENCE, masks_of, restricted_shifts, shifts_in_common
from lightning_robust.callbacks.path_answers import Correct, Rules
from lightning_robust.errors import UserError, from_user
from lightning_robust.models.evaluate_rules import AnswerRule, rules_of_reference, same_rule
from lightning_robust.results.effective_robustness import EffectiveRobustness
from lightning_robust.robustness import Baseline


def path_rules(baseline: Baseline | None, names: Sequence[str], datamodule: Any) -> dict[str, Rules]:
    """How the images of each test loader are answered: over the classes that its shift covers.

    Where the baseline compares reference accuracies on these classes, they are asked of the reference's images too.

    Args:
        baseline: What is compared with, if anything.
        names: Of the test loaders, the reference first.
        datamodule: Whose records say which classes a shift covers; None: every shift has all.
    """
    masks = masks_of(datamodule)
    shifts = {name: AnswerRule(masks.get(name)) for name in names[1:]}
    asked = {name: shifts[name] for name in _judged(baseline, names)} if baseline is not None else {}
    restricted = {name: asked[name] for name in restricted_shifts(baseline, list(asked))} if baseline else {}
    return {
        names[0]: rules_of_reference(restricted, AnswerRule()),
        **{name: {"": rule} for name, rule in shifts.items()},
    }


def check_path(baseline: Baseline, names: Sequence[str], datamodule: Any, *, predict: bool) -> None:
    """Refuse what cannot be compared; tell of shifts that only the data or the baseline has.

    Args:
        baseline: What is compared with.
        names: Of the test loaders, the reference first.
        datamodule: Whose records say which classes a shift covers.
        predict: Whether predictions come from a function of the user's.

    Raises:
        UserError: If they share no shift, or reference accuracies on a shift's classes cannot be known.
    """
    restricted = restricted_shifts(baseline, shifts_in_common(baseline, names[1:]))
    unknown = restricted if predict else [name for name in restricted if name not in masks_of(datamodule)]
    if unknown:
        why = "predict= gives no logits to restrict to them" if predict else "the data module has no record of them"
        raise UserError(
            f"the baseline {baseline.name!r} compares the reference accuracy on the classes that {', '.join(unknown)} "
            f"covers, and {why}: take a baseline with x='full'"
        )


def path_robustness(
    baseline: Baseline, rules: Mapping[str, Rules], found: Mapping[str, Mapping[str, Correct]], points: int,
    *, replicates: int, seed: int,
) -> list[EffectiveRobustness]:  # fmt: skip
    """Effective robustness of each α.

    Args:
        baseline: What is compared with.
        rules: Of each test loader, from `path_rules`.
        found: Right or wrong by loader and rule, from `answer_path`; the reference first.
        points: How many α's there are.
        replicates: Bootstrap replicates of the intervals.
        seed: Of the bootstrap.
    """
    reference, *_ = found
    shifts = _judged(baseline, list(found))
    right = {REFERENCE: found[reference][""], **{name: found[name][""] for name in shifts}}
    for name in restricted_shifts(baseline, shifts):
        rule = next(key for key, rule in rules[reference].items() if same_rule(rule, rules[name][""]))
        right[f"matched/{name}"] = found[reference][rule]
    n = {name: correct.shape[1] for name, correct in right.items()}
    judged = []
    for k in range(points):
        accuracy = {name: float(correct[k].mean()) for name, correct in right.items()}
        start = {name.removeprefix("matched/"): a for name, a in accuracy.items() if name not in shifts}
        with from_user(ValueError):
            judged.append(
                baseline.effective_robustness(
                    start, {name: accuracy[name] for name in shifts}, n, replicates=replicates, seed=seed
                )
            )
    return judged


def _judged(baseline: Baseline, names: Sequence[str]) -> list[str]:
    return [name for name in names[1:] if name in baseline.shifts]

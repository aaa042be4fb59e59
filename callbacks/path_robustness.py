"""Effective robustness of every point of a Wise-FT path, and the class masks under which its images are judged."""

from collections.abc import Mapping, Sequence
from typing import Any

from lightning_robust.callbacks.baseline_shifts import (
    REFERENCE,
    masks_of,
    restricted_shifts,
    same_images,
    shifts_in_common,
)
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
    common = shifts_in_common(baseline, names[1:])
    if left := [name for name in common if name not in same_images(baseline, common, datamodule)]:
        raise UserError(
            f"{left[0]!r} is another set of images in the data than in the baseline {baseline.name!r}: leave it out of "
            "the data's shifts, or give another baseline"
        )
    restricted = restricted_shifts(baseline, common)
    unknown = restricted if predict else [name for name in restricted if name not in masks_of(datamodule)]
    if unknown:
        why = "predict= gives no logits to restrict to them" if predict else "the data module has no record of them"
        raise UserError(
            f"the baseline {baseline.name!r} compares the reference accuracy on the classes that {', '.join(unknown)} "
            f"covers, and {why}: take a baseline with x='full'"
        )


def matched_correct(
    baseline: Baseline, rules: Mapping[str, Rules], found: Mapping[str, Mapping[str, Correct]]
) -> dict[str, Correct]:
    """Right or wrong on the reference images of a shift's classes, by shift, where the baseline compares with that.

    Args:
        baseline: What is compared with.
        rules: Of each test loader, from `path_rules`.
        found: Right or wrong by loader and rule, from `answer_path`; the reference first.
    """
    reference = next(iter(found))
    matched = {}
    for name in restricted_shifts(baseline, _judged(baseline, list(found))):
        rule = next(key for key, rule in rules[reference].items() if same_rule(rule, rules[name][""]))
        matched[name] = found[reference][rule]
    return matched


def path_robustness(
    baseline: Baseline, correct: Mapping[str, Correct], matched: Mapping[str, Correct], *, replicates: int, seed: int
) -> list[EffectiveRobustness]:
    """Effective robustness of each α.

    Args:
        baseline: What is compared with.
        correct: Right or wrong by test loader, `(A, n)`, the reference first.
        matched: From `matched_correct`.
        replicates: Bootstrap replicates of the intervals.
        seed: Of the bootstrap.
    """
    names = list(correct)
    start = {REFERENCE: correct[names[0]], **matched}
    shifts = {name: correct[name] for name in _judged(baseline, names)}
    n = {REFERENCE: correct[names[0]].shape[1], **{name: right.shape[1] for name, right in shifts.items()}}
    n |= {f"matched/{name}": right.shape[1] for name, right in matched.items()}
    with from_user(ValueError):
        return [
            baseline.effective_robustness(
                {name: float(right[k].mean()) for name, right in start.items()},
                {name: float(right[k].mean()) for name, right in shifts.items()},
                n, replicates=replicates, seed=seed,
            )
            for k in range(len(correct[names[0]]))
        ]  # fmt: skip


def _judged(baseline: Baseline, names: Sequence[str]) -> list[str]:
    return [name for name in names[1:] if name in baseline.shifts]

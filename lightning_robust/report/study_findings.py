"""What a study's correlations say, a sentence for each signature."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lightning_robust.report.study_words import FIGURES, figure_words
from lightning_robust.results.study_record import StudyRecord

if TYPE_CHECKING:  # the room imports torch, which a reader of result files need not load
    from lightning_robust.robustness.study_correlations import StudyCorrelation

__all__ = ["FEWEST_FAMILIES", "direction", "study_findings"]

FEWEST_FAMILIES = 10
"""Families below which nothing is concluded (METHODS 7)."""
_ALPHA = 0.05
_WHERE = {"pretrained": "between pretrained models", "paths": "along Wise-FT paths"}
_HELD = "reference accuracy"


def study_findings(record: StudyRecord, correlations: Sequence[StudyCorrelation]) -> list[str]:
    """What follows robustness and what does not, by intervals, in sentences.

    Args:
        record: The study.
        correlations: Of `study_correlations`.

    Returns:
        A sentence for each figure of the correlations that has words of its own, then what limits them.
    """
    tags = [tag for tag in FIGURES if any(one.figure == tag and one.role == "signature" for one in correlations)]
    found = [f"{figure_words(tag).words}: {_sentence(tag, correlations)}." for tag in tags]
    return [*found, *_limits(record, correlations)] if found else []


def direction(one: StudyCorrelation | None) -> str:
    """`higher` or `lower` where robustness is higher, or `undetermined`.

    It is undetermined for fewer than ten families, where the interval holds 0, or where Holm's p is not below 0.05. A
    figure that has one value, or follows what is held fixed, is `the same`.

    Args:
        one: A correlation; None for one that there is not.

    Example:
        >>> direction(None)
        'not compared'
    """
    if one is None:
        return "not compared"
    if math.isnan(one.correlation.estimate):
        return "the same"
    if one.families < FEWEST_FAMILIES or not one.correlation.excludes_zero or one.p_holm >= _ALPHA:
        return "undetermined"
    return "higher" if one.correlation.estimate > 0 else "lower"


def _sentence(tag: str, correlations: Sequence[StudyCorrelation]) -> str:
    said: dict[str, list[str]] = {}
    for scope, where in _WHERE.items():
        alone, held = (_one(tag, scope, given, correlations) for given in ("", _HELD))
        words = direction(alone)
        if words in ("higher", "lower"):
            beyond = held is None or direction(held) == words
            words += " where robustness is higher" + ("" if beyond else f", but no longer with {_HELD} held fixed,")
        elif alone is not None and words == "undetermined" and alone.families < FEWEST_FAMILIES:
            where += f" ({_families(alone.families)})"
        said.setdefault(words, []).append(where)
    return "; ".join(f"{words} {' and '.join(places)}" for words, places in said.items())


def _families(number: int) -> str:
    return f"{number} {'family' if number == 1 else 'families'}"


def _one(tag: str, scope: str, given: str, correlations: Sequence[StudyCorrelation]) -> StudyCorrelation | None:
    return next(
        (
            one
            for one in correlations
            if (one.figure, one.scope, one.given, one.without_extrapolated) == (tag, scope, given, False)
        ),
        None,
    )


def _limits(record: StudyRecord, correlations: Sequence[StudyCorrelation]) -> list[str]:
    pretrained = len({row.family for row in record.of_kind("zero-shot")})
    found = []
    if pretrained < FEWEST_FAMILIES:
        found.append(
            f"the pretrained models are of {_families(pretrained)}, fewer than {FEWEST_FAMILIES}: nothing is concluded "
            "between them."
        )
    fewer = [one for one in correlations if _is_shown(one) and one.without_extrapolated]
    lacking = {one.scope: one.families for one in fewer if one.families < FEWEST_FAMILIES}
    found += [
        f"Without the models whose robustness is an extrapolation {_families(lacking[scope])} "
        f"{'is' if lacking[scope] == 1 else 'are'} left {words}: too few."
        for scope, words in _WHERE.items()
        if scope in lacking
    ]
    changed = [
        f"{figure_words(one.figure).words} {_WHERE[one.scope]}"
        for one in fewer
        if one.scope not in lacking and direction(one) != direction(_one(one.figure, one.scope, "", correlations))
    ]
    if changed:
        found.append(f"Without the models whose robustness is an extrapolation it is otherwise: {', '.join(changed)}.")
    return found


def _is_shown(one: StudyCorrelation) -> bool:
    return not one.given and one.role == "signature" and one.scope in _WHERE

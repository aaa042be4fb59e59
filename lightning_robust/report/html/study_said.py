"""What a study says in words, from the correlations that lie beside its table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lightning_robust.report.html.blocks import percent
from lightning_robust.report.study_findings import FEWEST_FAMILIES, direction
from lightning_robust.report.study_words import figure_words
from lightning_robust.results import Interval
from lightning_robust.results.study_record import StudyRecord

if TYPE_CHECKING:  # the room imports torch: only where there are correlations
    from lightning_robust.robustness.study_correlations import StudyCorrelation

__all__ = ["NEEDED", "correlations_of", "study_sentence"]

#: Columns of the file of correlations that a page reads.
NEEDED = frozenset({
    "figure", "role", "scope", "given", "without_extrapolated", "rows", "families", "extrapolated", "spearman", "low",
    "high", "p", "p_holm", "level", "replicates", "seed",
})  # fmt: skip
_WHERE = {"pretrained": "between pretrained models", "paths": "along Wise-FT paths"}


def correlations_of(rows: Sequence[Mapping[str, str]]) -> list[StudyCorrelation]:
    """Rows of a study's file of correlations as what they were; a row that is none is left out.

    Args:
        rows: with all columns of `NEEDED`.
    """
    from lightning_robust.robustness.study_correlations import StudyCorrelation

    found = []
    for row in rows:
        try:
            estimate, low, high = (_float(row[name]) for name in ("spearman", "low", "high"))
            interval = Interval(
                estimate,
                low,
                high,
                level=float(row["level"]),
                replicates=int(row["replicates"]),
                seed=int(row["seed"]),
            )
            found.append(
                StudyCorrelation(
                    figure=row["figure"],
                    role=row["role"],
                    scope=row["scope"],
                    given=row["given"],
                    without_extrapolated=row["without_extrapolated"] == "True",
                    correlation=interval,
                    rows=int(row["rows"]),
                    families=int(row["families"]),
                    extrapolated=int(row["extrapolated"]),
                    p=_float(row["p"]),
                    p_holm=_float(row["p_holm"]),
                )
            )
        except ValueError:
            continue
    return found


def _float(text: str) -> float:
    return float(text) if text else math.nan


def study_sentence(record: StudyRecord, rows: Sequence[Mapping[str, str]]) -> str:
    """How far robustness goes over a study, and which signatures follow it.

    Args:
        record: the study.
        rows: of its file of correlations; none where it has none.
    """
    parts = []
    if rows:
        correlations = correlations_of(rows)
        parts = [said for scope, where in _WHERE.items() if (said := _scope(scope, where, correlations))]
    return f"{_extent(record)}: {'; '.join(parts)}." if parts else f"{_extent(record)}."


def _extent(record: StudyRecord) -> str:
    families = len({row.family for row in record.rows})
    known = [value for row in record.rows if math.isfinite(value := row.value("er/mean"))]
    said = f"{_count(len(record.rows), 'model', 'models')} of {_count(families, 'family', 'families')}"
    if not known:
        return f"{said}; effective robustness was not measured"
    ends = f"{percent(min(known), signed=True)} to {percent(max(known), signed=True)}"
    return f"{said}, effective robustness from {ends} points"


def _scope(scope: str, where: str, correlations: Sequence[StudyCorrelation]) -> str:
    plain = [
        one
        for one in correlations
        if (one.scope, one.role, one.given, one.without_extrapolated) == (scope, "signature", "", False)
    ]
    told = [(one, words) for one in plain if (words := direction(one)) not in ("the same", "not compared")]
    if not told:
        return ""
    most = max(one.families for one, _ in told)
    if most < FEWEST_FAMILIES:
        return f"{where} undetermined, for {_count(most, 'family is', 'families are')} too few"
    follow = [f"{figure_words(one.figure).words} ({words})" for one, words in told if words in ("higher", "lower")]
    if not follow:
        return f"{where} none of {_count(len(told), 'signature', 'signatures')} is known to follow it"
    return f"{where} of {_count(len(told), 'signature', 'signatures')} these follow it: {', '.join(follow)}"


def _count(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"

"""Which rows of a study a correlation is taken over."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float, Int

from lightning_robust.results.study_record import StudyRecord, StudyRow

__all__ = ["EXTRAPOLATED", "SCOPES", "TARGET", "ScopePoints", "reference_accuracy", "scope_points"]

TARGET: Final = "er/mean"
EXTRAPOLATED: Final = "er/extrapolated"
#: By name, the kinds of rows that belong to a scope. Random models are controls: none of them.
_KINDS: Final = {
    "all": ("zero-shot", "finetuned", "interpolated", "supervised"),
    "pretrained": ("zero-shot",),
    "families": ("zero-shot", "finetuned", "interpolated", "supervised"),
    "paths": ("zero-shot", "finetuned", "interpolated"),
}
#: ``all``: every row but random models. ``pretrained``: the zero-shot rows, one for each family. ``families``: the
#: mean over each family's rows. ``paths``: inside each family that has three rows of a Wise-FT path or more.
SCOPES: Final = tuple(_KINDS)


@dataclass(frozen=True, kw_only=True)
class ScopePoints:
    """What a correlation is taken of; rows in which a value is missing are left out.

    Attributes:
        x: the figure. y: effective robustness. accuracy: on the reference, NaN where unknown. Each ``(n,)``.
        family: number of each row's family, from 0 without gaps.
        kinds: of each row; empty for families.
        backbones: label of each row; empty for families, or where a row has none.
        extrapolated: rows (of a family, any of its rows) whose effective robustness is an extrapolation.
    """

    x: Float[np.ndarray, "n"]
    y: Float[np.ndarray, "n"]
    accuracy: Float[np.ndarray, "n"]
    family: Int[np.ndarray, "n"]
    kinds: tuple[str, ...]
    backbones: tuple[str, ...]
    extrapolated: int

    @property
    def families(self) -> int:
        """How many there are."""
        return len(set(self.family.tolist()))


def reference_accuracy(record: StudyRecord) -> str:
    """Tag of the accuracy on the reference: that of the set that is no shift, else the one of the measured images.

    Args:
        record: The study.
    """
    known = dict.fromkeys(tag for row in record.rows for tag in row.figures if tag.startswith("accuracy/"))
    shifts = {"accuracy/shifts", *(f"accuracy/{shift}" for shift in record.shifts)}
    return next((tag for tag in known if tag not in shifts), "confidence/accuracy")


def scope_points(
    record: StudyRecord, figure: str, scope: str, *, without_extrapolated: bool = False
) -> ScopePoints | None:
    """The points of a scope that have the figure and effective robustness.

    Args:
        record: The study.
        figure: Its tag.
        scope: One of `SCOPES`.
        without_extrapolated: whether rows whose effective robustness is an extrapolation are left out.

    Returns:
        None for fewer than three points; of paths, where no family has three.

    Raises:
        ValueError: there is no such scope.
    """
    if scope not in _KINDS:
        raise ValueError(f"a scope is one of {', '.join(SCOPES)}, got {scope!r}")
    rows = [
        row
        for row in record.of_kind(*_KINDS[scope])
        if math.isfinite(row.value(figure))
        and math.isfinite(row.value(TARGET))
        and not (without_extrapolated and row.value(EXTRAPOLATED) == 1.0)
    ]
    if scope == "paths":
        counts = _by_family(rows)
        rows = [row for row in rows if len(counts[row.family]) >= 3]
    found = _family_means(record, rows, figure) if scope == "families" else _points(record, rows, figure)
    return found if len(found.x) >= 3 else None


def _points(record: StudyRecord, rows: Sequence[StudyRow], figure: str) -> ScopePoints:
    names = {name: number for number, name in enumerate(_by_family(rows))}
    backbones = tuple(row.labels.get("backbone", "") for row in rows)
    return ScopePoints(
        **_values(record, [[row] for row in rows], figure),
        family=np.array([names[row.family] for row in rows], dtype=np.int64),
        kinds=tuple(row.kind for row in rows),
        backbones=backbones if all(backbones) else (),
        extrapolated=sum(row.value(EXTRAPOLATED) == 1.0 for row in rows),
    )


def _family_means(record: StudyRecord, rows: Sequence[StudyRow], figure: str) -> ScopePoints:
    families = list(_by_family(rows).values())
    return ScopePoints(
        **_values(record, families, figure),
        family=np.arange(len(families)),
        kinds=(),
        backbones=(),
        extrapolated=sum(any(row.value(EXTRAPOLATED) == 1.0 for row in own) for own in families),
    )


def _values(
    record: StudyRecord, groups: Sequence[Sequence[StudyRow]], figure: str
) -> dict[str, Float[np.ndarray, "n"]]:
    tags = {"x": figure, "y": TARGET, "accuracy": reference_accuracy(record)}
    return {
        name: np.array([math.fsum(row.value(tag) for row in own) / len(own) for own in groups], dtype=np.float64)
        for name, tag in tags.items()
    }


def _by_family(rows: Sequence[StudyRow]) -> Mapping[str, list[StudyRow]]:
    families: dict[str, list[StudyRow]] = {}
    for row in rows:
        families.setdefault(row.family, []).append(row)
    return families

"""Which rows of a study a diagnosis is fitted on, which figures it reads, and what is left out and why."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

from lightning_robust.results.diagnosis_record import TrainingPoint
from lightning_robust.results.study_record import StudyRow
from lightning_robust.robustness.diagnosis_predictors import PREDICTORS, RIVALS, TARGET, on_scale
from lightning_robust.robustness.reference_figures import REFERENCE_ONLY

__all__ = ["SHARE_MEASURED", "DiagnosisTable", "diagnosis_table"]

SHARE_MEASURED = 0.9
"""Share of the rows that must have a figure; one that fewer have would cost more rows than it is worth."""


@dataclasses.dataclass(frozen=True)
class DiagnosisTable:
    """What of a study is fitted on.

    Attributes:
        points: its rows in order of family and name, not predicted yet.
        figures: tags of the predictors. rivals: tags of the rivals that some row has.
        left_out: rows that are not used, with the reason, by name.
        notes: sentences on figures and families that are not used as they stand.
    """

    points: tuple[TrainingPoint, ...]
    figures: tuple[str, ...]
    rivals: tuple[str, ...]
    left_out: Mapping[str, str]
    notes: tuple[str, ...]


def diagnosis_table(rows: Sequence[StudyRow], figures: Sequence[str] | None = None) -> DiagnosisTable:
    """Choose rows and figures of a study's table.

    Random models are left out, rows whose effective robustness was not measured, rows of the same weights as an
    earlier one, and rows that lack a figure. Families that share weights are one family. Without ``figures``, those
    of `PREDICTORS` are read that at least 90 % of the rows have and that vary.

    Args:
        rows: of the study.
        figures: tags to read whatever they cost; None for the default.

    Raises:
        ValueError: two rows of one name, no row or no figure left, or a figure that reference images alone do not
            give or that no row has.
    """
    if len(names := [row.name for row in rows]) != len(set(names)):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"rows of a study have names of their own, and two are called {twice!r}")
    left_out, candidates = _measured(sorted(rows, key=lambda row: (row.family, row.name)))
    if not candidates:
        raise ValueError(f"no row of the study has measured effective robustness, {TARGET}: it needs a baseline")
    chosen, notes = _default(candidates) if figures is None else (_asked(candidates, tuple(figures)), ())
    for row in candidates:
        if missing := [tag for tag in chosen if math.isnan(on_scale(tag, row.value(tag)))]:
            left_out[row.name] = f"it has no {', '.join(missing)}"
    used = [row for row in candidates if row.name not in left_out]
    families = _families(row for row in rows if row.kind != "random")
    merged = sorted({row.family for row in used if families[row.family] != row.family})
    notes += tuple(f"{name} shares weights with {families[name]} and is counted as that family." for name in merged)
    rivals = tuple(tag for tag in RIVALS if any(math.isfinite(on_scale(tag, row.value(tag))) for row in used))
    points = [_point(row, families[row.family], dict.fromkeys((*chosen, *rivals))) for row in used]
    return DiagnosisTable(
        tuple(sorted(points, key=lambda point: (point.family, point.name))), chosen, rivals, left_out, notes
    )


def _measured(rows: Iterable[StudyRow]) -> tuple[dict[str, str], list[StudyRow]]:
    left_out: dict[str, str] = {}
    kept: list[StudyRow] = []
    seen: dict[str, str] = {}
    for row in rows:
        if row.kind == "random":
            left_out[row.name] = "its weights are random"
        elif not math.isfinite(row.value(TARGET)):
            left_out[row.name] = "its effective robustness was not measured"
        elif row.checkpoint_hash and row.checkpoint_hash in seen:
            left_out[row.name] = f"its weights are those of {seen[row.checkpoint_hash]}"
        else:
            seen[row.checkpoint_hash] = row.name
            kept.append(row)
    return left_out, kept


def _default(rows: Sequence[StudyRow]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    chosen, notes = [], []
    for tag in PREDICTORS:
        values = [value for row in rows if math.isfinite(value := on_scale(tag, row.value(tag)))]
        if len(values) < SHARE_MEASURED * len(rows) or not values:
            notes.append(f"{tag} is not read: {len(values)} of {len(rows)} rows have it.")
        elif min(values) == max(values):
            notes.append(f"{tag} is not read: it is the same in every row.")
        else:
            chosen.append(tag)
    if not chosen:
        raise ValueError(f"no row of the study has a figure that a diagnosis reads: {', '.join(PREDICTORS)}")
    return tuple(chosen), tuple(notes)


def _asked(rows: Sequence[StudyRow], figures: tuple[str, ...]) -> tuple[str, ...]:
    if not figures or len(set(figures)) != len(figures):
        raise ValueError(f"a diagnosis reads one or more different figures, got {', '.join(figures) or 'none'}")
    for tag in figures:
        if tag not in REFERENCE_ONLY:
            raise ValueError(
                f"a diagnosis reads what reference images alone give, and {tag!r} is not among it: "
                f"{', '.join(REFERENCE_ONLY)}"
            )
        if all(math.isnan(on_scale(tag, row.value(tag))) for row in rows):
            raise ValueError(f"no row of the study has the figure {tag!r}")
    return figures


def _families(rows: Iterable[StudyRow]) -> dict[str, str]:
    """By family its first name in the alphabet, where families that share weights are one."""
    groups: dict[str, set[str]] = {}
    holders: dict[str, str] = {}
    for row in rows:
        groups.setdefault(row.family, {row.family})
        if row.checkpoint_hash:
            other = holders.setdefault(row.checkpoint_hash, row.family)
            both = groups[row.family] | groups[other]
            groups |= dict.fromkeys(both, both)
    return {name: min(group) for name, group in groups.items()}


def _point(row: StudyRow, family: str, tags: Iterable[str]) -> TrainingPoint:
    margin = row.value(TARGET) - row.value(f"{TARGET}/prediction_low")
    return TrainingPoint(
        name=row.name,
        family=family,
        kind=row.kind,
        figures={tag: float(row.value(tag)) for tag in tags},
        target=float(row.value(TARGET)),
        predicted=math.nan,
        low=math.nan,
        high=math.nan,
        checkpoint_hash=row.checkpoint_hash,
        extrapolated=row.value("er/extrapolated") > 0,
        margin=float(margin) if math.isfinite(margin) else None,
    )

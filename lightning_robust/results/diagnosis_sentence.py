"""The verdict of a diagnosis in one plain sentence, for the terminal, a page and a logger."""

import math
from collections.abc import Sequence
from typing import Final

from lightning_robust.results.diagnosis_record import DiagnosedModel, TrainingPoint

__all__ = ["extrapolated_sentence", "points", "verdict_sentence"]

_START: Final = {"robust": "Probably robust", "not robust": "Probably not robust", "undetermined": "Undetermined"}
_DASH: Final = "–"


def points(value: float, *, signed: bool = True, digits: int = 0) -> str:
    """A fraction in points with a proper minus; a dash where it is no number.

    Args:
        value: a fraction.
        signed: whether what is above 0 has a plus.
        digits: after the decimal point.

    Example:
        >>> points(0.314), points(-0.021, digits=1), points(-0.001), points(-math.inf)
        ('+31', '−2.1', '0', '−∞')
    """
    if math.isnan(value):
        return _DASH
    text = "∞" if math.isinf(value) else f"{abs(100 * value):.{digits}f}"
    if not math.isinf(value) and float(text) == 0:
        return text
    return f"−{text}" if value < 0 else f"{'+' if signed else ''}{text}"


def verdict_sentence(model: DiagnosedModel, level: float | None = None) -> str:
    """The verdict in one plain sentence.

    Args:
        model: its diagnosis.
        level: nominal coverage of its interval, where it is to be said.

    Example:
        >>> verdict_sentence(DiagnosedModel(name="a", origin="", checkpoint_hash="", figures={}, predicted=0.31,
        ...     low=0.18, high=0.44, distance=0.8, farthest=2.0, outside=(), contributions={}, verdict="robust",
        ...     reasons=()), 0.9)
        'Probably robust: its effective robustness is predicted at +31 points [18, 44] (90 % interval).'
    """
    start = _START[model.verdict]
    if math.isnan(model.predicted):
        return f"{start}: its effective robustness cannot be predicted."
    low, high = points(model.low, signed=False), points(model.high, signed=False)
    span = "" if math.isnan(model.low) or math.isnan(model.high) else f" [{low}, {high}]"
    nominal = "" if level is None or not span else f" ({100 * level:.0f} % interval)"
    if model.distance > model.farthest:
        return f"{start}: it is unlike the table, which would predict {points(model.predicted)} points{span}{nominal}."
    return f"{start}: its effective robustness is predicted at {points(model.predicted)} points{span}{nominal}."


def extrapolated_sentence(rows: Sequence[TrainingPoint]) -> str:
    """How many rows a table learned from whose effective robustness is an extrapolation; empty for none.

    Args:
        rows: of the table.

    Example:
        >>> extrapolated_sentence(())
        ''
    """
    outside = sum(row.extrapolated for row in rows)
    if not outside:
        return ""
    return (
        f"The effective robustness of {outside} of its {len(rows)} rows is an extrapolation, outside the reference "
        "accuracies of the baseline's models."
    )

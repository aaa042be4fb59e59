"""Axes of a chart: from data to places, with round ticks."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

__all__ = ["SCALES", "Axis", "Placed", "written"]

_NORMAL = NormalDist()
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def _logit(p: float) -> float:
    return math.log(p / (1 - p))


#: From data to a straight scale. Logit and probit are those of accuracies in (0, 1).
SCALES: dict[str, Callable[[float], float]] = {
    "linear": float,
    "log": math.log10,
    "logit": _logit,
    "probit": _NORMAL.inv_cdf,
}
_PERCENT = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 98, 99, 99.5, 99.8, 99.9)
_ROUNDEST = (50, 10, 90, 1, 99, 0.1, 99.9, 30, 70, 20, 80, 5, 95, 40, 60, 2, 98)
_CLOSEST = 0.13  # of the axis, between two ticks of accuracy


def written(text: str) -> str:
    """A number as Python writes it, with the signs of print: a true minus, powers of ten raised.

    Args:
        text: as from a format.

    Example:
        >>> written("-1.5"), written("1e-08"), written("2.5e-08")
        ('−1.5', '10⁻⁸', '2.5 × 10⁻⁸')
    """
    mantissa, _, power = text.partition("e")
    sign = mantissa.replace("-", "−")
    if not power:
        return sign
    raised = str(int(power)).translate(_RAISED)
    return f"{sign.removesuffix('1')}10{raised}" if sign in ("1", "−1") else f"{sign} × 10{raised}"


@dataclass(frozen=True, kw_only=True)
class Axis:
    """What stands along one side of a chart.

    Attributes:
        label: what it shows, with its unit.
        scale: ``"linear"``, ``"log"`` (values above 0), ``"logit"`` or ``"probit"`` (accuracies in (0, 1)).
        percent: whether the data are fractions that are shown as percent.
        low, high: ends in units of the data; None fits them to what is drawn.
        whole: whether only whole numbers are ticks, as for epochs.
        decimals: places after the point of a figure that is written out, as of accuracy; None: significant digits.

    Raises:
        ValueError: another scale.
    """

    label: str
    scale: str = "linear"
    percent: bool = False
    low: float | None = None
    high: float | None = None
    whole: bool = False
    decimals: int | None = None

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise ValueError(f"an axis has a scale of {', '.join(SCALES)}, got {self.scale!r}")

    def drawable(self, value: float) -> bool:
        """Whether a value has a place on the scale: not NaN, not 0 on a logarithm."""
        if not math.isfinite(value):
            return False
        if self.scale == "log":
            return value > 0
        return 0 < value < 1 if self.scale in ("logit", "probit") else True

    def shown(self, value: float, digits: int = 4) -> str:
        """A value as the axis would write it."""
        told = 100 * value if self.percent else value
        if not math.isfinite(told):
            return "–"
        if self.decimals is not None:
            text = f"{told:.{self.decimals}f}"
            zero = f"{0:.{self.decimals}f}"
            return zero if text.lstrip("-") == zero else written(text)
        return written(f"{told:.{digits}g}")

    def placed(self, values: Iterable[float], start: float, end: float) -> "Placed":
        """Fit the axis to what is drawn.

        Args:
            values: everything that has to be seen.
            start: place of its lower end, in units of the drawing.
            end: place of its upper end.
        """
        forward = SCALES[self.scale]
        known = [forward(v) for v in (*values, *_given(self)) if self.drawable(v)]
        low, high = (min(known), max(known)) if known else (0.0, 1.0)
        pad = 0.05 * (high - low) or 0.5 * abs(high) or 0.5
        if not math.isfinite(high - low):
            raise ValueError(f"a chart of {self.label} reaches from {low:g} to {high:g}")
        left = forward(self.low) if self.low is not None and self.drawable(self.low) else low - pad
        right = forward(self.high) if self.high is not None and self.drawable(self.high) else high + pad
        if right <= left or (self.whole and self.scale == "linear" and right - left < 1):
            right = left + 1.0
        return Placed(axis=self, low=left, high=right, start=start, end=end)


def _given(axis: Axis) -> list[float]:
    return [end for end in (axis.low, axis.high) if end is not None]


@dataclass(frozen=True, kw_only=True)
class Placed:
    """An axis with its ends.

    Attributes:
        axis: what it is of.
        low, high: ends on the straight scale.
        start, end: their places in the drawing.
    """

    axis: Axis
    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Place of a value that is drawable, in units of the drawing."""
        share = (SCALES[self.axis.scale](value) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Places and texts of round values between the ends."""
        values = self._values()
        return [(self(value), self._text(value)) for value in values]

    def _values(self) -> list[float]:
        if self.axis.scale in ("logit", "probit"):
            return self._accuracies()
        if self.axis.scale == "log":
            return self._decades()
        factor = 100 if self.axis.percent else 1
        return [v / factor for v in _round(self.low * factor, self.high * factor, whole=self.axis.whole)]

    def _decades(self) -> list[float]:
        for steps in ((1,), (1, 3), (1, 2, 5)):
            found = [
                step * 10.0**power
                for power in range(math.floor(self.low) - 1, math.ceil(self.high) + 1)
                for step in steps
                if self.low <= math.log10(step * 10.0**power) <= self.high
            ]
            if len(found) >= 3:
                break
        else:  # less than a decade: straight ticks
            found = [value for value in _round(10**self.low, 10**self.high) if value > 0]
        return found[:: max(1, -(-len(found) // 6))]

    def _accuracies(self) -> list[float]:
        forward = SCALES[self.axis.scale]
        inside = [p for p in _PERCENT if self.low <= forward(p / 100) <= self.high]
        if len(inside) < 3:
            low, high = (100 * _inverse(end, self.axis.scale) for end in (self.low, self.high))
            inside = [p for p in _round(low, high) if 0 < p < 100]
        kept: list[float] = []
        for p in sorted(inside, key=lambda p: _ROUNDEST.index(p) if p in _ROUNDEST else len(_ROUNDEST)):
            far = [abs(forward(p / 100) - forward(q / 100)) for q in kept]
            if not far or min(far) >= _CLOSEST * (self.high - self.low):
                kept.append(p)
        return [p / 100 for p in sorted(kept)]

    def _text(self, value: float) -> str:
        told = 100 * value if self.axis.percent else value
        return written(f"{told:,.4g}") if abs(told) >= 1e-12 else "0"


def _inverse(value: float, scale: str) -> float:
    return _NORMAL.cdf(value) if scale == "probit" else 1 / (1 + math.exp(-value))


def _round(low: float, high: float, most: int = 6, *, whole: bool = False) -> Sequence[float]:
    """Multiples of 1, 2 or 5 times a power of ten between two ends, at most so many."""
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw)) if raw > 0 else 1.0
    step = next(k * power for k in (1, 2, 5, 10) if k * power >= raw)
    step = max(1.0, step) if whole else step
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [k * step for k in range(first, last + 1)]

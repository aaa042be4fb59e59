"""Logged figures by layer: from tags to what one chart shows."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lightning_robust.results import AlphaRow, CurveRow

__all__ = ["Measured", "of_curves", "of_path"]

_LAYER = re.compile(r"(?:kurtosis|spectrum|outliers|concepts|importance)/([^/]+)(?:/|$)")
_WEIGHT = re.compile(r"weights/([^/]+)/")
_UNTRAINED = "/untrained"


@dataclass(frozen=True)
class Measured:
    """Figures by tag at some places: epochs of a training, or α's of a path.

    Attributes:
        places: where they were measured, increasing.
        values: by tag, one for each place; NaN where it was not measured or is not defined.
        untrained: by tag, the figure of the untrained model.
    """

    places: tuple[float, ...]
    values: Mapping[str, Sequence[float]]
    untrained: Mapping[str, float] = field(default_factory=dict)

    @property
    def layers(self) -> list[str]:
        """Layers of which something was measured; what the head reads first, then in the order of the tags."""
        found = [m.group(1) for tag in self.values if (m := _LAYER.match(tag))]
        head = [layer for layer in found if f"importance/{layer}/raw/max_over_median" in self.values]
        return list(dict.fromkeys([*head, *found]))

    @property
    def weights(self) -> list[str]:
        """Weight matrices of which something was measured."""
        return list(dict.fromkeys(m.group(1) for tag in self.values if (m := _WEIGHT.match(tag))))

    def known(self, tag: str) -> bool:
        """Whether a figure has a value anywhere."""
        return any(math.isfinite(value) for value in self.values.get(tag, ()))

    def of(self, tag: str) -> Sequence[float]:
        """A figure at every place, NaN where there is none."""
        return self.values.get(tag) or [math.nan] * len(self.places)


def of_curves(rows: Iterable[CurveRow]) -> Measured:
    """What a training logged, by epoch; the last value of an epoch counts.

    Args:
        rows: a run's curves.

    Example:
        >>> of_curves([CurveRow(0, 0, "kurtosis/fc", 2.5), CurveRow(0, 0, "kurtosis/fc/untrained", 2.9)]).layers
        ['fc']
    """
    by_tag: dict[str, dict[int, float]] = {}
    untrained: dict[str, float] = {}
    for row in rows:
        if row.tag.endswith(_UNTRAINED):
            untrained[row.tag.removesuffix(_UNTRAINED)] = row.value
        elif _LAYER.match(row.tag) or _WEIGHT.match(row.tag):
            by_tag.setdefault(row.tag, {})[row.epoch] = row.value
    epochs = sorted({epoch for values in by_tag.values() for epoch in values})
    values = {tag: [found.get(epoch, math.nan) for epoch in epochs] for tag, found in by_tag.items()}
    return Measured(tuple(float(epoch) for epoch in epochs), values, untrained)


def of_path(rows: Sequence[AlphaRow], untrained: Mapping[str, float]) -> Measured:
    """The signatures of a Wise-FT path, by α.

    Args:
        rows: its points.
        untrained: figures of the untrained model by tag.
    """
    tags = dict.fromkeys(tag for row in rows for tag in row.signatures)
    values = {tag: [row.signatures.get(tag, math.nan) for row in rows] for tag in tags}
    return Measured(tuple(row.alpha for row in rows), values, untrained)

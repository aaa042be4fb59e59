"""Which of a comparison's many figures stand in its tables and pictures, and in which words."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from lightning_robust.report.headline import headline
from lightning_robust.results.emergence_record import EmergenceRun

__all__ = ["ROBUSTNESS", "SHIFTS", "ShownFigure", "shown_figures", "variant_words"]

ROBUSTNESS = "er/mean"
"""Mean effective robustness."""
SHIFTS = "val/shifts/accuracy"
"""Mean accuracy on the shifts."""
_KURTOSIS = re.compile(r"kurtosis/([^/]+)$")
_CONCEPTS = "concepts/{}/singular_vectors"


@dataclass(frozen=True)
class ShownFigure:
    """A figure that is shown.

    Attributes:
        tag: Its tag.
        words: What it is called.
        factor: What it is multiplied by, 100 for shares that are shown in percent or points.
        digits: Digits after the point.
        log: Whether its axis is logarithmic.
        control: Tag of what chance gives, drawn dotted; None without one.
    """

    tag: str
    words: str
    factor: float = 1.0
    digits: int = 2
    log: bool = False
    control: str | None = None

    @property
    def is_count(self) -> bool:
        """Whether it counts features, directions or concepts."""
        return self.tag.endswith(("/features", "/privileged")) or "/unique_" in self.tag

    def text(self, value: float, *, signed: bool = False) -> str:
        """A value in the unit that is shown; a dash where it is not defined.

        Args:
            value: As it was measured.
            signed: Whether a plus is written.

        Example:
            >>> ShownFigure("er/mean", "ER", factor=100, digits=1).text(0.123, signed=True)
            '+12.3'
        """
        if value != value:
            return "–"
        sign = "+" if signed else ""
        return f"{self.factor * value:{sign},.{self.digits}f}"


def shown_figures(runs: Sequence[EmergenceRun]) -> tuple[ShownFigure, ...]:
    """The figures that at least one run has, in the order in which they are shown.

    Args:
        runs: What is compared.
    """
    tags = list(dict.fromkeys(tag for run in runs for point in run.points for tag in point.figures))
    h = headline(tags).layer or ""
    layers = [match.group(1) for tag in tags if (match := _KURTOSIS.match(tag))]
    layers = sorted(layers, key=lambda layer: layer == h)  # h last, as it is in the model
    references = list(dict.fromkeys(run.reference for run in runs))
    rotated = f"concepts/{h}/random_rotation"
    figures = [
        *(ShownFigure(f"val/{name}/accuracy", f"accuracy on {_the(name)}, %", 100, 1) for name in references),
        ShownFigure(SHIFTS, "mean accuracy on the shifts, %", 100, 1),
        ShownFigure(ROBUSTNESS, "effective robustness, points", 100, 1),
        ShownFigure(f"spectrum/{h}/rankme", "RankMe of h", digits=1),
        *(ShownFigure(f"kurtosis/{layer}", f"kurtosis of {_name(layer, h)}") for layer in layers),
        ShownFigure(
            f"{_CONCEPTS.format(h)}/mean_best_ap", "concepts, mean best AP", digits=3, control=f"{rotated}/mean_best_ap"
        ),
        *(
            ShownFigure(f"outliers/{layer}/features", f"outlier features of {_name(layer, h)}", digits=1)
            for layer in layers
        ),
        ShownFigure(
            f"{_CONCEPTS.format(h)}/unique_0.9", "concepts at AP ≥ 0.9", digits=1, control=f"{rotated}/unique_0.9"
        ),
        *(figure for head in ("raw", "centred") for figure in _importance(h, head)),
    ]
    return tuple(figure for figure in figures if figure.tag in tags)


def variant_words(variant: str) -> str:
    """A variant's name as words.

    Example:
        >>> variant_words("contrastive_broad"), variant_words("my_own_vit")
        ('contrastive, broad', 'my own vit')
    """
    first, _, rest = variant.partition("_")
    joint = ", " if first in ("contrastive", "supervised") and rest else " "
    return joint.join(part for part in (first, rest.replace("_", " ")) if part)


def _importance(h: str, head: str) -> list[ShownFigure]:
    place = f"importance/{h}/{head}"
    return [
        ShownFigure(f"{place}/max_over_median", f"importance, {head} head", digits=1, log=True),
        ShownFigure(f"{place}/privileged", f"privileged directions, {head}", digits=1),
    ]


def _name(layer: str, h: str) -> str:
    return "h" if layer == h else layer.rpartition(".")[2]


def _the(name: str) -> str:
    return "the reference" if name == "reference" else name

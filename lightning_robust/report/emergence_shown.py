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
        short: What it is called where there is little room; empty for the same words.
    """

    tag: str
    words: str
    factor: float = 1.0
    digits: int = 2
    log: bool = False
    control: str | None = None
    short: str = ""

    @property
    def short_words(self) -> str:
        """What it is called where there is little room."""
        return self.short or self.words

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
    name = _layer_names(layers, h)
    references = list(dict.fromkeys(run.reference for run in runs))
    concepts, rotated = _CONCEPTS.format(h), f"concepts/{h}/random_rotation"
    figures = [
        *(
            ShownFigure(f"val/{one}/accuracy", f"accuracy on {_the(one)}, %", 100, 1, short=f"{one}, %")
            for one in references
        ),
        ShownFigure(SHIFTS, "mean accuracy on the shifts, %", 100, 1, short="shifts, %"),
        ShownFigure(ROBUSTNESS, "effective robustness, points", 100, 1, short="robustness, points"),
        ShownFigure(f"spectrum/{h}/rankme", "RankMe of h", digits=1),
        *(ShownFigure(f"kurtosis/{layer}", f"kurtosis of {name[layer]}") for layer in layers),
        ShownFigure(
            f"{concepts}/mean_best_ap", "concepts, mean best AP", digits=3, control=f"{rotated}/mean_best_ap",
            short="concepts, best AP",
        ),
        *(
            ShownFigure(
                f"outliers/{layer}/features", f"outlier features of {name[layer]}", digits=1,
                short=f"outliers of {name[layer]}",
            )
            for layer in layers
        ),
        ShownFigure(
            f"{concepts}/unique_0.9", "concepts at AP ≥ 0.9", digits=1, control=f"{rotated}/unique_0.9",
            short="concepts, AP ≥ 0.9",
        ),
        *(figure for head in ("raw", "centred") for figure in _importance(h, head)),
    ]  # fmt: skip
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
    largest, counted = f"importance, {head} head", f"privileged directions, {head}"
    return [
        ShownFigure(f"{place}/max_over_median", largest, digits=1, log=True, short=f"importance, {head}"),
        ShownFigure(f"{place}/privileged", counted, digits=1, short=f"privileged, {head}"),
    ]


def _layer_names(layers: Sequence[str], h: str) -> dict[str, str]:
    """Each layer by the shortest end of its name that is its own and no bare number; the last is h."""

    def ending(layer: str) -> str:
        parts = layer.split(".")
        ends = (".".join(parts[k:]) for k in range(len(parts) - 1, -1, -1))
        others = [f".{other}" for other in layers if other != layer]
        own = (end for end in ends if not end.isdigit() and not any(other.endswith(f".{end}") for other in others))
        return next(own, layer)

    return {layer: "h" if layer == h else ending(layer) for layer in layers}


def _the(name: str) -> str:
    return "the reference" if name == "reference" else name

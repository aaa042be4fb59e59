"""Which of a run's many figures stand in the headline table."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_IMPORTANCE = re.compile(r"importance/(.+)/raw/max_over_median$")
_KURTOSIS = re.compile(r"kurtosis/([^/]+)$")


@dataclass(frozen=True)
class Headline:
    """Tags of the headline signatures, for the layer that the head reads; None where they were not measured.

    Attributes:
        layer: The layer.
        kurtosis: Mean per-image kurtosis.
        importance_raw: Largest over median importance of the head's directions.
        importance_centred: The same for the centred head.
        concepts: Unique concepts of the right singular vectors at AP ≥ 0.9.
        concepts_best_ap: Mean best AP of the right singular vectors.
    """

    layer: str | None
    kurtosis: str | None
    importance_raw: str | None
    importance_centred: str | None
    concepts: str | None
    concepts_best_ap: str | None


def headline(tags: Iterable[str]) -> Headline:
    """Find the headline tags among all tags of a run.

    Args:
        tags: Tags as the callbacks log them.

    Example:
        >>> headline(["kurtosis/fc:input", "outliers/fc:input/features"]).kurtosis
        'kurtosis/fc:input'
    """
    known = list(tags)
    matches = [match for tag in known if (match := _IMPORTANCE.match(tag))] or [
        match for tag in known if (match := _KURTOSIS.match(tag))
    ]
    layer = matches[0].group(1) if matches else None

    def tag(name: str) -> str | None:
        return name if name in known else None

    return Headline(
        layer=layer,
        kurtosis=tag(f"kurtosis/{layer}"),
        importance_raw=tag(f"importance/{layer}/raw/max_over_median"),
        importance_centred=tag(f"importance/{layer}/centred/max_over_median"),
        concepts=tag(f"concepts/{layer}/singular_vectors/unique_0.9"),
        concepts_best_ap=tag(f"concepts/{layer}/singular_vectors/mean_best_ap"),
    )

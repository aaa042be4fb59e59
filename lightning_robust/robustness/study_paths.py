"""How a figure of a study changes along the Wise-FT paths, in the mean over families."""

import math
from dataclasses import dataclass

import numpy as np

from lightning_robust.results import Interval
from lightning_robust.results.study_record import StudyRecord

__all__ = ["AlphaMean", "along_alpha"]


@dataclass(frozen=True, kw_only=True)
class AlphaMean:
    """A figure at one α, in the mean over families.

    Attributes:
        figure: its tag.
        alpha: position on the path, 0 for the zero-shot model.
        mean: with a bootstrap over families.
        change: from α = 0, family by family, with the same bootstrap; 0 at α = 0.
        families: how many there are.
        extrapolated: of how many of them effective robustness is an extrapolation there.
    """

    figure: str
    alpha: float
    mean: Interval
    change: Interval
    families: int
    extrapolated: int


def along_alpha(
    record: StudyRecord, figure: str, *, replicates: int = 2000, level: float = 0.95, seed: int = 0
) -> tuple[AlphaMean, ...]:
    """The mean of a figure over families at every α, the same families at each.

    A family is a pretraining run. Intervals hold the differences between the study's runs, seeds among them, and not
    the sampling of the images, which every model shares.

    Args:
        record: The study.
        figure: Tag of the figure.
        replicates: Bootstrap samples of families.
        level: Coverage, in (0, 1).
        seed: Of the bootstrap.

    Returns:
        By α. Families that lack the figure at an α that others have are left out; empty for fewer than two families,
        or fewer than two α's.
    """
    found: dict[str, dict[float, tuple[float, bool]]] = {}
    for row in record.of_kind("zero-shot", "interpolated", "finetuned"):
        if math.isfinite(row.value(figure)):
            place = 0.0 if row.alpha is None else row.alpha
            found.setdefault(row.family, {})[place] = (row.value(figure), row.value("er/extrapolated") == 1.0)
    paths = {family: points for family, points in found.items() if len(points) > 1}
    alphas = sorted({alpha for points in paths.values() for alpha in points})
    whole = [points for points in paths.values() if len(points) == len(alphas)]
    if len(whole) < 2:
        return ()
    values = np.array([[points[alpha][0] for alpha in alphas] for points in whole])
    draws = np.random.default_rng(seed).multinomial(len(whole), np.full(len(whole), 1 / len(whole)), size=replicates)
    ends = [(1 - level) / 2, (1 + level) / 2]

    def interval(column: np.ndarray) -> Interval:
        low, high = np.quantile(draws @ column / len(whole), ends)
        return Interval(float(column.mean()), float(low), float(high), level, replicates, seed)

    return tuple(
        AlphaMean(
            figure=figure,
            alpha=alpha,
            mean=interval(values[:, k]),
            change=interval(values[:, k] - values[:, 0]),
            families=len(whole),
            extrapolated=sum(points[alpha][1] for points in whole),
        )
        for k, alpha in enumerate(alphas)
    )

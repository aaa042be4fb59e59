"""A regression without one family and without two: what it says of families that it has not seen."""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int

from lightning_robust.robustness.diagnosis_intervals import jackknife_plus
from lightning_robust.robustness.diagnosis_regression import (
    FamilyRows,
    best_penalties,
    family_moments,
    penalty_folds,
    ridge,
)

__all__ = ["FEWEST_FAMILIES", "LeftOut", "leave_families_out"]

FEWEST_FAMILIES = 4
"""Below it nothing can be held out of what is left after two families are left out."""


@dataclass(frozen=True)
class LeftOut:
    """Regressions on a table without some of its F families.

    Attributes:
        rows: the table.
        penalty: chosen on the whole table.
        without: intercept and slopes without the families f and g, ``(F, F, p + 1)``; on the diagonal without f alone.
            Each has its own penalty, chosen on the families that it is fitted on.
    """

    rows: FamilyRows
    penalty: float
    without: Float[np.ndarray, "F F p1"]

    @cached_property
    def predictions(self) -> Float[np.ndarray, "n"]:
        """Of each row, by the regression without its family."""
        family = self.rows.family
        return np.asarray(np.einsum("np,np->n", self.rows.with_one, self.without[family, family]))

    @cached_property
    def means(self) -> Float[np.ndarray, "n"]:
        """Of each row, the mean of the target over the other families, each weighing the same."""
        totals = np.bincount(self.rows.family, weights=self.rows.weights * self.rows.y)
        return np.asarray((totals.sum() - totals)[self.rows.family] / (self.rows.families - 1))

    def intervals(self, level: float) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
        """Of each row, the prediction interval that the other families alone give.

        Args:
            level: nominal coverage, in (0, 1).

        Returns:
            Low and high ends; infinite where the other families are too few for the level.
        """
        family, a = self.rows.family, self.rows.with_one
        # [i, j]: row i by the regression without its family and that of row j, and how that one misses row j
        centres = np.einsum("np,nfp->nf", a, self.without[family])[:, family]
        missed = np.abs(self.rows.y - np.einsum("np,fnp->fn", a, self.without[:, family]))[family]
        weights = np.where(family[:, None] == family, 0.0, self.rows.weights / self.rows.families)
        return jackknife_plus(centres, missed, weights, level)

    def interval_at(self, x: Float[np.ndarray, "p"], level: float) -> tuple[float, float]:
        """The prediction interval of a model that belongs to none of the families.

        Args:
            x: its figures.
            level: nominal coverage, in (0, 1).
        """
        family = self.rows.family
        own = np.diagonal(self.without).T
        centres = (own @ np.concatenate([[1.0], x]))[family]
        missed = np.abs(self.rows.y - self.predictions)
        weights = self.rows.weights / (self.rows.families + 1)
        low, high = jackknife_plus(centres[None], missed[None], weights[None], level)
        return float(low[0]), float(high[0])


def leave_families_out(rows: FamilyRows) -> LeftOut:
    """Fit a table's regression without each family and without each two, every time from the start.

    Args:
        rows: the table.

    Raises:
        ValueError: fewer than four families.
    """
    count = rows.families
    if count < FEWEST_FAMILIES:
        raise ValueError(f"a diagnosis needs a table of at least {FEWEST_FAMILIES} families, got {count}")
    first, second = np.triu_indices(count)
    sets, folds = _sets_and_folds(tuple(rows.family.tolist()))
    moments = family_moments(rows)
    penalties = best_penalties(moments, folds)
    fitted = ridge(np.einsum("bf,fqr->bqr", sets[1:].astype(float), moments), penalties[1:, None])[:, 0]
    without = np.empty((count, count, fitted.shape[1]))
    without[first, second] = without[second, first] = fitted
    return LeftOut(rows, float(penalties[0]), without)


@lru_cache(
    maxsize=4
)  # the same for the diagnosis, its rivals and each figure alone, and most of the time that they take
def _sets_and_folds(family: tuple[int, ...]) -> tuple[Bool[np.ndarray, "B F"], Int[np.ndarray, "B F"]]:
    """The whole and what is left without each pair of families, f = g among them; and the folds in each set."""
    count = max(family) + 1
    first, second = np.triu_indices(count)
    sets = np.ones((1 + len(first), count), dtype=bool)
    sets[np.arange(1, len(sets)), first] = sets[np.arange(1, len(sets)), second] = False
    return sets, penalty_folds(np.array(family), sets)

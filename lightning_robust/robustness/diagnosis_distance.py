"""How unlike a table's rows a model is."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from lightning_robust.robustness.diagnosis_intervals import jackknife_plus
from lightning_robust.robustness.diagnosis_regression import FamilyRows

__all__ = ["Distance", "limit_left_out", "table_distance"]

_FLOOR = 0.01  # added to correlations, so that two figures that say the same do not make every model far


@dataclass(frozen=True)
class Distance:
    """Mahalanobis distance from a table's mean, in units in which its rows have a mean square of 1.

    Attributes:
        mean, scale: of each figure over the table, families weighing the same, ``(p,)``.
        inverse: of the figures' correlations with a little added to the diagonal, divided so that the rows' mean
            squared distance is 1, ``(p, p)``.
    """

    mean: Float[np.ndarray, "p"]
    scale: Float[np.ndarray, "p"]
    inverse: Float[np.ndarray, "p p"]

    def of(self, x: Float[np.ndarray, "*n p"]) -> Float[np.ndarray, "*n"]:
        """Distances of models.

        Args:
            x: their figures.
        """
        z = (x - self.mean) / self.scale
        return np.asarray(np.sqrt(np.einsum("...p,pq,...q->...", z, self.inverse, z)))


def table_distance(rows: FamilyRows) -> Distance:
    """The distance from a table; a figure that does not vary counts in its own units.

    Args:
        rows: the table.

    Example:
        >>> rows = FamilyRows(np.array([[-2.0], [2.0]]), np.zeros(2), np.array([0, 1]))
        >>> round(float(table_distance(rows).of(np.array([6.0]))), 12)
        3.0
    """
    share = rows.weights / rows.weights.sum()
    mean = share @ rows.x
    variance = share @ np.square(rows.x - mean)
    scale = np.sqrt(np.where(variance > 1e-24, variance, 1.0))
    z = (rows.x - mean) / scale
    inverse = np.linalg.inv((z * share[:, None]).T @ z + _FLOOR * np.eye(z.shape[1]))
    square = float(share @ np.einsum("np,pq,nq->n", z, inverse, z))
    return Distance(mean, scale, inverse / square if square > 0 else inverse)


def limit_left_out(rows: FamilyRows, level: float) -> float:
    """Up to which distance a model is like a table.

    The smallest one within which lies the weight ``level`` of the table's rows, each measured from the table without
    its family, and weighed as in `jackknife_plus`: a conformal test for outliers (Bates et al. 2023, Annals of
    Statistics 51:149). A row of a family like the others lies beyond it with a probability of about ``1 − level``. The
    farthest row alone would do so more seldom, but a single family that lies apart would make everything near.

    Args:
        rows: the table.
        level: in (0, 1), that of the prediction intervals.

    Returns:
        The distance; that of the farthest row where families are too few for the level.
    """
    found = np.empty(len(rows.x))
    for f in range(rows.families):
        others = rows.family != f
        family = rows.family[others]
        rest = FamilyRows(rows.x[others], rows.y[others], family - (family > f))
        found[~others] = table_distance(rest).of(rows.x[~others])
    weights = rows.weights / (rows.families + 1)
    _, high = jackknife_plus(np.zeros((1, len(found))), found[None], weights[None], level)
    return min(float(high[0]), float(found.max()))

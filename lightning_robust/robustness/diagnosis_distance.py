"""How unlike a table's rows a model is."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from lightning_robust.robustness.diagnosis_regression import FamilyRows

__all__ = ["Distance", "farthest_left_out", "table_distance"]

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


def farthest_left_out(rows: FamilyRows) -> float:
    """The largest distance that a row of the table has from the table without its family.

    Args:
        rows: the table.
    """
    found = []
    for f in range(rows.families):
        others = rows.family != f
        family = rows.family[others]
        rest = FamilyRows(rows.x[others], rows.y[others], family - (family > f))
        found.append(float(table_distance(rest).of(rows.x[~others]).max()))
    return max(found)

"""Prediction intervals for a family that was not seen: the jackknife+ over families."""

import numpy as np
from jaxtyping import Float

__all__ = ["jackknife_plus"]

_ROUNDING = 1e-9


def jackknife_plus(
    centres: Float[np.ndarray, "m n"],
    missed: Float[np.ndarray, "m n"],
    weights: Float[np.ndarray, "m n"],
    level: float,
) -> tuple[Float[np.ndarray, "m"], Float[np.ndarray, "m"]]:
    """Intervals of m models from n rows by the jackknife+ (Barber et al. 2021, Annals of Statistics 49:486).

    Each row j says: the regression without its family predicts the model at ``centres[:, j]``, and missed row j by
    ``missed[:, j]``. The high end is the smallest value at or below which ``centre + missed`` has the weight ``level``;
    the low end is the same mirrored. Rows of K families weigh ``1/((K + 1) · rows of the family)``, as for
    hierarchical data (Lee, Barber & Willett 2023, arXiv 2306.06342): families, not rows, are exchangeable, and the
    weight that is missing is the new family's, which may miss by any amount. A row of a family like the others is
    covered with a probability of at least ``2·level − 1``, and near ``level`` where regressions are stable.

    Args:
        centres: predictions of each model without each row's family.
        missed: absolute errors of each row, predicted without its family.
        weights: of the rows; 0 leaves one out.
        level: in (0, 1).

    Returns:
        Low and high ends; infinite where all the weight there is stays below the level.

    Raises:
        ValueError: a level outside (0, 1).

    Example:
        >>> nine = np.full((1, 9), 0.1)
        >>> low, high = jackknife_plus(np.zeros((1, 9)), np.arange(9.0)[None], nine, 0.9)
        >>> float(low[0]), float(high[0])
        (-8.0, 8.0)
        >>> float(jackknife_plus(np.zeros((1, 9)), np.arange(9.0)[None], nine, 0.95)[1][0])
        inf
    """
    if not 0 < level < 1:
        raise ValueError(f"the level of an interval lies between 0 and 1, got {level}")
    return -_reached(missed - centres, weights, level), _reached(centres + missed, weights, level)


def _reached(values: Float[np.ndarray, "m n"], weights: Float[np.ndarray, "m n"], level: float) -> np.ndarray:
    """The smallest value of each line at or below which lies the weight ``level``."""
    order = np.argsort(values, axis=1, kind="stable")
    reached = np.cumsum(np.take_along_axis(weights, order, axis=1), axis=1) >= level - _ROUNDING
    at = np.take_along_axis(values, np.take_along_axis(order, reached.argmax(axis=1)[:, None], axis=1), axis=1)[:, 0]
    return np.where(reached.any(axis=1), at, np.inf)

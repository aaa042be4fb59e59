"""Ridge regression over families, for many sets of families at once.

What is fitted is scikit-learn's ``make_pipeline(StandardScaler(), Ridge(penalty))`` with weights by which every family
counts the same, whatever its number of rows. Leaving families out by ones and twos, with the penalty chosen anew each
time, asks for thousands of such fits on a few hundred rows. They differ in nothing but the families whose moments are
added up, so that they are solved together here; a test holds them to scikit-learn's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int

__all__ = ["FOLDS", "PENALTIES", "FamilyRows", "best_penalties", "family_moments", "penalty_folds", "ridge"]

PENALTIES: Final[tuple[float, ...]] = tuple(float(value) for value in np.logspace(-2, 3, 11))
"""Penalties to choose from; a figure that explains nothing else is halved by one as large as the number of families."""

FOLDS: Final = 5
"""Folds of families by which the penalty is chosen; as many as there are families where they are fewer."""

_CONSTANT = 1e-12  # variance, of figures whose variance in the whole table is 1, below which one does not vary
_EQUAL = 1e-9  # losses that differ by no more, relatively, are equal but for rounding


@dataclass(frozen=True)
class FamilyRows:
    """Rows of a table that belong to families.

    Attributes:
        x: figures, standardised over the table or not, ``(n, p)``.
        y: what is to be predicted, ``(n,)``.
        family: number of the family of each row, from 0 without gaps, ``(n,)``.
    """

    x: Float[np.ndarray, "n p"]
    y: Float[np.ndarray, "n"]
    family: Int[np.ndarray, "n"]

    @property
    def families(self) -> int:
        """Number of families."""
        return int(self.family.max()) + 1

    @property
    def weights(self) -> Float[np.ndarray, "n"]:
        """One over the number of rows of a row's family: the weights of each family add up to 1."""
        return np.asarray(1 / np.bincount(self.family)[self.family])

    @property
    def with_one(self) -> Float[np.ndarray, "n p1"]:
        """A column of ones before the figures, for the intercept."""
        return np.column_stack([np.ones(len(self.x)), self.x])


def family_moments(rows: FamilyRows) -> Float[np.ndarray, "F q q"]:
    """Mean of ``a aᵀ`` in each family, where a row's ``a`` is a one, its p figures, and its target; q = p + 2.

    They are all that a weighted least-squares fit needs, and those of a set of families are their sum.

    Args:
        rows: the table.

    Example:
        >>> rows = FamilyRows(np.array([[1.0], [3.0]]), np.array([2.0, 4.0]), np.array([0, 0]))
        >>> family_moments(rows)[0].tolist()
        [[1.0, 2.0, 3.0], [2.0, 5.0, 7.0], [3.0, 7.0, 10.0]]
    """
    a = np.column_stack([rows.with_one, rows.y])
    products = a[:, :, None] * a[:, None, :] * rows.weights[:, None, None]
    return np.stack([products[rows.family == f].sum(axis=0) for f in range(rows.families)])


def ridge(
    moments: Float[np.ndarray, "B q q"], penalties: Float[np.ndarray, "B A"] | Sequence[float]
) -> Float[np.ndarray, "B A p1"]:
    """Ridge regressions on standardised figures, by the normal equations.

    With C the figures' correlations, c theirs with the target and n the sum of weights, the slopes on standardised
    figures are ``(nC + penalty · I)⁻¹ n c``; the intercept is not penalised. A figure that does not vary gets none.

    Args:
        moments: summed over the families of each of B sets.
        penalties: A for every set, or for each its own.

    Returns:
        Intercept and slopes for the figures as they stand in the moments, p1 = p + 1.

    Example:
        >>> rows = FamilyRows(np.array([[0.0], [1.0]]), np.array([0.0, 2.0]), np.array([0, 1]))
        >>> ridge(family_moments(rows).sum(axis=0)[None], [0.0, 2.0])[0].tolist()
        [[0.0, 2.0], [0.5, 1.0]]
    """
    n = moments[:, 0, 0]
    mean = moments[:, 0, 1:] / n[:, None]
    covariance = moments[:, 1:, 1:] / n[:, None, None] - mean[:, :, None] * mean[:, None, :]
    variance = np.diagonal(covariance, axis1=1, axis2=2)[:, :-1]
    varies = variance > _CONSTANT
    inverse = np.where(varies, 1 / np.sqrt(np.where(varies, variance, 1.0)), 0.0)
    correlation = covariance[:, :-1, :-1] * inverse[:, :, None] * inverse[:, None, :]
    towards = covariance[:, :-1, -1] * inverse
    values, vectors = np.linalg.eigh(correlation)
    rotated = np.einsum("bpk,bp->bk", vectors, towards)
    shape = (len(moments), np.shape(penalties)[-1])
    shrunk = n[:, None, None] * np.clip(values, 0, None)[:, None, :] + np.broadcast_to(penalties, shape)[:, :, None]
    solved = np.divide(n[:, None, None] * rotated[:, None, :], shrunk, out=np.zeros_like(shrunk), where=shrunk > 1e-9)
    slopes = np.einsum("bpk,bak->bap", vectors, solved) * inverse[:, None, :]
    intercept = mean[:, None, -1] - np.einsum("bap,bp->ba", slopes, mean[:, :-1])
    return np.concatenate([intercept[:, :, None], slopes], axis=2)


def penalty_folds(family: Int[np.ndarray, "n"], sets: Bool[np.ndarray, "B F"]) -> Int[np.ndarray, "B F"]:
    """For each set of families, the fold in which scikit-learn's ``GroupKFold`` holds each of them out.

    Args:
        family: number of the family of each row.
        sets: which families belong to each set.

    Returns:
        Numbers of folds from 0; −1 for families outside the set.

    Raises:
        ValueError: a set of fewer than two families, from which none can be held out.
    """
    from sklearn.model_selection import GroupKFold  # seconds, which only a fit should cost

    if (few := sets.sum(axis=1).min()) < 2:
        raise ValueError(f"a penalty is chosen on families held out, and of {few} none can be")
    folds = np.full(sets.shape, -1)
    for number, members in enumerate(sets):
        groups = family[members[family]]
        splitter = GroupKFold(min(FOLDS, int(members.sum())))
        for fold, (_, held_out) in enumerate(splitter.split(np.zeros((len(groups), 1)), groups=groups)):
            folds[number, np.unique(groups[held_out])] = fold
    return folds


def best_penalties(moments: Float[np.ndarray, "F q q"], folds: Int[np.ndarray, "B F"]) -> Float[np.ndarray, "B"]:
    """For each set of families, the penalty with the least squared error on families held out fold by fold.

    Every family weighs the same; the strongest of equal penalties is taken.

    Args:
        moments: of each family.
        folds: of each set, see `penalty_folds`.
    """
    loss = np.zeros((len(folds), len(PENALTIES)))
    for fold in range(folds.max() + 1):
        held_out = folds == fold
        used = held_out.any(axis=1)
        train = (folds >= 0) & ~held_out
        fitted = ridge(np.einsum("bf,fqr->bqr", train[used].astype(float), moments), PENALTIES)
        error = np.concatenate([-fitted, np.ones((*fitted.shape[:2], 1))], axis=2)  # y − prediction, of (1, x, y)
        test = np.einsum("bf,fqr->bqr", held_out[used].astype(float), moments)
        loss[used] += np.einsum("baq,bqr,bar->ba", error, test, error, optimize=True)
    least = loss <= loss.min(axis=1, keepdims=True) * (1 + _EQUAL)
    return np.asarray(np.array(PENALTIES)[len(PENALTIES) - 1 - np.argmax(least[:, ::-1], axis=1)])

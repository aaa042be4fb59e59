"""Accuracies of many models as one array, with which column is whose abscissa."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import isfinite

import numpy as np
from jaxtyping import Float, Int

from lightning_robust.results.baseline_record import ModelAccuracies
from lightning_robust.robustness.links import Link, clip_accuracy

__all__ = ["REFERENCE", "AccuracyTable", "accuracy_row", "image_counts", "judged_row", "tabulate"]

REFERENCE = "reference"
"""Name of the reference among evaluation sets; its images of a shift's classes are ``matched/<shift>``."""


_TAKEN = (REFERENCE, "mean", "mean accuracy", "shifts")  # other figures of tables, records and tags


@dataclass(frozen=True)
class AccuracyTable:
    """Accuracies of M models on C columns: the reference, its matched subsets, and S shifts.

    Attributes:
        columns: names of the columns.
        values: accuracies as fractions, ``(M, C)``.
        images: number of images of each column, ``(C,)``.
        shifts: the S shifts, which are columns too.
        references: by shift, the column of its abscissa.
    """

    columns: tuple[str, ...]
    values: Float[np.ndarray, "M C"]
    images: Int[np.ndarray, "C"]
    shifts: tuple[str, ...]
    references: tuple[str, ...]

    @cached_property
    def _x(self) -> list[int]:
        return [self.columns.index(name) for name in self.references]

    @cached_property
    def _y(self) -> list[int]:
        return [self.columns.index(name) for name in self.shifts]

    def abscissae(self, values: Float[np.ndarray, "*R C"]) -> Float[np.ndarray, "*R S1"]:
        """Reference accuracy for each shift, clipped, and for the mean over the shifts in the last place.

        Args:
            values: accuracies, ``(…, C)``.
        """
        clipped = np.stack([clip_accuracy(values[..., k], int(self.images[k])) for k in self._x], axis=-1)
        return np.concatenate([clipped, clipped.mean(axis=-1, keepdims=True)], axis=-1)

    def accuracies(self, values: Float[np.ndarray, "*R C"]) -> Float[np.ndarray, "*R S1"]:
        """Accuracy on each shift, as it is, and their mean in the last place.

        Args:
            values: accuracies, ``(…, C)``.
        """
        y = values[..., self._y]
        return np.concatenate([y, y.mean(axis=-1, keepdims=True)], axis=-1)

    def ordinates(self, values: Float[np.ndarray, "*R C"], link: Link) -> Float[np.ndarray, "*R S1"]:
        """`accuracies`, clipped, on the scale of the line.

        Args:
            values: accuracies, ``(…, C)``.
            link: the scale.
        """
        y = self.accuracies(values)
        images = [int(self.images[k]) for k in self._y]
        images.append(sum(images))  # the mean of the shifts is 0 where all of them are
        return np.stack([link.forward(clip_accuracy(y[..., k], n)) for k, n in enumerate(images)], axis=-1)


def tabulate(
    models: Sequence[ModelAccuracies], shifts: Sequence[str], images: Mapping[str, int], x: str
) -> AccuracyTable:
    """Put the accuracies of models into a table.

    Args:
        models: the models.
        shifts: which shifts, in this order.
        images: number of images by evaluation set, ``"reference"`` and ``"matched/<shift>"`` among them.
        x: ``"full"`` or ``"matched"``.

    Raises:
        ValueError: a model lacks a figure that others have, one is no fraction, a number of images is missing, or a
            shift has the name of another figure.
    """
    if x not in ("full", "matched"):
        raise ValueError(f"x is 'full' or 'matched', got {x!r}")
    if taken := [name for name in shifts if name in _TAKEN or name.startswith("matched/")]:
        raise ValueError(f"no shift can be called {taken[0]!r}, which stands for another figure: give it another name")
    restricted = [s for s in shifts if x == "matched" and any(s in model.matched for model in models)]
    references = tuple(f"matched/{s}" if s in restricted else REFERENCE for s in shifts)
    columns = tuple(dict.fromkeys((REFERENCE, *references, *shifts)))
    values = np.array([accuracy_row(columns, m.name, m.reference, m.shifts, m.matched) for m in models])
    return AccuracyTable(columns, values, image_counts(columns, images), tuple(shifts), references)


def accuracy_row(
    columns: Sequence[str],
    name: str,
    reference: float,
    shifts: Mapping[str, float],
    matched: Mapping[str, float],
) -> list[float]:
    """The figures of one model, in the order of the columns.

    Args:
        columns: names of evaluation sets.
        name: of the model, for messages.
        reference: reference accuracy.
        shifts: accuracy by shift.
        matched: by shift, reference accuracy on its classes.

    Raises:
        ValueError: a figure is missing or no fraction in [0, 1].
    """
    known = {REFERENCE: reference, **{f"matched/{s}": value for s, value in matched.items()}, **shifts}
    if missing := [column for column in columns if column not in known]:
        raise ValueError(f"{name} has no accuracy on {', '.join(missing)}")
    for column in columns:
        value = known[column]
        if not (isfinite(value) and 0 <= value <= 1):
            raise ValueError(f"accuracies are fractions in [0, 1], {name} has {value} on {column}")
    return [float(known[column]) for column in columns]


def judged_row(
    table: AccuracyTable, reference: float | Mapping[str, float], shifted: Mapping[str, float], n: Mapping[str, int]
) -> tuple[AccuracyTable, Float[np.ndarray, "C"]]:
    """The figures of a model that is judged, with the numbers of images that they were counted on.

    Args:
        table: of the baseline.
        reference: reference accuracy; where the table has matched ones, a mapping with ``"reference"`` and, by shift,
            the accuracy on the reference images of its classes.
        shifted: accuracy by shift.
        n: number of images by evaluation set.

    Returns:
        The table with these numbers of images, and the figures in the order of its columns.

    Raises:
        ValueError: a figure or a number of images is missing or out of range.
    """
    figures = reference if isinstance(reference, Mapping) else {REFERENCE: reference}
    needed = [REFERENCE, *(c.removeprefix("matched/") for c in table.columns if c.startswith("matched/"))]
    if missing := [name for name in needed if name not in figures]:
        hint = " (for x='matched': a mapping with 'reference' and the shifts)" if len(needed) > 1 else ""
        raise ValueError(f"the model's reference accuracy lacks {', '.join(missing)}{hint}")
    matched = {name: value for name, value in figures.items() if name != REFERENCE}
    row = np.array(accuracy_row(table.columns, "the model", figures[REFERENCE], shifted, matched))
    return replace(table, images=image_counts(table.columns, n)), row


def image_counts(columns: Sequence[str], images: Mapping[str, int]) -> Int[np.ndarray, "C"]:
    """Numbers of images in the order of the columns.

    Args:
        columns: names of evaluation sets.
        images: number of images of each.

    Raises:
        ValueError: one is missing or below 1.
    """
    if missing := [column for column in columns if column not in images]:
        raise ValueError(f"n lacks the number of images of {', '.join(missing)}: it has {', '.join(images) or 'none'}")
    for column in columns:
        if not isfinite(images[column]) or images[column] < 1 or images[column] != int(images[column]):
            raise ValueError(f"the number of images of {column} is a whole number of at least 1, got {images[column]}")
    return np.array([int(images[column]) for column in columns])

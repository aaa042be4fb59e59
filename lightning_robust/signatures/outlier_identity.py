"""Which outlier features persist, appear and vanish: over epochs, or along the path of a Wise-FT interpolation."""

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import SupportsIndex

Label = str | int | float


@dataclass(frozen=True)
class OutlierChange:
    """What became of the outlier features between two measurements.

    Attributes:
        persisted: features that are outliers in both, ascending.
        appeared: outliers only in the later one.
        vanished: outliers only in the earlier one.
        jaccard: size of the intersection over size of the union, in [0, 1]; 1 where neither has any, since nothing
            differs.
    """

    persisted: tuple[int, ...]
    appeared: tuple[int, ...]
    vanished: tuple[int, ...]
    jaccard: float


@dataclass(frozen=True)
class OutlierMoment:
    """One measurement, against the one before and the first.

    Attributes:
        label: name of the moment: an epoch, an α.
        indices: its outlier features, ascending.
        since_before: change since the measurement before; None for the first one.
        since_first: change since the first one, which itself has not changed.
    """

    label: Label
    indices: tuple[int, ...]
    since_before: OutlierChange | None
    since_first: OutlierChange


@dataclass(frozen=True)
class OutlierHistory:
    """The moments in which one feature was an outlier.

    Attributes:
        feature: position among the d features.
        moments: labels, in the order of measurement.
    """

    feature: int
    moments: tuple[Label, ...]


@dataclass(frozen=True)
class OutlierIdentity:
    """Identity of the outlier features over several measurements.

    Attributes:
        moments: one record a measurement, in their order.
        features: one record for each feature that ever was an outlier, by ascending feature.
        always: features that were outliers in every measurement.
    """

    moments: tuple[OutlierMoment, ...]
    features: tuple[OutlierHistory, ...]
    always: tuple[int, ...]


def compare_outliers(before: Iterable[SupportsIndex], after: Iterable[SupportsIndex]) -> OutlierChange:
    """Compare the outlier features of two measurements of the same layer.

    Args:
        before: indices of the earlier one, in any order; of a layer too narrow for the rule there are none.
        after: indices of the later one.

    Returns:
        The frozen record.

    Raises:
        TypeError: if an index is no integer; a mask of bools is none.
        ValueError: if an index is negative.

    Example:
        >>> compare_outliers([3, 7], [7, 9, 11])
        OutlierChange(persisted=(7,), appeared=(9, 11), vanished=(3,), jaccard=0.25)
    """
    old, new = set(_checked(before)), set(_checked(after))
    either = old | new
    return OutlierChange(
        persisted=tuple(sorted(old & new)),
        appeared=tuple(sorted(new - old)),
        vanished=tuple(sorted(old - new)),
        jaccard=len(old & new) / len(either) if either else 1.0,
    )


def follow_outliers(moments: Sequence[tuple[Label, Iterable[SupportsIndex]]]) -> OutlierIdentity:
    """Follow the outlier features of a layer over several measurements.

    Args:
        moments: ``(label, indices)`` of each measurement in order, such as ``(epoch, report.indices)`` with the report
            of ``outlier_features``; a label may repeat.

    Returns:
        The frozen record; empty for no measurements.

    Raises:
        TypeError: if an index is no integer; a mask of bools is none.
        ValueError: if an index is negative.

    Example:
        >>> found = follow_outliers([("epoch 0", [3, 7]), ("epoch 1", [7]), ("epoch 2", [7, 9])])
        >>> found.moments[2].since_before.appeared, found.moments[2].since_first.vanished, found.always
        ((9,), (3,), (7,))
        >>> found.features[1]
        OutlierHistory(feature=7, moments=('epoch 0', 'epoch 1', 'epoch 2'))
    """
    named = [(label, _checked(indices)) for label, indices in moments]
    records, histories = [], dict[int, list[Label]]()
    for number, (label, indices) in enumerate(named):
        since_before = compare_outliers(named[number - 1][1], indices) if number else None
        records.append(OutlierMoment(label, indices, since_before, compare_outliers(named[0][1], indices)))
        for feature in indices:
            histories.setdefault(feature, []).append(label)
    features = tuple(OutlierHistory(feature, tuple(histories[feature])) for feature in sorted(histories))
    always = tuple(history.feature for history in features if len(history.moments) == len(named))
    return OutlierIdentity(tuple(records), features, always)


def _checked(indices: Iterable[SupportsIndex]) -> tuple[int, ...]:
    chosen = tuple(sorted({_position(index) for index in indices}))
    if chosen and chosen[0] < 0:
        raise ValueError(f"an outlier feature has a position from 0 to d - 1, not {chosen[0]}.")
    return chosen


def _position(index: object) -> int:
    kind = str(getattr(index, "dtype", type(index).__name__)).removeprefix("torch.")
    # a number of numpy or torch may be meant; torch gives even bools an __index__
    if not isinstance(index, SupportsIndex) or "int" not in kind:
        raise TypeError(f"outlier features are positions, integers, not {kind}: of a mask, mask.nonzero().flatten().")
    return operator.index(index)

"""The base of every metric here: states that merge over batches, ranks and instances, of a width known only later."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.functional import pad
from torchmetrics import Metric
from torchmetrics.utilities.distributed import gather_all_tensors


def pad_trailing(parts: list[Tensor]) -> list[Tensor]:
    """Zero-pad tensors of equal rank to their largest sizes in every dimension but the first.

    Args:
        parts: tensors with the same number of dimensions.

    Returns:
        The same tensors, each of shape ``(own first size, *largest other sizes)``.
    """
    if parts[0].ndim < 2:
        return parts
    widest = [max(sizes) for sizes in zip(*(part.shape[1:] for part in parts), strict=True)]
    padded = []
    for part in parts:
        amounts: list[int] = []
        for have, want in zip(reversed(part.shape[1:]), reversed(widest), strict=True):
            amounts += [0, want - have]
        padded.append(pad(part, amounts) if any(amounts) else part)
    return padded


def check_widths(parts: Sequence[Tensor], border: int = 0) -> None:
    """Check that every dimension but the first has one size, or size 0: no data yet.

    Args:
        parts: tensors with the same number of dimensions.
        border: how many of a width are not features, for the sentence of the error.

    Raises:
        ValueError: if two have different widths, neither of them 0.
    """
    for sizes in zip(*(part.shape[1:] for part in parts), strict=True):
        _one_size(sizes, border)


def one_width(parts: Tensor) -> Tensor:
    """Fold the widths of k states, 0 where nothing was seen, into the one they share (a ``dist_reduce_fx``).

    Raises:
        ValueError: if there are two.
    """
    _one_size(parts.tolist())
    return parts.amax()


def _one_size(sizes: Iterable[int], border: int = 0) -> None:
    known = sorted({size for size in sizes if size})
    if len(known) > 1:
        one, other = (size - border for size in known[:2])
        raise ValueError(
            f"figures of {one} features and of {other} cannot be merged: each layer needs a metric of its own."
        )


def _in_its_own_type(fn: Callable[[Tensor], Tensor], tensor: Tensor) -> Tensor:
    result = fn(tensor)
    return result if result.dtype == tensor.dtype else tensor.to(result.device)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and torch.equal(one.cpu(), other.cpu())
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return list(one) == list(other) and all(_same(value, other[key]) for key, value in one.items())
    return type(one) is type(other) and bool(one == other)


class MergeableMetric(Metric):
    """A torchmetrics ``Metric`` whose states need not know the number of features before the first update.

    The law that makes it work: the first dimension of a state is its rows (or is the same everywhere), every other
    dimension has size 0 until data arrive, and zeros mean *no data*. A rank, or an instance, that has seen nothing
    is therefore padded with zeros and adds nothing. ``merge_state``, ``forward`` and the synchronisation over ranks
    all go through it. Two different numbers of features, neither of them 0, are a ``ValueError`` in all three, and so
    are different settings (a threshold, a head, seeds) in ``merge_state``: what they measure is not the same figure.

    ``compute()`` before any ``update`` on any rank raises ``RuntimeError`` (torchmetrics itself also warns).
    Features may arrive in any floating dtype and on any device: they are moved to the metric's device. States keep
    their dtype whatever is asked: in half precision ``metric.to(torch.bfloat16)``, or that of a module that holds the
    metric, would take every digit from them.

    Attributes:
        uses_labels: whether ``update`` takes ``(features, labels)`` rather than ``(features)``.
        uses_hidden: whether ``update`` takes what the layer gave as it is, ``(n, *state)``, not pooled features.
        settings: names of the attributes that must be the same in instances to be merged.
        border: how many of a state's width are not features.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = None
    uses_labels: ClassVar[bool] = False
    uses_hidden: ClassVar[bool] = False
    settings: ClassVar[tuple[str, ...]] = ()
    border: ClassVar[int] = 0

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._empty_rows: dict[str, Tensor] = {}

    def add_rows_state(self, name: str, empty: Tensor) -> None:
        """Add a list state that is concatenated along its first dimension.

        Args:
            name: attribute that holds the list.
            empty: a tensor with no rows, of the dtype and number of dimensions of what will be appended.
        """
        self.add_state(name, [], dist_reduce_fx="cat")
        self._empty_rows[name] = empty

    def rows(self, name: str) -> Tensor:
        """Return all rows of a list state as one tensor, before or after synchronisation."""
        parts = getattr(self, name)
        if isinstance(parts, Tensor):
            return parts
        return torch.cat(parts) if parts else self._empty_rows[name].to(self.device)

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Merge the state of another instance into this one, as if it had seen the other's data too.

        Args:
            incoming_state: the other instance, which is not changed, or its ``metric_state``.

        Raises:
            ValueError: if the other is of another class, has other settings, or has seen another number of features.
        """
        if isinstance(incoming_state, type(self)):
            self._check_settings(incoming_state)
        super().merge_state(incoming_state)
        self._computed = None
        self._update_count += incoming_state.update_count if isinstance(incoming_state, Metric) else 1

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> Module:
        # torchmetrics refuses half(), float() and bfloat16(), but not to(dtype)
        return super()._apply(partial(_in_its_own_type, fn), exclude_state)

    def _reduce_states(self, incoming_state: dict[str, Any]) -> None:
        incoming = dict(incoming_state)
        for name, value in self.metric_state.items():
            if isinstance(value, Tensor):
                check_widths([value, incoming[name]], self.border)
            elif isinstance(incoming[name], list):
                check_widths([self._empty_rows[name], *value, *incoming[name]], self.border)
        for name, value in self.metric_state.items():
            if isinstance(value, Tensor):
                mine, incoming[name] = pad_trailing([value, incoming[name].to(value.device)])
                setattr(self, name, mine)
        super()._reduce_states(incoming)

    def _sync_dist(
        self, dist_sync_fn: Callable[..., list[Tensor]] = gather_all_tensors, process_group: Any | None = None
    ) -> None:
        # torchmetrics would send a float vector for an empty list, whatever the other ranks hold
        for name, empty in self._empty_rows.items():
            if not getattr(self, name):
                setattr(self, name, [empty.to(self.device)])
        refused: list[ValueError] = []

        def gather(state: Tensor, group: Any = None) -> list[Tensor]:
            parts = dist_sync_fn(state, group=group)
            try:
                check_widths(parts, self.border)
            except ValueError as error:
                refused.append(error)
            return pad_trailing(parts)

        super()._sync_dist(gather, process_group)
        if refused:  # only now: a reduction may have known more of what differs
            raise refused[0]

    def _check_settings(self, other: Metric) -> None:
        for name in self.settings:
            mine, theirs = getattr(self, name), getattr(other, name)
            if not _same(mine, theirs):
                values = f" ({mine} and {theirs})" if isinstance(mine, int | float | str | tuple) else ""
                raise ValueError(f"instances of {type(self).__name__} with another {name}{values} cannot be merged.")

    def _nothing_seen(self) -> RuntimeError:
        return RuntimeError(f"{type(self).__name__} has seen no features: call update before compute.")

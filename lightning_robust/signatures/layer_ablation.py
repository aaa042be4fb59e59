"""Ablation of features inside a network: channels of a map at every position, or of every token, changed by a hook."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from lightning_robust.signatures.ablation import CLIP_AT, KINDS, UnitValues
from lightning_robust.signatures.layers import find_layer
from lightning_robust.signatures.layout import map_layout

__all__ = ["FeatureAblation", "LayerAblation", "PositionMoments"]


@dataclass(frozen=True, eq=False)
class FeatureAblation:
    """One ablation of features of a layer.

    Attributes:
        features: positions among the layer's features.
        kind: ``"zero"``, ``"mean"`` or ``"clip"``.
        values: of these features over images and positions.
    """

    features: tuple[int, ...]
    kind: str
    values: UnitValues

    def applied(self, values: Tensor) -> Tensor:
        """A copy with these features ablated.

        Args:
            values: features in the last dimension.

        Raises:
            ValueError: if the kind is unknown, or a feature is none of the layer's.
        """
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {self.kind!r}.")
        d = values.shape[-1]
        if outside := [feature for feature in self.features if not 0 <= feature < d]:
            raise ValueError(f"features must lie in 0 … {d - 1}, not {outside}.")
        changed, at = values.clone(), list(self.features)
        mean, low, high = (limit.to(values) for limit in (self.values.mean, self.values.low, self.values.high))
        if self.kind == "clip":
            changed[..., at] = torch.minimum(torch.maximum(values[..., at], low), high)
        else:
            changed[..., at] = torch.zeros_like(mean) if self.kind == "zero" else mean
        return changed


class LayerAblation:
    """Changes what a layer gives while a network runs; a context manager that places the hook and removes it.

    Every position is changed: all tokens (class and register tokens too), all positions of a map.

    Args:
        model: any module, not compiled.
        layer: as ``ActivationProbe`` takes it, ``"name"`` for a submodule's output or ``"name:input"`` for its first
            input, and every other argument that is the same tensor (attention reads query, key and value from one); of
            several outputs the first tensor is changed.

    Attributes:
        current: the ablation of the next forwards; None leaves the network as it is.
        fired: whether the hook has run.

    Raises:
        ValueError: if there is no such layer.
        TypeError: in a forward, if the layer gives no tensor, or a tuple or list without one.

    Example:
        >>> model = nn.Sequential(nn.Identity())
        >>> one = UnitValues(*(torch.tensor([0.5], dtype=torch.float64) for _ in range(4)), n=1)
        >>> with LayerAblation(model, "0") as ablation:
        ...     ablation.current = FeatureAblation((1,), "mean", one)
        ...     model(torch.tensor([[1.0, 2.0]]))
        tensor([[1.0000, 0.5000]])
    """

    def __init__(self, model: nn.Module, layer: str) -> None:
        self._layer = find_layer(model, layer)
        self._handle: RemovableHandle | None = None
        self.current: FeatureAblation | None = None
        self.fired = False

    def __enter__(self) -> "LayerAblation":
        module = self._layer.module
        if self._layer.reads_input:
            self._handle = module.register_forward_pre_hook(self._before, with_kwargs=True)
        else:
            self._handle = module.register_forward_hook(self._after)
        return self

    def __exit__(self, *_: object) -> None:
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def _before(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.fired = True
        if self.current is None:
            return None
        given = args or tuple(kwargs.values())[:1]
        first = next((part for part in given if isinstance(part, Tensor)), None)
        if first is None:
            raise self._refusal(given[0] if len(given) == 1 else given)
        changed = self._ablated(first)
        return (
            tuple(changed if part is first else part for part in args),
            {name: changed if part is first else part for name, part in kwargs.items()},
        )

    def _after(self, _: nn.Module, __: tuple[Any, ...], output: Any) -> Any:
        self.fired = True
        return None if self.current is None else self._changed(output)

    def _changed(self, output: Any) -> Any:
        if isinstance(output, Tensor):
            return self._ablated(output)
        if type(output) in (tuple, list):
            place = next((i for i, part in enumerate(output) if isinstance(part, Tensor)), None)
            if place is not None:
                parts = [*output[:place], self._ablated(output[place]), *output[place + 1 :]]
                return type(output)(parts)
        raise self._refusal(output)

    def _refusal(self, output: Any) -> TypeError:
        return TypeError(
            f"layer {self._layer.name!r} gives {type(output).__name__}, whose features cannot be changed; name a layer "
            "that gives a tensor, such as one inside it."
        )

    def _ablated(self, values: Tensor) -> Tensor:
        if self.current is None:
            return values
        if values.ndim == 4 and map_layout(tuple(values.shape), self._layer) == "n c h w":
            return self.current.applied(values.movedim(1, -1)).movedim(-1, 1).contiguous()
        return self.current.applied(values)


class PositionMoments:
    """Mean and spread of every feature over images and positions, one pass, constant memory.

    Args:
        d: number of features.

    Example:
        >>> moments = PositionMoments(1)
        >>> moments.update(torch.tensor([[[1.0], [3.0]]]))
        >>> moments.values([0]).std
        tensor([1.], dtype=torch.float64)
    """

    def __init__(self, d: int) -> None:
        self.n = self.images = 0
        self.mean = torch.zeros(d, dtype=torch.float64)
        self.squares = torch.zeros(d, dtype=torch.float64)

    def update(self, hidden: Tensor) -> None:
        """Add a batch; images with a value that is no finite number are left out.

        Args:
            hidden: batch first, ``(n, d)``, ``(n, t, d)`` or ``(n, c, h, w)``.

        Raises:
            ValueError: if it has another number of features.
        """
        values = hidden.detach().cpu().to(torch.float64)
        values = values.movedim(1, -1) if values.ndim == 4 else values
        if values.shape[-1] != len(self.mean):
            raise ValueError(f"this has seen {len(self.mean)} features, now it got {values.shape[-1]}.")
        values = values[values.flatten(1).isfinite().all(dim=1)]
        self.images += len(values)
        rows = values.reshape(-1, len(self.mean))
        if len(rows) == 0:
            return
        mean = rows.mean(dim=0)
        squares, apart = (rows - mean).square().sum(dim=0), mean - self.mean
        total = self.n + len(rows)  # Chan, Golub, LeVeque 1979
        self.squares += squares + apart.square() * (self.n * len(rows) / total)
        self.mean += apart * (len(rows) / total)
        self.n = total

    def values(self, features: Sequence[int], clip_at: float = CLIP_AT) -> UnitValues:
        """Of some features.

        Args:
            features: their positions.
            clip_at: standard deviations from its mean that ``clip`` leaves a feature.

        Raises:
            ValueError: if no image was seen.
        """
        if self.n == 0:
            raise ValueError("no image has finite features, so the features have no mean.")
        at = list(features)
        mean, std = self.mean[at], (self.squares[at] / self.n).sqrt()
        return UnitValues(mean, std, mean - clip_at * std, mean + clip_at * std, self.images)

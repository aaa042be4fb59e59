"""Read the features of named layers while a model runs, with hooks that are always removed again."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from lightning_robust.signatures.layers import Layer, find_layer
from lightning_robust.signatures.pooling import Pool, first_tensor, pool_features


@contextmanager
def every_hook_fires() -> Iterator[None]:
    """Make hooks on inner modules fire: no fused attention path, and no compiled code.

    In eval mode ``nn.TransformerEncoderLayer`` may run one fused kernel that never calls its submodules, and hooks
    placed after the first compiled call are ignored by ``torch.compile``. Both are switched off inside and
    restored after, also when the body raises. Wrap measured forwards in it.

    Example:
        >>> with every_hook_fires():
        ...     torch.backends.mha.get_fastpath_enabled()
        False
    """
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.compiler.set_stance("force_eager"):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


class ActivationProbe:
    """Capture what named layers of a model give, one feature vector per image.

    ``with ActivationProbe(model, ["visual.layer4", "head:input"]) as probe:`` attaches hooks and removes them at the
    end, also when the body raises; ``attach()`` and ``remove()`` do the same by hand. After each forward, ``pop()``
    returns the features; or give ``on_features`` to be called instead. The model's outputs and gradients are not
    touched: features are detached copies. Wrap forwards in ``every_hook_fires()`` where the model may be compiled or
    a ``nn.TransformerEncoder`` in eval mode.

    A module that runs several times in one forward (a shared activation) gives its last features to ``pop()`` and all
    of them, in turn, to ``on_features``.

    Args:
        model: any module.
        layers: ``"name"`` for a submodule's output, ``"name:input"`` for its first input (what a head reads), ``""``
            for the model's own output. Names are those of ``model.named_modules()``; ``_orig_mod`` may be left out.
        pool: how tokens ``(n, t, d)`` and maps ``(n, c, h, w)`` become ``(n, d)``; see ``pool_features``.
        on_features: called with ``(layer, features)`` whenever a layer fires.

    Raises:
        ValueError: if a layer is unknown (with the nearest names) or named twice, or ``pool`` is neither word.
        RuntimeError: from ``pop()`` and at the end of a ``with`` block, if a layer never fired.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
        >>> with ActivationProbe(model, ["0", "0:input"]) as probe:
        ...     _ = model(torch.zeros(2, 4))
        ...     {name: tuple(h.shape) for name, h in probe.pop().items()}
        {'0': (2, 3), '0:input': (2, 4)}
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[str],
        pool: Pool = "mean",
        on_features: Callable[[str, Tensor], None] | None = None,
    ) -> None:
        if isinstance(layers, str) or len(set(layers)) != len(layers):
            raise ValueError(f"layers must be a list of different names, not {layers!r}.")
        if pool not in ("mean", "first"):
            raise ValueError(f"pool must be 'mean' or 'first', not {pool!r}.")
        self.layers = tuple(layers)
        self.pool: Pool = pool
        self._on_features = on_features
        self._found = [find_layer(model, layer) for layer in layers]
        self._handles: list[RemovableHandle] = []
        self._captured: dict[str, Tensor] = {}
        self._fired: set[str] = set()

    def attach(self) -> "ActivationProbe":
        """Place the hooks and forget earlier features.

        Raises:
            RuntimeError: if they are in place already.
        """
        if self._handles:
            raise RuntimeError("this probe is attached already; remove() it first.")
        self._captured.clear()
        self._fired.clear()
        for layer in self._found:
            self._handles.append(self._hook(layer))
        return self

    def remove(self) -> None:
        """Take the hooks away; nothing happens if there are none."""
        while self._handles:
            self._handles.pop().remove()

    def pop(self) -> dict[str, Tensor]:
        """Return the features of every layer since the last call, ``{layer: (n, d)}``, and forget them.

        Raises:
            RuntimeError: if a layer has not fired since; names it.
        """
        captured, self._captured = self._captured, {}
        self._complain([layer for layer in self.layers if layer not in captured])
        return {layer: captured[layer] for layer in self.layers}

    def check_fired(self) -> None:
        """Check that every layer has fired since ``attach()``.

        Raises:
            RuntimeError: if one has not; names it.
        """
        self._complain([layer for layer in self.layers if layer not in self._fired])

    def __enter__(self) -> "ActivationProbe":
        return self.attach()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.remove()
        if kind is None:
            self.check_fired()

    def _hook(self, layer: Layer) -> RemovableHandle:
        if layer.reads_input:

            def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
                self._receive(layer.name, args or tuple(kwargs.values()))

            return layer.module.register_forward_pre_hook(before, with_kwargs=True)

        def after(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:
            self._receive(layer.name, output)

        return layer.module.register_forward_hook(after)

    def _receive(self, name: str, output: Any) -> None:
        features = pool_features(first_tensor(output, name), self.pool, name)
        self._fired.add(name)
        if self._on_features is None:
            self._captured[name] = features
        else:
            self._on_features(name, features)

    @staticmethod
    def _complain(silent: list[str]) -> None:
        if silent:
            names = ", ".join(repr(name) for name in silent)
            raise RuntimeError(
                f"layer {names} never fired: the forward pass does not call it, "
                "or runs compiled or fused code (wrap it in every_hook_fires())."
            )

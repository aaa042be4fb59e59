"""Read the features of named layers while a model runs, with hooks that are always removed again."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from lightning_robust.signatures.layer_form import LayerForm, Layout, Pool
from lightning_robust.signatures.layers import RETURNED, Layer, expand_layers, find_layer
from lightning_robust.signatures.layout import layout_of
from lightning_robust.signatures.pooling import as_batch_first, first_tensor, pool_features

_FUSED = (nn.TransformerEncoder, nn.TransformerEncoderLayer)


class ActivationProbe:
    """Capture what named layers of a model give, one feature vector per image or per token.

    ``with ActivationProbe(model, ["visual.layer4", "head:input"]) as probe:`` attaches hooks and removes them at the
    end, also when the body raises; ``attach()`` and ``remove()`` do the same by hand. After each forward, ``pop()``
    returns the features; or give ``on_features`` to be called instead. The model's outputs and gradients are not
    touched: features are detached copies. Wrap forwards in ``every_hook_fires()`` where the model may be compiled or
    a ``nn.TransformerEncoder`` in eval mode. What a forward returned that is not the model's own call
    (``model.get_image_features(...)``) is the layer ``"forward"``; hand it over with ``returned()``.

    Tokens ``(t, n, d)`` and maps ``(n, h, w, c)`` are recognised (``forms`` says what was found); tell the number of
    images with ``expect()`` before a forward, and what does not fit is refused.

    A module that runs several times in one forward (a shared activation) gives its last features to ``pop()`` and all
    of them, in turn, to ``on_features`` and ``on_hidden``.

    Args:
        model: any module.
        layers: ``"name"`` for a submodule's output, ``"name:input"`` for its first input (what a head reads), ``""``
            for the model's own output, ``"forward"`` for what ``returned()`` is given. Names are those of
            ``model.named_modules()``; ``_orig_mod`` may be left out; ``*`` and ``?`` match within dots.
        pool: how tokens ``(n, t, d)`` and maps ``(n, c, h, w)`` become rows of features; see ``pool_features``.
        on_features: called with ``(layer, features)`` whenever a layer fires.
        on_hidden: called with ``(layer, hidden)`` just after, with the unpooled output ``(n, *state)``, batch first,
            detached; it is the layer's own memory, so use it at once and do not write to it.

    Attributes:
        layers: names of the layers, wildcards replaced.
        pool: as given.
        forms: ``{layer: LayerForm}`` of what has fired; kept when hooks are placed again, so that batches which leave
            the order of dimensions open follow earlier ones.

    Raises:
        ValueError: if a layer is unknown (with the nearest names) or named twice, or ``pool`` is none of the words;
            in a forward, if the first dimension of a layer is not the batch.
        RuntimeError: from ``pop()`` and at the end of a ``with`` block, if a layer never fired.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
        >>> with ActivationProbe(model, ["0", "0:input"]) as probe:
        ...     _ = model(torch.zeros(2, 4))
        ...     {name: tuple(h.shape) for name, h in probe.pop().items()}
        {'0': (2, 3), '0:input': (2, 4)}
        >>> probe.forms["0"].words
        '3 features'
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[str],
        pool: Pool = "mean",
        on_features: Callable[[str, Tensor], None] | None = None,
        on_hidden: Callable[[str, Tensor], None] | None = None,
    ) -> None:
        if pool not in ("mean", "first", "tokens"):
            raise ValueError(f"pool must be 'mean', 'first' or 'tokens', not {pool!r}.")
        self.layers = expand_layers(model, layers)
        self.pool: Pool = pool
        self.forms: dict[str, LayerForm] = {}
        self._on_features, self._on_hidden = on_features, on_hidden
        self._found = [find_layer(model, layer) for layer in self.layers]
        self._images: int | None = None
        self._handles: list[RemovableHandle] = []
        self._captured: dict[str, Tensor] = {}
        self._fired: set[str] = set()

    @property
    def inside_fused(self) -> bool:
        """Whether a layer lies inside a ``nn.TransformerEncoder`` (or its layers), whose fused path skips hooks."""
        return any(isinstance(module, _FUSED) for layer in self._found for module in layer.ancestors)

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
            if layer.name != RETURNED:
                self._handles.append(self._hook(layer))
        return self

    def remove(self) -> None:
        """Take the hooks away; nothing happens if there are none."""
        while self._handles:
            self._handles.pop().remove()

    def expect(self, images: int | None) -> None:
        """Say how many images the next forwards get, so that no other dimension is taken for the batch.

        Args:
            images: their number; None if it is not known.
        """
        self._images = images

    def returned(self, output: Any) -> None:
        """Hand over what a forward returned, the features of the layer ``"forward"``; nothing if that is not watched.

        Args:
            output: a tensor, or whatever ``first_tensor`` finds one in.
        """
        for layer in self._found:
            if layer.name == RETURNED:
                self._receive(layer, output)

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
            return layer.module.register_forward_pre_hook(partial(self._before, layer), with_kwargs=True)
        return layer.module.register_forward_hook(partial(self._after, layer))

    def _before(self, layer: Layer, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._receive(layer, args or tuple(kwargs.values()))

    def _after(self, layer: Layer, _: nn.Module, __: tuple[Any, ...], output: Any) -> None:
        self._receive(layer, output)

    def _receive(self, layer: Layer, output: Any) -> None:
        name = layer.name
        values = first_tensor(output, name)
        last = self.forms.get(name)
        layout: Layout = layout_of(values, layer, self._images, last.layout if last else None)
        hidden = as_batch_first(values.detach(), layout)
        features = pool_features(hidden, self.pool, name)
        self._fired.add(name)
        self.forms[name] = LayerForm.of(name, hidden, self.pool, layout, last)
        if self._on_features is None:
            self._captured[name] = features
        else:
            self._on_features(name, features)
        if self._on_hidden is not None:
            self._on_hidden(name, hidden)

    @staticmethod
    def _complain(silent: list[str]) -> None:
        if not silent:
            return
        names = ", ".join(repr(name) for name in silent)
        if silent == [RETURNED]:
            raise RuntimeError("layer 'forward' never fired: hand what the forward returned to probe.returned(...).")
        if silent == [""]:
            raise RuntimeError(
                "layer '' never fired: the model itself is not called; what a forward of your own returned is the "
                "layer 'forward'."
            )
        raise RuntimeError(
            f"layer {names} never fired: the forward pass does not call it (its weights may be used without it), "
            "or runs compiled or fused code (wrap it in every_hook_fires())."
        )

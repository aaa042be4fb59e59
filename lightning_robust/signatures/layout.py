"""Where a layer keeps images, positions and features: tokens may run with the batch second, maps with features last."""

from torch import Tensor, nn

from lightning_robust.signatures.layer_form import Layout
from lightning_robust.signatures.layers import Layer

_FEATURES_SECOND = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.modules.batchnorm._BatchNorm, nn.GroupNorm)


def layout_of(values: Tensor, layer: Layer, images: int | None, before: Layout | None) -> Layout:
    """Find where images, positions and features stand in what a layer gives.

    Args:
        values: what it gives.
        layer: the layer.
        images: how many images the forward got, if that is known.
        before: what earlier batches of the same layer showed.

    Returns:
        The layout; ``"n d"`` also for shapes that cannot be pooled, which pooling refuses.

    Raises:
        ValueError: if no dimension can be the batch, or two could; or the values are a nested tensor.
    """
    if values.is_nested:
        raise ValueError(f"layer {layer.name!r} gives a nested tensor; wrap the forward in every_hook_fires().")
    shape = tuple(values.shape)
    if values.ndim == 3:
        return token_layout(shape, layer, images, before)
    if images is not None and shape[:1] != (images,):
        raise _not_the_batch(layer.name, shape, images)
    return (before or map_layout(shape, layer)) if values.ndim == 4 else "n d"


def token_layout(shape: tuple[int, ...], layer: Layer, images: int | None, before: Layout | None) -> Layout:
    """Tell ``(n, t, d)`` from ``(t, n, d)``, which a mean over the wrong one would mix.

    Args:
        shape: three sizes.
        layer: the layer that gives them.
        images: how many images the forward got, if that is known.
        before: what earlier batches of the same layer showed.

    Returns:
        ``"n t d"`` or ``"t n d"``.

    Raises:
        ValueError: if neither dimension is the batch, both could be, or earlier batches showed another order.
    """
    name = layer.name
    if images is None:
        if runs_batch_second(layer):
            raise ValueError(
                f"layer {name!r} gives {shape} and runs with the batch second; say how many images there are with "
                "expect(images), so that tokens are not taken for images."
            )
        return "n t d"
    first, second = shape[0] == images, shape[1] == images
    if not (first or second):
        raise _not_the_batch(name, shape, images)
    if before is not None:
        if not (first if before == "n t d" else second):
            raise ValueError(
                f"layer {name!r} gives {shape} for {images} images, but its dimensions were ({before}) before; "
                "use a batch size other than the number of tokens."
            )
        return before
    if first and second and images > 1 and runs_batch_second(layer):
        raise ValueError(
            f"layer {name!r} gives {shape} for {images} images: tokens and images cannot be told apart; use a batch "
            "size other than the number of tokens."
        )
    return "n t d" if first else "t n d"


def map_layout(shape: tuple[int, ...], layer: Layer) -> Layout:
    """Tell maps ``(n, c, h, w)`` from ``(n, h, w, c)``.

    The module decides if it has features in a known place itself (a convolution, batch norm, a linear layer, layer
    norm). Otherwise, in turn: the dimension as wide as its last layer with weights (the first, for an input); the odd
    one beside two equal ones; the kind of all its layers with weights; features second if it has none.

    Args:
        shape: four sizes.
        layer: the module that gives the maps, or reads them.

    Returns:
        ``"n c h w"`` or ``"n h w c"``.

    Raises:
        ValueError: if the sizes leave it open and the module has layers of both kinds.
    """
    leaves = [leaf for leaf in layer.module.modules() if _width(leaf, layer.reads_input) is not None]
    kinds: set[Layout] = {"n c h w" if _features_second(leaf) else "n h w c" for leaf in leaves}
    if leaves and leaves[0] is layer.module:
        return kinds.pop()
    width = _width(leaves[0 if layer.reads_input else -1], layer.reads_input) if leaves else None
    if (shape[1] == width) != (shape[3] == width):
        return "n c h w" if shape[1] == width else "n h w c"
    if shape[1] == shape[2] != shape[3]:
        return "n h w c"
    if shape[1] != shape[2] == shape[3]:
        return "n c h w"
    if len(kinds) == 2:
        raise ValueError(
            f"layer {layer.name!r} gives {shape}: features may stand second or last; use images of another size, or a "
            "layer inside it."
        )
    return kinds.pop() if kinds else "n c h w"


def runs_batch_second(layer: Layer) -> bool:
    """Whether a layer holds, is part of, or stands beside an attention with ``batch_first=False``.

    Example:
        >>> from lightning_robust.signatures.layers import find_layer
        >>> runs_batch_second(find_layer(nn.Sequential(nn.TransformerEncoderLayer(4, 1, 8)), "0.linear1"))
        True
    """
    near = (*layer.module.modules(), *layer.ancestors, *(m for parent in layer.ancestors for m in parent.children()))
    return any(isinstance(module, nn.MultiheadAttention) and not module.batch_first for module in near)


def _features_second(leaf: nn.Module) -> bool:
    # a subclass of LayerNorm that works on maps permutes inside (timm's and torchvision's LayerNorm2d)
    return isinstance(leaf, _FEATURES_SECOND) or (isinstance(leaf, nn.LayerNorm) and type(leaf).__name__.endswith("2d"))


def _width(leaf: nn.Module, reads_input: bool) -> int | None:
    if isinstance(leaf, nn.Linear):
        return leaf.in_features if reads_input else leaf.out_features
    if isinstance(leaf, nn.Conv2d):
        return leaf.in_channels if reads_input else leaf.out_channels
    if isinstance(leaf, nn.LayerNorm):
        return leaf.normalized_shape[-1]
    if isinstance(leaf, nn.GroupNorm):
        return leaf.num_channels
    return leaf.num_features if isinstance(leaf, nn.modules.batchnorm._BatchNorm) else None


def _not_the_batch(layer: str, shape: tuple[int, ...], images: int) -> ValueError:
    return ValueError(
        f"layer {layer!r} gave {shape[0] if shape else 'no'} rows for {images} images (shape {shape}); its first "
        "dimension is not the batch."
    )

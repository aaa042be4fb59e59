"""The eight styles: how silhouette, texture, colour and backdrop become a picture."""

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from lightning_robust.data.scenes.vocabulary import STYLES, TEXTURES


@dataclass(frozen=True)
class Layers:
    """What n pictures are put together from; planes `(n, s, s)` unless said otherwise.

    Attributes:
        u: Horizontal coordinate in the object's own frame.
        v: Vertical one.
        body: Signed distance to the object's edge, pixels, negative inside.
        part: The same for the part.
        colour: Base colour, `(n, 3)`.
        backdrop: The scene, `(n, 3, s, s)`.
        texture: Index of the texture, `(n,)`.
        phase: Where a texture starts, `(n, 1, 1)`.
        light: Brightness of the object, `(n, 1, 1)`.
    """

    u: Tensor
    v: Tensor
    body: Tensor
    part: Tensor
    colour: Tensor
    backdrop: Tensor
    texture: Tensor
    phase: Tensor
    light: Tensor

    def pick(self, rows: Tensor) -> "Layers":
        """The layers of some of the images."""
        return Layers(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


def paint(layers: Layers, style: Tensor) -> Tensor:
    """Paint each image in its style.

    Args:
        layers: What to paint, n images.
        style: Index into `STYLES`, `(n,)`.

    Returns:
        Pictures `(n, 3, s, s)` with values about [0, 1], not yet clamped.
    """
    out = torch.empty_like(layers.backdrop)
    for k, name in enumerate(STYLES):
        rows = torch.nonzero(style == k)[:, 0]
        if len(rows):
            out[rows] = _PAINTERS[name](layers.pick(rows))
    return out


def _cover(distance: Tensor) -> Tensor:
    """Share of each pixel inside an edge, `(n, 1, s, s)`."""
    return (0.5 - distance).clamp(0, 1).unsqueeze(1)


def _stroke(distance: Tensor, half_width: float) -> Tensor:
    """Share of each pixel under a line along an edge, `(n, 1, s, s)`."""
    return (half_width + 0.5 - distance.abs()).clamp(0, 1).unsqueeze(1)


def _pattern(layers: Layers) -> Tensor:
    """Strength of the second tone, `(n, 1, s, s)` in [0, 1], drawn in the object's own frame: it turns with it."""
    out = torch.zeros_like(layers.u)
    for k, name in enumerate(TEXTURES):
        rows = torch.nonzero(layers.texture == k)[:, 0]
        if name == "plain" or not len(rows):
            continue
        u, v, phase = layers.u[rows], layers.v[rows], layers.phase[rows]
        if name == "striped":
            value = torch.sin(9 * u + phase) * 3
        elif name == "dotted":
            value = (torch.sin(10 * u + phase) * torch.sin(10 * v + phase) - 0.25) * 4
        elif name == "checkered":
            value = torch.sin(7 * u + phase) * torch.sin(7 * v + phase) * 6
        elif name == "wavy":
            value = torch.sin(9 * v + 2.2 * torch.sin(5 * u) + phase) * 3
        else:  # shaded: from light above to dark below
            value = v * 1.6
        out[rows] = torch.sigmoid(value)
    return out.unsqueeze(1)


def _object(layers: Layers, part_shade: float = 0.35) -> Tensor:
    """The object's surface: base colour, second tone by the texture, the part in a darker tone."""
    base = layers.colour.view(-1, 3, 1, 1)
    bright = (base.mean(1, keepdim=True) > 0.5).float()
    second = bright * base * 0.45 + (1 - bright) * (0.45 + 0.55 * base)
    surface = (base + _pattern(layers) * (second - base)) * layers.light.unsqueeze(1)
    part = _cover(layers.part) * _cover(layers.body)
    return surface + part * (base * part_shade - surface) * 0.8


def _flat_backdrop(layers: Layers, lift: float) -> Tensor:
    """One tone for the whole scene, lifted towards white."""
    mean = layers.backdrop.mean((2, 3), keepdim=True)
    return (mean + lift * (1 - mean)).expand_as(layers.backdrop)


def _photo(layers: Layers) -> Tensor:
    shadow = 1 - 0.35 * torch.exp(-((layers.body.clamp(min=0) / 2.0) ** 2)).unsqueeze(1)
    background = layers.backdrop * shadow
    return background + _cover(layers.body) * (_object(layers) - background)


def _sketch(layers: Layers) -> Tensor:
    ink = torch.maximum(_stroke(layers.body, 0.35), 0.7 * _stroke(layers.part, 0.2) * _cover(layers.body - 0.5))
    return (0.95 - 0.72 * ink).expand_as(layers.backdrop)


def _cartoon(layers: Layers) -> Tensor:
    background = _flat_backdrop(layers, 0.45)
    picture = background + _cover(layers.body) * (_object(layers, 0.25) - background)
    return picture * (1 - _stroke(layers.body, 0.5))


def _painting(layers: Layers) -> Tensor:
    blurred = F.avg_pool2d(F.pad(_photo(layers), (1, 1, 1, 1), mode="replicate"), 3, 1)
    strokes = 0.06 * torch.sin(1.7 * (layers.u * 11 + layers.v * 7) + layers.phase).unsqueeze(1)
    vivid = blurred + 0.35 * (blurred - blurred.mean(1, keepdim=True)) + strokes
    return (vivid * 5).round() / 5


def _silhouette(layers: Layers) -> Tensor:
    background = _flat_backdrop(layers, 0.6)
    return background + _cover(layers.body) * (0.06 - background)


def _neon(layers: Layers) -> Tensor:
    glow = torch.exp(-((layers.body / 1.3) ** 2)).unsqueeze(1)
    inner = 0.7 * torch.exp(-((layers.part / 0.9) ** 2)).unsqueeze(1) * _cover(layers.body)
    tone = 0.25 + 0.75 * layers.colour.view(-1, 3, 1, 1)
    return 0.12 * layers.backdrop.mean((2, 3), keepdim=True) + torch.maximum(glow, inner) * tone


def _mosaic(layers: Layers) -> Tensor:
    tiles = F.avg_pool2d(_photo(layers), 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
    grout = torch.ones(tiles.shape[-1], dtype=torch.float32)
    grout[3::4] = 0.75
    return tiles * grout.view(1, 1, 1, -1) * grout.view(1, 1, -1, 1)


def _negative(layers: Layers) -> Tensor:
    return 1 - _photo(layers)


_PAINTERS: dict[str, Callable[[Layers], Tensor]] = {
    "photo": _photo, "sketch": _sketch, "cartoon": _cartoon, "painting": _painting,
    "silhouette": _silhouette, "neon": _neon, "mosaic": _mosaic, "negative": _negative,
}  # fmt: skip

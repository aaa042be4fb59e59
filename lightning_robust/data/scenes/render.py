"""From attributes to 32-pixel images, in batches: silhouettes by affine grid sampling, everything else per pixel.

Shapes: n images of s × s pixels; coordinates run from −1 to 1 over the image, x to the right and y down.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own habit

from lightning_robust.data.scenes.backdrops import BACKDROP_SIZE, backdrops
from lightning_robust.data.scenes.backdrops import VARIANTS as BACKDROP_VARIANTS
from lightning_robust.data.scenes.draws import Floats, Scenes
from lightning_robust.data.scenes.silhouettes import SPRITE_EXTENT, sprites
from lightning_robust.data.scenes.styles import Layers, paint
from lightning_robust.data.scenes.vocabulary import COLOURS

IMAGE_SIZE = 32
#: Rendered at a time: the intermediate planes of one chunk fit the cache of a core.
CHUNK = 64
_NOISE_SIZE = 128

_Number = Callable[[Floats], Tensor]
_Roll = Callable[[str], Tensor]


@cache
def _library() -> tuple[Tensor, Tensor, Tensor]:
    """Silhouettes, backdrops and a plane of Gaussian noise, made once in a process."""
    noise = np.random.Generator(np.random.PCG64(2)).standard_normal((3, _NOISE_SIZE, _NOISE_SIZE))
    return torch.from_numpy(sprites()), torch.from_numpy(backdrops()), torch.from_numpy(noise.astype(np.float32))


def render(scenes: Scenes) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Render scenes.

    Args:
        scenes: What to draw, n images.

    Returns:
        Images as uint8 of shape `(n, 3, 32, 32)`, and for each image the number of visible pixels of the object's part
        (0 where a bar hides it), shape `(n,)`: a concept that cannot be seen is unknown, not absent.
    """
    n = len(scenes)
    images = np.empty((n, 3, IMAGE_SIZE, IMAGE_SIZE), dtype=np.uint8)
    part_area = np.empty(n, dtype=np.float32)
    with torch.no_grad():
        for start in range(0, n, CHUNK):
            rows = slice(start, min(start + CHUNK, n))
            pixels, area = _render_chunk(scenes, rows)
            images[rows], part_area[rows] = pixels.numpy(), area.numpy()
    return images, part_area


def _render_chunk(scenes: Scenes, rows: slice) -> tuple[Tensor, Tensor]:
    shapes, scenery, noise = _library()
    dice = scenes.dice

    def number(values: Floats) -> Tensor:
        return torch.from_numpy(values[rows].astype(np.float32)).view(-1, 1, 1)

    def roll(name: str, low: float = 0.0, high: float = 1.0) -> Tensor:
        return number(dice(name, low, high))

    u, v = _object_coordinates(scenes, number)
    size = number(scenes.size)
    picked = shapes[scenes.label[rows], scenes.variant[rows]]
    distance = F.grid_sample(
        picked, torch.stack((u, v), -1) / SPRITE_EXTENT, mode="bilinear", padding_mode="border", align_corners=False
    ) * (size * IMAGE_SIZE / 2).unsqueeze(1)
    body, part = distance[:, 0], distance[:, 1]

    colour = torch.tensor(list(COLOURS.values()), dtype=torch.float32)[scenes.colour[rows]]
    colour = colour + torch.cat([roll(f"tint{k}", -0.06, 0.06)[:, :, 0] for k in range(3)], dim=1)
    origin = [torch.from_numpy(dice.choice(f"crop{k}", BACKDROP_SIZE - IMAGE_SIZE + 1)[rows]) for k in range(2)]
    variant = torch.from_numpy(dice.choice("backdrop", BACKDROP_VARIANTS)[rows])
    layers = Layers(
        u=u, v=v, body=body, part=part, colour=colour.clamp(0, 1),
        backdrop=_crops(scenery[torch.from_numpy(scenes.scene[rows]), variant], origin),
        texture=torch.from_numpy(scenes.texture[rows]), phase=roll("phase", 0, 6.28), light=roll("light", 0.85, 1.15),
    )  # fmt: skip
    image = paint(layers, torch.from_numpy(scenes.style[rows]))
    image, hidden = _cross_with_bar(image, scenes, number, roll)
    image = 0.5 + (image - 0.5) * number(scenes.contrast).unsqueeze(1) + roll("brightness", -0.06, 0.06).unsqueeze(1)
    offset = [torch.from_numpy(dice.choice(f"noise{k}", _NOISE_SIZE - IMAGE_SIZE + 1)[rows]) for k in range(2)]
    image = image + number(scenes.noise).unsqueeze(1) * _crops(noise.expand(len(colour), -1, -1, -1), offset)
    visible = ((part < 0) & ~hidden).sum((1, 2)).to(torch.float32)
    return (image.clamp(0, 1) * 255).round().to(torch.uint8), visible


def _object_coordinates(scenes: Scenes, number: _Number) -> tuple[Tensor, Tensor]:
    """Where each pixel lies in the silhouette's own frame: shift, turn, shear, scale and mirror undone."""
    axis = (torch.arange(IMAGE_SIZE, dtype=torch.float32) + 0.5) / IMAGE_SIZE * 2 - 1
    dx = axis.view(1, 1, -1) - number(scenes.x)
    dy = axis.view(1, -1, 1) - number(scenes.y)
    angle, size = number(np.deg2rad(scenes.rotation)), number(scenes.size)
    cos, sin = angle.cos(), angle.sin()
    v = (cos * dy - sin * dx) / size
    u = (cos * dx + sin * dy) / size - number(scenes.shear) * v
    return u * (1 - 2 * number(scenes.mirrored.astype(np.float64))), v


def _crops(pictures: Tensor, origin: list[Tensor]) -> Tensor:
    """A window of the image's size from each picture `(n, 3, S, S)`, at its own origin."""
    span = torch.arange(IMAGE_SIZE)
    rows, columns = origin[0].view(-1, 1) + span, origin[1].view(-1, 1) + span
    n = torch.arange(len(pictures)).view(-1, 1, 1, 1)
    return pictures[
        n, torch.arange(3).view(1, 3, 1, 1), rows.view(-1, 1, IMAGE_SIZE, 1), columns.view(-1, 1, 1, IMAGE_SIZE)
    ]


def _cross_with_bar(image: Tensor, scenes: Scenes, number: _Number, roll: _Roll) -> tuple[Tensor, Tensor]:
    """Lay a bar over some images; returns them with the mask of hidden pixels `(n, s, s)`."""
    axis = (torch.arange(IMAGE_SIZE, dtype=torch.float32) + 0.5) / IMAGE_SIZE * 2 - 1
    angle = number(scenes.bar_angle)
    across = angle.cos() * axis.view(1, 1, -1) + angle.sin() * axis.view(1, -1, 1) - number(scenes.bar_offset)
    present = number(scenes.bar.astype(np.float64))
    cover = ((number(scenes.bar_width) - across.abs()) * IMAGE_SIZE / 2 + 0.5).clamp(0, 1) * present
    colour = torch.stack([roll(f"bar{k}").view(-1, 1, 1) for k in range(3)], dim=1)
    return image + cover.unsqueeze(1) * (colour - image), cover > 0.5

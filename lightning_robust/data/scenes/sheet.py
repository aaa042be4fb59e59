"""A contact sheet of the scenes world, so that a person can look at every distribution."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from lightning_robust.data.scenes.distributions import DISTRIBUTIONS
from lightning_robust.data.scenes.draws import draw_scenes
from lightning_robust.data.scenes.render import IMAGE_SIZE, render
from lightning_robust.data.scenes.vocabulary import CLASSES

_ZOOM = 2
_LABEL_WIDTH = 150


def contact_sheet(columns: int = len(CLASSES), seed: int = 0) -> Image.Image:
    """One row for each distribution, one image of each class along it, test split.

    Args:
        columns: Images in a row.
        seed: Seed of the world.
    """
    cell = IMAGE_SIZE * _ZOOM
    sheet = Image.new("RGB", (_LABEL_WIDTH + columns * cell, len(DISTRIBUTIONS) * cell), "white")
    pen = ImageDraw.Draw(sheet)
    for row, distribution in enumerate(DISTRIBUTIONS.values()):
        pixels, _ = render(draw_scenes(distribution, seed, "test", np.arange(columns)))
        strip = Image.fromarray(np.concatenate(list(pixels.transpose(0, 2, 3, 1)), axis=1))
        sheet.paste(strip.resize((columns * cell, cell), Image.Resampling.NEAREST), (_LABEL_WIDTH, row * cell))
        pen.text((8, row * cell + cell // 2 - 14), f"{distribution.name}\n{distribution.mirrors}", fill="black")
    return sheet


def write_contact_sheet(path: Path, seed: int = 0) -> None:
    """Write the contact sheet as a PNG, replacing the file only when the new one is whole.

    Args:
        path: The file to write; its folder must exist.
        seed: Seed of the world.

    Raises:
        OSError: If the file cannot be written there.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        contact_sheet(seed=seed).save(temporary, format="PNG")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)

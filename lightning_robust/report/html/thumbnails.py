"""Small pictures inside the page: read from a run's folder, made small, with a budget for the whole page."""

import io
from pathlib import Path

from markupsafe import Markup
from PIL import Image, UnidentifiedImageError

from lightning_robust.report.html.blocks import picture

__all__ = ["Thumbnails"]

_SIDE = 64  # of what is embedded, in pixels
_SHOWN = 64  # on the page
_SMALL = 1_000  # bytes of a PNG above which a picture is stored as WebP
_BUDGET = 1_500_000  # bytes of all pictures of a page, before base64 adds a third


class Thumbnails:
    """Pictures of one page; when their budget is spent, those that are left are not drawn.

    Args:
        budget: bytes of all of them.
    """

    def __init__(self, budget: int = _BUDGET) -> None:
        self.left = budget

    def of(self, folder: Path, file: str | None, alt: str) -> Markup | None:
        """A picture; None where there is none, it lies outside the folder, cannot be read, or the budget is spent.

        Args:
            folder: of the run.
            file: relative to it, as its record says; None for none.
            alt: what is seen.
        """
        if file is None:
            return None
        path = (folder / file).resolve()
        if not path.is_relative_to(folder.resolve()) or not path.is_file():
            return None
        try:
            data, kind, width, height = _small(path)
        except (OSError, UnidentifiedImageError, ValueError, Image.DecompressionBombError):
            return None
        if len(data) > self.left:
            return None
        self.left -= len(data)
        scale = _SHOWN / max(width, height)
        shown = {"width": max(1, round(width * scale)), "height": max(1, round(height * scale))}
        return picture(data, alt, kind=kind, class_="tile pixels" if max(width, height) < _SHOWN else "tile", **shown)


def _small(path: Path) -> tuple[bytes, str, int, int]:
    """Encoded again: nothing of the file's own bytes but its pixels gets into the page."""
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    image.thumbnail((_SIDE, _SIDE))
    data = _encoded(image, "png", optimize=True)
    if len(data) <= _SMALL:
        return data, "png", *image.size
    return _encoded(image, "webp", quality=85), "webp", *image.size


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()

"""The image tower of a CLIP alone, in the place where classifiers expect the whole CLIP."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional


class ImageTower(nn.Module):
    """An image tower without text: `visual` and `encode_image`, named as in open_clip.

    Names for hooks and state-dict entries are therefore those of a whole CLIP (`visual.…`), so that a classifier that
    never saw a text is measured at the same places as one that came from a CLIP.

    Args:
        visual: The tower: maps images `(n, 3, H, W)` to h, `(n, d)`.

    Example:
        >>> tower = ImageTower(nn.Flatten())
        >>> tower.encode_image(Tensor([[[[3.0, 4.0]]]])).tolist()
        [[3.0, 4.0]]
    """

    def __init__(self, visual: nn.Module) -> None:
        super().__init__()
        self.visual: Any = visual

    def encode_image(self, images: Tensor, normalize: bool = False) -> Tensor:
        """Compute representations.

        Args:
            images: Preprocessed images, `(n, 3, H, W)`.
            normalize: Whether to scale each h to unit length.

        Returns:
            h, `(n, d)`.
        """
        h: Tensor = self.visual(images)
        return functional.normalize(h, dim=-1) if normalize else h

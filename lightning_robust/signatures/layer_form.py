"""What a layer's figures are about: the shape it gives, how it was pooled, and the axis of the measurement."""

import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

Pool = Literal["mean", "first", "tokens"]
"""How positions become rows: their mean, the first of them (the class token), or a row for each."""

Kind = Literal["vector", "tokens", "map"]
Layout = Literal["n d", "n t d", "t n d", "n c h w", "n h w c"]
"""Where images, positions and features stand in what a layer gives."""


@dataclass(frozen=True)
class LayerForm:
    """The form in which a layer was measured.

    Attributes:
        layer: the layer string.
        kind: one vector per image, tokens, or a map.
        positions: tokens or map positions per image, 1 for a vector; None if they changed from batch to batch.
        d: number of features.
        pool: how the positions became rows; means nothing for a vector.
        layout: the order of dimensions in which the layer gives them.
        axis: the axis that kurtosis, outliers and spectra speak of: always the features, never the tokens.

    Example:
        >>> LayerForm("visual.transformer.resblocks.11", "tokens", 50, 768, "mean").words
        '768 features, mean over 50 tokens'
    """

    layer: str
    kind: Kind
    positions: int | None
    d: int
    pool: Pool
    layout: Layout = "n d"
    axis: str = "features"

    @classmethod
    def of(cls, layer: str, hidden: Tensor, pool: Pool, layout: Layout, last: "LayerForm | None" = None) -> "LayerForm":
        """Describe an output whose batch comes first.

        Args:
            layer: the layer string.
            hidden: ``(n, d)``, ``(n, t, d)`` or ``(n, c, h, w)``.
            pool: how positions become rows.
            layout: the order in which the layer gave it.
            last: the form of the batch before, to notice a varying number of positions.
        """
        kind: Kind = "vector" if hidden.ndim == 2 else "tokens" if hidden.ndim == 3 else "map"
        d = hidden.shape[1] if kind == "map" else hidden.shape[-1]
        found = math.prod(hidden.shape[2:] if kind == "map" else hidden.shape[1:-1])
        positions = found if last is None or last.positions == found else None
        return cls(layer, kind, positions, d, pool, layout)

    @property
    def words(self) -> str:
        """The form as a phrase for captions and tables."""
        features = f"{self.d} {self.axis}"
        if self.kind == "vector":
            return features
        noun = "tokens" if self.kind == "tokens" else "positions"
        count = f"{self.positions} {noun}" if self.positions is not None else f"a varying number of {noun}"
        how = {"mean": f"mean over {count}", "first": f"first of {count}", "tokens": f"each of {count} a row"}
        return f"{features}, {how[self.pool]}"

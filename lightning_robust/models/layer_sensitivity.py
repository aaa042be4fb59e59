"""How much the network's output moves when the output of a layer does: gradients at every matrix."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lightning_robust.models.low_rank_matrices import MatrixOfLayer
from lightning_robust.models.outer_sums import OuterSum, pieces


class OutputGradients:
    """Second moments `G = Σ g gᵀ` of the gradients `g` of random projections of the network's output.

    For `r ~ N(0, I)` and an error e at one position of a layer's output, `E (gᵀ e)² = ‖J e‖²` with `g = Jᵀ r`: the
    squared movement of the output to first order, so `eᵀ G e` says what an error costs (Hutchinson 1990). With the
    covariance of the inputs it is the Kronecker approximation of the Gauss-Newton matrix (Martens & Grosse 2015, K-FAC,
    arXiv 1503.05671), here of the output itself: no labels, no loss. Of a matrix with more rows than columns only the
    span of its columns counts (`torch.linalg.qr`), so that G takes 8·min(out, in)² bytes.

    Every image has a projection of its own, drawn by its number, so that batches change nothing.

    Args:
        model: An opened copy of the network (`opened`), in eval mode; hooks stay on it, which do nothing in a forward
            without gradients.
        found: Its matrices.

    Attributes:
        images: How many images were seen.

    Example:
        >>> from lightning_robust.models.low_rank_matrices import matrices
        >>> layer = nn.Linear(2, 1)
        >>> gradients = OutputGradients(layer, matrices(layer))
        >>> gradients.add(torch.ones(64, 2), range(64))
        >>> G = gradients.mean()["weight"]
        >>> G.shape, 0.5 < G.item() < 2.0
        (torch.Size([1, 1]), True)
    """

    def __init__(self, model: nn.Module, found: Mapping[str, MatrixOfLayer]) -> None:
        self.images = 0
        self._sums: dict[str, OuterSum] = defaultdict(OuterSum)
        self._model = model
        self._names: dict[str, list[str]] = defaultdict(list)
        self._outputs: list[tuple[str, Tensor]] = []
        self._widening = {name: one.weight for name, one in found.items() if one.rows > one.columns}
        self._spans: dict[str, Tensor] = {}  # not before there are gradients: each takes 8·out·in bytes
        for name, matrix in found.items():
            self._names[matrix.layer].append(name)
        for layer in self._names:
            model.get_submodule(layer).register_forward_hook(partial(self._keep, layer))

    def add(self, images: Tensor, numbers: Sequence[int]) -> None:
        """Run images forward and backward.

        Args:
            images: A batch, on the device of the model.
            numbers: Of the images, which their projections are drawn by.

        Raises:
            ValueError: If the network gives no tensor with a row for each image.
        """
        if not len(images):
            return
        self._outputs.clear()
        with torch.enable_grad():
            # the gradient starts at the images, so that frozen weights have one at their outputs too
            output = self._model(images.detach().requires_grad_())
            if not isinstance(output, Tensor) or len(output) != len(images):
                raise ValueError(
                    f"The network gives a {type(output).__name__}, not a tensor with a row for each image."
                )
            rows = [torch.randn(output.shape[1:], generator=torch.Generator().manual_seed(k)) for k in numbers]
            projected = (output * torch.stack(rows).to(output)).sum()
            found = torch.autograd.grad(projected, [y for _, y in self._outputs], allow_unused=True)
        for (layer, output), gradient in zip(self._outputs, found, strict=True):
            self._add(layer, torch.zeros_like(output) if gradient is None else gradient)
        self._outputs.clear()
        self.images += len(images)

    def mean(self) -> dict[str, Tensor]:
        """The sums over one image; zeros for a matrix that the output does not depend on; empty without images."""
        if not self.images:
            return {}
        self._spans.clear()
        return {name: one.matrix / self.images for name, one in self._sums.items()}

    def _keep(self, layer: str, _module: nn.Module, _inputs: Any, output: Tensor) -> Tensor | None:
        if not torch.is_grad_enabled():
            return None
        self._outputs.append((layer, output))
        return output.clone()  # what follows may work in place

    def _add(self, layer: str, gradient: Tensor) -> None:
        names = self._names[layer]
        if isinstance(self._model.get_submodule(layer), nn.Conv2d):
            gradient = gradient.movedim(-3, -1)
        for name, rows in zip(names, gradient.flatten(0, -2).chunk(len(names), dim=1), strict=True):
            for part in pieces(rows):
                g = part.double()
                self._sums[name].add(g @ self._span(name) if name in self._widening else g)

    def _span(self, name: str) -> Tensor:
        if name not in self._spans:
            self._spans[name] = torch.linalg.qr(self._widening[name].detach().double())[0]
        return self._spans[name]

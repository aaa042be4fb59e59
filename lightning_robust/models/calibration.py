"""What the matrices of a network read on calibration images: means and covariances, and how each is cut for them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from lightning_robust.models.layer_sensitivity import OutputGradients
from lightning_robust.models.low_rank_build import opened
from lightning_robust.models.low_rank_matrices import MatrixOfLayer, matrices
from lightning_robust.models.modes import eval_mode, kept_random_state
from lightning_robust.models.outer_sums import OuterSum, pieces
from lightning_robust.models.truncation import Truncation, decompose


class InputMoments:
    """Count, mean and centred co-moments of the vectors on one side of a matrix, in float64, merged (Pébay 2008).

    Memory: 8·d² bytes.

    Attributes:
        count: Vectors so far: images times positions.
        mean: Their mean, `(d,)`.

    Example:
        >>> moments = InputMoments()
        >>> moments.add(torch.tensor([[1.0], [3.0]]))
        >>> moments.mean.item(), moments.covariance.item()
        (2.0, 1.0)
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = torch.zeros((), dtype=torch.float64)
        self._sum = OuterSum()

    def add(self, rows: Tensor) -> None:
        """Merge more vectors.

        Args:
            rows: `(n, d)`; nothing happens for n = 0.
        """
        for part in pieces(rows.detach()):
            x = part.new_empty(len(part) + 1, part.shape[1], dtype=torch.float64)
            x[:-1] = part
            mean = x[:-1].mean(dim=0)
            x[:-1] -= mean
            self._merge(len(part), mean, x)

    def merge(self, other: InputMoments) -> None:
        """Merge what another pass has seen.

        Args:
            other: Moments of vectors of the same width; not changed.
        """
        if other.count:
            self._sum.merge(other._sum)
            self._merge(other.count, other.mean, other.mean.new_empty(1, len(other.mean)))

    @property
    def comoments(self) -> Tensor:
        """`Σ (x − mean)(x − mean)ᵀ`, `(d, d)`; a copy."""
        return self._sum.matrix

    @property
    def variances(self) -> Tensor:
        """Population variance of each number, `(d,)`; not finite where a value was not."""
        return self._sum.diagonal / self.count

    @property
    def covariance(self) -> Tensor:
        """Population covariance, `(d, d)`."""
        return self.comoments / self.count

    @property
    def second_moment(self) -> Tensor:
        """`E[x xᵀ]`, `(d, d)`."""
        return self.covariance + torch.outer(self.mean, self.mean)

    def _merge(self, n: int, mean: Tensor, rows: Tensor) -> None:
        """Add centred rows; the last one is for the difference of the means, so that no pass over `(d, d)` is."""
        delta, total = mean - self.mean if self.count else torch.zeros_like(mean), self.count + n
        rows[-1] = delta * math.sqrt(self.count * n / total)
        self._sum.add(rows)
        self.mean, self.count = (self.mean + delta * (n / total) if self.count else mean), total


@dataclass(frozen=True, eq=False)
class Calibration:
    """What calibration images say about every matrix of a network.

    Attributes:
        images: How many were seen.
        matrices: Of the network, by name, with their positions.
        sides: Which side of each matrix its moments are of, "input" or "output" (`W x`, the bias not included): the
            narrower one, since both give the same truncation.
        moments: By matrix; those that read the same input share one object.
        gradients: By matrix, how far an error of its output moves that of the network (`OutputGradients`), on
            average over images; empty where they were not asked for.
    """

    images: int
    matrices: Mapping[str, MatrixOfLayer]
    sides: Mapping[str, str]
    moments: Mapping[str, InputMoments]
    gradients: Mapping[str, Tensor]

    def decompose(self, name: str, *, centred: bool = True, sensitive: bool = True) -> Truncation:
        """Decompose a matrix for what it reads, and for what the network makes of its outputs.

        Args:
            name: Of the matrix.
            centred: Whether the bias is to make up for the mean of what is cut.
            sensitive: Whether errors count by how far they move the network's output, where gradients were taken; else
                all outputs of the layer alike.
        """
        moments, side = self.moments[name], self.sides[name]
        covariance = moments.covariance if centred else moments.second_moment
        return decompose(
            self.matrices[name].weight,
            covariance,
            mean=moments.mean if centred else None,
            side=side,
            sensitivity=self.gradients.get(name) if sensitive else None,
        )


def calibrate(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    max_images: int | None = None,
    gradients_every: int = 8,
    leave: Collection[str] = (),
) -> Calibration:
    """Run calibration images through a network once and take the moments at every matrix.

    Convolutions are measured at their outputs, as they are with stride and zero padding: `U_k U_kᵀ W` needs only the
    principal directions of `W x`, so a 3 × 3 layer of 512 channels takes 512² numbers and not the 4608² of its unfolded
    inputs. Only a convolution of 1 × 1 and a linear layer that widens are measured at their inputs. Attention counts
    all its tokens, open_clip's pooling the query that is used. Moments and gradients take 8·min(out, in)² bytes a
    matrix each (q, k and v share moments): together 0.6 GB for a ViT-B/32, 1.1 GB for a moment at the end. On one
    thread that network takes 1.7 times the processor time of the forward alone, and 5 s besides.

    Gradients are what makes small budgets work: on the scenes CLIP (84.9 % on the reference, 64.2 % on the mean of its
    shifts), a quarter of the parameters keeps 84.3 and 63.8 with them and 84.0 and 62.6 without, 15 % of them 83.1 and
    59.7 against 78.5 and 55.5. Batch norms are not recalibrated: on reference images that costs shifts 6 points.

    The model runs in eval mode, as a copy that shares its weights (`opened`): nothing of it changes,
    and random states are given back.

    Args:
        model: The network; it is called on images.
        batches: Calibration images, `(images, …)` or images alone.
        max_images: Stop at so many; None takes all.
        gradients_every: Gradients are taken on every so many-th image; 0 takes none, and errors of all outputs of a
            layer count alike.
        leave: Layers whose matrices are left dense, as for `matrices`.

    Returns:
        The moments of every matrix that the images reach.

    Raises:
        ValueError: If there are no images, no matrix, or a layer's values are not all finite.

    Example:
        >>> found = calibrate(nn.Linear(3, 2), [torch.eye(3)])
        >>> found.images, found.sides, found.moments["weight"].count
        (3, {'weight': 'output'}, 3)
    """
    taken = _taken(batches, max_images)
    first = next(taken, None)
    if first is None:
        raise ValueError("There are no images to calibrate on.")
    found = matrices(model, first[:1], leave=leave)
    if not found:
        raise ValueError(f"{type(model).__name__} has no weight matrix that can be factored.")
    copied = opened(model)
    sides = _sides(found, copied)
    moments = _watch(found, copied, sides)
    gradients = OutputGradients(copied, found)
    images, like = 0, next(copied.parameters())
    with torch.no_grad(), eval_mode(copied), kept_random_state(), torch.compiler.set_stance("force_eager"):
        for batch in chain([first], taken):
            placed = batch.to(like.device, like.dtype)
            numbers = range(-images % gradients_every, len(batch), gradients_every) if gradients_every else range(0)
            rest = torch.ones(len(batch), dtype=torch.bool)
            rest[list(numbers)] = False
            if rest.any():
                copied(placed[rest])
            # the moments of these are taken on their way forward
            gradients.add(placed[~rest], [images + place for place in numbers])
            images += len(batch)
    for name, moment in moments.items():
        if not bool(moment.variances.isfinite().all()):
            raise ValueError(f"What the matrix {name!r} reads or gives is not all finite on the calibration images.")
    return Calibration(images, found, sides, moments, gradients.mean())


def _taken(batches: Iterable[Any], most: int | None) -> Iterator[Tensor]:
    taken = 0
    for batch in batches:
        images: Tensor = batch if isinstance(batch, Tensor) else batch[0]
        images = images if most is None else images[: most - taken]
        taken += len(images)
        if len(images):
            yield images
        if most is not None and taken >= most:
            return


def _sides(found: Mapping[str, MatrixOfLayer], model: nn.Module) -> dict[str, str]:
    matrices_of_layer = Counter(matrix.layer for matrix in found.values())
    sides = {}
    for name, matrix in found.items():
        layer = model.get_submodule(matrix.layer)
        if isinstance(layer, nn.Conv2d):
            pointwise = layer.kernel_size == (1, 1) and layer.padding in ((0, 0), "valid")
            sides[name] = "input" if pointwise and matrix.columns < matrix.rows else "output"
        else:  # a fused layer gives the outputs of three matrices, which read the same
            shared = matrices_of_layer[matrix.layer] > 1
            sides[name] = "output" if matrix.rows < matrix.columns and not shared else "input"
    return sides


def _watch(found: Mapping[str, MatrixOfLayer], model: nn.Module, sides: Mapping[str, str]) -> dict[str, InputMoments]:
    moments: dict[str, InputMoments] = {}
    shared: dict[tuple[str, int | None], InputMoments] = {}
    for name, matrix in found.items():
        layer = model.get_submodule(matrix.layer)
        if sides[name] == "output":
            moments[name] = InputMoments()
            layer.register_forward_hook(partial(_add_outputs, moments[name]))
            continue
        key = matrix.reads, matrix.positions
        if key not in shared:
            shared[key] = InputMoments()
            layer.register_forward_pre_hook(partial(_add_inputs, shared[key]))
        moments[name] = shared[key]
    return moments


@torch.no_grad()
def _add_inputs(moments: InputMoments, layer: nn.Module, inputs: tuple[Any, ...]) -> None:
    x: Tensor = inputs[0]
    if isinstance(layer, nn.Conv2d):
        down, right = layer.stride
        x = x[..., ::down, ::right].movedim(-3, -1)
    moments.add(x.flatten(0, -2))


@torch.no_grad()
def _add_outputs(moments: InputMoments, layer: nn.Module, _: tuple[Any, ...], outputs: Tensor) -> None:
    y = outputs.movedim(-3, -1) if isinstance(layer, nn.Conv2d) else outputs
    bias: Any = layer.bias
    moments.add((y if bias is None else y - bias).flatten(0, -2))

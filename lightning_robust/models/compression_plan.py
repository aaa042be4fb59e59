"""How a network is cut to shares of its parameters: ranks and factors, calibrated once for all shares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from lightning_robust.models.calibration import Calibration, calibrate
from lightning_robust.models.low_rank_build import factorise
from lightning_robust.models.low_rank_matrices import MatrixOfLayer
from lightning_robust.models.rank_budget import MatrixShape, Ranks, allocate, uniform_ranks
from lightning_robust.models.truncation import Truncation, decompose


@dataclass(frozen=True, eq=False)
class CompressionPlan:
    """What becomes of every matrix of a network; `factorise` takes it.

    Attributes:
        keep: Share of the parameters that was asked for.
        ranks: By matrix; None stays dense.
        factors: By matrix, `(A, B)` in its precision; None stays dense.
        biases: Biases that make up for the mean of what is cut, by matrix.
    """

    keep: float
    ranks: Ranks
    factors: Mapping[str, tuple[Tensor, Tensor] | None]
    biases: Mapping[str, Tensor]

    def apply(self, model: nn.Module) -> nn.Module:
        """A smaller copy of the network.

        Args:
            model: The one that was planned for.
        """
        return factorise(model, self.factors, self.biases)


def plan_compression(
    model: nn.Module, batches: Iterable[Any], keep: Sequence[float], *, calibrated: bool = True, **options: Any
) -> dict[float, CompressionPlan]:
    """Plan to keep shares of a network's parameters.

    Calibrated: every matrix is cut for what it reads and for what the network makes of its output (`calibrate`,
    `decompose`), and one budget is shared out over all of them by how far the output moves (`allocate`). On the scenes
    CLIP (84.9 % on the reference, 64.2 % on the mean of its shifts) 35 % of the parameters keep 84.8 and 64.3 where
    the rival keeps 5.0 and 5.0. Otherwise the rival: plain SVD, the same share of every matrix.

    Args:
        model: An image network that gives one tensor, such as logits. All its parameters count.
        batches: Calibration images, `(images, …)` or images alone.
        keep: Shares, each in (0, 1].
        calibrated: Whether so, or as the rival; the rival reads one batch, for what is reached by images.
        options: As for `calibrate`.

    Returns:
        A plan for each share.

    Raises:
        ValueError: As `calibrate` and `allocate`.

    Example:
        >>> import torch
        >>> layer = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16))
        >>> plans = plan_compression(layer, [torch.randn(64, 16)], [0.75, 0.5])
        >>> sum(p.numel() for p in plans[0.5].apply(layer).parameters()) <= 0.5 * (2 * 16 * 17)
        True
    """
    if not calibrated:
        options = {"max_images": 1, "gradients_every": 0} | {name: options[name] for name in options if name == "leave"}
    calibration = calibrate(model, batches, **options)
    total = sum(parameter.numel() for parameter in model.parameters())
    fixed = total - sum(matrix.parameters for matrix in calibration.matrices.values())
    shapes, cuts = matrix_shapes(calibration.matrices, centred=calibrated), _cuts(calibration, calibrated)
    plans = {}
    for share in keep:
        if calibrated:
            energies = {name: cut.energies.cpu() for name, cut in cuts.items()}
            # errors of all matrices in one unit: how far they move the output
            weights = {name: cut.total for name, cut in cuts.items()} if calibration.gradients else None
            ranks = allocate(energies, shapes, share, fixed=fixed, weights=weights)
        else:
            ranks = uniform_ranks(shapes, share, fixed=fixed)
        plans[share] = CompressionPlan(share, ranks, *_factors(calibration.matrices, cuts, ranks))
    return plans


def matrix_shapes(found: Mapping[str, MatrixOfLayer], *, centred: bool) -> dict[str, MatrixShape]:
    """Sizes of matrices, as a budget counts them.

    Args:
        found: The matrices.
        centred: Whether a layer without a bias is given one where it is cut, which counts.
    """
    return {
        name: MatrixShape(one.rows, one.columns, one.positions or 1, one.rows if centred and one.bias is None else 0)
        for name, one in found.items()
    }


def _cuts(calibration: Calibration, calibrated: bool) -> dict[str, Truncation]:
    return {
        name: calibration.decompose(name) if calibrated else decompose(matrix.weight)
        for name, matrix in calibration.matrices.items()
    }


def _factors(
    found: Mapping[str, MatrixOfLayer], cuts: Mapping[str, Truncation], ranks: Mapping[str, int | None]
) -> tuple[dict[str, tuple[Tensor, Tensor] | None], dict[str, Tensor]]:
    factors: dict[str, tuple[Tensor, Tensor] | None] = {}
    biases: dict[str, Tensor] = {}
    for name, rank in ranks.items():
        if rank is None:
            factors[name] = None
            continue
        own, cut = found[name].bias, cuts[name].at(rank, found[name].weight.dtype)
        factors[name] = (cut.A, cut.B)
        if cut.shift is not None:
            biases[name] = cut.shift if own is None else own + cut.shift
    return factors, biases

"""Making the versions of a network: a budget checked before images are read, then truncation and its rivals."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from lightning_robust.cli.compress_versions import CALIBRATED, DENSE, MAGNITUDE, UNIFORM, Version
from lightning_robust.errors import UserError, from_user
from lightning_robust.models.calibration import Calibration, calibrate
from lightning_robust.models.classifier import ImageClassifier
from lightning_robust.models.cost import parameter_count
from lightning_robust.models.image_tower import ImageTower
from lightning_robust.models.low_rank_build import factorise
from lightning_robust.models.low_rank_matrices import MatrixOfLayer, matrices
from lightning_robust.models.magnitude_pruning import magnitude_pruned
from lightning_robust.models.network import Network
from lightning_robust.models.rank_budget import MatrixShape, allocate, uniform_ranks
from lightning_robust.models.truncation import Truncation, decompose

__all__ = ["Budgets", "Made", "made"]


@dataclass(frozen=True, eq=False)
class Budgets:
    """A network and the shares of it that are to be kept.

    Attributes:
        network: Image network and head, without a text tower.
        image: An image as the network is given it, `(3, H, W)`; black.
        keep: Shares, descending.
        matrices: What can be cut, by name.
        total: Parameters of the network.
        leave: Its head, which stays as it is: its directions are what `prune` and `probe` look at.
    """

    network: nn.Module
    image: Tensor
    keep: tuple[float, ...]
    matrices: Mapping[str, MatrixOfLayer]
    total: int
    leave: tuple[str, ...] = ()

    @classmethod
    def of(cls, network: Network, keep: Sequence[float]) -> "Budgets":
        """Look at a network.

        Args:
            network: The dense one.
            keep: Shares, descending.

        Raises:
            UserError: If it has no matrix that can be cut, or a share is too small for it.
        """
        image: Tensor = network.transform(Image.new("RGB", (64, 64)))
        model = without_text(network, image)
        leave = () if network.head_layer is None else (network.head_layer,)
        found = matrices(model, image[None], leave=leave)
        if not found:
            raise UserError(f"{network.name} has no weight matrix that can be cut")
        if strange := [name for name, one in found.items() if not bool(one.weight.isfinite().all())]:
            raise UserError(f"the matrix {strange[0]} of {network.name} has values that are not finite: nothing to cut")
        budgets = cls(model, image, tuple(keep), found, parameter_count(model), leave)
        with from_user(ValueError):
            for share in keep:
                uniform_ranks(budgets.shapes(centred=True), share, fixed=budgets.fixed)
        return budgets

    @property
    def fixed(self) -> int:
        """Parameters that are in none of the matrices."""
        return self.total - sum(matrix.parameters for matrix in self.matrices.values())

    @property
    def versions(self) -> int:
        """How many are made: the dense one, and three at each share."""
        return 1 + 3 * len(self.keep)

    @property
    def finetuned(self) -> int:
        """How many of them can be finetuned."""
        return 1 + 2 * len(self.keep)

    def shapes(self, *, centred: bool) -> dict[str, MatrixShape]:
        """Sizes of the matrices.

        Args:
            centred: Whether a layer without a bias is given one, which counts.
        """
        return {
            name: MatrixShape(
                one.rows, one.columns, one.positions or 1, one.rows if centred and one.bias is None else 0
            )
            for name, one in self.matrices.items()
        }


@dataclass(frozen=True, eq=False)
class Made:
    """The versions.

    Attributes:
        versions: The dense one first.
        budgets: What they were made from.
        calibration_images: How many images calibrated.
    """

    versions: tuple[Version, ...]
    budgets: Budgets
    calibration_images: int


def made(budgets: Budgets, images: Iterable[Any], device: Any) -> Made:
    """Calibrate, and make every version.

    Args:
        budgets: The network and the shares.
        images: Calibration images in batches.
        device: Where the calibration runs.

    Raises:
        UserError: If there are no images, or a layer's values on them are not all finite.
    """
    network = budgets.network.to(device).eval()
    with from_user(ValueError):
        calibration = calibrate(network, images, leave=budgets.leave)
    calibrated, uniform = _calibrated(budgets, calibration), _uniform(budgets)
    versions = [Version(DENSE, 1.0, network)]
    for share in budgets.keep:
        versions += [calibrated[share], uniform[share], _magnitude(budgets, share)]
    return Made(tuple(versions), budgets, calibration.images)


def _calibrated(budgets: Budgets, calibration: Calibration) -> dict[float, Version]:
    cuts = {name: calibration.decompose(name) for name in budgets.matrices}
    energies = {name: cut.energies.cpu() for name, cut in cuts.items()}
    # errors of all matrices in one unit: how far they move the logits
    weights = {name: cut.total for name, cut in cuts.items()}
    shapes, found = budgets.shapes(centred=True), dict[float, Version]()
    for share in budgets.keep:
        ranks = allocate(energies, shapes, share, fixed=budgets.fixed, weights=weights)
        found[share] = Version(CALIBRATED, share, _cut(budgets, cuts, ranks), ranks)
    return found


def _uniform(budgets: Budgets) -> dict[float, Version]:
    cuts = {name: decompose(one.weight) for name, one in budgets.matrices.items()}
    shapes, found = budgets.shapes(centred=False), dict[float, Version]()
    for share in budgets.keep:
        ranks = uniform_ranks(shapes, share, fixed=budgets.fixed)
        found[share] = Version(UNIFORM, share, _cut(budgets, cuts, ranks), ranks)
    return found


def _magnitude(budgets: Budgets, share: float) -> Version:
    parameters = list(dict.fromkeys(name.partition("[")[0] for name in budgets.matrices))
    kept = round(share * budgets.total) - budgets.fixed
    return Version(MAGNITUDE, share, magnitude_pruned(budgets.network, parameters, kept))


def _cut(budgets: Budgets, known: Mapping[str, Truncation], ranks: Mapping[str, int | None]) -> nn.Module:
    factors, biases = dict[str, tuple[Tensor, Tensor] | None](), dict[str, Tensor]()
    for name, rank in ranks.items():
        if rank is None:
            continue
        cut = known[name].at(rank, torch.float32)
        factors[name] = (cut.A, cut.B)
        own = budgets.matrices[name].bias
        if cut.shift is not None:
            biases[name] = cut.shift if own is None else own.to(cut.shift) + cut.shift
    return factorise(budgets.network, factors, biases).eval()


def without_text(network: Network, image: Tensor) -> nn.Module:
    """Image tower and head of a CLIP; any other network as it is.

    Args:
        network: The network; its parts are shared, not copied.
        image: A preprocessed image.

    Raises:
        UserError: If the image tower alone does not give the representation.
    """
    model = network.model
    if not isinstance(model, ImageClassifier) or isinstance(model.encoder, ImageTower):
        return model
    with torch.no_grad():
        given = model.encoder.visual(image[None])
    if not isinstance(given, Tensor) or given.shape != (1, model.head.in_features):
        raise UserError(
            f"the image tower of {network.name}, a {type(model.encoder).__name__}, does not give the representation by "
            "itself: compress takes CLIPs whose image tower does"
        )
    alone = ImageClassifier(ImageTower(model.encoder.visual), model.head.weight.detach())
    return alone.to(next(model.parameters()).dtype).eval()

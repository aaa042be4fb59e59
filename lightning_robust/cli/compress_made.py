"""Making the versions of a network: a budget checked before images are read, then truncation and its rivals."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from lightning_robust.cli.compress_held import Held, bytes_of
from lightning_robust.cli.compress_images import LEAST, few_images
from lightning_robust.cli.compress_versions import CALIBRATED, DENSE, MAGNITUDE, PLAIN, UNIFORM, Version
from lightning_robust.errors import UserError, from_user
from lightning_robust.models.calibration import calibrate
from lightning_robust.models.classifier import ImageClassifier
from lightning_robust.models.compression_plan import (
    CompressionPlan,
    CutNetwork,
    FixedCosts,
    fixed_costs,
    matrix_shapes,
)
from lightning_robust.models.image_tower import ImageTower
from lightning_robust.models.low_rank_matrices import MatrixOfLayer, matrices
from lightning_robust.models.magnitude_pruning import magnitude_masks, masked
from lightning_robust.models.network import Network
from lightning_robust.models.rank_budget import uniform_ranks

__all__ = ["Budgets", "Made", "made"]

LOW_RANK = (CALIBRATED, PLAIN, UNIFORM)
"""Methods that make a network smaller."""


@dataclass(frozen=True, eq=False)
class Budgets:
    """A network and the shares of it that are to be kept.

    Attributes:
        network: Image network and head, without a text tower.
        image: An image as the network is given it, `(3, H, W)`; black.
        keep: Shares, descending.
        counted: What they are shares of: "parameters" or "flops".
        matrices: What can be cut, by name.
        fixed: What the network costs outside of them, both ways.
        leave: Its head, which stays as it is: its directions are what `prune` and `probe` look at.
    """

    network: nn.Module
    image: Tensor
    keep: tuple[float, ...]
    counted: str
    matrices: Mapping[str, MatrixOfLayer]
    fixed: FixedCosts
    leave: tuple[str, ...] = ()

    @classmethod
    def of(cls, network: Network, keep: Sequence[float], counted: str = "parameters") -> "Budgets":
        """Look at a network.

        Args:
            network: The dense one.
            keep: Shares, descending.
            counted: What they are shares of.

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
        fixed, shapes = fixed_costs(model, found, image[None]), matrix_shapes(found, centred=True)
        with from_user(ValueError):
            for share in keep:
                uniform_ranks(shapes, share, of=counted, fixed=fixed.of(counted))
        return cls(model, image, tuple(keep), counted, found, fixed, leave)

    @property
    def methods(self) -> tuple[str, ...]:
        """In which ways each share is kept; a mask saves no multiplication, so it is no rival in these."""
        return LOW_RANK if self.counted == "flops" else (*LOW_RANK, MAGNITUDE)

    @property
    def versions(self) -> int:
        """How many are made: the dense one, and one in each way at each share."""
        return 1 + len(self.methods) * len(self.keep)

    @property
    def finetuned(self) -> int:
        """How many of them can be finetuned."""
        return 1 + len(LOW_RANK) * len(self.keep)

    def bytes(self, *, tuned: bool) -> int:
        """Roughly the size of all versions together.

        Args:
            tuned: Whether they are finetuned too.
        """
        masks = len(self.keep) * (MAGNITUDE in self.methods)
        low = 1 + len(LOW_RANK) * sum(self.keep)
        return round(bytes_of(self.network) * (masks + low * (2 if tuned else 1)))


@dataclass(frozen=True, eq=False)
class Made:
    """The versions.

    Attributes:
        versions: The dense one first.
        budgets: What they were made from.
        calibration_images: How many images calibrated.
        notes: A sentence where these are few for what is estimated from them.
    """

    versions: tuple[Version, ...]
    budgets: Budgets
    calibration_images: int
    notes: tuple[str, ...] = ()


def made(budgets: Budgets, images: Iterable[Any], device: Any, held: Held | None = None) -> Made:
    """Calibrate, and plan every version.

    Args:
        budgets: The network and the shares.
        images: Calibration images in batches.
        device: Where the calibration runs.
        held: What holds networks; None holds all.

    Raises:
        UserError: If there are fewer than two images, or a layer's values on them are not all finite.
    """
    held = held or Held(0, Path())
    network = budgets.network.to(device).eval()
    with from_user(ValueError):
        calibration = calibrate(network, images, leave=budgets.leave)
    found, count = calibration.matrices, calibration.images  # where the network is now
    if count < LEAST:
        raise UserError(f"{count} image to calibrate on has no covariance: give at least {LEAST}")
    notes = few_images(calibration)
    calibrated = CutNetwork.of(found, budgets.fixed, calibration)
    del calibration  # as large as the network
    plain = CutNetwork.of(found, budgets.fixed)
    versions = [Version(DENSE, 1.0, partial(_itself, network))]
    for share in budgets.keep:
        for method in LOW_RANK:
            cut = calibrated if method == CALIBRATED else plain
            plan = cut.plan(share, of=budgets.counted, uniform=method == UNIFORM)
            versions.append(Version(method, share, held.made(partial(_applied, plan, network)), plan.ranks))
        if MAGNITUDE in budgets.methods:
            versions.append(Version(MAGNITUDE, share, held.made(_magnitude(budgets, share))))
    return Made(tuple(versions), budgets, count, notes)


def _itself(network: nn.Module) -> nn.Module:
    return network


def _applied(plan: CompressionPlan, network: nn.Module) -> nn.Module:
    return plan.apply(network).eval()


def _magnitude(budgets: Budgets, share: float) -> "partial[nn.Module]":
    parameters = list(dict.fromkeys(name.partition("[")[0] for name in budgets.matrices))
    fixed = budgets.fixed.parameters
    total = fixed + sum(one.parameters for one in budgets.matrices.values())
    masks = magnitude_masks(budgets.network, parameters, max(0, round(share * total) - fixed))
    return partial(masked, budgets.network, masks)


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

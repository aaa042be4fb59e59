"""What the head of a model reads, for every image of every set: features once, then small matrix products."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lightning_robust.cli.evaluate_models import Candidate, LoadedModels
from lightning_robust.cli.evaluate_sets import OrderedLoader
from lightning_robust.cli.opened_evaluation import Opened
from lightning_robust.errors import UserError, from_user
from lightning_robust.models.batch_norm import batch_norms
from lightning_robust.models.class_mask import largest_class
from lightning_robust.models.compressed_architecture import head_weight
from lightning_robust.models.evaluate_points import Point, evaluate_points
from lightning_robust.models.modes import eval_mode, kept_random_state
from lightning_robust.models.untrained import calibrate_untrained
from lightning_robust.signatures import ActivationProbe

__all__ = [
    "UNTRAINED_WORDS",
    "HeadFeatures",
    "HeadModel",
    "SetFeatures",
    "calibrate_on_calibration_images",
    "head_features",
]

UNTRAINED_WORDS = (
    "batch norms of random weights have the statistics of the calibration images, and in `evaluate` those of the "
    "images that are judged: accuracies of an untrained model may differ from those of `evaluate`"
)
"""For the conventions of a record whose models are untrained and have batch norms."""


@dataclass(frozen=True, eq=False)
class SetFeatures:
    """One model on one set, on the CPU.

    Attributes:
        set: Name of the set.
        images: How many images it has, read or not.
        h: Representations as the encoder gives them, before any normalisation, `(n, d)` float32.
        targets: Reference classes, `(n,)` int64.
        places: Which image of the set each row is, `(n,)` int64.
        unreadable: A sentence for each image that was left out.
    """

    set: str
    images: int
    h: Tensor
    targets: Tensor
    places: Tensor
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class HeadModel:
    """What is needed of one model beside its features.

    Attributes:
        name, origin, checkpoint_hash, alpha: As of `Candidate`.
        head: Weight W of the head, `(C, d)`, on the CPU.
        bias: Its bias, `(C,)`; None where it has none.
        unit_norm: Whether the model scales h to unit length before the head.
        own_heads: By set, the zero-shot head of its own class names.
    """

    name: str
    origin: str
    checkpoint_hash: str
    alpha: float | None
    head: Tensor
    bias: Tensor | None
    unit_norm: bool
    own_heads: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class HeadFeatures:
    """One model's head and what it reads.

    Attributes:
        model: The head.
        calibration: Reference images that everything is chosen and estimated on.
        judged: The images that are judged, by set, the reference first.
    """

    model: HeadModel
    calibration: SetFeatures
    judged: tuple[SetFeatures, ...]


def head_features(
    opened: Opened,
    loaded: LoadedModels,
    wanted: Sequence[Candidate],
    seen: Callable[[int], None] | None = None,
) -> list[HeadFeatures]:
    """Read every image once, for all models of one word (the points of a path), and keep what their heads read.

    Memory: 4 bytes for each feature of each image and model (ImageNet and its shifts, d = 768: about 0.5 GB a model).

    Args:
        opened: Data, sets and device.
        loaded: The models with their module.
        wanted: Those that are asked for.
        seen: Called with numbers of images, for progress.

    Returns:
        In the order of `wanted`.

    Raises:
        UserError: If what the head reads has no name, or images cannot be had.
    """
    network = loaded.network
    if network.head_layer is None or not network.representation_layer:
        raise UserError(f"{network.name} does not say what its head reads: a linear head that has a name is needed")
    opened.data.transform = loaded.transform
    loaded.place(opened.device)
    calibrate_on_calibration_images(opened, loaded)
    points = [loaded.points[candidate.key] for candidate in wanted]
    with torch.no_grad(), eval_mode(loaded.module), kept_random_state():
        heads = [_head(loaded, candidate, point) for candidate, point in zip(wanted, points, strict=True)]
        reader = _Reader(loaded, points, opened.device, seen)
        calibration = reader.read(f"{opened.sets[0].name}", opened.calibration_loader(loaded.transform))
        loaders = opened.judged_loaders(loaded.transform)
        judged = [reader.read(one.name, loader) for one, loader in zip(opened.sets, loaders, strict=True)]
    return [
        HeadFeatures(head, calibration[row], tuple(found[row] for found in judged)) for row, head in enumerate(heads)
    ]


def calibrate_on_calibration_images(opened: Opened, loaded: LoadedModels) -> None:
    """Give the batch norms of random weights statistics of the calibration images; other models are left alone.

    The images come in the data module's own batches, whatever `--batch_size` says, and nothing that is judged is read.

    Args:
        opened: Data, and which images calibrate.
        loaded: The models, on their device.

    Raises:
        UserError: If the images cannot give statistics.
    """
    if not loaded.untrained or not batch_norms(loaded.module):
        return
    loader = opened.calibration_loader(loaded.transform, own_batches=True)
    with warnings.catch_warnings(), from_user(ValueError):
        warnings.filterwarnings("ignore", "An image is left out")  # the record names each
        calibrate_untrained(loaded.module, (batch[0] for batch in loader.batches))


def _head(loaded: LoadedModels, candidate: Candidate, point: Point) -> HeadModel:
    """The head of one point: points of a path share a module, so its weights are copied while they are there."""
    layer: Any = point().get_submodule(str(loaded.network.head_layer))
    bias = getattr(layer, "bias", None)
    return HeadModel(
        name=candidate.name,
        origin=candidate.origin,
        checkpoint_hash=candidate.checkpoint_hash,
        alpha=candidate.alpha,
        head=head_weight(layer).float().cpu(),
        bias=None if bias is None else bias.detach().float().cpu().clone(),
        unit_norm=loaded.network.unit_norm,
        own_heads={name: head.detach().float().cpu() for name, head in loaded.own_heads.items()},
    )


class _Reader:
    """Reads sets for all points.

    Args:
        loaded: The models.
        points: Those that are asked for.
        device: Where they run.
        seen: For progress.
    """

    def __init__(
        self, loaded: LoadedModels, points: Sequence[Point], device: Any, seen: Callable[[int], None] | None
    ) -> None:
        self._loaded, self._device, self._seen = loaded, device, seen
        self._rows: list[list[Tensor]] = [[] for _ in points]
        self._places: list[Tensor] = []
        self._current = 0
        self._points = [self._turn(row, point) for row, point in enumerate(points)]
        self._layer = loaded.network.representation_layer

    def read(self, name: str, loader: OrderedLoader) -> list[SetFeatures]:
        """What each point's head reads of one set.

        Args:
            name: Of the set.
            loader: Its images.
        """
        self._places.clear()
        for rows in self._rows:
            rows.clear()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "An image is left out")  # the record names each
            targets = evaluate_points(
                self._points, loader.batches, self._answer, self._prepare, name=name, seen=self._seen
            ).targets
        places = torch.cat(self._places).long()
        return [
            SetFeatures(name, loader.images, torch.cat(rows), targets, places, loader.unreadable) for rows in self._rows
        ]

    def _turn(self, row: int, point: Point) -> Point:
        def ready() -> nn.Module:
            self._current = row
            return point()

        return ready

    def _prepare(self, batch: Any) -> Any:
        self._places.append(batch[2])
        return batch[0].to(self._device), batch[1].to(self._device)

    def _answer(self, model: nn.Module, batch: Any) -> tuple[dict[str, Tensor], Tensor]:
        with ActivationProbe(model, [self._layer]) as probe:
            logits = model(batch[0])
            h = probe.pop()[self._layer]
        self._rows[self._current].append(h.float().cpu())
        return {"": largest_class(logits)}, batch[1]

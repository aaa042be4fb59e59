"""The models of an evaluation: what a word on the command line stands for, loaded and ready to run."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor, nn, uint8

from lightning_robust.cli.evaluate_asked import Asked
from lightning_robust.data.shifts import DistributionShift
from lightning_robust.errors import UserError, from_user
from lightning_robust.models.batch_norm import batch_norms
from lightning_robust.models.evaluate_points import Point
from lightning_robust.models.interpolate import interpolate, interpolate_into
from lightning_robust.models.network import Network
from lightning_robust.models.networks import load_network, takes_class_names

__all__ = ["Candidate", "LoadedModels", "load_models"]

_CALIBRATED = ", batch norms calibrated on the reference's images"


@dataclass(frozen=True, eq=False)
class Candidate:
    """One model that is to be evaluated.

    Attributes:
        name: What it is called in results.
        origin: Where its weights come from, in words.
        checkpoint_hash: SHA-256 of its weights.
        alpha: Position on a Wise-FT path, else None.
        image_size: Height and width of the images that it is given, in pixels.
        key: Of all that its answers depend on beside the images: weights, head, architecture, preprocessing.
    """

    name: str
    origin: str
    checkpoint_hash: str
    alpha: float | None
    image_size: int
    key: str


@dataclass(frozen=True, eq=False)
class LoadedModels:
    """Models that share one pass over the images.

    Attributes:
        candidates: The models.
        points: What makes each ready, by its key.
        module: Their module, on the CPU.
        transform: Their preprocessing.
        own_heads: By set, a zero-shot head of its own class names.
        states: Weights that points are made of.
        sentences: What a reader has to know about them.
        untrained: Whether the weights are random, so that batch norms have no statistics yet.
        network: The first of them with its layer names, which are those of all.
    """

    candidates: tuple[Candidate, ...]
    points: Mapping[str, Point]
    module: nn.Module
    transform: Callable[[Any], Tensor]
    network: Network
    own_heads: Mapping[str, Tensor] = field(default_factory=dict)
    states: tuple[dict[str, Tensor], ...] = ()
    sentences: tuple[str, ...] = ()
    untrained: bool = False

    def place(self, device: Any) -> None:
        """Move the module, and what points are made of, to a device.

        Args:
            device: Where to.
        """
        self.module.to(device)
        for state in self.states:
            state.update({name: tensor.to(device) for name, tensor in state.items()})


def load_models(asked: Asked, data: Any, sets: Sequence[DistributionShift], seed: int) -> LoadedModels:
    """Load what a word stands for.

    Args:
        asked: One model, or a path.
        data: The data module, for class names and prompts.
        sets: The evaluation sets, the reference first.
        seed: Of untrained weights.

    Raises:
        UserError: If it cannot be had, or its classes are not those of the data.
    """
    with from_user(ValueError):
        return _load_path(asked, data, sets, seed) if asked.path else _load_one(asked.name, data, sets, seed)


def _load_one(name: str, data: Any, sets: Sequence[DistributionShift], seed: int) -> LoadedModels:
    texts = takes_class_names(name)
    network = _network(name, data, seed, texts)
    heads: dict[str, Tensor] = {}
    for one in sets:
        if one.class_names is not None:
            if not texts:
                raise UserError(
                    f"{name} has a head of its own, and {one.name} is counted with class names of its own "
                    f"({one.protocol}): choose another protocol, or a CLIP"
                )
            own = load_network(name, seed=seed, class_names=list(one.class_names), templates=list(data.templates)).head
            if own is not None:
                heads[one.name] = own
    module = network.model
    key = _key(network, data if texts else None, sets)
    calibrates = network.untrained and bool(batch_norms(module))
    origin = f"{network.origin}{_CALIBRATED}" if calibrates else network.origin
    candidate = Candidate(name, origin, network.checkpoint_hash, None, _side(network.transform), key)
    return LoadedModels(
        (candidate,), {key: lambda: module}, module, network.transform, network, heads, untrained=network.untrained
    )


def _load_path(asked: Asked, data: Any, sets: Sequence[DistributionShift], seed: int) -> LoadedModels:
    """Each file is compared with the line between the ends; where it lies on it, its weights need no memory."""
    if named := [one.name for one in sets if one.class_names is not None]:
        raise UserError(f"{asked.name} has heads of its own, and {named[0]} is counted with class names of its own")
    alphas = list(asked.path)
    networks = {alpha: _network(asked.path[alpha], data, seed, False) for alpha in {alphas[0], alphas[-1]}}
    working = networks[alphas[0]].model
    ends = [{k: v.detach().clone() for k, v in networks[alpha].model.state_dict().items()} for alpha in networks]
    side = _side(networks[alphas[0]].transform)
    whole = (alphas[0], alphas[-1]) == (0.0, 1.0)
    candidates, points, strays, own = list[Candidate](), dict[str, Point](), list[str](), list[dict[str, Tensor]]()
    for alpha, file in asked.path.items():
        network = networks.get(alpha) or _network(file, data, seed, False)
        state = {k: v.detach().clone() for k, v in network.model.state_dict().items()}
        on_line = whole and _same(interpolate(ends[0], ends[-1], alpha), state)
        if not on_line:
            strays.append(Path(file).name)
            own.append(state)
        key = _key(network, None, sets)
        points[key] = _line_point(working, ends[0], ends[-1], alpha) if on_line else _own_point(working, state)
        candidates.append(Candidate(file, network.origin, network.checkpoint_hash, alpha, side, key))
    return LoadedModels(
        tuple(candidates), points, working, networks[alphas[0]].transform, networks[alphas[0]],
        states=(*ends, *own), sentences=_of_path(asked, strays),
    )  # fmt: skip


def _of_path(asked: Asked, strays: Sequence[str]) -> tuple[str, ...]:
    """What a reader has to know about the files of a path."""
    if missing := [f"alpha={end}" for end in (0, 1) if end not in asked.path]:
        return (
            f"{asked.name} has no {' and no '.join(missing)}, so that no file can be compared with the line between "
            "them: each model is evaluated as the file is",
        )
    if not strays:
        return ()
    are = "is" if len(strays) == 1 else "are"
    return (
        f"{asked.name}: {', '.join(strays)} {are} not bitwise on the line between alpha=0 and alpha=1, and evaluated "
        "as the file is",
    )


def _network(name: str, data: Any, seed: int, texts: bool) -> Any:
    names, templates = (list(data.class_names), list(data.templates)) if texts else (None, None)
    network = load_network(name, seed=seed, class_names=names, templates=templates)
    if network.head is None:
        raise UserError(f"{name} has no classification head, so it has no accuracy")
    if len(network.head) != len(data.class_names):
        raise UserError(
            f"{name} has {len(network.head)} classes and the data have {len(data.class_names)}: "
            f"they do not fit ({data.description})"
        )
    _check_names(name, network.class_names, data)
    return network


def _side(transform: Callable[[Any], Tensor]) -> int:
    return int(transform(Image.new("RGB", (64, 64))).shape[-1])


def _check_names(name: str, own: Sequence[str] | None, data: Any) -> None:
    """A model that this package trained knows what its classes are called, other networks only how many they are."""
    if own is None:
        return
    for index, (here, there) in enumerate(zip(own, data.class_names, strict=True)):
        if here != there:
            raise UserError(f"{name} calls class {index} {here!r}, the data call it {there!r}: they do not fit")


def _key(network: Any, data: Any, sets: Sequence[DistributionShift]) -> str:
    head: Any = hashlib.sha256(network.head.detach().float().cpu().numpy().tobytes()).hexdigest()
    if data is not None:  # a zero-shot head is named by its texts: its last digits depend on the machine
        head = [list(data.class_names), list(data.templates), [one.class_names for one in sets]]
    # a file's hash alone would not tell its averaged weights from its others
    average = [network.average] if network.average else []
    # answers of random weights whose batch norms were not calibrated are another model's
    calibrated = [_CALIBRATED] if network.untrained and batch_norms(network.model) else []
    parts = [network.checkpoint_hash, head, repr(network.model), repr(network.transform), *average, *calibrated]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def _line_point(model: nn.Module, start: Mapping[str, Tensor], end: Mapping[str, Tensor], alpha: float) -> Point:
    def ready() -> nn.Module:
        interpolate_into(model.state_dict(), start, end, alpha)
        return model

    return ready


def _own_point(model: nn.Module, own: Mapping[str, Tensor]) -> Point:
    def ready() -> nn.Module:
        for name, tensor in model.state_dict().items():
            tensor.copy_(own[name])
        return model

    return ready


def _same(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    """Whether two states are equal in every byte."""
    return first.keys() == second.keys() and all(
        first[name].dtype == tensor.dtype and _bytes(first[name]).equal(_bytes(tensor))
        for name, tensor in second.items()
    )


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.contiguous().reshape(-1).view(uint8)

"""Networks to be probed, by name: a CLIP with its head, a model of a finished run, or a network of timm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
import yaml
from torch import Tensor, nn

from lightning_robust.models.checkpoint_files import load_tensors, load_theta, state_hash
from lightning_robust.models.classifier import ImageClassifier, split_classifier_state
from lightning_robust.models.encoders import Encoder, load_encoder
from lightning_robust.models.zero_shot import zero_shot_head
from lightning_robust.results import file_sha256

TIMM = "timm:"
_RUN_FILES = (".safetensors", ".ckpt")
_STAGES = ("layer1", "layer2", "layer3", "layer4")
_STACKS = ("transformer.resblocks", "blocks", "stages", "layers", "features", "trunk.blocks", "trunk.stages")


@dataclass(frozen=True)
class Network:
    """An image network with what measuring it needs.

    Attributes:
        name: The name it was asked by.
        model: In eval mode, on the CPU; `model(images)` runs it on `(n, 3, H, W)`.
        transform: Its own evaluation preprocessing, from a PIL image to a `(3, H, W)` tensor.
        representation_layer: Layer string of h, what the head reads before it is normalised.
        blocks: Layer strings of its stages or blocks, in order.
        head: Weight W of the linear head, `(C, d)`; None where there is none.
        unit_norm: Whether h is scaled to unit length before the head.
        checkpoint_hash: SHA-256 of the weights file, or of the state dict where there is no single file.
        origin: Where the weights come from, in words.
    """

    name: str
    model: nn.Module
    transform: Callable[[Any], Tensor]
    representation_layer: str
    blocks: tuple[str, ...]
    head: Tensor | None
    unit_norm: bool
    checkpoint_hash: str
    origin: str


def load_network(
    name: str,
    *,
    weights: str | Path | None = None,
    untrained: bool = False,
    seed: int = 0,
    class_names: Sequence[str] | None = None,
    templates: Sequence[str] | None = None,
) -> Network:
    """Load a network by name. Nothing is drawn from the caller's random states.

    Args:
        name: What `load_encoder` takes (`scenes-clip`, `local-dir:FOLDER`, `ARCHITECTURE/TAG`); `timm:NAME`; or a file
            of a finished run: `…/wise_ft/alpha=0.50.safetensors`, `…/last.ckpt`.
        weights: State dict for a timm network (safetensors or torch), in place of those that timm would fetch.
        untrained: Random weights instead: the control.
        seed: Of the random weights.
        class_names: Classes of the zero-shot head of a CLIP; None leaves a CLIP without a head.
        templates: Its prompts, with `{}`.

    Raises:
        ValueError: If the name is unknown, a file is missing or does not fit, or a setting has no effect.

    Example:
        >>> network = load_network("timm:resnet18", untrained=True)
        >>> network.representation_layer, network.blocks[-1], network.head.shape
        ('fc:input', 'layer4', torch.Size([1000, 512]))
    """
    if weights is not None and (untrained or not name.startswith(TIMM)):
        raise ValueError(f"weights= is for trained networks of timm ('timm:NAME'), it has no effect on {name!r}.")
    if name.startswith(TIMM):
        return _from_timm(name, None if weights is None else Path(weights), untrained, seed)
    if Path(name).suffix in _RUN_FILES:
        if untrained:
            raise ValueError(f"{name} is a trained checkpoint; ask for its encoder by name to have it untrained.")
        return _from_run(Path(name))
    try:
        encoder = load_encoder(name, pretrained=not untrained, seed=seed)
    except ValueError as error:
        if "Unknown encoder" not in str(error):
            raise
        raise ValueError(f"{error} Or 'timm:NAME', or a run's file such as …/wise_ft/alpha=0.50.safetensors.") from None
    return _from_clip(encoder, untrained, seed, class_names, templates)


def _from_clip(
    encoder: Encoder, untrained: bool, seed: int, names: Sequence[str] | None, templates: Sequence[str] | None
) -> Network:
    head = None
    if names is not None:
        head = zero_shot_head(encoder.model, encoder.tokenizer, names, templates or ["a photo of a {}."])
    model = _ImageTower(encoder.model) if head is None else ImageClassifier(encoder.model, head)
    return Network(
        name=encoder.name,
        model=model.eval(),
        transform=encoder.transform,
        representation_layer="encoder.visual",
        blocks=blocks_of(model, "encoder.visual"),
        head=head,
        unit_norm=True,
        checkpoint_hash=str(encoder.checkpoint_hash),
        origin=f"random weights, seed {seed}" if untrained else "pretrained weights; the head is zero-shot",
    )


def _from_run(path: Path) -> Network:
    """A model that `fit` wrote: its config says of which encoder."""
    if path.name.endswith(".head.safetensors"):
        raise ValueError(f"{path.name} is a head; give the model beside it, without '.head'.")
    folder = path.parent.parent if path.parent.name == "wise_ft" else path.parent
    config = folder / "config.yaml"
    if not path.is_file():
        raise ValueError(f"there is no file {path}; a run keeps last.ckpt and wise_ft/alpha=….safetensors.")
    if not config.is_file():
        raise ValueError(f"{path} lies in no run of 'fit': there is no {config} that would name its encoder.")
    settings = yaml.safe_load(config.read_text(encoding="utf-8")) or {}
    known = ((settings.get("model") or {}).get("init_args") or {}).get("encoder")
    if known is None:
        raise ValueError(f"{config} names no encoder at model.init_args.encoder.")
    encoder = load_encoder(str(known), pretrained=False)
    clip, head = _clip_and_head(path)
    try:
        encoder.model.load_state_dict(clip)
    except RuntimeError as error:
        raise ValueError(f"{path} does not hold the weights of {known!r}, which {config} names.") from error
    model = _ImageTower(encoder.model) if head is None else ImageClassifier(encoder.model, head)
    return Network(
        name=str(path),
        model=model.eval(),
        transform=encoder.transform,
        representation_layer="encoder.visual",
        blocks=blocks_of(model, "encoder.visual"),
        head=head,
        unit_norm=True,
        checkpoint_hash=file_sha256(path),
        origin=f"a run of fit that began from {known}",
    )


def _clip_and_head(path: Path) -> tuple[dict[str, Tensor], Tensor | None]:
    if path.suffix == ".safetensors":
        beside = path.with_suffix(".head.safetensors")
        return load_tensors(path), load_tensors(beside)["weight"] if beside.is_file() else None
    state = load_theta(path)
    if all(name.startswith("model.") for name in state):  # ClassifierFinetuning
        clip, head = split_classifier_state({name.removeprefix("model."): value for name, value in state.items()})
        return clip, head["weight"]
    clip = {name.removeprefix("encoder."): value for name, value in state.items() if name.startswith("encoder.")}
    if len(clip) < len(state):
        strange = next(name for name in state if not name.startswith("encoder."))
        raise ValueError(f"{path} was not written by a training of this package: it holds {strange!r}.")
    return clip, None


def _from_timm(name: str, weights: Path | None, untrained: bool, seed: int) -> Network:
    known = name.removeprefix(TIMM)
    if not timm.is_model(known.split(".")[0]):
        near = ", ".join(repr(f"{TIMM}{found}") for found in timm.list_models(f"*{known.split('.')[0]}*")[:4])
        raise ValueError(f"timm has no network {known!r}{f'; near names: {near}' if near else ''}.")
    if weights is not None and not weights.is_file():
        raise ValueError(f"there is no file {weights} with weights for {name!r}.")
    state = torch.get_rng_state()
    try:
        torch.default_generator.manual_seed(seed)
        model = timm.create_model(known, pretrained=not untrained and weights is None)
    except Exception as error:
        if untrained or weights is not None:
            raise
        first = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise ValueError(
            f"the weights of {name!r} are not on this machine and could not be fetched ({first[0][:100]}); give a file "
            "with weights=, or ask for random ones with untrained."
        ) from error
    finally:
        torch.set_rng_state(state)
    if weights is not None:
        try:
            model.load_state_dict(load_theta(weights))
        except RuntimeError as error:
            raise ValueError(f"{weights} does not hold the weights of {name!r}.") from error
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
    layer, head = _timm_head(model)
    origin = f"random weights, seed {seed}" if untrained else f"{weights or 'pretrained weights of timm'}"
    return Network(
        name=name,
        model=model.eval(),
        transform=transform,
        representation_layer=layer,
        blocks=blocks_of(model, ""),
        head=head,
        unit_norm=False,
        checkpoint_hash=file_sha256(weights) if weights is not None else state_hash(model.state_dict()),
        origin=origin,
    )


def _timm_head(model: nn.Module) -> tuple[str, Tensor | None]:
    """Layer string of what a timm network's classifier reads, and the classifier's weight."""
    classifier = (getattr(model, "pretrained_cfg", None) or {}).get("classifier")
    named = dict(model.named_modules())
    for name in [classifier] if isinstance(classifier, str) else list(classifier or ()):
        if isinstance(named.get(name), nn.Linear):
            return f"{name}:input", named[name].weight.detach().clone()
    return "", None


def blocks_of(model: nn.Module, below: str) -> tuple[str, ...]:
    """Layer strings of the stages of a ResNet or the blocks of a transformer, in order.

    Args:
        model: The network.
        below: Name of the submodule that holds them; empty for the network itself.

    Returns:
        Their names from the network on; empty where the architecture is of no known form.
    """
    start = f"{below}." if below else ""
    tower = dict(model.get_submodule(below).named_modules())
    if all(stage in tower for stage in _STAGES):
        return tuple(f"{start}{stage}" for stage in _STAGES)
    for stack in _STACKS:
        found = tower.get(stack)
        if isinstance(found, nn.Sequential | nn.ModuleList) and len(found):
            return tuple(f"{start}{stack}.{name}" for name, _ in found.named_children())
    return ()


class _ImageTower(nn.Module):
    """A CLIP whose forward gives the raw image embedding, under the layer names of `ImageClassifier`."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder: Any = encoder

    def forward(self, images: Tensor) -> Tensor:
        """Give h, `(n, d)`."""
        h: Tensor = self.encoder.encode_image(images)
        return h

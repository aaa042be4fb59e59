"""Networks of timm, with their own preprocessing and head."""

from __future__ import annotations

from pathlib import Path

import timm
from torch import Tensor, nn

from lightning_robust.models.checkpoint_files import state_hash
from lightning_robust.models.encoder_file import with_weights
from lightning_robust.models.encoder_timm import TIMM, RgbTransform, check_timm_activation, create_timm, from_timm
from lightning_robust.models.network import Embedding, Network, average_words, blocks_of
from lightning_robust.models.weights_file import read_weights, unwrapped
from lightning_robust.results import file_sha256


def timm_network(name: str, weights: Path | None, untrained: bool, seed: int) -> Network:
    """A network of timm.

    Args:
        name: `timm:NAME`.
        weights: State dict in place of timm's own weights; one that this package's trainings wrote has the image tower
            alone, without timm's classifier.
        untrained: Random weights instead.
        seed: Of the random weights.

    Raises:
        ValueError: If there is no such network, its weights cannot be had, or the file does not fit.
    """
    found = None if weights is None else read_weights(weights)
    if weights is not None and found is not None and any(".visual." in f".{entry}" for entry in found.state):
        return _tower(name, weights)
    model = create_timm(name, pretrained=not untrained and weights is None, seed=seed, download=True)
    if weights is not None and found is not None:
        if "." in name:
            check_timm_activation(name)  # the tag says where the file came from
        names = set(model.state_dict())
        try:
            model.load_state_dict(unwrapped(found.state, names))
        except RuntimeError as error:
            raise ValueError(f"{weights} does not hold the weights of {name!r}.") from error
    settings = timm.data.resolve_model_data_config(model)
    transform = RgbTransform(timm.data.create_transform(**settings, is_training=False))
    layer, head_layer, head = timm_head(model)
    average, origin = "", f"random weights, seed {seed}" if untrained else "pretrained weights of timm"
    if found is not None:
        average, origin = found.average, f"{weights}{average_words(found.average)}"
    return Network(
        name=f"untrained:{name}" if untrained else name,
        model=model.eval(),
        transform=transform,
        representation_layer=layer,
        blocks=blocks_of(model, ""),
        head=head,
        head_layer=head_layer,
        unit_norm=False,
        checkpoint_hash=file_sha256(weights) if weights is not None else state_hash(model.state_dict()),
        origin=origin,
        average=average,
        untrained=untrained,
        architecture={"timm": {"architecture": name.removeprefix(TIMM), "data": settings}},
    )


def _tower(name: str, weights: Path) -> Network:
    """A tower that this package trained, under the layer names that it has there."""
    encoder = with_weights(f"{name}@{weights}", lambda: from_timm(name, False, 0, True), weights)
    model = Embedding(encoder.model)
    return Network(
        name=name,
        model=model.eval(),
        transform=encoder.transform,
        representation_layer="encoder.visual",
        blocks=blocks_of(model, "encoder.visual"),
        head=None,
        head_layer=None,
        unit_norm=True,
        checkpoint_hash=file_sha256(weights),
        origin=f"{weights}{average_words(encoder.average)}; the image tower alone",
        average=encoder.average,
        architecture=encoder.config,
    )


def timm_head(model: nn.Module) -> tuple[str, str | None, Tensor | None]:
    """Layer string of what a timm network's classifier reads, the classifier's name and its weight."""
    classifier = (getattr(model, "pretrained_cfg", None) or {}).get("classifier")
    named = dict(model.named_modules())
    for name in [classifier] if isinstance(classifier, str) else list(classifier or ()):
        if isinstance(named.get(name), nn.Linear):
            return f"{name}:input", name, named[name].weight.detach().clone()
    return "", None, None

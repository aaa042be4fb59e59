"""Networks of timm, with their own preprocessing and head."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from lightning_robust.models.checkpoint_files import load_theta, state_hash
from lightning_robust.models.encoders import quiet_loading
from lightning_robust.models.network import Network, blocks_of
from lightning_robust.results import file_sha256

TIMM = "timm:"


def timm_network(name: str, weights: Path | None, untrained: bool, seed: int) -> Network:
    """A network of timm.

    Args:
        name: `timm:NAME`.
        weights: State dict in place of timm's own weights.
        untrained: Random weights instead.
        seed: Of the random weights.

    Raises:
        ValueError: If there is no such network, its weights cannot be had, or the file does not fit.
    """
    known = name.removeprefix(TIMM)
    if not timm.is_model(known.split(".")[0]):
        close = get_close_matches(known.split(".")[0], timm.list_models(), n=4, cutoff=0.5)
        near = ", ".join(repr(f"{TIMM}{found}") for found in close)
        raise ValueError(f"timm has no network {known!r}{f'; near names: {near}' if near else ''}.")
    if weights is not None and not weights.is_file():
        raise ValueError(f"there is no file {weights} with weights for {name!r}.")
    state = torch.get_rng_state()
    try:
        torch.default_generator.manual_seed(seed)
        with quiet_loading():
            model = timm.create_model(known, pretrained=not untrained and weights is None)
    except Exception as error:
        if untrained or weights is not None:
            raise
        first = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise ValueError(
            f"the weights of {name!r} are not on this machine and could not be fetched ({first[0][:100]}); give a file "
            f"of them (weights=, --weights), or ask for random ones: 'untrained:{name}'."
        ) from error
    finally:
        torch.set_rng_state(state)
    if weights is not None:
        try:
            model.load_state_dict(load_theta(weights))
        except RuntimeError as error:
            raise ValueError(f"{weights} does not hold the weights of {name!r}.") from error
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
    layer, head_layer, head = timm_head(model)
    origin = f"random weights, seed {seed}" if untrained else f"{weights or 'pretrained weights of timm'}"
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
    )


def timm_head(model: nn.Module) -> tuple[str, str | None, Tensor | None]:
    """Layer string of what a timm network's classifier reads, the classifier's name and its weight."""
    classifier = (getattr(model, "pretrained_cfg", None) or {}).get("classifier")
    named = dict(model.named_modules())
    for name in [classifier] if isinstance(classifier, str) else list(classifier or ()):
        if isinstance(named.get(name), nn.Linear):
            return f"{name}:input", name, named[name].weight.detach().clone()
    return "", None, None

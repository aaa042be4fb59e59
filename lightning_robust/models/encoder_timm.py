"""Image encoders of timm, `timm:NAME`: an image tower without text, and timm's own preprocessing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import timm
from PIL import Image
from torch import Tensor, nn

from lightning_robust.models.checkpoint_files import state_hash
from lightning_robust.models.encoder_base import Encoder, NoTokenizer, near_names, quiet_loading, seeded
from lightning_robust.models.encoder_hub import NotFetchedError, fetched
from lightning_robust.models.image_tower import ImageTower
from lightning_robust.models.weights_file import unwrapped

TIMM = "timm:"


class TimmTower(ImageTower):
    """A network of timm without its classifier, at `visual`.

    Args:
        visual: The network, made with `num_classes=0`.
        classifier: Names of the classifier's modules that a file of weights may still hold.
    """

    def __init__(self, visual: nn.Module, classifier: tuple[str, ...] = ()) -> None:
        super().__init__(visual)
        self._classifier = classifier

    def own_names(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rename the entries of a file of weights.

        Args:
            state: Under timm's names, with or without the classifier, or under those of this module; wrapped or not.

        Returns:
            The entries under the names of this module, the classifier's left out.
        """
        network = set(self.visual.state_dict())
        found = unwrapped(state, network | set(self.state_dict()))
        if any(name.startswith("visual.") for name in found):
            return found
        left_out = tuple(f"{name}." for name in self._classifier)
        return {f"visual.{name}": t for name, t in found.items() if name in network or not name.startswith(left_out)}


class RgbTransform:
    """A transform of timm for images of every mode: grey, with alpha, with a palette or CMYK.

    Args:
        transform: From an RGB image to a tensor.
    """

    def __init__(self, transform: Callable[[Image.Image], Tensor]) -> None:
        self.transform = transform

    def __call__(self, image: Image.Image) -> Tensor:
        """Give the pixels of the image in RGB, `(3, H, W)`."""
        return self.transform(image.convert("RGB"))

    def __repr__(self) -> str:
        return f"RgbTransform({self.transform!r})"


def create_timm(name: str, pretrained: bool, seed: int, download: bool, **options: Any) -> nn.Module:
    """Make a network of timm.

    Args:
        name: `timm:NAME`.
        pretrained: Whether with timm's weights.
        seed: Of random weights.
        download: Whether the weights may be fetched.
        **options: For `timm.create_model`.

    Raises:
        ValueError: If there is no such network or tag, its weights cannot be had, or they were trained with QuickGELU
            and the network has plain GELU.
    """
    known = name.removeprefix(TIMM)
    check_timm_name(name, pretrained)

    def build() -> nn.Module:
        with quiet_loading(), seeded(seed):
            model: nn.Module = timm.create_model(known, pretrained=pretrained, **options)
            return model

    try:
        return fetched(build, download=download) if pretrained else build()
    except NotFetchedError as error:
        raise ValueError(
            f"the weights of {name!r} are not on this machine and could not be fetched ({error}); without a network, "
            f"put {_source(known)} on this machine and load '{name}@FILE', or ask for random ones (pretrained=False, "
            f"in probe 'untrained:{name}')."
        ) from error


def check_timm_name(name: str, pretrained: bool) -> None:
    """Refuse a network, or weights of it, that timm does not list.

    Args:
        name: `timm:NAME`.
        pretrained: Whether its weights are wanted too, and not its architecture alone.

    Raises:
        ValueError: If there is no such network or tag, or its weights were trained with QuickGELU and the network has
            plain GELU.
    """
    known = name.removeprefix(TIMM)
    architecture, _, tag = known.partition(".")
    if not timm.is_model(architecture):
        near = near_names(architecture, timm.list_models())
        raise ValueError(f"timm has no network {known!r}; near names: {_prefixed(near)}.")
    tags = [each.partition(".")[2] for each in timm.list_pretrained(f"{architecture}.*") or []]
    if tag and tag not in tags:
        raise ValueError(f"timm's {architecture} has no weights {tag!r}; it has {near_names(tag, tags) or 'none'}.")
    if known.endswith("."):
        raise ValueError(f"timm's {architecture} has no weights with an empty name: {name!r} ends in a point.")
    if pretrained:
        check_timm_activation(name)


def from_timm(name: str, pretrained: bool, seed: int, download: bool) -> Encoder:
    """An image encoder of timm: h is what its classifier would read, pooled, not normalised.

    Args:
        name: `timm:NAME`.
        pretrained: Whether with timm's weights.
        seed: Of random weights.
        download: Whether the weights may be fetched.

    Raises:
        ValueError: If there is no such network, or its weights cannot be had.
    """
    network: Any = create_timm(name, pretrained, seed, download, num_classes=0)
    settings = timm.data.resolve_model_data_config(network)
    facts = dict(getattr(network, "pretrained_cfg", None) or {})
    classifier = facts.get("classifier") or ()
    return Encoder(
        name=name,
        model=TimmTower(network, (classifier,) if isinstance(classifier, str) else tuple(classifier)).eval(),
        transform=RgbTransform(timm.data.create_transform(**settings, is_training=False)),
        tokenizer=NoTokenizer(name),
        embed_dim=int(getattr(network, "head_hidden_size", None) or network.num_features),
        checkpoint_hash=state_hash(network.state_dict()),
        config={"timm": {"architecture": name.removeprefix(TIMM), "data": settings}},
        has_text=False,
    )


def check_timm_activation(name: str) -> None:
    """Refuse weights of which timm's own table says that they want the QuickGELU twin.

    Args:
        name: `timm:NAME`, with the tag that weights came from, or without for those that timm loads for it.

    Raises:
        ValueError: If the network has plain GELU and the weights were trained with QuickGELU.
    """
    known = name.removeprefix(TIMM)
    facts = timm.get_pretrained_cfg(known)
    notes = " ".join(getattr(facts, "notes", None) or ())
    if "natively QuickGELU" in notes and "_quickgelu" not in known:
        raise ValueError(
            f"{name} would compute wrong features: timm lists these weights as trained with QuickGELU, and this "
            f"network has plain GELU; use '{TIMM}{known.replace('_clip_', '_clip_quickgelu_')}'."
        )


def _source(known: str) -> str:
    facts = timm.get_pretrained_cfg(known)
    repository = getattr(facts, "hf_hub_id", None)
    if repository:
        full = f"{repository}{facts.architecture}.{facts.tag}" if repository.endswith("/") else repository
        return f"model.safetensors of huggingface.co/{full}"
    return str(getattr(facts, "url", None) or "a file of its weights")


def _prefixed(near: str) -> str:
    return ", ".join(f"'{TIMM}{name[1:]}" for name in near.split(", "))

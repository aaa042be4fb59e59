"""Encoders of open_clip's own architectures: `ARCHITECTURE/TAG`, or `ARCHITECTURE` with random weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import open_clip
from torch import Tensor, nn

from lightning_robust.models import quick_gelu
from lightning_robust.models.checkpoint_files import state_hash
from lightning_robust.models.clip_folder import CONFIG_FILE, WEIGHTS_FILE
from lightning_robust.models.encoder_base import Encoder, near_names, quiet_loading, seeded
from lightning_robust.models.encoder_hub import NotFetchedError, fetched
from lightning_robust.results import file_sha256

#: How open_clip's table names what its factory takes under other names.
_PREPROCESSING = {
    "mean": "image_mean",
    "std": "image_std",
    "interpolation": "image_interpolation",
    "resize_mode": "image_resize_mode",
}
FOLDER_HINT = (
    f"without a network, put {CONFIG_FILE}, {WEIGHTS_FILE} and the tokenizer's files of that model into one folder and "
    "load 'local-dir:FOLDER'"
)


def from_open_clip(name: str, pretrained: bool, seed: int, download: bool) -> Encoder:
    """An encoder of open_clip's own architectures.

    Args:
        name: `ARCHITECTURE/TAG`; the architecture alone where no weights are wanted. It is one of open_clip's.
        pretrained: Whether to load the tag's weights.
        seed: Of random weights.
        download: Whether what is missing may be fetched.

    Raises:
        ValueError: If there is no such tag, its weights want the other activation, or files are missing.
    """
    architecture, _, tag = name.partition("/")
    config: dict[str, Any] = {"model_cfg": open_clip.get_model_config(architecture)}
    if pretrained or tag:
        _check_tag(architecture, tag)
    weights = _weights_of(architecture, tag, download) if pretrained else None
    tokenizer = _tokenizer(name, architecture, config, download)

    def build() -> tuple[nn.Module, Callable[[Any], Tensor]]:
        with quiet_loading(), seeded(seed):
            model, _, transform = open_clip.create_model_and_transforms(
                architecture,
                pretrained=tag if pretrained else None,
                pretrained_text=False,
                **({} if pretrained else preprocessing(architecture, tag)),
            )
        return model, transform

    try:
        model, transform = fetched(build, download=download) if _needs_hub(config) or pretrained else build()
    except NotFetchedError as error:
        raise ValueError(
            f"Encoder {name!r} needs files of {config['model_cfg']['text_cfg'].get('hf_model_name') or 'its weights'} "
            f"that are not on this machine or not as expected ({error}); {FOLDER_HINT}."
        ) from error
    config["preprocess_cfg"] = dict(getattr(model.visual, "preprocess_cfg", {}))
    return Encoder(
        name=name,
        model=model.eval(),
        transform=transform,
        tokenizer=tokenizer,
        embed_dim=int(config["model_cfg"]["embed_dim"]),
        checkpoint_hash=file_sha256(weights) if weights else state_hash(model.state_dict()),
        config=config,
    )


def preprocessing(architecture: str, tag: str = "") -> dict[str, Any]:
    """The preprocessing of an architecture's weights, as arguments of open_clip's factory.

    open_clip knows it per tag; a file of weights, or none, would get CLIP's in silence, also for a SigLIP.

    Args:
        architecture: Of open_clip.
        tag: One of its tags; empty for what most of its tags have.

    Returns:
        Mean, scale, interpolation and resizing; empty where open_clip lists no weights.

    Example:
        >>> preprocessing("ViT-B-16-SigLIP")["image_mean"]
        (0.5, 0.5, 0.5)
    """
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    most = _preprocessings(architecture, [tag] if tag in tags else tags).most_common(1)
    return {_PREPROCESSING[key]: value for key, value in most[0][0]} if most else {}


def preprocessing_disagrees(architecture: str) -> bool:
    """Whether an architecture's tags differ in preprocessing, so that its name alone does not tell it.

    Args:
        architecture: Of open_clip.

    Example:
        >>> preprocessing_disagrees("ViT-L-14"), preprocessing_disagrees("ViT-B-32")
        (True, False)
    """
    return len(_preprocessings(architecture, open_clip.list_pretrained_tags_by_model(architecture))) > 1


def _preprocessings(architecture: str, tags: list[str]) -> Counter[tuple[tuple[str, Any], ...]]:
    return Counter(
        tuple((key, open_clip.get_pretrained_cfg(architecture, each)[key]) for key in _PREPROCESSING) for each in tags
    )


def _needs_hub(config: dict[str, Any]) -> bool:
    return "hf_model_name" in config["model_cfg"].get("text_cfg", {})


def _tokenizer(name: str, architecture: str, config: dict[str, Any], download: bool) -> Callable[[list[str]], Tensor]:
    try:
        found: Callable[[list[str]], Tensor] = fetched(lambda: open_clip.get_tokenizer(architecture), download=download)
    except NotFetchedError as error:
        raise ValueError(
            f"Encoder {name!r}: its tokenizer {config['model_cfg']['text_cfg'].get('hf_tokenizer_name')!r} is not "
            f"on this machine and could not be fetched ({error}); {FOLDER_HINT}."
        ) from error
    return found


def _check_tag(architecture: str, tag: str) -> None:
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if tag not in tags:
        given = f"no pretrained tag {tag!r}" if tag else "no weights without a tag"
        near = f"{near_names(tag, tags)} would work, as '{architecture}/TAG'," if tags else "it has no tags at all:"
        raise ValueError(
            f"{architecture} has {given}; {near}{' or' if tags else ''} '{architecture}@FILE' for a file of weights, "
            "or pretrained=False for none."
        )


def tag_facts(architecture: str, tag: str) -> dict[str, Any]:
    """What open_clip lists about the weights of a tag, after a check that the architecture's activation is theirs.

    Args:
        architecture: Of open_clip.
        tag: One of its tags.

    Raises:
        ValueError: If there is no such tag, or its weights want the other activation.

    Example:
        >>> tag_facts("RN50-quickgelu", "openai")["hf_hub"]
        'timm/resnet50_clip.openai/'
    """
    _check_tag(architecture, tag)
    facts = dict(open_clip.get_pretrained_cfg(architecture, tag))
    quick = bool(facts.get("quick_gelu", False))
    own = quick_gelu.uses_quick_gelu({"model_cfg": open_clip.get_model_config(architecture)})
    # where no such architecture exists (roberta-ViT-B-32), the one that is there is what the weights were made with
    if quick != own and (other := quick_gelu.twin(architecture, quick)):
        raise ValueError(
            f"{architecture}/{tag} would compute wrong features: these weights were trained with"
            f"{'' if quick else 'out'} QuickGELU; use '{other}/{tag}'."
        )
    return facts


def _weights_of(architecture: str, tag: str, download: bool) -> str:
    """The weights file of a tag, from the cache or the network."""
    facts = tag_facts(architecture, tag)
    try:
        return str(fetched(lambda: open_clip.download_pretrained(facts), download=download))
    except NotFetchedError as error:
        source = str(facts.get("hf_hub") or facts.get("url") or "its source").rstrip("/")
        raise ValueError(
            f"The weights of {architecture}/{tag} ({source}) are not on this machine and could not be fetched "
            f"({error}); {FOLDER_HINT}, or load the weights file alone as '{architecture}/{tag}@FILE'."
        ) from error

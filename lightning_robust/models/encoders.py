"""Encoders by name: the bundled small CLIP, an open_clip folder, or an open_clip architecture with its weights."""

from __future__ import annotations

import difflib
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import Tensor, nn

from lightning_robust.models.checkpoint_files import state_hash
from lightning_robust.models.clip_folder import CONFIG_FILE, WEIGHTS_FILE
from lightning_robust.results import file_sha256

BUNDLED = "scenes-clip"
LOCAL = "local-dir:"
_WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pth")


@dataclass(frozen=True)
class Encoder:
    """A CLIP with what belongs to it.

    Attributes:
        name: The name it was loaded by.
        model: The whole open_clip module, in eval mode, on the CPU: `encode_image`, `encode_text`, `logit_scale`.
        transform: The model's own evaluation preprocessing, from a PIL image to a `(3, H, W)` tensor.
        tokenizer: From a list of n texts to a LongTensor `(n, context length)`.
        embed_dim: Width d of the shared embedding.
        checkpoint_hash: SHA-256 of the weights file; of the state dict where the weights are random.
        config: open_clip's configuration: `model_cfg` and `preprocess_cfg`.
        folder: The folder it came from; None for open_clip's own architectures.
    """

    name: str
    model: nn.Module
    transform: Callable[[Any], Tensor]
    tokenizer: Callable[[list[str]], Tensor]
    embed_dim: int
    checkpoint_hash: str | None
    config: dict[str, Any]
    folder: Path | None = None


def load_encoder(name: str, *, pretrained: bool = True, seed: int = 0) -> Encoder:
    """Load a CLIP by name. No random state of the caller is touched.

    Args:
        name: `scenes-clip` (bundled), `local-dir:FOLDER` (an open_clip folder), `ARCHITECTURE/TAG` (open_clip's own,
            as in `ViT-B-32-quickgelu/openai`), or `ARCHITECTURE` alone with `pretrained=False`.
        pretrained: Whether to load weights. False gives the same architecture with random weights, which is the
            *untrained encoder* of the controls and the start of pretraining; weights files need not be there.
        seed: Seed of the random weights; without effect when pretrained.

    Raises:
        ValueError: If the name is unknown, its files are missing or cannot be fetched, or the architecture's
            activation (QuickGELU or not) is not the one that the weights were trained with.

    Example:
        >>> encoder = load_encoder("RN50", pretrained=False)
        >>> encoder.embed_dim, encoder.tokenizer(["a photo"]).shape
        (1024, torch.Size([1, 77]))
    """
    if name == BUNDLED:
        folder = Path(str(resources.files("lightning_robust.checkpoints"))) / BUNDLED
        return _from_folder(name, folder, pretrained, seed)
    if name.startswith(LOCAL):
        return _from_folder(name, Path(name.removeprefix(LOCAL)).expanduser(), pretrained, seed)
    return _from_open_clip(name, pretrained, seed)


def _from_folder(name: str, folder: Path, pretrained: bool, seed: int) -> Encoder:
    if not (folder / CONFIG_FILE).is_file():
        raise ValueError(f"Encoder {name!r}: {folder / CONFIG_FILE} is missing; an open_clip folder holds it.")
    if pretrained and not any(file.suffix in _WEIGHT_SUFFIXES for file in folder.iterdir()):
        raise ValueError(
            f"Encoder {name!r}: {folder} holds no weights; put {WEIGHTS_FILE} there, or ask for random weights with "
            "pretrained=False."
        )
    with quiet_loading(), _seeded(seed):
        try:
            model, _, transform = open_clip.create_model_and_transforms(f"{LOCAL}{folder}", load_weights=pretrained)
            tokenizer = open_clip.get_tokenizer(f"{LOCAL}{folder}")
        except RuntimeError as error:  # what load_state_dict raises
            raise ValueError(
                f"Encoder {name!r}: the weights in {folder} are not of the architecture that its {CONFIG_FILE} names."
            ) from error
    config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    weights = folder / WEIGHTS_FILE
    known = file_sha256(weights) if pretrained and weights.is_file() else None
    return _encoder(name, model, transform, tokenizer, known, config, folder)


def _from_open_clip(name: str, pretrained: bool, seed: int) -> Encoder:
    architecture, _, tag = name.partition("/")
    if architecture not in open_clip.list_models():
        raise ValueError(_unknown_name(name))
    config = {"model_cfg": open_clip.get_model_config(architecture)}
    weights: str | None = None
    if pretrained:
        weights = _fetch(architecture, tag)
    with quiet_loading(), _seeded(seed):
        model, _, transform = open_clip.create_model_and_transforms(
            architecture, pretrained=tag if pretrained else None, pretrained_text=False
        )
        try:
            tokenizer = open_clip.get_tokenizer(architecture)
        except Exception as error:
            raise ValueError(
                f"Encoder {name!r}: its tokenizer {config['model_cfg']['text_cfg'].get('hf_tokenizer_name')!r} is not "
                f"on this machine and could not be fetched ({_first_line(error)}); {_folder_hint()}"
            ) from error
    config["preprocess_cfg"] = dict(getattr(model.visual, "preprocess_cfg", {}))
    return _encoder(name, model, transform, tokenizer, file_sha256(weights) if weights else None, config, None)


def _encoder(
    name: str,
    model: nn.Module,
    transform: Callable[[Any], Tensor],
    tokenizer: Callable[[list[str]], Tensor],
    known_hash: str | None,
    config: dict[str, Any],
    folder: Path | None,
) -> Encoder:
    return Encoder(
        name=name,
        model=model.eval(),
        transform=transform,
        tokenizer=tokenizer,
        embed_dim=int(config["model_cfg"]["embed_dim"]),
        checkpoint_hash=known_hash or state_hash(model.state_dict()),
        config=config,
        folder=folder,
    )


def _fetch(architecture: str, tag: str) -> str:
    """The weights file of an open_clip tag, from the cache or the network."""
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if tag not in tags:
        given = f"no pretrained tag {tag!r}" if tag else "no weights without a tag"
        raise ValueError(
            f"{architecture} has {given}; {_near(tag, tags) or 'it has none'} would work, as "
            f"'{architecture}/TAG', or pretrained=False for random weights."
        )
    facts = open_clip.get_pretrained_cfg(architecture, tag)
    quick = bool(facts.get("quick_gelu", False))
    if quick != bool(open_clip.get_model_config(architecture).get("quick_gelu", False)):
        other = f"{architecture}-quickgelu" if quick else architecture.removesuffix("-quickgelu")
        raise ValueError(
            f"{architecture}/{tag} would compute wrong features: these weights were trained with"
            f"{'' if quick else 'out'} QuickGELU; use '{other}/{tag}'."
        )
    try:
        with quiet_loading():
            return str(open_clip.download_pretrained(facts))
    except Exception as error:
        source = str(facts.get("hf_hub") or facts.get("url") or "its source").rstrip("/")
        raise ValueError(
            f"The weights of {architecture}/{tag} ({source}) are not on this machine and could not be fetched "
            f"({_first_line(error)}); {_folder_hint()}"
        ) from error


def _folder_hint() -> str:
    return (
        f"without a network, put {CONFIG_FILE}, {WEIGHTS_FILE} and the tokenizer's files of that model into one folder "
        "and load 'local-dir:FOLDER'."
    )


def _unknown_name(name: str) -> str:
    near = _near(name.partition("/")[0], [BUNDLED, *open_clip.list_models()])
    return (
        f"Unknown encoder {name!r}{f'; near names: {near}' if near else ''}. What works: '{BUNDLED}', "
        "'local-dir:FOLDER', or open_clip's 'ARCHITECTURE/TAG' such as 'ViT-B-32-quickgelu/openai'."
    )


def _near(name: str, names: list[str]) -> str:
    by_lower = {candidate.lower(): candidate for candidate in names}
    close = difflib.get_close_matches(name.lower(), by_lower, n=4, cutoff=0.5) or list(by_lower)[:4]
    return ", ".join(repr(by_lower[candidate]) for candidate in close)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:100]}" if lines else type(error).__name__


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draw from a generator at `seed` inside, and leave the caller's generator as it was."""
    state = torch.get_rng_state()
    try:
        # the CPU generator alone: torch.manual_seed would also reseed the accelerators'
        torch.default_generator.manual_seed(seed)
        yield
    finally:
        torch.set_rng_state(state)


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Keep loaders quiet: open_clip writes to the root logger and installs a handler on it, others report retries.

    What goes wrong is raised, and said in one sentence.
    """
    placeholder, before = logging.NullHandler(), logging.root.manager.disable
    logging.root.addHandler(placeholder)
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)
        logging.root.removeHandler(placeholder)

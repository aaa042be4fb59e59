"""Encoders in open_clip's own form, configuration beside weights: a folder, the bundled one, or `hf-hub:ID`."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import open_clip
from open_clip.pretrained import download_pretrained_from_hf
from safetensors import safe_open
from torch import Tensor

from lightning_robust.models import quick_gelu
from lightning_robust.models.checkpoint_files import state_hash
from lightning_robust.models.clip_folder import CONFIG_FILE, WEIGHTS_FILE
from lightning_robust.models.encoder_base import Encoder, quiet_loading, seeded
from lightning_robust.models.encoder_hub import NotFetchedError, fetched
from lightning_robust.models.encoder_open_clip import FOLDER_HINT
from lightning_robust.models.weights_file import read_weights
from lightning_robust.results import file_sha256

LOCAL, HUB = "local-dir:", "hf-hub:"
_WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pth")


def from_folder(name: str, folder: Path, pretrained: bool, seed: int) -> Encoder:
    """An encoder from an open_clip folder.

    Args:
        name: The name it was asked by.
        folder: With a configuration, the tokenizer's files and, where they are wanted, weights.
        pretrained: Whether to load the weights.
        seed: Of random weights.

    Raises:
        ValueError: If something is missing, or the weights are of another architecture or activation.

    Warns:
        UserWarning: If position embeddings were interpolated to the configuration's image size or context length.
    """
    config = _config(name, folder / CONFIG_FILE)
    files = [file for file in folder.iterdir() if file.suffix in _WEIGHT_SUFFIXES] if pretrained else []
    if pretrained and not files:
        raise ValueError(
            f"Encoder {name!r}: {folder} holds no weights; put {WEIGHTS_FILE} there, or ask for random weights with "
            "pretrained=False."
        )
    # open_clip prefers its own name; the only file is the one that it reads, under any name
    weights = folder / WEIGHTS_FILE if (folder / WEIGHTS_FILE) in files or len(files) != 1 else files[0]
    known = file_sha256(weights) if pretrained and weights.is_file() else None
    if known is not None:
        _check_activation(name, config, quick_gelu.of_hash(known))
    encoder = _opened(name, f"{LOCAL}{folder}", config, known, pretrained=pretrained, seed=seed, folder=folder)
    if known is not None:
        _warn_resized(encoder, weights)
    return encoder


def from_hub(name: str, pretrained: bool, seed: int, download: bool) -> Encoder:
    """An encoder from a repository of the Hub that holds open_clip's configuration.

    Args:
        name: `hf-hub:ID`.
        pretrained: Whether to load the weights.
        seed: Of random weights.
        download: Whether what is missing may be fetched.

    Raises:
        ValueError: If files are missing, or the configuration contradicts what is known of the repository's weights.
    """
    identifier = name.removeprefix(HUB)
    config_file = Path(_file(name, CONFIG_FILE, lambda: _download(identifier, CONFIG_FILE), download))
    config = _config(name, config_file)
    _check_activation(name, config, quick_gelu.of_repository(identifier))
    known = None
    if pretrained:
        weights = _file(name, WEIGHTS_FILE, lambda: download_pretrained_from_hf(identifier), download)
        known = file_sha256(weights)
        _check_activation(name, config, quick_gelu.of_hash(known))
    _file(name, "the tokenizer's files", lambda: open_clip.get_tokenizer(name), download)
    encoder = _opened(name, name, config, known, pretrained=pretrained, seed=seed, folder=config_file.parent)
    if known is not None:
        _warn_resized(encoder, Path(weights))
    return encoder


def _opened(
    name: str, source: str, config: dict[str, Any], known: str | None, *, pretrained: bool, seed: int, folder: Path
) -> Encoder:
    def build() -> tuple[Any, Any, Callable[[list[str]], Tensor]]:
        with quiet_loading(), seeded(seed):
            model, _, transform = open_clip.create_model_and_transforms(
                source, load_weights=pretrained, pretrained_text=False
            )
            return model, transform, open_clip.get_tokenizer(source)

    try:
        # what the Hub has to give was fetched before, and a folder is whole: this machine's files do
        model, transform, tokenizer = fetched(build, download=False)
    except NotFetchedError as error:
        if isinstance(error.__cause__, RuntimeError) and "state_dict" in str(error.__cause__):
            raise ValueError(
                f"Encoder {name!r}: the weights in {folder} are not of the architecture that its {CONFIG_FILE} names."
            ) from error
        raise ValueError(f"Encoder {name!r} could not be built from its files in {folder} ({error}).") from error
    return Encoder(
        name=name,
        model=model.eval(),
        transform=transform,
        tokenizer=tokenizer,
        embed_dim=int(config["model_cfg"]["embed_dim"]),
        checkpoint_hash=known or state_hash(model.state_dict()),
        config=config,
        folder=folder,
    )


def _warn_resized(encoder: Encoder, weights: Path) -> None:
    """Say that open_clip stretched position embeddings, which it does in silence where a configuration wants others."""
    target = {name: list(value.shape) for name, value in encoder.model.state_dict().items()}
    for entry, shape in _shapes(weights).items():
        own = target.get(entry) or target.get(f"text.{entry}")  # an older form has the text tower at the top
        if entry.endswith(("positional_embedding", "pos_embed")) and own is not None and own != shape:
            warnings.warn(
                f"Encoder {encoder.name!r}: {entry} has shape {tuple(shape)} in {weights} and was interpolated to "
                f"{tuple(own)}, because {CONFIG_FILE} gives another image size or context length than the weights "
                "were trained with.",
                stacklevel=4,
            )


def _shapes(weights: Path) -> dict[str, list[int]]:
    if weights.suffix == ".safetensors":
        with safe_open(str(weights), framework="pt") as file:
            return {entry: list(file.get_slice(entry).get_shape()) for entry in file.keys()}  # noqa: SIM118
    return {entry: list(value.shape) for entry, value in read_weights(weights).state.items()}


def _config(name: str, path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"Encoder {name!r}: {path} is missing; an open_clip folder holds it.")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"Encoder {name!r}: {path} is no readable JSON ({error}).") from error
    if not isinstance(config, dict) or not isinstance(config.get("model_cfg"), dict):
        raise ValueError(f"Encoder {name!r}: {path} is no configuration of open_clip: it lacks the key 'model_cfg'.")
    if missing := [key for key in ("embed_dim", "vision_cfg", "text_cfg") if key not in config["model_cfg"]]:
        raise ValueError(f"Encoder {name!r}: {path} lacks {', '.join(map(repr, missing))} in 'model_cfg'.")
    return config


def _check_activation(name: str, config: dict[str, Any], evidence: quick_gelu.Evidence | None) -> None:
    if evidence is not None and evidence.quick != quick_gelu.uses_quick_gelu(config):
        raise ValueError(
            f"{name} would compute wrong features: these weights were trained with{'' if evidence.quick else 'out'} "
            f"QuickGELU ({evidence.why}), but {CONFIG_FILE} says quick_gelu={not evidence.quick}; "
            f"set \"quick_gelu\": {str(evidence.quick).lower()} in the 'model_cfg' of a copy of it."
        )


def _download(identifier: str, file: str) -> str:
    return str(huggingface_hub.hf_hub_download(identifier, file))


def _file(name: str, what: str, load: Callable[[], Any], download: bool) -> str:
    try:
        return str(fetched(load, download=download))
    except NotFetchedError as error:
        other = f"transformers:{name.removeprefix(HUB)}"
        others = (
            f"; a repository without that file may be one of transformers: {other!r}" if what == CONFIG_FILE else ""
        )
        raise ValueError(
            f"Encoder {name!r}: {what} of it could not be found on this machine or fetched ({error}); "
            f"{FOLDER_HINT}{others}."
        ) from error

"""Small CLIPs as open_clip `local-dir:` folders: configuration, weights and tokenizer side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from lightning_robust.models.checkpoint_files import save_tensors, write_bytes
from lightning_robust.models.word_tokenizer import TOKENIZER_CONFIG, build_word_tokenizer

CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILE = "open_clip_model.safetensors"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


def write_clip_folder(
    path: str | Path,
    words: Sequence[str],
    *,
    vision: Literal["resnet", "vit"] = "resnet",
    embed_dim: int = 128,
    image_size: int = 32,
    vision_layers: int | Sequence[int] | None = None,
    vision_width: int | None = None,
    vision_head_width: int = 64,
    patch_size: int = 8,
    text_width: int = 64,
    text_layers: int = 1,
    text_heads: int = 2,
    context_length: int = 18,
    mean: Sequence[float] = (0.5, 0.5, 0.5),
    std: Sequence[float] = (0.25, 0.25, 0.25),
) -> dict[str, Any]:
    """Write configuration and tokenizer of a small CLIP with a word vocabulary; no weights.

    `load_encoder(f"local-dir:{path}", pretrained=False)` then gives the untrained model.

    Args:
        path: The folder; made if it is missing, other files in it are left alone.
        words: Every word of the captions, class names and templates (see `build_word_tokenizer`).
        vision: A ModifiedResNet or a vision transformer.
        embed_dim: Width d of the shared embedding.
        image_size: Height and width of the images, in pixels.
        vision_layers: Blocks per stage of the ResNet (four numbers, default 1, 1, 1, 1), or of the ViT (default 4).
        vision_width: Width of the ResNet's first stage (default 16), or of the ViT (default 128).
        vision_head_width: Width of one attention head.
        patch_size: Patch side of the ViT, in pixels.
        text_width: Width of the text tower.
        text_layers: Its blocks.
        text_heads: Its attention heads.
        context_length: The most tokens of a text, `<start>` and `<end>` among them.
        mean: Channel means that the preprocessing subtracts, for pixel values in [0, 1].
        std: Channel scales that it divides by.

    Returns:
        The configuration as written.

    Raises:
        ValueError: If `vision` is unknown, its layers are not in the form it takes, the words are empty, or the folder
            cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     config = write_clip_folder(folder, ["a", "photo", "of", "star"])
        >>> config["model_cfg"]["text_cfg"]["vocab_size"]
        8
    """
    vision_cfg = _vision_config(vision, vision_layers, vision_width, patch_size)
    tokenizer = build_word_tokenizer(words)
    config = {
        "model_cfg": {
            "embed_dim": embed_dim,
            "vision_cfg": {**vision_cfg, "head_width": vision_head_width, "image_size": image_size},
            "text_cfg": {
                "context_length": context_length,
                "vocab_size": tokenizer.get_vocab_size(),
                # open_clip takes the tokenizer from the folder itself whenever a name stands here
                "hf_tokenizer_name": TOKENIZER_FILES[0],
                "width": text_width,
                "heads": text_heads,
                "layers": text_layers,
            },
        },
        "preprocess_cfg": {
            "size": image_size,
            "mode": "RGB",
            "mean": list(mean),
            "std": list(std),
            "interpolation": "bicubic",
            "resize_mode": "shortest",
            "fill_color": 0,
        },
    }
    tokenizer_json = tokenizer.to_str(pretty=True)
    save_clip_folder(path, config=config, tokenizer_files=_tokenizer_files(tokenizer_json))
    return config


def _vision_config(
    vision: str, layers: int | Sequence[int] | None, width: int | None, patch_size: int
) -> dict[str, Any]:
    if vision == "resnet":
        if isinstance(layers, int):
            raise ValueError(f"A ResNet takes the blocks of its four stages, such as (1, 1, 1, 1), not {layers}.")
        return {"layers": list(layers or (1, 1, 1, 1)), "width": width or 16}
    if vision == "vit":
        if isinstance(layers, Sequence):
            raise ValueError(f"A ViT takes its number of blocks, such as 4, not {layers!r}.")
        return {"layers": layers or 4, "width": width or 128, "patch_size": patch_size}
    raise ValueError(f"vision is 'resnet' or 'vit', not {vision!r}.")


def save_clip_folder(
    path: str | Path,
    *,
    config: Mapping[str, Any],
    tokenizer_files: Mapping[str, bytes],
    state: Mapping[str, Tensor] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write an open_clip `local-dir:` folder, file by file atomically, the weights last.

    Args:
        path: The folder; made if it is missing.
        config: The whole configuration, with `model_cfg` and `preprocess_cfg`.
        tokenizer_files: File names and contents; empty for open_clip's own tokenizer.
        state: The CLIP's state dict under open_clip's keys; None writes no weights.
        metadata: Strings kept in the header of the weights file.

    Raises:
        ValueError: If the configuration lacks `model_cfg`, or the folder cannot be written.
    """
    folder = Path(path)
    if "model_cfg" not in config:
        raise ValueError("An open_clip configuration needs the key 'model_cfg'; 'preprocess_cfg' stands beside it.")
    write_bytes(folder / CONFIG_FILE, (json.dumps(config, indent=2) + "\n").encode())
    for name, content in tokenizer_files.items():
        write_bytes(folder / name, content)
    if state is not None:
        save_tensors(folder / WEIGHTS_FILE, state, metadata)


def read_clip_folder(path: str | Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Read configuration and tokenizer files of an open_clip folder.

    Args:
        path: The folder.

    Returns:
        The configuration, and the tokenizer files by name (those that are there).

    Raises:
        ValueError: If the folder has no configuration.
    """
    folder = Path(path)
    if not (folder / CONFIG_FILE).is_file():
        raise ValueError(f"{folder} is no open_clip folder: it has no {CONFIG_FILE}.")
    config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    return config, {name: (folder / name).read_bytes() for name in TOKENIZER_FILES if (folder / name).is_file()}


def _tokenizer_files(tokenizer_json: str) -> dict[str, bytes]:
    contents = (tokenizer_json, json.dumps(TOKENIZER_CONFIG, indent=2))
    return {name: f"{content}\n".encode() for name, content in zip(TOKENIZER_FILES, contents, strict=True)}

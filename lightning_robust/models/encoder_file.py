"""Encoders whose weights come from a file: `ARCHITECTURE@FILE`, for every name that gives an architecture."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
from open_clip.model import convert_to_custom_text_state_dict
from open_clip.transform import image_transform_v2
from torch import Tensor, nn

from lightning_robust.models import quick_gelu
from lightning_robust.models.encoder_base import Encoder, NoTokenizer, first_line
from lightning_robust.models.encoder_open_clip import preprocessing_disagrees
from lightning_robust.models.encoder_timm import check_timm_activation
from lightning_robust.models.file_preprocessing import differing, preprocessing_beside, whole
from lightning_robust.models.image_tower import ImageTower
from lightning_robust.models.interpolate import check_same_entries
from lightning_robust.models.logit_bias import give_logit_bias_of
from lightning_robust.models.weights_file import WeightsFile, read_weights, unwrapped
from lightning_robust.results import file_sha256

_FOLDERS = ("local-dir:", "transformers:")
_TEXT = ("transformer.", "text.", "text_model.")
_TEXT_SIDE = (
    *_TEXT, "positional_embedding", "token_embedding.", "ln_final.", "text_projection", "logit_scale", "logit_bias",
    "attn_mask",
)  # fmt: skip


def split_file(name: str) -> tuple[str, Path | None]:
    """Split `ARCHITECTURE@FILE` into both; a folder with an `@` in its name stays whole.

    Args:
        name: As `load_encoder` takes it.

    Returns:
        The architecture's name, and the file; None where there is none.

    Raises:
        ValueError: If the file's name is empty.

    Example:
        >>> split_file("RN50@runs/last.ckpt")[0], split_file("RN50/openai")
        ('RN50', ('RN50/openai', None))
    """
    prefix = next((known for known in _FOLDERS if name.startswith(known)), "")
    rest = name.removeprefix(prefix)
    if "@" not in rest or (prefix and Path(rest).expanduser().is_dir()):
        return name, None
    places = [place for place, letter in enumerate(rest) if letter == "@"]
    folders = [place for place in places if prefix and Path(rest[:place]).expanduser().is_dir()]
    place = (folders or places)[0]
    if not rest[place + 1 :]:
        raise ValueError(f"Encoder {name!r} names no file after '@'.")
    return prefix + rest[:place], Path(rest[place + 1 :]).expanduser()


def with_weights(name: str, architecture: Callable[[], Encoder], file: Path) -> Encoder:
    """Put the weights of a file into an encoder.

    Args:
        name: The whole name.
        architecture: Gives the encoder with random weights; called once the file could be read.
        file: Of any kind that `read_weights` reads; the entries of the whole model, or of its image tower alone.

    Returns:
        The encoder with these weights, and for an architecture without a tag the preprocessing that stands beside the
        file (open_clip's configuration, or the `params.txt` of its training); without text, where the file
        has an image tower alone.

    Raises:
        ValueError: If the file cannot be read, is of another architecture, or was trained with the other activation,
            or with another preprocessing than the tag, folder or repository of the name has.
    """
    try:
        found = read_weights(file)
    except ValueError as error:
        raise ValueError(f"Encoder {name!r}: {error}") from error
    base, sha256 = architecture(), file_sha256(file)
    _check_activation(base, file, found, sha256)
    base = _preprocessed(base, file)
    model = _filled(base, file, found)
    text = base.has_text and not isinstance(model, ImageTower)
    return dataclasses.replace(
        base,
        name=name,
        model=model.eval(),
        checkpoint_hash=sha256,
        has_text=text,
        average=found.average,
        tokenizer=base.tokenizer if text else NoTokenizer(name),
    )


def _filled(base: Encoder, file: Path, found: WeightsFile) -> nn.Module:
    """The model with the file's weights: the base's, or its image tower where there are no others."""
    model: Any = base.model
    target = model.state_dict()
    if hasattr(model, "own_names"):
        state = model.own_names(found.state)
    else:
        state = unwrapped(found.state, set(target))
        if "positional_embedding" in state and "positional_embedding" not in target and hasattr(model, "text"):
            state = convert_to_custom_text_state_dict(state)
    if base.has_text and not any(name.startswith(_TEXT) for name in state):
        # what belongs to the text side of a CLIP is left out; anything else is of another model, and refused below
        state = {name: value for name, value in state.items() if not name.startswith(_TEXT_SIDE)}
        model = ImageTower(model.visual)
    give_logit_bias_of(model, state)
    target = model.state_dict()
    # masks and indices that older versions saved and newer ones make themselves
    made = {name for name, _ in model.named_buffers()} - set(target)
    ready = {name: _as(value, target.get(name)) for name, value in state.items() if name not in made}
    check_same_entries(ready, target, (str(file), f"the architecture {base.name!r}"))
    model.load_state_dict(ready)
    return model  # type: ignore[no-any-return]


def _as(value: Tensor, target: Tensor | None) -> Tensor:
    """In the target's dtype, and its shape where a scale is a number in one version and a list of one in another."""
    if target is None:
        return value
    if value.numel() == target.numel() == 1:
        value = value.reshape(target.shape)
    both = value.is_floating_point() and target.is_floating_point()
    return value.to(target.dtype) if both else value


def _check_activation(base: Encoder, file: Path, found: WeightsFile, sha256: str) -> None:
    if "timm" in base.config and "." in base.name:
        check_timm_activation(base.name)  # the tag says where the file came from
    if "model_cfg" not in base.config:
        return  # timm's and transformers' own configurations say it
    quick = quick_gelu.uses_quick_gelu(base.config)
    architecture, _, tag = base.name.partition("/")
    if architecture not in open_clip.list_models():
        architecture, tag = base.name, ""  # the name of a folder or repository
    evidence = _evidence(file, found, sha256) or (quick_gelu.of_tag(architecture, tag) if tag else None)
    twin = quick_gelu.twin(architecture, not quick)
    other = f"{twin}{tag and f'/{tag}'}@{file}"
    if evidence is not None and evidence.quick != quick:
        instead = f"use '{other}'" if twin else "it needs an architecture with the other activation"
        raise ValueError(
            f"{base.name}@{file} would compute wrong features: these weights were trained with"
            f"{'' if evidence.quick else 'out'} QuickGELU ({evidence.why}); {instead}."
        )
    if evidence is None and twin is not None and not quick:
        warnings.warn(
            f"Nothing in or beside {file} tells whether it was trained with QuickGELU; {base.name} has plain GELU, and "
            f"weights that come from OpenAI's need '{other}' (the config of a training beside the file, or "
            "open_clip_config.json, would tell).",
            stacklevel=4,
        )


def _preprocessed(base: Encoder, file: Path) -> Encoder:
    """The encoder with the preprocessing that stands beside the file; refuse it where the name says another."""
    if "model_cfg" not in base.config:
        return base
    own, found = base.config.get("preprocess_cfg") or {}, preprocessing_beside(file)
    alone = base.name in open_clip.list_models()
    if found is None:
        if alone and preprocessing_disagrees(base.name):
            warnings.warn(
                f"The weights that open_clip lists for {base.name} differ in preprocessing, and nothing beside {file} "
                f"tells which is its own; it gets that of most. '{base.name}/TAG@{file}' would tell.",
                stacklevel=4,
            )
        return base
    given, where = found
    if not (other := differing(own, given)):
        return base
    if not alone:
        raise ValueError(
            f"{base.name}@{file} would compute wrong features: {where} says {other[0]}={given[other[0]]} of the "
            f"preprocessing of these weights, and {base.name} has {own.get(other[0])}; another name or file would work."
        )
    try:
        settings = whole(own, given)
        transform = image_transform_v2(settings, is_train=False)
    except Exception as error:
        raise ValueError(f"{where} has no preprocessing that open_clip can make: {first_line(error)}.") from error
    return dataclasses.replace(
        base, transform=transform, config={**base.config, "preprocess_cfg": dataclasses.asdict(settings)}
    )


def _evidence(file: Path, found: WeightsFile, sha256: str) -> quick_gelu.Evidence | None:
    if found.archive:
        return quick_gelu.Evidence(True, "it is a TorchScript archive, the form of OpenAI's own files")
    known = quick_gelu.of_hash(sha256)
    if known is None and found.encoder is not None:
        known = quick_gelu.of_encoder_name(found.encoder, "the checkpoint")
    return known or quick_gelu.beside(file)

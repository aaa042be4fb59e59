"""Where the weights of a name lie on this machine, or would have to: nothing is loaded, and no network is asked."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub
import open_clip
import timm
import torch

from lightning_robust.models.bundled import CLASSIFIER_FILE, SUPERVISED
from lightning_robust.models.clip_folder import CONFIG_FILE, WEIGHTS_FILE
from lightning_robust.models.compressed import is_compressed
from lightning_robust.models.encoder_file import split_file
from lightning_robust.models.encoder_folder import HUB, LOCAL
from lightning_robust.models.encoder_open_clip import tag_facts
from lightning_robust.models.encoder_timm import TIMM, check_timm_name
from lightning_robust.models.encoder_transformers import TRANSFORMERS
from lightning_robust.models.encoders import ARCHITECTURES, BUNDLED, load_encoder, unknown_encoder
from lightning_robust.models.networks import UNTRAINED

__all__ = ["WeightsPlace", "weights_place"]

_OF_OPEN_CLIP = (WEIGHTS_FILE, "open_clip_pytorch_model.bin")  # the order in which open_clip looks
_OF_THE_HUB = ("model.safetensors", "pytorch_model.bin")
_SUFFIXES = (".safetensors", ".bin", ".pth")
_RUN_FILES = (".safetensors", ".ckpt")


@dataclass(frozen=True)
class WeightsPlace:
    """Where weights are, or would have to be.

    Attributes:
        where: A file or folder of this machine if they are there, else what has to be had, in words.
        there: Whether they are on this machine.
    """

    where: str
    there: bool


def weights_place(name: str) -> WeightsPlace:
    """Where the weights of a model lie.

    Args:
        name: As `load_network` takes it.

    Raises:
        ValueError: If there is no such model, tag or architecture, or a tag's weights want the other activation.

    Example:
        >>> weights_place("untrained:RN50")
        WeightsPlace(where='random weights', there=True)
    """
    if name.startswith(UNTRAINED):
        _check_architecture(split_file(name.removeprefix(UNTRAINED))[0])
        return WeightsPlace("random weights", True)
    if is_compressed(name) or (Path(name) / CLASSIFIER_FILE).is_file():
        return WeightsPlace(name, True)
    if name in (BUNDLED, SUPERVISED):
        return WeightsPlace("in the package", True)
    base, file = split_file(name)
    if file is not None:
        _check_architecture(base)
        return WeightsPlace(str(file), file.is_file())
    if Path(name).suffix in _RUN_FILES and not name.startswith((LOCAL, HUB, TIMM, TRANSFORMERS)):
        return WeightsPlace(name, Path(name).is_file())
    return _by_prefix(name)


def _by_prefix(name: str) -> WeightsPlace:
    if name.startswith(LOCAL):
        return _folder(Path(name.removeprefix(LOCAL)).expanduser())
    if name.startswith(HUB):
        return _cached(name.removeprefix(HUB), _OF_OPEN_CLIP, (CONFIG_FILE,))
    if name.startswith(TRANSFORMERS):
        folder = Path(name.removeprefix(TRANSFORMERS)).expanduser()
        if folder.is_dir():
            there = any((folder / file).is_file() for file in _OF_THE_HUB)
            return WeightsPlace(str(folder if there else folder / _OF_THE_HUB[0]), there)
        return _cached(name.removeprefix(TRANSFORMERS), _OF_THE_HUB, ("config.json",))
    if name.startswith(TIMM):
        check_timm_name(name, True)
        return _timm(name.removeprefix(TIMM))
    if name in ARCHITECTURES:
        load_encoder(name)  # says that it ships without weights
    architecture, _, tag = name.partition("/")
    if architecture not in open_clip.list_models():
        raise ValueError(unknown_encoder(name))
    return _tag(tag_facts(architecture, tag))


def _check_architecture(name: str) -> None:
    if name in (BUNDLED, *ARCHITECTURES) or name.startswith((HUB, TRANSFORMERS)):
        return
    if name.startswith(TIMM):
        check_timm_name(name, False)
    elif name.startswith(LOCAL):
        folder = Path(name.removeprefix(LOCAL)).expanduser()
        if not (folder / CONFIG_FILE).is_file():
            raise ValueError(f"{folder} holds no {CONFIG_FILE}, so that {name!r} names no architecture")
    elif name.partition("/")[0] not in open_clip.list_models():
        raise ValueError(unknown_encoder(name))


def _folder(folder: Path) -> WeightsPlace:
    if not (folder / CONFIG_FILE).is_file():
        return WeightsPlace(str(folder / CONFIG_FILE), False)
    files = sorted(file for file in folder.iterdir() if file.suffix in _SUFFIXES)
    return WeightsPlace(str(folder), True) if files else WeightsPlace(str(folder / WEIGHTS_FILE), False)


def _tag(facts: dict[str, str]) -> WeightsPlace:
    if "file" in facts:
        return WeightsPlace(str(facts["file"]), Path(facts["file"]).is_file())
    if repository := facts.get("hf_hub"):
        identifier, file = os.path.split(repository)
        return _cached(identifier, (file,) if file else _OF_OPEN_CLIP)
    return _downloaded(facts["url"], Path("~/.cache/clip").expanduser())


def _timm(known: str) -> WeightsPlace:
    facts = timm.get_pretrained_cfg(known)
    if facts is None or not (facts.hf_hub_id or facts.url):
        raise ValueError(f"timm lists no weights of {known!r}")
    if not facts.hf_hub_id:
        return _downloaded(facts.url, Path(torch.hub.get_dir()) / "checkpoints")
    identifier = facts.hf_hub_id + (f"{facts.architecture}.{facts.tag}" if facts.hf_hub_id.endswith("/") else "")
    return _cached(identifier, (facts.hf_hub_filename,) if facts.hf_hub_filename else _OF_THE_HUB)


def _cached(identifier: str, names: tuple[str, ...], also: tuple[str, ...] = ()) -> WeightsPlace:
    """In the Hub's cache: one of some files, and all of some others."""
    found = [huggingface_hub.try_to_load_from_cache(identifier, file) for file in names]
    weights = next((file for file in found if isinstance(file, str)), None)
    others = [huggingface_hub.try_to_load_from_cache(identifier, file) for file in also]
    if weights is None or not all(isinstance(file, str) for file in others):
        return WeightsPlace(f"huggingface.co/{identifier}", False)
    return WeightsPlace(weights, True)


def _downloaded(url: str, folder: Path) -> WeightsPlace:
    file = folder / Path(url).name
    return WeightsPlace(str(file), True) if file.is_file() else WeightsPlace(url, False)

"""QuickGELU or GELU: what weights were trained with, as far as a name, a hash or a file beside them tells.

Weights of the OpenAI family need QuickGELU (`x · sigmoid(1.702 x)`); in a model with plain GELU they load without a
word and score lower. open_clip warns for its own tags only.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import open_clip
import yaml

_CONFIG = "open_clip_config.json"


@dataclass(frozen=True)
class Evidence:
    """What weights were trained with.

    Attributes:
        quick: Whether with QuickGELU.
        why: What says so, as the start of a sentence.
    """

    quick: bool
    why: str


def uses_quick_gelu(config: dict[str, Any]) -> bool:
    """Whether a configuration of open_clip builds a model with QuickGELU.

    Args:
        config: With the key `model_cfg`.
    """
    return bool(config.get("model_cfg", {}).get("quick_gelu", False))


def twin(architecture: str, quick: bool) -> str | None:
    """The architecture of open_clip that differs in the activation alone.

    Args:
        architecture: Its name.
        quick: Whether the wanted one has QuickGELU.

    Returns:
        Its name; None where open_clip has none.

    Example:
        >>> twin("ViT-B-32", True), twin("ViT-B-32-quickgelu", False), twin("ViT-B-32", False)
        ('ViT-B-32-quickgelu', 'ViT-B-32', None)
    """
    other = f"{architecture}-quickgelu" if quick else architecture.removesuffix("-quickgelu")
    return other if other != architecture and other in open_clip.list_models() else None


def of_tag(architecture: str, tag: str) -> Evidence:
    """What open_clip's table says of a tag.

    Args:
        architecture: Of open_clip.
        tag: One of its tags.
    """
    quick = bool((open_clip.get_pretrained_cfg(architecture, tag) or {}).get("quick_gelu", False))
    return Evidence(quick, f"{architecture}/{tag} is listed so by open_clip")


def of_repository(identifier: str) -> Evidence | None:
    """What the name of a repository of the Hub tells.

    Args:
        identifier: Such as `laion/CLIP-ViT-B-16-laion2B-s34B-b88K`.

    Example:
        >>> of_repository("openai/clip-vit-base-patch32").quick, of_repository("someone/own-clip")
        (True, None)
    """
    quick = _known_repositories().get(identifier.lower())
    if quick is not None:
        return Evidence(quick, f"the weights of {identifier} are listed so by open_clip")
    if identifier.lower().startswith("openai/clip-"):
        return Evidence(True, f"{identifier} holds OpenAI's weights")
    if "quickgelu" in identifier.lower():
        return Evidence(True, f"the name {identifier} says so")
    return None


def of_hash(sha256: str) -> Evidence | None:
    """What the SHA-256 of a file tells: open_clip's table holds those of OpenAI's files and the first digits of others.

    Args:
        sha256: 64 hexadecimal digits.
    """
    for digits, (name, quick) in _known_hashes().items():
        if sha256.startswith(digits):
            return Evidence(quick, f"the file's SHA-256 is that of {name}")
    return None


def beside(file: Path) -> Evidence | None:
    """What stands beside a file: open_clip's configuration, the settings of a training, its own name.

    Args:
        file: The weights.
    """
    for folder in (file.parent, file.parent.parent):
        config = folder / _CONFIG
        if folder == file.parent and "model_cfg" in (facts := _json(config)):
            return Evidence(uses_quick_gelu(facts), f"{config} beside the file says so")
        if (log := folder / "params.txt").is_file():
            found = _of_params(log)
            if found is not None:
                return found
        if (config := folder / "config.yaml").is_file():
            settings: Any = _yaml(config)
            for key in ("model", "init_args", "encoder"):  # of another program's file any of them may be anything
                settings = settings.get(key) if isinstance(settings, dict) else None
            found = of_encoder_name(settings, f"{config} of its run") if isinstance(settings, str) else None
            if found is not None:
                return found
    return Evidence(True, f"its name {file.name} says so") if "quickgelu" in file.name.lower() else None


def of_encoder_name(name: str, where: str) -> Evidence | None:
    """What an encoder's name tells that a run or a checkpoint keeps.

    Args:
        name: As `load_encoder` takes it; anything else tells nothing.
        where: Who says so.
    """
    architecture = re.split("[/@]", name, maxsplit=1)[0]
    if architecture not in open_clip.list_models():
        return None
    return Evidence(uses_quick_gelu({"model_cfg": open_clip.get_model_config(architecture)}), f"{where} names {name}")


def _of_params(log: Path) -> Evidence | None:
    """The settings that open_clip's training writes into its folder, one `name: value` a line."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    settings = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    found = of_encoder_name(settings.get("model", ""), f"{log} of its training")
    if found is None or settings.get("force_quick_gelu", "False") != "True":
        return found
    return Evidence(True, f"{log} of its training says force_quick_gelu")


@cache
def _known_repositories() -> dict[str, bool]:
    known: dict[str, bool] = {}
    for architecture, tag in open_clip.list_pretrained():
        facts = open_clip.get_pretrained_cfg(architecture, tag)
        repository = "/".join(str(facts.get("hf_hub") or "").split("/")[:2]).lower()
        if repository:
            # an architecture without a twin has one activation, whatever the table says
            quick = bool(facts.get("quick_gelu", False))
            own = bool((open_clip.get_model_config(architecture) or {}).get("quick_gelu", False))
            known[repository] = quick if quick == own or twin(architecture, quick) else own
    return known


@cache
def _known_hashes() -> dict[str, tuple[str, bool]]:
    known: dict[str, tuple[str, bool]] = {}
    for architecture, tag in open_clip.list_pretrained():
        facts = open_clip.get_pretrained_cfg(architecture, tag)
        url = str(facts.get("url") or "")
        parts = url.split("/")
        digits = ""
        if "openaipublic" in url:
            digits = parts[-2]
        elif "mlfoundations" in url:
            digits = Path(parts[-1]).stem.rpartition("-")[2]
        if re.fullmatch("[0-9a-f]{8,64}", digits):
            known.setdefault(digits, (f"{architecture}/{tag}", bool(facts.get("quick_gelu", False))))
    return known


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}

"""Weights files of every kind that people keep: read as plain tensors, with what they tell of their model."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_robust.models.checkpoint_files import average_of, load_metadata, load_plain, load_tensors, state_entry
from lightning_robust.models.encoder_base import first_line

#: Prefixes that wrappers put before every entry, each with what may stand beside such entries and is left out.
_WRAPPERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("module.", ("n_averaged",)),  # DistributedDataParallel, and the averages of torch.optim.swa_utils
    ("model.", ()),  # this project's ClassifierFinetuning
    ("encoder.", ("head.",)),  # its classifier, and its ContrastivePretraining
    ("image_encoder.model.", ("classification_head.",)),  # wise-ft's classifier
    ("image_encoder.", ("classification_head.",)),
)
_COMPILED = "_orig_mod."  # torch.compile puts it anywhere
_ARCHIVE_EXTRAS = ("input_resolution", "context_length", "vocab_size")


@dataclass(frozen=True, eq=False)
class WeightsFile:
    """What a weights file holds.

    Attributes:
        state: Names and tensors, as they stand in the file.
        archive: Whether it is a TorchScript archive, the form of OpenAI's own files.
        encoder: The encoder's name that a checkpoint or a header keeps; None where there is none.
        taken: The entry of the file that the state is; empty where it is the file itself.
    """

    state: dict[str, Tensor]
    archive: bool = False
    encoder: str | None = None
    taken: str = ""

    @property
    def average(self) -> str:
        """The entry that was taken, if its weights are averages over a training; else empty."""
        return average_of(self.taken)


def read_weights(path: Path) -> WeightsFile:
    """Read a weights file; nothing is unpickled but tensors and plain containers.

    Args:
        path: safetensors; a state dict by `torch.save`, bare or under `state_dict` (Lightning checkpoints, open_clip's
            and timm's training checkpoints) or `model`; or a TorchScript archive, as OpenAI's own files are. Averaged
            weights, under `state_dict_ema` or `model_ema`, are taken before those, as timm's own loading does.

    Returns:
        Its tensors, and which entry they are.

    Raises:
        ValueError: If the file is missing, damaged, a pickled object, or holds no state dict.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path} with weights.")
    if path.suffix == ".safetensors":
        return WeightsFile(load_tensors(path), encoder=load_metadata(path).get("encoder"))
    if _is_archive(path):
        return WeightsFile(_archive_state(path), archive=True)
    try:
        content = load_plain(path)
    except Exception as error:
        raise ValueError(_why_unreadable(path, error)) from error
    entries = content if isinstance(content, dict) else {}
    taken = state_entry(content)
    state = entries[taken] if taken else content
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path} holds no state dict: names with tensors, alone or under 'state_dict', would work.")
    settings: Any = entries.get("hyper_parameters")
    encoder: Any = settings.get("encoder") if isinstance(settings, dict) else None
    return WeightsFile(dict(state), encoder=encoder if isinstance(encoder, str) else None, taken=taken)


def unwrapped(state: Mapping[str, Tensor], wanted: set[str]) -> dict[str, Tensor]:
    """Take off the prefixes that wrappers put before the names of a model.

    Args:
        state: Entries as they stand in a file.
        wanted: Names that the model has; nothing more is taken off once one of them is there.

    Returns:
        The model's own entries; heads that stood beside them are left out.

    Example:
        >>> one = torch.ones(1)
        >>> unwrapped({"model.encoder.visual.w": one, "model.head.weight": one}, {"visual.w"}).keys()
        dict_keys(['visual.w'])
    """
    own = {name.replace(_COMPILED, ""): value for name, value in state.items()}
    while not wanted & own.keys():
        for prefix, beside in _WRAPPERS:
            inside = {name.removeprefix(prefix): value for name, value in own.items() if name.startswith(prefix)}
            rest = [name for name in own if not name.startswith(prefix)]
            if inside and all(name.startswith(beside) for name in rest):
                own = inside
                break
        else:
            break
    return own


def _is_archive(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _archive_state(path: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.jit is deprecated, but OpenAI's files are what they are
            # torch's own reader of these archives runs no code of the file until the module is called
            state = dict(torch.jit.load(str(path), map_location="cpu").state_dict())
    except Exception as error:
        raise ValueError(
            f"{path} is a TorchScript archive, as OpenAI's own files are, and this torch cannot open it "
            f"({first_line(error)}); where torch.jit.load opens it, save its state_dict()."
        ) from error
    return {name: value for name, value in state.items() if name not in _ARCHIVE_EXTRAS}


def _why_unreadable(path: Path, error: Exception) -> str:
    found = re.search(r"Unsupported (?:global|class|operand)[^\n]*?(?:GLOBAL )?([\w.]+\.\w+)", str(error))
    if found or "Weights only load failed" in str(error):
        what = f" ({found.group(1)})" if found else ""
        return (
            f"{path} holds pickled Python objects{what}, as wise-ft's torch.save(model) writes them, and nothing is "
            f"unpickled here; with the code that wrote it run torch.load('{path.name}', weights_only=False), take "
            ".state_dict() of the model that it gives, or its entry 'state_dict', torch.save that to 'weights.pt' and "
            "give that file."
        )
    return f"{path} cannot be read as a weights file ({first_line(error)}): it is damaged, or of another kind."

"""Checkpoints to be merged, from every format that holds plain tensors, and what merging writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_robust.models.checkpoint_files import load_plain, load_tensors, load_theta, save_tensors, state_entry
from lightning_robust.models.classifier import split_classifier_state
from lightning_robust.models.interpolate import check_same_entries, is_merged
from lightning_robust.models.run_names import known_encoder
from lightning_robust.results import file_sha256

HEAD = ".head.safetensors"
_COMPILED, _PARALLEL, _LIGHTNING = "_orig_mod.", "module.", "model."
_AVERAGED = "n_averaged"  # stands beside "module." in the averages of torch.optim.swa_utils
_NO_HEAD = " without its head, which its text tower makes"
_TOWER, _ENCODER, _OWN_HEAD = "encoder.visual.", "encoder.", "head."


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The weights of one file, under names that two checkpoints of one model share.

    Attributes:
        path: The file.
        form: What it was, in words.
        state: A model alone under its own names; with a classification head those of `ImageClassifier`,
            `encoder.…` and `head.…`.
        checkpoint_hash: SHA-256 of the file.
        head_hash: SHA-256 of the file of the head beside it; None where there is none.
    """

    path: Path
    form: str
    state: dict[str, Tensor]
    checkpoint_hash: str
    head_hash: str | None = None

    @property
    def has_head(self) -> bool:
        """Whether there is a classification head."""
        return has_head(self.state)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint: on the CPU, the state alone, unpickling nothing but plain tensors.

    Of a checkpoint with averaged weights (`state_dict_ema`, `model_ema`) those are read, as everywhere in this package.
    Prefixes of `torch.compile`, of parallel training (`module.`) and of this package's LightningModules go, so that
    what is left are open_clip's names for a CLIP. The head beside a file of Wise-FT is read along. What a run of
    `ContrastiveFinetuning` wrote, its checkpoint and the files of its path, is read as the CLIP alone: its head is the
    zero-shot head of its text tower, and the mixture of two would belong to no text tower. `evaluate` makes the head of
    the merged CLIP from the data's class names. A file of a path is known by the run's config, so leave it in the run.

    Args:
        path: safetensors, a saved state dict, a Lightning checkpoint, or one of open_clip's training.

    Raises:
        ValueError: If there is no such file, it is a head, cannot be read as plain tensors, or holds no state dict.
    """
    path = Path(path)
    if path.name.endswith(HEAD):
        raise ValueError(f"{path} is a head: give the model beside it, {path.name.removesuffix(HEAD)}.safetensors.")
    form, state = _read(path)
    if not state:
        raise ValueError(f"{path} holds no tensors: give the weights of a model.")
    state, renamed = _own_names(state, form)
    beside = path.with_suffix(HEAD)
    head_hash = None
    if path.suffix == ".safetensors" and beside.is_file() and not has_head(state):
        if _makes_its_head(path):
            return Checkpoint(path, f"{form}{_NO_HEAD}{renamed}", state, file_sha256(path))
        head = load_tensors(beside)
        state = {_ENCODER + name: value for name, value in state.items()}
        state |= {_OWN_HEAD + name: value for name, value in head.items()}
        head_hash, form = file_sha256(beside), f"{form} with a head beside it"
    return Checkpoint(path, form + renamed, state, file_sha256(path), head_hash)


def has_head(state: Mapping[str, Tensor]) -> bool:
    """Whether a state is an `ImageClassifier`'s: `head.…` and nothing else beside `encoder.…`.

    Args:
        state: Names and tensors.

    Example:
        >>> has_head({"encoder.visual.w": torch.ones(1), "head.weight": torch.ones(2, 1)})
        True
    """
    names = list(state)
    return any(name.startswith(_OWN_HEAD) for name in names) and all(
        name.startswith((_ENCODER, _OWN_HEAD)) for name in names
    )


def check_mergeable(first: Checkpoint, other: Checkpoint) -> None:
    """Refuse checkpoints that are not two states of one model; dtypes may differ.

    Args:
        first: A checkpoint.
        other: Another one.

    Raises:
        ValueError: If only one has a head, or names or shapes differ: they are listed.
    """
    if first.has_head != other.has_head:
        with_head, without = (first, other) if first.has_head else (other, first)
        raise ValueError(
            f"{with_head.path} has a classification head and {without.path} has none: give files that both have one, "
            "such as alpha=0.00.safetensors of the run, or move the head away from beside the file."
        )
    alike, others = (
        {
            name: torch.empty_like(tensor, device="meta", dtype=torch.float32 if is_merged(tensor.dtype) else None)
            for name, tensor in checkpoint.state.items()
        }
        for checkpoint in (first, other)
    )
    check_same_entries(alike, others, (str(first.path), str(other.path)))


def to_dtype(state: Mapping[str, Tensor], dtype: torch.dtype | None) -> dict[str, Tensor]:
    """Convert the floating-point entries of a state; those that have the dtype are not copied.

    Args:
        state: Names and tensors.
        dtype: A floating-point dtype; None converts nothing.
    """
    return {
        name: tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    }


def write_merged(path: str | Path, state: Mapping[str, Tensor]) -> list[Path]:
    """Write a merged state as safetensors, atomically; a classifier as two files, as Wise-FT does.

    Of a classifier the encoder is written under open_clip's names, which load strictly in plain open_clip, and the
    head beside it as `….head.safetensors`.

    Args:
        path: The file, `….safetensors`.
        state: As `Checkpoint.state`.

    Returns:
        The files written.

    Raises:
        ValueError: If the name ends otherwise, or the folder cannot be written.
    """
    path = Path(path)
    if path.suffix != ".safetensors" or path.name.endswith(HEAD):
        raise ValueError(f"Merged weights are written as safetensors, so the file is called ….safetensors, not {path}.")
    # one entry of metadata: the file is the same each time
    if not has_head(state):
        save_tensors(path, state, {"format": "pt"})
        return [path]
    model, head = split_classifier_state(state)
    save_tensors(path.with_suffix(HEAD), head, {"format": "pt"})  # first: a head alone is taken for no model
    save_tensors(path, model, {"format": "pt"})
    return [path, path.with_suffix(HEAD)]


def alpha_names(alphas: Sequence[float]) -> list[str]:
    """File names of the points of a path, with as many decimals as tell them apart, at least two.

    Args:
        alphas: Different positions.

    Example:
        >>> alpha_names([0.0, 0.5]), alpha_names([0.001, 0.002])
        (['alpha=0.00.safetensors', 'alpha=0.50.safetensors'], ['alpha=0.001.safetensors', 'alpha=0.002.safetensors'])
    """
    decimals = next((n for n in range(2, 17) if len({f"{a:.{n}f}" for a in alphas}) == len(alphas)), None)
    if decimals is None:
        return [f"alpha={a!r}.safetensors" for a in alphas]
    return [f"alpha={a:.{decimals}f}.safetensors" for a in alphas]


def _read(path: Path) -> tuple[str, dict[str, Tensor]]:
    if path.suffix == ".safetensors":
        return "safetensors", load_tensors(path)
    form = "state dict"
    content = _content(path)
    entry = state_entry(content)
    if entry:
        form = "Lightning checkpoint" if "pytorch-lightning_version" in content else "training checkpoint"
        form += f", its entry {entry}" if entry != "state_dict" else ""
    state = content[entry] if entry else content
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        return form, load_theta(path)  # which says so
    settings = content.get("hyper_parameters") if isinstance(content, dict) else None
    if form == "Lightning checkpoint" and isinstance(settings, dict) and "positives" in settings:
        # of ContrastiveFinetuning: the mixture of two such heads is no head of the mixed text tower
        form += _NO_HEAD
        state = {name: value for name, value in state.items() if not name.startswith(_LIGHTNING + _OWN_HEAD)}
    # copies: the file may be overwritten, and of a training checkpoint most is the optimiser's
    return form, {str(name): value.detach().clone() for name, value in state.items()}


def _makes_its_head(path: Path) -> bool:
    """Whether a file is of a run whose heads are made by the text tower of each point."""
    try:
        found = known_encoder(path)
    except ValueError:  # a config that names no encoder
        return False
    return found is not None and found[0] == "ContrastiveFinetuning"


def _content(path: Path) -> Any:
    """What a file holds that `torch.save` wrote, its tensors mapped and not yet read where its format allows it."""
    for mmap in (True, False):
        with suppress(Exception):
            return load_plain(path, mmap=mmap)
    try:
        return load_theta(path)  # for its sentence
    except ValueError as error:
        if "plain tensors" not in str(error):
            raise
        raise ValueError(
            f"{path} cannot be read as plain tensors: where it is a pickled model that you trust, load it with the "
            "code that wrote it and save its state_dict() with torch.save."
        ) from error


def _own_names(state: dict[str, Tensor], form: str) -> tuple[dict[str, Tensor], str]:
    removed = []
    if any(f".{_COMPILED}" in f".{name}" for name in state):
        state = {f".{name}".replace(f".{_COMPILED}", ".")[1:]: value for name, value in state.items()}
        removed.append(_COMPILED)
    others = {name: value for name, value in state.items() if name != _AVERAGED}
    if others and all(name.startswith(_PARALLEL) for name in others):
        state = others
    prefixes = [_PARALLEL, *([_LIGHTNING] if form.startswith("Lightning checkpoint") else [])]
    for prefix in prefixes:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
            removed.append(prefix)
    # a training of this package without a head
    if any(name.startswith(_TOWER) for name in state) and all(name.startswith(_ENCODER) for name in state):
        state = {name.removeprefix(_ENCODER): value for name, value in state.items()}
        removed.append(_ENCODER)
    return state, f", without the prefix {' and '.join(removed)}" if removed else ""

"""Compressed networks as folders that need nothing else: weights as safetensors, and what builds their layers."""

from __future__ import annotations

from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor, nn

from lightning_robust.errors import UserError
from lightning_robust.models.checkpoint_files import load_tensors, save_tensors
from lightning_robust.models.classifier import ImageClassifier
from lightning_robust.models.compressed_architecture import built_network, built_tower, head_weight, plain_architecture
from lightning_robust.models.compressed_facts import FACTS_FILE, STATE_FILE, CompressedFacts, read_facts
from lightning_robust.models.encoder_base import first_line
from lightning_robust.models.low_rank_structure import ranks_of, restructured
from lightning_robust.models.network import Embedding, Network, blocks_of
from lightning_robust.results import file_sha256
from lightning_robust.results.provenance import collect_provenance
from lightning_robust.results.record_file import write_record

__all__ = ["is_compressed", "load_compressed", "save_compressed"]

_TOWER, _HEAD = "encoder.visual.", "head."
#: What libraries raise for a description that they cannot build.
_BROKEN = (ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError, AssertionError)


def save_compressed(folder: str | Path, network: Network, model: nn.Module) -> None:
    """Write a compressed network as a folder with `model.safetensors` and `compressed.json`, the second last.

    The folder holds image tower and head, without a text tower, and needs neither the source's weights nor its folder:
    `load_network(FOLDER)` builds the layers again and loads them, bit by bit what was saved.

    Args:
        folder: The folder; made if it is missing.
        network: The dense network that it comes from, for architecture, preprocessing, classes and layer names.
        model: What `factorise` made of `network.model`, with or without its text tower, trained further or not.

    Raises:
        ValueError: If the source does not say its architecture, the model is not of its form, or the folder cannot be
            written.
    """
    whole = network.representation_layer != "encoder.visual"
    state = model.state_dict()
    if not whole:
        state = {name: value for name, value in state.items() if name.startswith((_TOWER, _HEAD))}
    W = None if network.head_layer is None else head_weight(model.get_submodule(network.head_layer))
    facts = CompressedFacts(
        name=network.name,
        origin=network.origin,
        source_hash=network.checkpoint_hash,
        form="network" if whole else "tower",
        architecture=plain_architecture(network),
        ranks={name: rank for name, rank in ranks_of(model).items() if whole or name.startswith((_TOWER, _HEAD))},
        dtype=str(next(model.parameters()).dtype).removeprefix("torch."),
        representation_layer=network.representation_layer,
        head_layer=network.head_layer,
        head=None if W is None else (W.shape[0], W.shape[1]),
        class_names=network.class_names,
        provenance=collect_provenance(),
    )
    file = Path(folder) / FACTS_FILE
    if file.is_file():
        file.unlink()  # a folder is whole once its facts are there: those of an earlier one tell another structure
    save_tensors(Path(folder) / STATE_FILE, state)
    write_record(facts, file)


def is_compressed(name: str) -> bool:
    """Whether a name is a folder that `save_compressed` wrote.

    Args:
        name: As `load_network` takes it.

    Example:
        >>> is_compressed("scenes-clip")
        False
    """
    return (Path(name) / FACTS_FILE).is_file()


def load_compressed(name: str) -> Network:
    """Load a compressed network. Nothing is drawn from the caller's random states, and nothing is unpickled.

    Args:
        name: The folder.

    Raises:
        ValueError: If a file is missing or damaged, or the two files do not belong together.
    """
    folder = Path(name)
    try:
        facts = read_facts(folder)
    except UserError as error:
        raise ValueError(str(error)) from error
    state = load_tensors(folder / STATE_FILE)
    try:
        model, transform = _built(facts, state)
        blocks = blocks_of(model, "" if facts.form == "network" else facts.representation_layer)
        head = None if facts.head_layer is None else model.get_submodule(facts.head_layer)
        model.get_submodule(facts.representation_layer.removesuffix(":input"))
    except _BROKEN as error:
        # sentences of our own are whole, whatever a library says is not
        wrong = " ".join(str(error).split()) if type(error) is ValueError else first_line(error)
        raise ValueError(
            f"{folder / FACTS_FILE} describes no network that can be built: {wrong.removesuffix('.')}."
        ) from error
    _fill(model, state, folder)
    return Network(
        name=name,
        model=model.eval(),
        transform=transform,
        representation_layer=facts.representation_layer,
        blocks=blocks,
        head=None if head is None else head_weight(head),
        head_layer=facts.head_layer,
        unit_norm=facts.form == "tower",
        checkpoint_hash=file_sha256(folder / STATE_FILE),
        origin=f"compressed from {facts.name} ({facts.origin})",
        class_names=facts.class_names,
        architecture=facts.architecture,
        ranks=facts.ranks,
    )


def _built(facts: CompressedFacts, state: dict[str, Tensor]) -> tuple[nn.Module, Any]:
    if facts.form == "network":
        model, transform = built_network(facts)
    else:
        tower, transform = built_tower(facts)
        model = Embedding(tower) if facts.head is None else ImageClassifier(tower, torch.zeros(facts.head))
    return restructured(model.to(getattr(torch, facts.dtype)), facts.ranks, set(state)), transform


def _fill(model: nn.Module, state: dict[str, Tensor], folder: Path) -> None:
    try:
        model.load_state_dict(state, assign=True)
    except RuntimeError as error:
        _, *lines = str(error).strip().splitlines()  # the first one names the class
        wrong = shorten(" ".join(lines), 240, placeholder=" …")
        raise ValueError(f"{folder / STATE_FILE} does not hold what {FACTS_FILE} beside it says: {wrong}") from error

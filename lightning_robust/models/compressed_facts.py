"""What stands beside the weights of a compressed network: what builds its layers, and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_robust.errors import UserError
from lightning_robust.results.provenance import Provenance
from lightning_robust.results.record_file import read_record

COMPRESSED_SCHEMA = 1
FACTS_FILE, STATE_FILE = "compressed.json", "model.safetensors"


@dataclass(frozen=True, kw_only=True)
class CompressedFacts:
    """The content of `compressed.json`.

    Attributes:
        schema_version: Version of this record's layout.
        kind: `"compressed"`.
        name: The dense network, as it was asked for.
        origin: Where its weights came from, in words.
        source_hash: SHA-256 of its weights file.
        form: `"tower"`: image tower at `encoder.visual`, unit length, head; `"network"`: one of timm as it is there.
        architecture: What builds the dense layers: `open_clip` with `model_cfg` and `preprocess_cfg`, `timm` with
            `architecture` and `data`, or `transformers` with the configuration and `processor`.
        ranks: Of the matrices that are products of two, by name; None for dense ones of the same attention.
        dtype: Precision of the weights, as torch calls it.
        representation_layer: Layer string of h.
        head_layer: Name of the head's module; None without a head.
        head: Classes and width; likewise.
        class_names: What the classes are called; None where nothing says so.
        provenance: Versions, machine and time.
    """

    schema_version: int = COMPRESSED_SCHEMA
    kind: str = "compressed"
    name: str
    origin: str
    source_hash: str
    form: str
    architecture: Mapping[str, Any]
    ranks: Mapping[str, int | None]
    dtype: str
    representation_layer: str
    head_layer: str | None
    head: tuple[int, int] | None
    class_names: tuple[str, ...] | None
    provenance: Provenance


def read_facts(folder: Path) -> CompressedFacts:
    """Read `compressed.json`.

    Args:
        folder: Where it lies.

    Raises:
        UserError: If there is none, or it is something else.
    """
    what = "the description of a compressed network"
    facts = read_record(CompressedFacts, folder / FACTS_FILE, COMPRESSED_SCHEMA, what, "compress")
    if facts.kind != "compressed" or facts.form not in ("tower", "network"):
        raise UserError(f"{folder / FACTS_FILE} is not {what}: kind {facts.kind!r}, form {facts.form!r}")
    return facts

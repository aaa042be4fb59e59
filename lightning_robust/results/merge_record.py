"""What stands beside merged weights: of which files they were made, how, and by which versions."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from lightning_robust.results.provenance import Provenance
from lightning_robust.results.record_file import read_record, write_record

__all__ = ["MERGE_SCHEMA", "MergeInput", "MergeOutput", "MergeRecord", "read_merge", "write_merge"]

MERGE_SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class MergeInput:
    """One of the models that were merged.

    Attributes:
        file: the file, as it was given.
        form: what it was, in words.
        checkpoint_hash: SHA-256 of the file.
        head_hash: SHA-256 of the head's file beside it; None without one.
        score: the model's own score, where models were chosen by one.
        kept: whether the model is part of the result, where models were chosen.
    """

    file: str
    form: str
    checkpoint_hash: str
    head_hash: str | None = None
    score: float | None = None
    kept: bool | None = None


@dataclass(frozen=True, kw_only=True)
class MergeOutput:
    """One of the merged models.

    Attributes:
        file: name of its file, beside the record.
        alpha: position on the path; None for a soup.
        checkpoint_hash: SHA-256 of the file.
        head_hash: SHA-256 of the head's file beside it; None without one.
        score: the soup's score, where models were chosen by one.
    """

    file: str
    alpha: float | None = None
    checkpoint_hash: str
    head_hash: str | None = None
    score: float | None = None


@dataclass(frozen=True, kw_only=True)
class MergeRecord:
    """A path between two models, or a soup of several.

    Attributes:
        schema_version: version of this record's layout.
        kind: ``"path"`` or ``"soup"``.
        method: how they were merged, in words.
        provenance: versions, machine, time.
        inputs: what was merged; of a path start and end.
        outputs: what was written.
        data: description of the images that were used; None where none were.
        images: number of such images that were read, by purpose.
        seeds: seeds by purpose.
        conventions: what one has to know of the method, in sentences.
        encoder: name of the models' encoder, as ``load_encoder`` takes it; None where it was not known.
    """

    schema_version: int = MERGE_SCHEMA
    kind: str
    method: str
    provenance: Provenance
    inputs: tuple[MergeInput, ...]
    outputs: tuple[MergeOutput, ...]
    data: str | None = None
    images: Mapping[str, int] = field(default_factory=dict)
    seeds: Mapping[str, int] = field(default_factory=dict)
    conventions: tuple[str, ...] = ()
    encoder: str | None = None


def write_merge(record: MergeRecord, path: str | os.PathLike[str]) -> None:
    """Write the record, whole or not at all.

    Raises:
        FileNotFoundError: the folder does not exist.
    """
    write_record(record, path)


def read_merge(path: str | os.PathLike[str]) -> MergeRecord:
    """Read the record.

    Raises:
        UserError: there is none at ``path``, or it is none that this version understands.
    """
    return read_record(MergeRecord, path, MERGE_SCHEMA, "a record of merged weights", "interpolate or soup")

"""Whether a table knows a model already: then its family must not help to predict it."""

import functools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from lightning_robust.results import file_sha256
from lightning_robust.results.diagnosis_record import TrainingPoint
from lightning_robust.results.merge_record import MergeRecord, read_merge

__all__ = ["known_family"]

_FROM_RANDOM: Final = "SupervisedPretraining"
_MAYBE_RANDOM: Final = "ContrastivePretraining"


def known_family(name: str, checkpoint_hash: str, points: Sequence[TrainingPoint]) -> str:
    """The table's family that a model belongs to: by its weights, by name, or by what it descends from.

    Descent is followed to its beginning: what a run started from, what it exported, what was merged, what was
    compressed. Where weights that a run started from are not where it found them, a warning says so.

    Args:
        name: as it was asked for.
        checkpoint_hash: SHA-256 of its weights.
        points: rows of the table.

    Returns:
        The family; empty for a model that the table does not know.
    """
    by_hash = {point.checkpoint_hash: point.family for point in points if point.checkpoint_hash}
    names = {key: point.family for point in points for key in (point.name, point.family)}
    waiting, seen = [(name, checkpoint_hash)], set[str]()
    while waiting:
        one, own_hash = waiting.pop(0)
        if found := by_hash.get(own_hash) or names.get(one):
            return found
        if one not in seen:
            seen.add(one)
            waiting += _parents(one)
    return ""


def _parents(name: str) -> list[tuple[str, str]]:
    """Names and hashes of other weights of a model's family; the hash is empty where nobody can tell."""
    from lightning_robust.errors import UserError

    try:
        return list(_found(name))
    except (ValueError, UserError):  # a record that cannot be read says nothing; who loads the model says why
        return []


def _found(name: str) -> Iterator[tuple[str, str]]:
    from lightning_robust.models.compressed import is_compressed
    from lightning_robust.models.compressed_facts import read_facts
    from lightning_robust.models.encoders import LOCAL

    file = name if Path(name).is_file() else name.rpartition("@")[2]  # ARCHITECTURE@FILE
    if is_compressed(name):
        facts = read_facts(Path(name))
        yield facts.name, facts.source_hash
    elif name.startswith(LOCAL):
        yield from _of_run(Path(name.removeprefix(LOCAL)).expanduser(), exported=True)
    elif Path(file).is_file():
        yield from _of_run(Path(file), exported=False)


def _of_run(path: Path, *, exported: bool) -> Iterator[tuple[str, str]]:
    """What a file of a run, or the folder that it exported, has to do with."""
    from lightning_robust.models.run_names import MERGED, init_args, known_encoder, run_settings

    found = known_encoder(path / "any" if exported else path)
    if found is None:
        return
    kind, encoder, where = found
    if kind == MERGED:
        yield from _merged(read_merge(where))
        return
    settings = init_args(run_settings(where, "model"))
    export = settings.get("export_to")
    folder = where.parent / export if isinstance(export, str) else None
    if exported and (folder is None or folder.resolve() != path.resolve()):
        return  # a folder of something else that lies in a run's
    if folder is not None and not exported:
        yield _exported(folder)
    if _begins_with_weights(kind, settings):
        yield encoder, _hash_of(encoder)


def _begins_with_weights(kind: str, settings: Mapping[str, Any]) -> bool:
    """Whether a run starts from its encoder's weights, and does not take its architecture alone."""
    return kind != _FROM_RANDOM and settings.get("pretrained", kind != _MAYBE_RANDOM) is True


def _exported(folder: Path) -> tuple[str, str]:
    """What a run exported at its end: the same family as its checkpoints."""
    classifier = folder / "model.safetensors"
    if classifier.is_file():
        return str(folder), file_sha256(classifier)
    return str(folder), _hash_of(f"local-dir:{folder}") if folder.is_dir() else ""


def _merged(record: MergeRecord) -> Iterator[tuple[str, str]]:
    for one in record.inputs:
        yield one.file, one.checkpoint_hash


@functools.cache
def _hash_of(encoder: str) -> str:
    """Of an encoder's weights; empty, with a warning, where they are not here."""
    from lightning_robust.models.encoders import load_encoder

    try:
        return str(load_encoder(encoder, download=False).checkpoint_hash)
    except (ValueError, OSError):
        warnings.warn(
            f"{encoder}, which a model was trained from, is not here, so that its weights cannot be compared with the "
            "table's: if its family is in the table, it was not left out",
            stacklevel=2,
        )
        return ""

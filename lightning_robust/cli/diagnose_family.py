"""Whether a table knows a model already: then its family must not help to predict it."""

import functools
from collections.abc import Iterator
from pathlib import Path

from lightning_robust.results import file_sha256
from lightning_robust.results.diagnosis_record import TrainingPoint
from lightning_robust.results.merge_record import MergeRecord, read_merge

__all__ = ["known_family"]

_FROM_RANDOM = "SupervisedPretraining"
_MAYBE_RANDOM = "ContrastivePretraining"


def known_family(name: str, checkpoint_hash: str, points: tuple[TrainingPoint, ...]) -> str:
    """The table's family that a model belongs to: by its weights, by those that it was trained or merged from, by name.

    Args:
        name: As it was asked for.
        checkpoint_hash: SHA-256 of its weights.
        points: Rows of the table.

    Returns:
        The family; empty for a model that the table does not know.
    """
    by_hash = {point.checkpoint_hash: point.family for point in points if point.checkpoint_hash}
    names = {key: point.family for point in points for key in (point.name, point.family)}
    if name in names:
        return names[name]
    if checkpoint_hash in by_hash:
        return by_hash[checkpoint_hash]
    for parent, parent_hash in _parents(name):
        if parent_hash in by_hash or parent in names:
            return by_hash.get(parent_hash) or names[parent]
    return ""


def _parents(name: str) -> Iterator[tuple[str, str]]:
    """Names and hashes of other weights of a file's family: what its run exported, and what it was trained from."""
    from lightning_robust.errors import UserError
    from lightning_robust.models.run_names import MERGED, init_args, known_encoder, run_settings

    path = Path(name)
    if not path.is_file():
        return
    try:
        found = known_encoder(path)
        if found is None:
            return
        kind, encoder, where = found
        if kind == MERGED:
            yield from _merged(read_merge(where))
            return
        settings = init_args(run_settings(where, "model"))
        if isinstance(export := settings.get("export_to"), str):
            yield _exported(where.parent / export)
        if kind != _FROM_RANDOM and (kind != _MAYBE_RANDOM or settings.get("pretrained") is True):
            yield encoder, _hash_of(encoder)
    except (ValueError, UserError):  # what it comes from is not here any more, so that nothing can be compared
        return


def _exported(folder: Path) -> tuple[str, str]:
    """What a run exported at its end: the same family as its checkpoints."""
    classifier = folder / "model.safetensors"
    return str(folder), file_sha256(classifier) if classifier.is_file() else _hash_of(f"local-dir:{folder}")


def _merged(record: MergeRecord) -> Iterator[tuple[str, str]]:
    for one in record.inputs:
        yield one.file, one.checkpoint_hash
        yield from _parents(one.file)


@functools.cache
def _hash_of(encoder: str) -> str:
    """Of an encoder's weights; empty where they are not here."""
    from lightning_robust.models.encoders import load_encoder

    try:
        return str(load_encoder(encoder).checkpoint_hash)
    except (ValueError, OSError):
        return ""

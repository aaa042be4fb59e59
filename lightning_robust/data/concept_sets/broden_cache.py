"""What the masks of a Broden folder show, read once: the reading takes minutes, the cache a moment."""

import hashlib
import json
from pathlib import Path
from typing import Final

import numpy as np

from lightning_robust.data.concept_sets.broden_index import BrodenIndex
from lightning_robust.data.concept_sets.broden_masks import Findings, find_labels
from lightning_robust.data.reading import MAX_UNREADABLE
from lightning_robust.results import atomic_path, cache_folder

__all__ = ["CACHE_VERSION", "cache_file", "cached_findings"]

#: Raised whenever the same files would give other findings.
CACHE_VERSION: Final = 1


def cache_file(index: BrodenIndex) -> Path:
    """Where the findings of an index are kept.

    The name is a hash of the version, the images, categories and cells of the index, and the size and time of change
    of every mask: after any change of the copy there is another file.

    Args:
        index: What the tables say.

    Returns:
        A path in the cache folder (`$LIGHTNING_ROBUST_CACHE`, else the user's).

    Example:
        >>> cache_file(BrodenIndex(Path("broden"), ("color",), (), ())).suffix
        '.npz'
    """
    digest = hashlib.sha256(f"{CACHE_VERSION};{index.categories!r}".encode())
    images = index.folder / "images"
    for row in index.rows:
        digest.update(repr((row.image, row.numbers)).encode())
        for category, names in row.masks.items():
            digest.update(repr((category, names, [_stamp(images / name) for name in names])).encode())
    return cache_folder() / f"broden-{digest.hexdigest()[:16]}.npz"


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def cached_findings(index: BrodenIndex, *, num_workers: int = 0, max_unreadable: int = MAX_UNREADABLE) -> Findings:
    """What the images show, from the cache or read and put there.

    A damaged cache is made again; where none can be written the masks are read in every run.

    Args:
        index: What the tables say.
        num_workers: Worker processes that read masks.
        max_unreadable: How many masks may be unreadable.

    Returns:
        The findings.

    Raises:
        ValueError: If more masks than that cannot be read.
    """
    path = cache_file(index)
    findings = _read(path, len(index.rows), len(index.categories))
    if findings is not None and len(findings.unreadable) <= max_unreadable:
        return findings
    findings = find_labels(index, num_workers=num_workers, max_unreadable=max_unreadable)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            np.savez_compressed(
                temporary, row=findings.row, category=findings.category, number=findings.number, area=findings.area,
                annotated=findings.annotated, unreadable=np.array(json.dumps(findings.unreadable)),
            )  # fmt: skip
    except OSError:
        pass  # a read-only home costs minutes a run and nothing else
    return findings


def _read(path: Path, n: int, categories: int) -> Findings | None:
    """Cached findings, or None where there are none or none that can be used."""
    try:
        with path.open("rb") as file, np.load(file) as archive:  # numpy leaves a file open that is no archive
            columns = {name: archive[name] for name in ("row", "category", "number", "area", "annotated")}
            unreadable = tuple(json.loads(str(archive["unreadable"])))
    except Exception:  # a damaged zip raises a dozen kinds of error, and the answer to each is to read again
        return None
    findings = Findings(**columns, unreadable=unreadable)
    lengths = {len(columns[name]) for name in ("row", "category", "number", "area")}
    whole = len(lengths) == 1 and findings.annotated.shape == (n, categories)
    return findings if whole and findings.annotated.dtype == np.bool_ else None

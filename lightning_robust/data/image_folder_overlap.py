"""A file that stands in two sets: an image would be judged that was trained on, or counted twice."""

import os
from collections.abc import Sequence

import numpy as np

from lightning_robust.data.image_folder_domains import Part, Reference, Shift
from lightning_robust.data.labelled.source import ChosenImages
from lightning_robust.data.reading import ImageFiles

__all__ = ["check_overlap"]


def check_overlap(reference: Reference, shifts: Sequence[Shift]) -> None:
    """Refuse files that are in two splits of one set, or in the reference and in a shift; links are followed.

    Two shifts may share images, and rows of tables are not compared.

    Args:
        reference: The reference.
        shifts: The shifts.

    Raises:
        ValueError: If a file is.
    """
    known: dict[str, str] = {}
    for split, part in reference.parts.items():
        _add(f"{reference.record.name}/{split}", part, known)
    for shift in shifts:
        own = dict(known)
        for split, part in shift.parts.items():
            _add(f"{shift.record.name}/{split}", part, own)


def _add(name: str, part: Part, known: dict[str, str]) -> None:
    paths = _real_paths(part)
    if shared := [path for path in paths if path in known]:
        where = " and ".join(sorted({known[path] for path in shared}))
        raise ValueError(
            f"{len(shared)} of the {len(paths)} images of {name} are images of {where} too, the first of them "
            f"{shared[0]}; sets have to be apart, else an image is judged that was trained or chosen on"
        )
    known.update(dict.fromkeys(paths, name))


def _real_paths(part: Part) -> list[str]:
    """The files of the images that are kept, links followed; nothing where they are no files."""
    images, chosen = part.source.images, np.arange(len(part.source))
    if isinstance(images, ChosenImages):
        chosen, images = images.chosen, images.images
    if not isinstance(images, ImageFiles):
        return []
    kept = chosen[np.asarray(part.targets)[part.source.labels] >= 0]
    folders: dict[str, str] = {}
    found: dict[str, None] = {}
    for index in kept.tolist():
        path = images.paths[index]
        folder, file = os.path.split(path)
        if folder not in folders:  # to ask once for each folder saves most of the time
            folders[folder] = os.path.realpath(folder)
        real = os.path.realpath(path) if os.path.islink(path) else f"{folders[folder]}{os.sep}{file}"  # noqa: PTH114
        found[real] = None
    return list(found)

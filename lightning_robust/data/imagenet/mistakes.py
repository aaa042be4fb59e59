"""Two mistakes of naming folders: the folder of a set in place of the one above it, and one folder for two sets."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lightning_robust.data.imagenet.checks import SetCheck
from lightning_robust.data.imagenet.labels import looks_like_class
from lightning_robust.data.imagenet.published import SETS, published
from lightning_robust.data.labelled.folders import IMAGE_SUFFIXES, RUBBISH

__all__ = ["set_itself", "with_shared_places"]


def set_itself(
    folder: Path, names: Sequence[str], v2: str = "matched-frequency", by: str = "--path {name}={folder}"
) -> str | None:
    """What to say of a folder that is a set and does not hold any: most of what lies in it is images or class folders.

    A picture or a folder called `2023` among others makes no set. Hidden names count for nothing.

    Args:
        folder: What was named as the folder that holds the sets, where none was found in it.
        names: Sets that are asked for.
        v2: Which variant of ImageNet-V2.
        by: How a set's folder is told.

    Returns:
        A sentence; None where it is no set.

    Raises:
        ValueError: If the folder cannot be listed.
    """
    top = folder.expanduser()
    try:
        with os.scandir(top) as entries:
            here = [(e.name, e.is_dir()) for e in entries if not e.name.startswith(".") and e.name not in RUBBISH]
    except OSError as error:
        raise ValueError(f"{folder} cannot be listed ({error.strerror}): give a folder that can be read") from error
    images = sum(name.lower().endswith(IMAGE_SUFFIXES) for name, is_folder in here if not is_folder)
    classes = sum(any(looks_like_class(one, name) for one in names) for name, is_folder in here if is_folder)
    flat = 2 * images > len(here)
    if not flat and not (classes > 1 and 2 * classes > len(here)):
        return None
    called = top.resolve().name
    known = next((name for name in SETS if any(Path(f).name == called for f in published(name, v2).folders)), None)
    above = f"{top.resolve().parent}" if known else "the folder above it"
    return (
        f"{folder} is a set itself, for {'images' if flat else 'class folders'} lie in it: give {above}, which holds "
        f"the sets, or say which set it is by {by.format(name=known or names[0], folder=folder)}"
    )


def with_shared_places(checks: Sequence[SetCheck]) -> list[SetCheck]:
    """Checks to which is added where a set is another one too: `val` may be a link to `train`.

    Args:
        checks: The checks.
    """
    first: dict[str, str] = {}
    found = []
    for check in checks:
        added: tuple[str, ...] = ()
        if check.where is not None:
            place = os.path.realpath(Path(check.where).expanduser()) if ":" not in check.where else check.where
            if place in first:
                added = (f"it has the same files as {first[place]}, {place}",)
            first.setdefault(place, check.facts.title)
        found.append(replace(check, problems=(*added, *check.problems)))
    return found

"""Is a copy of ImageNet or of a shift whole? Images and classes against what is published, and a sample opened."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from lightning_robust.data.image_sets import spread
from lightning_robust.data.imagenet.classes import wnids
from lightning_robust.data.imagenet.counting import count_folders, sample_of
from lightning_robust.data.imagenet.flat_val import solution_file
from lightning_robust.data.imagenet.labels import imagenet_classes, is_class, set_classes
from lightning_robust.data.imagenet.objectnet import covered
from lightning_robust.data.imagenet.opening import FLAT, open_set
from lightning_robust.data.imagenet.published import PublishedSet, published
from lightning_robust.data.labelled.source import ChosenImages, in_words
from lightning_robust.data.reading import ImageSource, UnreadableImageError

__all__ = ["SetCheck", "check_set"]

#: So many classes or images are named in a sentence.
_NAMED: Final = 4


@dataclass(frozen=True)
class SetCheck:
    """What a copy of a set was found to be.

    Attributes:
        facts: What is published about the set.
        where: Where the copy is, None where there is none.
        images: Images of the classes that count; all, where it cannot be told what the classes are.
        classes: Classes that have an image.
        opened: Images opened.
        problems: Sentences; a copy without any is whole.
        notes: Sentences about what is no problem.
    """

    facts: PublishedSet
    where: str | None
    images: int = 0
    classes: int = 0
    opened: int = 0
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass
class _Copy:
    """The classes of a copy with their numbers of images, a sample of it, and what was noticed on the way."""

    counts: dict[str, int]
    sample: ImageSource
    problems: list[str]
    notes: list[str]


def check_set(
    name: str, where: str | None, *, v2: str = "matched-frequency", n_open: int = 100, download: bool = False
) -> SetCheck:
    """Compare a copy with what is published.

    Args:
        name: Short name of the set.
        where: Where the copy is, as `locations` gives it and `open_set` takes it.
        v2: Which variant of ImageNet-V2.
        n_open: How many images are opened, evenly spaced over the copy.
        download: Whether a data set of the Hub that is not on this machine may be fetched.

    Returns:
        What was found. Everything that is wrong with the copy becomes a sentence and no error.

    Raises:
        ValueError: If there is no set or variant of that name.
    """
    facts = published(name, v2)
    if where is None:
        looked = ", ".join(facts.folders[:_NAMED])
        return SetCheck(facts, None, problems=(f"there is no folder of it (it is looked for as {looked})",))
    try:
        folder = Path(where).expanduser()
        copy = _folder(name, folder, n_open) if folder.is_dir() else _table(name, where, n_open, download=download)
    except (ValueError, OSError) as error:
        return SetCheck(facts, where, problems=(" ".join(str(error).split()),))
    per_class = _per_class(name, copy)
    if per_class is not None:
        _compare(facts, copy, per_class)
    opened = _open(copy, border=name == "objectnet")
    counts = copy.counts if per_class is None else per_class
    classes = sum(count > 0 for count in (per_class or {}).values())
    return SetCheck(facts, where, sum(counts.values()), classes, opened, tuple(copy.problems), tuple(copy.notes))


def _folder(name: str, folder: Path, n_open: int) -> _Copy:
    counts = count_folders(folder)
    if not counts:
        if name == "val" and solution_file(folder) is not None:
            return _table(name, str(folder), n_open, download=False)
        raise ValueError(FLAT.format(folder))
    known = [count for count in counts if is_class(name, count.name)]
    copy = _Copy({count.name: count.images for count in known}, sample_of(folder, known, n_open), [], [])
    if extra := [count.name for count in counts if count.name not in copy.counts]:
        copy.problems.append(f"{_of(len(extra), 'folder is', 'folders are')} no class of it: {in_words(extra, _NAMED)}")
    if other := [count.other for count in known if count.other is not None]:
        folders = _of(len(other), "class folder holds", "class folders hold")
        copy.notes.append(f"{folders} a file that is no image, {other[0]} for one")
    return copy


def _table(name: str, where: str, n_open: int, *, download: bool) -> _Copy:
    found = open_set(name, where, download=download).source
    counts = found.counts()
    if all(text.isdecimal() for text in counts):  # a number without images is no class
        counts = {text: count for text, count in counts.items() if count}
    return _Copy(counts, ChosenImages(found.images, np.array(spread(len(found), n_open))), [], [])


def _per_class(name: str, copy: _Copy) -> dict[int, int] | None:
    """Images of each ImageNet class that is there; None where it cannot be told what the classes are."""
    if not copy.counts:
        return {}
    try:
        classes = imagenet_classes(name, list(copy.counts))
    except ValueError as error:
        copy.problems.append(str(error).removeprefix(f"{published(name).title}: "))
        return None
    if without := sum(index is None for index in classes):
        copy.notes.append(f"{without} of its objects are no ImageNet class and are left out")
    found: dict[int, int] = {}
    for index, count in zip(classes, copy.counts.values(), strict=True):
        if index is not None:
            found[index] = found.get(index, 0) + count
    return found


def _compare(facts: PublishedSet, copy: _Copy, per_class: Mapping[int, int]) -> None:
    """Add what differs from what is published."""
    folders = {one.classes[0]: one.folder for one in covered()} if facts.name == "objectnet" else {}
    wanted = list(folders) if folders else set_classes(facts.name)
    numbered = bool(copy.counts) and all(text.isdecimal() for text in copy.counts)

    def called(indices: Sequence[int]) -> str:
        names = [folders.get(k, str(k) if numbered else wnids()[k]) for k in indices]
        return in_words(names, _NAMED)

    if missing := [index for index in wanted if index not in per_class]:
        copy.problems.append(f"{len(missing)} of {facts.classes} classes are missing: {called(missing)}")
    if empty := [index for index in wanted if per_class.get(index) == 0]:
        copy.problems.append(f"{_of(len(empty), 'class has', 'classes have')} no images: {called(empty)}")
    if facts.per_class is not None:
        low, high = facts.per_class
        odd = [index for index, count in per_class.items() if count and not low <= count <= high]
        if odd:
            each = f"{low}" if low == high else f"{low} to {high:,}"
            copy.problems.append(
                f"{_of(len(odd), 'class has', 'classes have')} not {each} images: {called(odd)} "
                f"({per_class[odd[0]]:,} in the first)"
            )
    total = sum(per_class.values())
    if total not in facts.images:
        whole = " or ".join(f"{n:,}" for n in facts.images)
        copy.problems.append(f"{total:,} images are here, {whole} are published")


def _open(copy: _Copy, *, border: bool) -> int:
    """Open the sample; how many were readable."""
    unreadable, framed, opened = [], 0, 0
    for index in range(len(copy.sample)):
        try:
            image = copy.sample.open(index)
        except UnreadableImageError as error:
            unreadable.append(str(error))
            continue
        opened += 1
        framed += _has_red_border(image)
    if unreadable:
        copy.problems.append(
            f"{len(unreadable)} of the {len(copy.sample)} images opened cannot be read, the first: {unreadable[0]}"
        )
    if border and opened and framed < opened:
        copy.notes.append(
            f"{opened - framed} of {opened} images opened have no red border: where a copy was cropped before, "
            "protocols that crop cut 2 pixels more"
        )
    return opened


def _has_red_border(image: Image.Image) -> bool:
    """Whether the outermost pixels are red, which JPEG copies only nearly are."""
    width, height = image.size
    corners = [image.getpixel(at) for at in ((0, height // 2), (width - 1, height // 2), (width // 2, 0))]
    return all(isinstance(pixel, tuple) and pixel[0] > 180 and max(pixel[1:3]) < 100 for pixel in corners)


def _of(count: int, one: str, several: str) -> str:
    return f"{count:,} {one if count == 1 else several}"

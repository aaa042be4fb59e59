"""What `ImageFolderDataModule` finds: the reference in three splits, and each shift in two."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lightning_robust.data.hub_tables import local_files, short_name, with_split
from lightning_robust.data.image_folder_classes import ClassMatch, match_classes, near
from lightning_robust.data.image_folder_splits import draw_parts
from lightning_robust.data.labelled.folders import sub_folders
from lightning_robust.data.labelled.source import LabelledSource, in_words
from lightning_robust.data.labelled.spec import open_split_sources, parsed
from lightning_robust.data.shifts import DistributionShift

__all__ = ["Part", "Reference", "Shift", "find_reference", "find_shift", "spec_below"]

_HALVES: Final = (0.5, 0.5)


@dataclass(frozen=True, eq=False)
class Part:
    """Images with what their classes are in the reference.

    Attributes:
        source: The images.
        targets: Reference class of each class of the source, −1 where its images are left out.
    """

    source: LabelledSource
    targets: tuple[int, ...]

    def counts(self, classes: int) -> NDArray[np.int64]:
        """How many images each reference class has, `(classes,)`."""
        found = np.asarray(self.targets)[self.source.labels]
        return np.bincount(found[found >= 0], minlength=classes)


@dataclass(frozen=True, eq=False)
class Reference:
    """The reference: its classes are those of the training images.

    Attributes:
        record: What loader 0 shows.
        classes: The classes, as the source calls them.
        parts: `train`, `val` and `test`.
        how: How the splits came about.
    """

    record: DistributionShift
    classes: tuple[str, ...]
    parts: dict[str, Part]
    how: str


@dataclass(frozen=True, eq=False)
class Shift:
    """A shift: never trained on.

    Attributes:
        record: What its loader shows.
        parts: `val` and `test`.
        unmatched: Its classes that the reference lacks, with the number of images left out.
        used: Keys of the class map that were used.
    """

    record: DistributionShift
    parts: dict[str, Part]
    unmatched: dict[str, int]
    used: frozenset[str]


def spec_below(root: str | None, name: str, argument: str) -> str:
    """The spec of a domain: a folder or a file in `root` where there is one, options kept.

    Raises:
        ValueError: If there is a root and neither it nor the folder in it is there.
    """
    if root is None:
        return name
    top = Path(root).expanduser()
    if (top / name).is_dir():
        return str(top / name)
    kind, path, _ = parsed(name)
    _, mark, options = name.partition("?")
    if kind == "folder" and (top / path).is_dir():
        return f"{top / path}{mark}{options}"
    if kind in ("csv", "parquet") and local_files(str(top / with_split(path)[0])):
        return f"{kind}:{top / path}{mark}{options}"
    if kind != "folder" or Path(path).is_absolute():
        return name
    if not top.is_dir():
        raise ValueError(
            f"No folder {root}: root has to be a folder that holds {name!r}, with a folder of images for each class in "
            "it (--data.init_args.root FOLDER)"
        )
    raise ValueError(
        f"{argument} {name!r} is no folder in {root}; there are {in_words(sub_folders(top), 12) or 'none'}"
    )


def find_reference(
    name: str | None, spec: str, fractions: Sequence[float], seed: int, *, download: bool = False
) -> Reference:
    """Open the reference and divide it.

    Args:
        name: Its name; None takes that of the source.
        spec: Where it is, see `open_labelled`.
        fractions: Shares of train, val and test where it is not divided already.
        seed: Seed of the draw.
        download: Whether it may be fetched.

    Raises:
        ValueError: If it cannot be opened, a class has no training image, or a split has classes that the training
            images lack, or one that could be two of them.
    """
    found = open_split_sources(spec, download=download)
    train = found.get("whole") or found.get("train")
    if train is None:
        raise ValueError(f"{spec} has the splits {', '.join(found)} and none called train")
    sources, how = _reference_sources(train, found, fractions, seed)
    classes = train.class_names
    for split in ("val", "test"):
        match = match_classes(sources[split], classes)
        if match.unmatched:
            raise ValueError(
                f"The {split} images of {spec} have the classes {in_words(list(match.unmatched))}, which its training "
                "images lack"
            )
    parts = {split: Part(source, match_classes(source, classes).targets) for split, source in sources.items()}
    counts = parts["train"].counts(len(classes))
    if (counts == 0).any():
        raise ValueError(f"The class {classes[int(counts.argmin())]!r} of {train.source} has no training images")
    for split in ("val", "test"):
        if lacking := [classes[k] for k in np.flatnonzero(parts[split].counts(len(classes)) == 0)]:
            have = "The class {} of {} has" if len(lacking) == 1 else "The classes {} of {} have"
            said = have.format(in_words(lacking), spec)
            warnings.warn(f"{said} no {split} images, so that accuracy there is not of every class", stacklevel=2)
    record = DistributionShift(name or _domain_name(spec, train), f"{train.source}; {how}")
    return Reference(record, classes, parts, how)


def _domain_name(spec: str, source: LabelledSource) -> str:
    """A folder that is divided already goes by its own name, not by that of its split."""
    kind, path, _ = parsed(spec)
    return short_name(Path(path).expanduser().resolve().name if kind == "folder" else source.name)


def _reference_sources(
    train: LabelledSource, found: Mapping[str, LabelledSource], fractions: Sequence[float], seed: int
) -> tuple[dict[str, LabelledSource], str]:
    if "val" in found and "test" in found:
        return {"train": train, "val": found["val"], "test": found["test"]}, "splits as they come"
    if "val" in found:
        test, val = _drawn(found["val"], _HALVES, seed)
        return {"train": train, "val": val, "test": test}, f"val halved into val and test by seed {seed}"
    if "test" in found:
        share = fractions[1] / (fractions[0] + fractions[1])
        rest, val = _drawn(train, (1 - share, share), seed)
        how = f"test as it comes, {share:.3g} of train for val by seed {seed}"
        return {"train": rest, "val": val, "test": found["test"]}, how
    rest, val, test = _drawn(train, fractions, seed)
    shares = "/".join(f"{share:.3g}" for share in fractions)
    return {"train": rest, "val": val, "test": test}, f"train/val/test {shares} of each class by seed {seed}"


def _drawn(source: LabelledSource, shares: Sequence[float], seed: int) -> list[LabelledSource]:
    parts = draw_parts(source, shares, seed)
    if not all(len(part) for part in parts):
        raise ValueError(f"{source.source} is too small to be divided into {len(shares)} parts")
    return [source.choose(part) for part in parts]


def find_shift(
    name: str | None, spec: str, reference: Reference, seed: int,
    *, class_map: Mapping[str, str] | None = None, unmatched: str = "leave-out", download: bool = False,
) -> Shift:  # fmt: skip
    """Open a shift, match its classes and divide it into halves for validation and test.

    Where it comes divided and has both val and test, they are taken as they are; else its test images, or if there are
    none its val or train images, are halved class by class.

    Args:
        name: Its name; None takes that of the source.
        spec: Where it is, see `open_labelled`.
        reference: The reference.
        seed: Seed of the halves.
        class_map: Reference class for a class of the shift.
        unmatched: `"leave-out"` warns about classes that the reference lacks, `"error"` raises.
        download: Whether it may be fetched.

    Raises:
        ValueError: If it cannot be opened, or no class of it (with `"error"`: one class of it not) is one of the
            reference.
    """
    found = open_split_sources(spec, download=download)
    if "val" in found and "test" in found:
        sources, how = {"val": found["val"], "test": found["test"]}, "val and test as they come"
    else:
        split = next(split for split in ("whole", "test", "val", "train") if split in found)
        test, val = _drawn(found[split], _HALVES, seed)
        sources = {"val": val, "test": test}
        how = f"{'' if split == 'whole' else split + ' '}halved into val and test by seed {seed}"
    some = sources["test"]
    name = name or _domain_name(spec, some)
    matches = {split: match_classes(source, reference.classes, class_map) for split, source in sources.items()}
    left_out = _left_out(name, matches, reference.classes, unmatched)
    covered = sorted({index for match in matches.values() for index in match.covered})
    whole = len(covered) == len(reference.classes)
    protocol = (
        "top-1 over all classes" if whole else f"top-1 over its {len(covered)} of {len(reference.classes)} classes"
    )
    note = f"; {sum(left_out.values())} images of {len(left_out)} other classes left out" if left_out else ""
    record = DistributionShift(
        name, f"{found.get('whole', some).source}; {how}{note}", protocol,
        groups=None if whole else tuple((index,) for index in covered),
    )  # fmt: skip
    parts = {split: Part(source, matches[split].targets) for split, source in sources.items()}
    return Shift(record, parts, left_out, frozenset().union(*(match.used for match in matches.values())))


def _left_out(name: str, matches: Mapping[str, ClassMatch], classes: Sequence[str], unmatched: str) -> dict[str, int]:
    left_out: dict[str, int] = {}
    for match in matches.values():
        for class_name, count in match.unmatched.items():
            left_out[class_name] = left_out.get(class_name, 0) + count
    if not any(match.covered for match in matches.values()):
        raise ValueError(
            f"No class of {name} is one of the reference: it has {in_words(list(left_out))}, the reference "
            f"{in_words(classes)}; class_map can say which is which"
        )
    if left_out:
        listed = "; ".join(f"{label!r} ({count} images{_hint(label, classes)})" for label, count in left_out.items())
        some = "a class" if len(left_out) == 1 else f"{len(left_out)} classes"
        sentence = f"{name} has {some} that the reference lacks: {listed}"
        if unmatched == "error":
            raise ValueError(f"{sentence}; class_map can say what each is, unmatched='leave-out' leaves them out")
        warnings.warn(f"{sentence}; these images are left out (class_map can say what each is)", stacklevel=2)
    return left_out


def _hint(name: str, classes: Sequence[str]) -> str:
    return near(name, classes).replace(";", ",", 1)

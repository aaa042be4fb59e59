"""`ImageNetDataModule`: ImageNet as reference, its natural shifts beside it."""

import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning import LightningDataModule
from numpy.typing import NDArray
from torch import Tensor

from lightning_robust.data.image_folder_settings import check_numbers
from lightning_robust.data.image_folder_splits import draw_shots
from lightning_robust.data.image_sets import spread
from lightning_robust.data.imagenet.classes import class_names, templates
from lightning_robust.data.imagenet.layout import locations
from lightning_robust.data.imagenet.mistakes import set_itself
from lightning_robust.data.imagenet.opening import OpenedSet, open_set
from lightning_robust.data.imagenet.protocols import PROTOCOLS, protocol_names, reference_record, shift_record
from lightning_robust.data.imagenet.published import SHIFT_NAMES, V2_VARIANTS, published
from lightning_robust.data.labelled import LabelledImages, evaluation_loader, training_loader, training_transform
from lightning_robust.data.labelled.augment import check_augmentation
from lightning_robust.data.reading import MAX_UNREADABLE, TolerantLoader

__all__ = ["ImageNetDataModule"]


class ImageNetDataModule(LightningDataModule):
    """ImageNet (Russakovsky et al. 2015) and its natural shifts V2, R, Sketch, ObjectNet and A.

    Loader 0 is the reference, the others are the shifts in the order asked for. ImageNet's validation images and the
    shifts are the test set of every published table, so `test_dataloader` has them and nothing is ever chosen on them:
    `val_dataloader` has `n_val` images of ImageNet *train*, left out of training. Shifts have no images but their
    test images; `n_val_shift` of each, evenly spaced, stand in `val_dataloader` for live curves alone. Those are in
    the tables too, so no choice (early stopping, the best checkpoint, α) may depend on them. ObjectNet's licence
    forbids training and tuning on it: it is evaluated on, and can be nothing else here.

    Where only validation images and shifts are there, evaluation works and training says what is missing. Images whose
    class is no ImageNet class (200 of ObjectNet's 313 objects) are left out. A copy with another number of images than
    is published is warned about; `python -m lightning_robust check-data FOLDER` says more.

    Args:
        root: The folder that holds `train`, `val` and the folders of the shifts under the names they are unpacked
            with, or None where `paths` names all that is used.
        transform: From a PIL image to a tensor; the command line links the encoder's own preprocessing here.
        shifts: Which shifts, of `v2`, `r`, `sketch`, `objectnet` and `a`.
        v2: Variant of ImageNet-V2: `matched-frequency`, `threshold0.7` or `top-images`.
        protocol: `wise-ft`, `testbed` or `clip_benchmark` (see `imagenet.protocols`), one for all shifts or by shift.
        paths: Where a set is, before what is found below `root`: for `train`, `val` or a shift a folder,
            `parquet:FILES[:SPLIT]`, `hub:ID[:SPLIT]`, `webdataset:FILES` or `csv:FILE`.
        batch_size: Images in a batch on each rank, in training and evaluation.
        num_workers: Worker processes of a loader; None takes one for each core, eight at most.
        n_val: Training images held out for choices, drawn by `split_seed`.
        n_val_shift: Images of each shift in `val_dataloader`; 0 leaves the shifts out of it.
        shots: Few-shot training: so many images of each class, drawn by seed; None takes all.
        augment: What training images go through: `crop-flip`, `crop`, `flip` or `none`, by (seed, epoch, index).
        scale: Least and largest share of the image that a random crop has; open_clip trains with 0.9 to 1.
        max_unreadable: How many images a loader may leave out or replace before it stops.
        download: Whether data sets of the Hub that are not on this machine may be fetched.
        seed: Seed of few-shot draws, of order and augmentation.
        split_seed: Seed of the held-out part, so that runs with different seeds hold out the same images.

    Raises:
        ValueError: For an unknown shift, variant or protocol, one given for a shift that is left out, a shift that is
            not there, or a number out of range; from a loader, where there is no transform, no copy of the set, or the
            copy has other classes than the set.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        transform: Callable[[Any], Tensor] | None = None,
        shifts: Sequence[str] = SHIFT_NAMES,
        v2: str = "matched-frequency",
        protocol: str | dict[str, str] = "wise-ft",
        paths: dict[str, str] | None = None,
        batch_size: int = 128,
        num_workers: int | None = None,
        n_val: int = 10_000,
        n_val_shift: int = 1000,
        shots: int | None = None,
        augment: str = "crop-flip",
        scale: Sequence[float] = (0.9, 1.0),
        max_unreadable: int = MAX_UNREADABLE,
        download: bool = False,
        seed: int = 0,
        split_seed: int = 0,
    ) -> None:
        super().__init__()
        check_numbers(
            {"batch_size": batch_size, "n_val": n_val, "shots": shots},
            {"n_val_shift": n_val_shift, "num_workers": num_workers or 0, "seed": seed, "split_seed": split_seed,
             "max_unreadable": max_unreadable},
        )  # fmt: skip
        if isinstance(shifts, str) or len(set(shifts)) < len(shifts):
            raise ValueError(f"shifts must be a list of names, each once, got {shifts!r}")
        check_augmentation(augment, scale)
        _refuse_idle(shifts, v2, protocol, paths)
        protocols = protocol_names(protocol)
        self.transform, self.batch_size = transform, batch_size
        self.seed, self.split_seed = seed, split_seed
        self.num_workers = _cores() if num_workers is None else num_workers
        self.n_val, self.n_val_shift, self.shots = n_val, n_val_shift, shots
        self.augment, self.scale = augment, (float(scale[0]), float(scale[1]))
        self.max_unreadable, self.download, self.v2 = max_unreadable, download, v2
        #: What loader 0 of `test_dataloader` shows.
        self.reference = reference_record()
        self.shifts = tuple(shift_record(name, protocols.get(name, "wise-ft"), v2) for name in shifts)
        self._borders = {"objectnet": PROTOCOLS[protocols["objectnet"]].border}
        self._where, self._opened = locations(root, paths, v2), dict[str, OpenedSet]()
        self.root = root
        if missing := [name for name in shifts if self._where[name] is None]:
            raise ValueError(self._not_there(*missing))
        self.class_names, self.templates = class_names(), templates()
        #: What results say the data are.
        self.description = "ImageNet (ILSVRC 2012) and its natural shifts"
        #: Names of the test loaders, in their order, and of the validation loaders.
        self.test_loader_names = [self.reference.name, *(shift.name for shift in self.shifts)]
        self.val_loader_names = self.test_loader_names[: None if n_val_shift else 1]

    def train_dataloader(self) -> Any:
        """Training images of the reference but for the held-out part, or a few of each class, augmented."""
        part, transform = self._training_part(), self._transform()
        augment = training_transform(transform, self.augment, self.scale)
        images = LabelledImages(part.source, transform, part.label_map, augment=augment, seed=self.seed)
        return training_loader(
            images, self.batch_size, seed=self.seed, num_workers=self.num_workers, max_unreadable=self.max_unreadable
        )

    def probe_dataloader(self) -> TolerantLoader:
        """The same images as they are, each once: what a linear probe is fitted on."""
        return self._loader(self._training_part())

    def val_dataloader(self) -> list[TolerantLoader]:
        """The held-out part of the training images, then `n_val_shift` images of every shift, for live curves."""
        opened = self._set("train")
        source = opened.source.choose(self._parts()[1], "held-out part")
        loaders = [self._loader(OpenedSet(source, opened.label_map))]
        for shift in self.shifts if self.n_val_shift else ():
            whole = self._set(shift.name)
            places = spread(len(whole.source), self.n_val_shift)
            some = whole.source.choose(places, f"{len(places)} of them, evenly spaced")
            loaders.append(self._loader(OpenedSet(some, whole.label_map), shift.name))
        return loaders

    def test_dataloader(self) -> list[TolerantLoader]:
        """ImageNet's validation images, then every shift, untouched by any choice."""
        return [self._loader(self._set(name), name) for name in ("val", *(shift.name for shift in self.shifts))]

    def _training_part(self) -> OpenedSet:
        opened = self._set("train")
        source = opened.source.choose(self._parts()[0], "training part")
        if self.shots is not None:
            source = source.choose(draw_shots(source, self.shots, self.seed), f"{self.shots} of each class")
        return OpenedSet(source, opened.label_map)

    def _loader(self, opened: OpenedSet, name: str = "train") -> TolerantLoader:
        border = self._borders.get(name, 0)
        images = LabelledImages(opened.source, self._transform(), opened.label_map, border=border)
        return evaluation_loader(images, self.batch_size, self.num_workers, self.max_unreadable)

    def _parts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Training images for training, and those held out for choices, both in their order."""
        total = len(self._set("train").source)
        if self.n_val >= total:
            raise ValueError(f"n_val={self.n_val} of {total} training images cannot be held out; take a smaller n_val")
        order = np.random.default_rng(self.split_seed).permutation(total)
        return np.sort(order[self.n_val :]), np.sort(order[: self.n_val])

    def _set(self, name: str) -> OpenedSet:
        """A copy, opened once and kept: a million paths are not listed again for every loader."""
        if name not in self._opened:
            opened = open_set(name, self._place(name), download=self.download).covered()
            facts, found = published(name, self.v2), len(opened.source)
            if found not in facts.images:
                warnings.warn(
                    f"{facts.title} has {found:,} images here, {' or '.join(f'{n:,}' for n in facts.images)} are "
                    "published: figures are not comparable with those of others (check-data says what is missing)",
                    stacklevel=4,
                )
            self._opened[name] = opened
        return self._opened[name]

    def _place(self, name: str) -> str:
        where = self._where[name]
        if where is None:
            raise ValueError(self._not_there(name))
        return where

    def _not_there(self, *names: str) -> str:
        if self.root is not None and Path(self.root).is_dir() and not any(self._where.values()):
            itself = set_itself(Path(self.root), list(self._where), self.v2, by="paths={{{name!r}: '{folder}'}}")
            if itself is not None:
                return itself
        sought = "; ".join(f"{name} as {published(name, self.v2).folders[0]}" for name in names)
        rest = "" if names[0] in ("train", "val") else ", or leave it out of shifts="
        return (
            f"{self.root} does not hold {', '.join(published(name, self.v2).title for name in names)} (looked for: "
            f"{sought}, and other usual names); say where it is by paths={{{names[0]!r}: …}}{rest}"
        )

    def _transform(self) -> Callable[[Any], Tensor]:
        if self.transform is None:
            raise ValueError(
                "ImageNetDataModule has no transform; pass the encoder's: transform=load_encoder(...).transform"
            )
        return self.transform


def _refuse_idle(shifts: Sequence[str], v2: str, protocol: str | dict[str, str], paths: dict[str, str] | None) -> None:
    """What is said of a shift that is left out would do nothing."""
    if v2 != V2_VARIANTS[0] and "v2" not in shifts:
        raise ValueError(f"v2={v2!r} has no effect, since shifts= leaves v2 out")
    given = {"protocol": {} if isinstance(protocol, str) else protocol, "paths": paths or {}}
    for argument, names in given.items():
        if idle := [name for name in names if name in SHIFT_NAMES and name not in shifts]:
            raise ValueError(f"{argument}= names {idle[0]}, which has no effect, since shifts= leaves {idle[0]} out")


def _cores() -> int:
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, found)

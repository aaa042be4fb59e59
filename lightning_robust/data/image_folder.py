"""`ImageFolderDataModule`: own images, a reference to train on and any number of shifts to be judged on."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, Final

from lightning import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from lightning_robust.data.image_folder_domains import Part, Reference, Shift, find_reference, find_shift, spec_below
from lightning_robust.data.image_folder_overlap import check_overlap
from lightning_robust.data.image_folder_settings import (
    check_fractions,
    check_numbers,
    check_set_names,
    check_templates,
    prompt_names,
)
from lightning_robust.data.image_folder_splits import draw_shots, split_digest
from lightning_robust.data.image_folder_summary import Summary, summarise
from lightning_robust.data.labelled.augment import check_augmentation, training_transform
from lightning_robust.data.labelled.dataset import LabelledImages
from lightning_robust.data.labelled.loading import ReplacingLoader, evaluation_loader, training_loader
from lightning_robust.data.reading import MAX_UNREADABLE, TolerantLoader
from lightning_robust.data.shifts import DistributionShift

__all__ = ["ImageFolderDataModule"]

_TEMPLATES: Final = ("a photo of a {}.",)
_UNMATCHED: Final = ("leave-out", "error")


class ImageFolderDataModule(LightningDataModule):
    """Labelled images of one's own: a reference, and shifts whose classes are matched with it by name.

    Every set is a folder of class folders, a CSV list, parquet files or a data set of the Hub (`open_labelled`). The
    reference is divided as it comes (`train`, `val`, `test`), else drawn class by class; each shift is halved into val
    for the curves and test for the tables, and never trained on. Classes are those of the reference's training images;
    upper and lower case, underscores, spaces and hyphens do not count when names are matched. Images of a shift's
    other classes are left out with a warning that names them; classes that a shift lacks are masked when it is judged
    (`groups` of its record). Nothing is read before it is needed.

    Args:
        root: A folder with one folder for each domain, which `reference` and `shifts` then name.
        reference: The reference: a folder in `root`, or a spec.
        shifts: The shifts: folders in `root` or specs, in a list or by the names that they shall have.
        transform: From a PIL image to a tensor; the command line links the encoder's own preprocessing here.
        class_map: Reference class for classes of shifts that are called otherwise.
        unmatched: `"leave-out"` or `"error"`: what to do with classes of a shift that the reference lacks.
        class_names: Names for prompts: a list in the order of the reference's classes, or by class for some of them;
            None takes the classes' names with spaces for underscores.
        templates: Prompts with `{}`; None takes `a photo of a {}.`
        fractions: Shares of train, val and test where the reference is not divided already.
        split_seed: Seed of the splits; apart from `seed`, so that runs with different seeds have the same test images.
        batch_size: Images in a batch, on each rank.
        seed: Seed of the order, the augmentation and the draw of shots.
        shots: Training images of each class; None takes all.
        augment: `"crop-flip"`, `"crop"`, `"flip"` or `"none"`, see `training_transform`.
        scale: Least and largest area of a crop, as shares of the image.
        num_workers: Worker processes of each loader.
        max_unreadable: How many images of a loader may be unreadable before it stops. In evaluation they are left out,
            in training replaced by another image of their class.
        download: Whether a data set of the Hub that is not on this machine may be fetched.

    Attributes:
        description: What results say the data are.
        reference: Record of loader 0.
        shifts: Records of the loaders after it.
        summary: What was found, per class and set; `str(summary)` is a table.

    Raises:
        ValueError: For a setting out of range; where images or classes are first asked for, if a set cannot be opened
            its classes do not fit or two sets share files; from a loader, where there is no transform.
    """

    def __init__(
        self,
        root: str | None = None,
        reference: str | None = None,
        shifts: list[str] | dict[str, str] | None = None,
        transform: Callable[[Any], Tensor] | None = None,
        class_map: dict[str, str] | None = None,
        unmatched: str = "leave-out",
        class_names: list[str] | dict[str, str] | None = None,
        templates: list[str] | None = None,
        fractions: tuple[float, float, float] = (0.6, 0.2, 0.2),
        split_seed: int = 0,
        batch_size: int = 128,
        seed: int = 0,
        shots: int | None = None,
        augment: str = "crop-flip",
        scale: tuple[float, float] = (0.5, 1.0),
        num_workers: int = 0,
        max_unreadable: int = MAX_UNREADABLE,
        download: bool = False,
    ) -> None:
        super().__init__()
        if reference is None:
            raise ValueError(
                "reference is missing: a folder in root, or a spec such as a folder of class folders, csv:FILE, "
                "parquet:FILE or hub:ID"
            )
        if isinstance(shifts, str):
            raise ValueError(
                f"shifts has to be a list of folders or specs, or names with specs, not the text {shifts!r}"
            )
        if unmatched not in _UNMATCHED:
            raise ValueError(f"unmatched must be one of {', '.join(map(repr, _UNMATCHED))}, got {unmatched!r}")
        check_numbers(
            {"batch_size": batch_size, "shots": shots},
            {"seed": seed, "split_seed": split_seed, "num_workers": num_workers, "max_unreadable": max_unreadable},
        )
        check_fractions(fractions)
        check_augmentation(augment, scale)
        self.root, self.transform, self.class_map = root, transform, dict(class_map or {})
        self.unmatched, self.fractions, self.split_seed = unmatched, tuple(fractions), split_seed
        self.batch_size, self.seed, self.shots, self.num_workers = batch_size, seed, shots, num_workers
        self.augment, self.scale = augment, tuple(scale)
        self.max_unreadable, self.download = max_unreadable, download
        self.templates = list(_TEMPLATES if templates is None else templates)
        check_templates(self.templates)
        self._reference, self._given_names = reference, class_names
        listed = shifts or {}
        self._shifts: list[tuple[str | None, str]] = (
            [(name, spec) for name, spec in listed.items()]
            if isinstance(listed, Mapping)
            else [(spec if re.fullmatch(r"[\w.-]+", spec) and root else None, spec) for spec in listed]
        )
        self._said = False

    @cached_property
    def _found(self) -> tuple[Reference, tuple[Shift, ...]]:
        spec = spec_below(self.root, self._reference, "reference")
        reference = find_reference(None, spec, self.fractions, self.split_seed, download=self.download)
        shifts = tuple(
            find_shift(
                name, spec_below(self.root, spec, "shift"), reference, self.split_seed,
                class_map=self.class_map, unmatched=self.unmatched, download=self.download,
            )
            for name, spec in self._shifts
        )  # fmt: skip
        check_overlap(reference, shifts)
        check_set_names([reference.record.name, *(shift.record.name for shift in shifts)])
        used = set[str]().union(*(shift.used for shift in shifts))
        if idle := [name for name in self.class_map if name not in used]:
            raise ValueError(f"class_map names {idle[0]!r}, which is a class of no shift")
        if self.shots is not None:
            train = reference.parts["train"]
            chosen = train.source.choose(draw_shots(train.source, self.shots, self.seed))
            parts = {**reference.parts, "train": replace(train, source=chosen)}
            reference = replace(reference, parts=parts)
        return reference, shifts

    @property
    def reference(self) -> DistributionShift:
        """What loader 0 shows."""
        return self._found[0].record

    @property
    def shifts(self) -> tuple[DistributionShift, ...]:
        """What the loaders after it show."""
        return tuple(shift.record for shift in self._found[1])

    @property
    def val_loader_names(self) -> list[str]:
        """Names of the validation and test loaders, in their order; the first is the reference."""
        return [self.reference.name, *(shift.name for shift in self.shifts)]

    @cached_property
    def class_names(self) -> list[str]:
        """The classes as prompts name them, in the order of the labels."""
        return prompt_names(self._found[0].classes, self._given_names)

    @property
    def description(self) -> str:
        """What results say the data are: every set with its number of images and a digest."""
        few = "" if self.shots is None else f"; {self.shots} training images of each class by seed {self.seed}"
        shifts = "".join(f"; {shift.name}: {shift.source}" for shift in self.shifts)
        return f"{self.reference.name}: {self.reference.source}{few}{shifts}"

    @property
    def summary(self) -> Summary:
        """What was found, per class and set."""
        return summarise(*self._found)

    def setup(self, stage: str) -> None:  # noqa: ARG002 - Lightning's hook
        """Open everything, and say once what was found."""
        if not self._said:
            rank_zero_info(str(self.summary))
            self._said = True

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: which images of the reference are trained, chosen and tested on, as a digest."""
        return {"split": split_digest({name: part.source for name, part in self._found[0].parts.items()})}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Before a training goes on, check that it is on the images that it began with.

        Raises:
            ValueError: If the reference is divided otherwise, so that images tested on may have been trained on.
        """
        training = self.trainer is None or self.trainer.state.fn == "fit"
        now = self.state_dict()["split"]
        if training and (stored := state_dict.get("split", now)) != now:
            raise ValueError(
                f"The checkpoint was trained on another division of {self.reference.name} (digest {stored}, here "
                f"{now}): images were added, removed or renamed, or a setting of the data differs; resume with the "
                "images and settings of then, or start anew"
            )

    def train_dataloader(self) -> ReplacingLoader:
        """Augmented training images of the reference."""
        augment = training_transform(self._transform(), self.augment, self.scale)
        part = self._found[0].parts["train"]
        dataset = LabelledImages(part.source, self._transform(), part.targets, augment=augment, seed=self.seed)
        return training_loader(
            dataset, self.batch_size, seed=self.seed, num_workers=self.num_workers, max_unreadable=self.max_unreadable
        )

    def probe_dataloader(self) -> TolerantLoader:
        """Training images of the reference as they are, each once: what a linear probe is fitted on."""
        return self._loader(self._found[0].parts["train"])

    def val_dataloader(self) -> list[TolerantLoader]:
        """The reference, then every shift."""
        return self._loaders("val")

    def test_dataloader(self) -> list[TolerantLoader]:
        """The reference, then every shift, untouched by any choice."""
        return self._loaders("test")

    def _loaders(self, split: str) -> list[TolerantLoader]:
        reference, shifts = self._found
        holders: list[Reference | Shift] = [reference, *shifts]
        return [self._loader(holder.parts[split]) for holder in holders]

    def _loader(self, part: Part) -> TolerantLoader:
        dataset = LabelledImages(part.source, self._transform(), part.targets)
        return evaluation_loader(dataset, self.batch_size, self.num_workers, self.max_unreadable)

    def _transform(self) -> Callable[[Any], Tensor]:
        if self.transform is None:
            raise ValueError(
                "ImageFolderDataModule has no transform; pass the encoder's: transform=load_encoder(...).transform"
            )
        return self.transform

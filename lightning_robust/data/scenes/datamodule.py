"""`ScenesDataModule`: the offline default data, reference, shifts, captions and concept set in one place."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

from lightning import LightningDataModule
from torch import Generator, Tensor
from torch.utils.data import DataLoader, default_collate

from lightning_robust.data.loaders import ResumableLoader, UnrepeatedSampler
from lightning_robust.data.scenes.concepts import CONCEPT_CATEGORIES, CONCEPT_NAMES
from lightning_robust.data.scenes.dataset import CaptionedScenes, LabelledScenes, SceneImages
from lightning_robust.data.scenes.distributions import (
    BROAD,
    CONCEPTS,
    CORPORA,
    REFERENCE,
    SHIFTS,
    WORLD_VERSION,
    Distribution,
)
from lightning_robust.data.scenes.vocabulary import CLASSES, TEMPLATES
from lightning_robust.data.shifts import DistributionShift

_EVALUATION_BATCH = 250
_TRAINED_ON = {distribution.name: distribution for distribution in (REFERENCE, BROAD, *CORPORA)}


class ScenesDataModule(LightningDataModule):
    """The procedural scenes world (METHODS: an object class with colour, texture, scene, style and pose).

    Validation loader 0 is the reference, the others are the shifts; choices are made on validation images of the
    reference, tables are printed from test images. Splits and distributions never share an image.

    Args:
        transform: From a PIL image to a tensor; the command line links the encoder's own preprocessing here.
        task: `"classify"` trains on images with labels, `"caption"` on images with captions.
        batch_size: Training batch on each rank.
        n_train: Training images in an epoch.
        n_val: Validation images of the reference.
        n_val_shift: Validation images of each shift.
        n_test: Test images of the reference and of each shift.
        n_concepts: Probe images of the clean concept set.
        flip: Whether training images that come again are mirrored at random, a function of (seed, epoch, index); fresh
            ones are not.
        seed: Seed of the world: images, order and augmentation.
        num_workers: Worker processes of the training loader.
        train_on: The distribution of the training images: `"reference"`, `"broad"`, or one of the corpora between
            them, `"diverse"`, `"web"`, `"snapshots"` or `"stock"`, from the most to the least diverse; None takes the
            reference to classify and broad images to caption.
        fresh: Whether every epoch has images that were never shown before, rendered as they are asked for; None takes
            True to caption, which is always so, and False to classify. With the same distribution, seed and sizes
            both tasks show the same fresh images in the same order.

    Raises:
        ValueError: For an unknown task or distribution, captions on images that come again, a size below one or a
            negative seed; from a loader, where there is no transform or the training images do not fill a batch.
    """

    def __init__(
        self,
        transform: Callable[[Any], Tensor] | None = None,
        task: str = "classify",
        batch_size: int = 128,
        n_train: int = 8000,
        n_val: int = 2000,
        n_val_shift: int = 1000,
        n_test: int = 2000,
        n_concepts: int = 2000,
        flip: bool = True,
        seed: int = 0,
        num_workers: int = 0,
        train_on: str | None = None,
        fresh: bool | None = None,
    ) -> None:
        super().__init__()
        if task not in ("classify", "caption"):
            raise ValueError(f"task must be 'classify' or 'caption', got {task!r}")
        if train_on not in (None, *_TRAINED_ON):
            names = ", ".join(map(repr, _TRAINED_ON))
            raise ValueError(f"train_on must be one of {names}, or None for the task's own, got {train_on!r}")
        if task == "caption" and fresh is False:
            raise ValueError("task='caption' has fresh images in every epoch: leave fresh=False out")
        sizes = {"batch_size": batch_size, "n_train": n_train, "n_val": n_val, "n_val_shift": n_val_shift,
                 "n_test": n_test, "n_concepts": n_concepts}  # fmt: skip
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name} must be at least 1, got {size}")
        if seed < 0:
            raise ValueError(f"seed must be 0 or more, got {seed}")
        self.transform, self.task, self.batch_size, self.flip = transform, task, batch_size, flip
        self.n_train, self.n_val, self.n_val_shift = n_train, n_val, n_val_shift
        self.n_test, self.n_concepts = n_test, n_concepts
        self.seed, self.num_workers = seed, num_workers
        captioned = task == "caption"
        self.train_on = train_on or (BROAD.name if captioned else REFERENCE.name)
        self.fresh = captioned if fresh is None else fresh
        self.class_names, self.templates = list(CLASSES), list(TEMPLATES)
        #: What results say the data are.
        self.description = f"scenes world, version {WORLD_VERSION}"
        #: What loader 0 shows.
        self.reference = DistributionShift(REFERENCE.name, REFERENCE.mirrors)
        self.shifts = tuple(DistributionShift(d.name, d.mirrors) for d in SHIFTS)
        #: Names of the validation and test loaders, in their order; the first is the reference.
        self.val_loader_names = [REFERENCE.name, *(d.name for d in SHIFTS)]
        self.concept_names, self.concept_categories = list(CONCEPT_NAMES), list(CONCEPT_CATEGORIES)

    def train_dataloader(self) -> ResumableLoader:
        """Images with labels or captions, in an order that is a function of (seed, epoch)."""
        distribution = _TRAINED_ON[self.train_on]
        dataset: Any
        if self.fresh:
            kind = CaptionedScenes if self.task == "caption" else LabelledScenes
            dataset = kind(distribution, self.seed, self.n_train, self._transform())
        else:
            dataset = self._images(distribution, "train", self.n_train, flip=self.flip)
        return ResumableLoader(dataset, batch_size=self.batch_size, seed=self.seed, num_workers=self.num_workers)

    def probe_dataloader(self) -> DataLoader[Any]:
        """Labelled training images of the reference as they are, each once: what a linear probe is fitted on."""
        return _in_order(self._images(REFERENCE, "train", self.n_train))

    def val_dataloader(self) -> list[DataLoader[Any]]:
        """The reference, then every shift."""
        sizes = [self.n_val, *[self.n_val_shift] * len(SHIFTS)]
        return [self._loader(d, "val", n) for d, n in zip((REFERENCE, *SHIFTS), sizes, strict=True)]

    def test_dataloader(self) -> list[DataLoader[Any]]:
        """The reference, then every shift, untouched by any choice."""
        return [self._loader(d, "test", self.n_test) for d in (REFERENCE, *SHIFTS)]

    def concept_dataloader(self) -> DataLoader[Any]:
        """Clean probe images: batches `(images, concept labels (n, C) in {1, 0, −1}, class labels)`."""
        return _in_order(self._concept_images, whole=True, collate_fn=_concept_batch)

    @cached_property
    def _concept_images(self) -> SceneImages:
        """Kept, because the loader is asked for at every measurement."""
        return self._images(CONCEPTS, "test", self.n_concepts, concepts=True)

    def _loader(self, distribution: Distribution, split: str, n: int) -> DataLoader[Any]:
        return _in_order(self._images(distribution, split, n))

    def _images(self, distribution: Distribution, split: str, n: int, **options: bool) -> SceneImages:
        return SceneImages(distribution, self.seed, split, n, self._transform(), **options)

    def _transform(self) -> Callable[[Any], Tensor]:
        if self.transform is None:
            raise ValueError(
                "ScenesDataModule has no transform; pass the encoder's: transform=load_encoder(...).transform"
            )
        return self.transform


def _in_order(dataset: SceneImages, *, whole: bool = False, **options: Any) -> DataLoader[Any]:
    """Every image once: split over the processes of a distributed run, or whole on each of them."""
    if not whole:
        options["sampler"] = UnrepeatedSampler(dataset)
    # a generator of its own: making an iterator draws a number, even where nothing is shuffled
    return DataLoader(dataset, batch_size=_EVALUATION_BATCH, generator=Generator(), **options)


def _concept_batch(samples: list[tuple[Any, ...]]) -> Any:
    images, labels, concepts = default_collate(samples)
    return images, concepts, labels

"""`CaptionsDataModule`: image–caption pairs to train on, and another data module's images to be judged on."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Final

import numpy as np
from lightning import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from lightning_robust.data.captions.dataset import CaptionedImages, ReplacedPairs
from lightning_robust.data.captions.order import windowed_order
from lightning_robust.data.captions.source import CaptionedSource, ChosenPairs
from lightning_robust.data.captions.spec import open_captions
from lightning_robust.data.captions.stream import PairStream, StreamedPairs
from lightning_robust.data.image_folder_settings import check_numbers
from lightning_robust.data.labelled.augment import check_augmentation, training_transform
from lightning_robust.data.labelled.loading import ReplacingLoader

__all__ = ["CaptionsDataModule"]

#: Of millions of images of the web some are always damaged.
_MAX_UNREADABLE: Final = 1000

#: What a Trainer, a module or a monitor asks a data module for, and `evaluation` answers.
_PASSED: Final = frozenset({
    "class_names", "templates", "reference", "shifts", "val_loader_names", "test_loader_names", "description",
    "concept_dataloader", "concept_names", "concept_categories", "probe_dataloader", "summary",
})  # fmt: skip


class CaptionsDataModule(LightningDataModule):
    """Image–caption pairs for contrastive pretraining, from CSV, tar shards, parquet or the Hub.

    Batches are `(images (n, 3, H, W), captions)`, the captions as texts. Where an image has several (lines of .txt,
    a list, several columns), one is drawn by (seed, epoch, item). The order is a function of (seed, epoch), split over
    ranks and workers: with R ranks, batch k consists of the k-th R · `batch_size` pairs of the order, rank r has every
    R-th of them, whatever the number of files and workers. So every pair comes once in an epoch, but for those that do
    not fill the last global batch, and a run resumes at any batch (with `callbacks.RandomStates`, which the command
    line adds). Tar shards are shuffled, then pairs within a window
    of about 20,000 (`windowed_order`); other sources as a whole; streams within a buffer (`open_stream`).

    A pair that cannot be read is replaced by another one with a warning that names it, up to a limit; items that
    have no image or no caption are counted and named when the source is opened, and left out.

    Args:
        source: One source or a list that is joined: `csv:FILE` (open_clip's columns), `json:FILE`,
            `webdataset:s-{000..009}.tar`, `parquet:FILES`, `hub:ID[:SPLIT]`, or `hub-stream:ID[:SPLIT]` alone; options
            as in `csv:FILE?caption=text&image=url`, see `open_captions`.
        evaluation: A data module whose validation and test loaders, class names, templates, shifts and concepts are
            this one's too, such as `ImageNetDataModule` or `ScenesDataModule`; its training images are not used. None:
            nothing is evaluated.
        transform: From a PIL image to a tensor; the command line links the encoder's own preprocessing here, and
            `evaluation` receives it unless it has one.
        batch_size: Pairs in a batch, on each rank.
        n_train: So many pairs are trained on, the same in every epoch, drawn by seed; None takes all. Of a
            stream: the first so many of each epoch's order.
        seed: Seed of order, augmentation and draws.
        num_workers: Worker processes of the training loader.
        augment: `"crop"`, `"crop-flip"`, `"flip"` or `"none"`, see `training_transform`; captions may say left or
            right, so open_clip crops alone.
        scale: Least and largest area of a crop, as shares of the image; open_clip's is 0.9 to 1.
        max_unreadable: How many pairs may be unreadable on each rank before training stops.
        download: Whether a data set of the Hub that is not on this machine may be fetched.

    Attributes:
        training_description: What the training pairs were read from, with a digest.

    Raises:
        ValueError: For a setting out of range; where pairs are first asked for, if a source cannot be opened; from a
            loader, where there is no transform or the pairs do not fill a global batch.
    """

    def __init__(
        self,
        source: str | list[str],
        evaluation: LightningDataModule | None = None,
        transform: Callable[[Any], Tensor] | None = None,
        batch_size: int = 256,
        n_train: int | None = None,
        seed: int = 0,
        num_workers: int = 0,
        augment: str = "crop",
        scale: Sequence[float] = (0.9, 1.0),
        max_unreadable: int = _MAX_UNREADABLE,
        download: bool = False,
    ) -> None:
        super().__init__()
        check_numbers(
            {"batch_size": batch_size, "n_train": n_train},
            {"seed": seed, "num_workers": num_workers, "max_unreadable": max_unreadable},
        )
        check_augmentation(augment, scale)
        self.source, self.evaluation = source, evaluation
        self.batch_size, self.n_train, self.seed, self.num_workers = batch_size, n_train, seed, num_workers
        self.augment, self.scale = augment, (float(scale[0]), float(scale[1]))
        self.max_unreadable, self.download = max_unreadable, download
        self.transform = transform
        self._said = False
        if evaluation is None:  # Lightning warns of a list without loaders, and passes over what is not overridden
            self.val_dataloader = super().val_dataloader  # type: ignore[method-assign]

    @property
    def transform(self) -> Callable[[Any], Tensor] | None:
        """The preprocessing of both, training and evaluation."""
        return self._given_transform

    @transform.setter
    def transform(self, transform: Callable[[Any], Tensor] | None) -> None:
        self._given_transform = transform
        evaluation: Any = self.evaluation
        if evaluation is not None and transform is not None and getattr(evaluation, "transform", None) is None:
            evaluation.transform = transform

    def __getattr__(self, name: str) -> Any:
        """What `evaluation` answers; nothing but the names of a data module's own is asked of it."""
        if name in _PASSED and self.__dict__.get("evaluation") is not None:
            return getattr(self.__dict__["evaluation"], name)
        raise AttributeError(f"CaptionsDataModule has no {name}, and neither has its evaluation")

    @property
    def training_description(self) -> str:
        """What the training pairs were read from."""
        return self._pairs.source

    @cached_property
    def _pairs(self) -> CaptionedSource | PairStream:
        pairs = open_captions(self.source, download=self.download, n_train=self.n_train, seed=self.seed)
        if isinstance(pairs, PairStream) or self.n_train is None:
            return pairs
        if self.n_train > len(pairs):
            raise ValueError(f"n_train={self.n_train} pairs are more than the {len(pairs)} in {pairs.source}")
        chosen = np.random.default_rng(self.seed).permutation(len(pairs))[: self.n_train]
        return ChosenPairs(pairs, np.sort(chosen), f"{self.n_train:,} of them by seed {self.seed}")

    def prepare_data(self) -> None:
        """Fetch, and index shards, on one process of each machine; the others find it in the cache."""
        if self.evaluation is not None:
            self.evaluation.trainer = self.trainer
            self.evaluation.prepare_data()
        if self._trains():
            _ = self._pairs

    def setup(self, stage: str) -> None:
        """Open everything, and say once what is trained on."""
        if self.evaluation is not None:
            self.evaluation.trainer = self.trainer
            self.evaluation.setup(stage)
        if stage == "fit" and not self._said:
            rank_zero_info(f"Training on {self.training_description}")
            self._said = True

    def teardown(self, stage: str) -> None:
        """Let the evaluation go too."""
        if self.evaluation is not None:
            self.evaluation.teardown(stage)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: which pairs are trained on, and what the evaluation keeps."""
        kept = {} if self.evaluation is None else self.evaluation.state_dict()
        return {"pairs": self.training_description, "evaluation": kept}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Before a training goes on, check that it is on the pairs that it began with.

        Raises:
            ValueError: If they differ: the place in the data would be another.
        """
        if self.evaluation is not None:
            self.evaluation.load_state_dict(state_dict.get("evaluation", {}))
        if self._trains() and (stored := state_dict.get("pairs")) not in (None, now := self.training_description):
            raise ValueError(
                f"The checkpoint was trained on {stored}, and here is {now}: its place in the data cannot be found; "
                "resume with the pairs and settings of then, or start anew"
            )

    def train_dataloader(self) -> ReplacingLoader:
        """Shuffled batches of images and captions."""
        transform = self._transform()
        augment = training_transform(transform, self.augment, self.scale)
        options: dict[str, Any] = {"seed": self.seed, "num_workers": self.num_workers}
        options |= {"max_unreadable": self.max_unreadable}
        if isinstance(self._pairs, PairStream):
            streamed = StreamedPairs(self._pairs, transform, augment, self.seed)
            return ReplacingLoader(streamed, self.batch_size, by="its neighbour", shuffle=False, **options)
        images = CaptionedImages(self._pairs, transform, augment, self.seed)
        order = windowed_order(self._pairs.blocks)
        dataset = ReplacedPairs(images, self.max_unreadable)
        return ReplacingLoader(dataset, self.batch_size, by="another pair", order=order, **options)

    def val_dataloader(self) -> Any:
        """The validation loaders of `evaluation`."""
        return self._evaluation().val_dataloader()

    def test_dataloader(self) -> Any:
        """The test loaders of `evaluation`."""
        return self._evaluation().test_dataloader()

    def _evaluation(self) -> LightningDataModule:
        if self.evaluation is None:
            raise ValueError(
                "CaptionsDataModule has no images to evaluate on; give it another data module, evaluation="
            )
        return self.evaluation

    def _trains(self) -> bool:
        return self.trainer is None or self.trainer.state.fn == "fit"

    def _transform(self) -> Callable[[Any], Tensor]:
        if self.transform is None:
            raise ValueError(
                "CaptionsDataModule has no transform; pass the encoder's: transform=load_encoder(...).transform"
            )
        return self.transform

"""How many images each validation loader shows, all processes together."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch import Trainer
from torch.utils.data import DataLoader, DistributedSampler


def validation_loaders(trainer: Trainer) -> list[Any]:
    """The Trainer's validation loaders in order, once it has made them."""
    return _flat(trainer.val_dataloaders)


def validated_images(trainer: Trainer) -> list[int | None]:
    """Images of each validation loader that count in its figures; None where its length cannot be known.

    Repeats by which a distributed sampler fills up its processes are no images, and limits on batches are kept.

    Args:
        trainer: A Trainer that has its validation loaders.
    """
    return [
        images_of(loader, batches)
        for loader, batches in zip(validation_loaders(trainer), trainer.num_val_batches, strict=True)
    ]


def images_of(loader: Any, batches: float = math.inf) -> int | None:
    """Different images of a loader, those of the other processes with which it is shared included.

    Args:
        loader: Batches.
        batches: At most so many are read, by each process.
    """
    if not isinstance(loader, DataLoader):
        return None
    sampler: Any = getattr(loader.batch_sampler, "sampler", None)
    images: Any = loader.dataset
    shared = isinstance(sampler, DistributedSampler) and sampler.num_replicas > 1
    try:
        whole = len(sampler.dataset) if shared else len(images if sampler is None else sampler)
    except TypeError:  # an iterable without a length
        return None
    size, processes = _batch_size(loader), sampler.num_replicas if shared else 1
    if size is None:
        return whole if batches == math.inf or batches >= len(loader) else None
    if loader.drop_last:
        padded = shared and sampler.total_size > whole  # repeats fill up every process's last batch
        own = [sampler.num_samples if padded else len(range(rank, whole, processes)) for rank in range(processes)]
        whole = min(whole, sum(count - count % size for count in own))
    return whole if batches == math.inf else min(whole, int(batches) * size * processes)


def loader_index(name: str, tag: str, names: Sequence[str]) -> int | None:
    """Which validation loader an accuracy is of; None where it cannot be known.

    Args:
        name: Of the reference or shift.
        tag: Under which its accuracy is logged: `dataloader_idx_2` and names of loaders in it are understood.
        names: Names of the loaders.
    """
    if found := re.search(r"dataloader_idx_(\d+)$", tag):
        return int(found.group(1))
    parts = tag.split("/")
    return next((names.index(part) for part in (name, *parts) if part in names), None)


def names_of_loaders(trainer: Trainer) -> list[str]:
    """Names of the validation loaders: the data module's `val_loader_names`, or the keys of a dict; else none."""
    names = getattr(getattr(trainer, "datamodule", None), "val_loader_names", None)
    if names is not None:
        return [str(name) for name in names]
    loaders = trainer.val_dataloaders
    return [str(name) for name in loaders] if isinstance(loaders, Mapping) else []


def _batch_size(loader: DataLoader[Any]) -> int | None:
    size = loader.batch_size or getattr(loader.batch_sampler, "batch_size", None)
    return size if isinstance(size, int) else None


def _flat(loaders: Any) -> list[Any]:
    if isinstance(loaders, Mapping):
        return [one for value in loaders.values() for one in _flat(value)]
    if isinstance(loaders, list | tuple):
        return [one for value in loaders for one in _flat(value)]
    return [] if loaders is None else [loaders]

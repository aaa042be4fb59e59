"""The evaluation sets of a data module: records, loaders in a known order, and the rule of each for one model."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset, SequentialSampler

from lightning_robust.data.loaders import UnrepeatedSampler
from lightning_robust.data.reading import TolerantLoader
from lightning_robust.data.shifts import DistributionShift
from lightning_robust.errors import UserError
from lightning_robust.models.class_mask import ClassMask
from lightning_robust.models.evaluate_rules import AnswerRule

__all__ = ["OrderedLoader", "evaluation_rules", "evaluation_sets", "ordered_loaders"]


def evaluation_sets(data: Any, split: str) -> tuple[DistributionShift, ...]:
    """The records of the loaders, the reference first.

    Args:
        data: The data module.
        split: `"test"` or `"val"`.

    Raises:
        UserError: If a loader has no record.
    """
    names = list(data.val_loader_names)
    if split == "test":
        names = list(getattr(data, "test_loader_names", names))
    reference = getattr(data, "reference", None) or DistributionShift(names[0], data.description)
    by_name = {shift.name: shift for shift in data.shifts}
    if unknown := [name for name in names[1:] if name not in by_name]:
        raise UserError(f"{type(data).__name__} has a loader {unknown[0]!r} and no shift of that name")
    return (reference, *(by_name[name] for name in names[1:]))


def evaluation_rules(
    sets: Sequence[DistributionShift], own_heads: Mapping[str, Tensor] | None = None
) -> dict[str, AnswerRule]:
    """How the images of each set are answered.

    Args:
        sets: The records.
        own_heads: By set, the zero-shot head of its own class names.
    """
    masks: dict[Any, ClassMask] = {None: None}  # type: ignore[dict-item]
    for record in sets:
        if record.groups not in masks:
            masks[record.groups] = ClassMask(record.groups or ())
    return {one.name: AnswerRule(masks[one.groups], (own_heads or {}).get(one.name)) for one in sets}


@dataclass(frozen=True, eq=False)
class OrderedLoader:
    """The batches of one set on this process, and which image of the set each is.

    Attributes:
        batches: Batches `(images, targets, places)`; places are positions in the set.
        images: How many images the whole set has, over all processes.
        share: How many of them this process is to read.
    """

    batches: Iterable[tuple[Any, ...]]
    images: int
    share: int

    @property
    def unreadable(self) -> tuple[str, ...]:
        """What the last pass left out on this process, a sentence for each image."""
        return tuple(getattr(self.batches, "unreadable", ()))


def ordered_loaders(
    data: Any, split: str, world: int, batch_size: int | None = None, num_workers: int | None = None
) -> list[OrderedLoader]:
    """The loaders of a data module, with the place of every image.

    Args:
        data: The data module, with the transform of the model.
        split: `"test"` or `"val"`.
        world: How many processes share the images.
        batch_size: Images in a batch; None leaves the loader's.
        num_workers: Worker processes; None leaves the loader's.

    Raises:
        UserError: If a loader has no fixed order, does not share its images among several processes, or is of a kind
            whose batches cannot be changed.
    """
    found = data.test_dataloader() if split == "test" else data.val_dataloader()
    loaders = list(found) if isinstance(found, list | tuple) else [found]
    return [_ordered(loader, world, batch_size, num_workers) for loader in loaders]


def _ordered(loader: Any, world: int, batch_size: int | None, num_workers: int | None) -> OrderedLoader:
    if not isinstance(loader, DataLoader) or not isinstance(loader.sampler, SequentialSampler | UnrepeatedSampler):
        raise UserError(
            "evaluation needs loaders in a fixed order: a torch DataLoader without shuffling, or one with an "
            f"UnrepeatedSampler, not a {type(loader).__name__}"
        )
    if world > 1 and not isinstance(loader.sampler, UnrepeatedSampler):
        raise UserError(
            f"{world} processes would each count every image: give the data module's loaders an UnrepeatedSampler"
        )
    size = batch_size or loader.batch_size
    workers = loader.num_workers if num_workers is None else num_workers
    tolerant = type(loader) is TolerantLoader
    dataset: Any = loader.dataset.dataset if tolerant else loader.dataset  # type: ignore[attr-defined]
    images, share = len(dataset), len(loader.sampler)
    batches: Any
    if tolerant:
        batches = TolerantLoader(
            _WithPlace(dataset), size or 1, num_workers=workers, sampler=loader.sampler,
            max_unreadable=loader.max_unreadable,  # type: ignore[attr-defined]
        )  # fmt: skip
    elif type(loader) is DataLoader and size is not None:
        batches = _Placed(
            DataLoader(
                dataset, batch_size=size, sampler=loader.sampler, num_workers=workers, collate_fn=loader.collate_fn,
                pin_memory=loader.pin_memory, generator=Generator(),
            ),
            list(loader.sampler),
        )  # fmt: skip
    elif batch_size is not None or num_workers is not None:
        raise UserError(f"--batch_size and --num_workers have no effect on a {type(loader).__name__}: leave them out")
    else:
        batches = _Placed(loader, list(loader.sampler))
    return OrderedLoader(batches, images, share)


class _WithPlace(Dataset[Any]):
    """Samples with their position in the set, which survives that others are left out."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        return (*self.dataset[index][:2], index)


class _Placed:
    """The batches of a loader that leaves nothing out, with the positions of its sampler."""

    def __init__(self, loader: DataLoader[Any], places: list[int]) -> None:
        self.loader, self.places = loader, places

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        from torch import tensor

        start = 0
        for images, targets, *_ in self.loader:
            yield images, targets, tensor(self.places[start : start + len(targets)])
            start += len(targets)

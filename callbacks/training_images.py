"""The first training images, read beside the training without leaving a trace on what it reads."""

import copy
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from types import FunctionType, MethodType, ModuleType
from typing import Any, Final

import numpy as np
import torch
from lightning.fabric.utilities.data import _set_sampler_epoch, sized_len
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.trainer.states import RunningStage
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler

from lightning_robust.callbacks.shared_pass import as_validation, batch_preparation
from lightning_robust.data import ResumableLoader
from lightning_robust.errors import UserError
from lightning_robust.models.modes import kept_random_state
from lightning_robust.signatures.batches import images_from_batch

_MANY: Final = 1000  # entries of a container: longer ones hold samples, not generators
_LEAVES: Final = (type, ModuleType, FunctionType, Tensor, np.ndarray, str, bytes, int, float, Trainer)
_SHARED: Final = (Dataset, nn.Module, LightningDataModule)


@contextmanager
def first_training_batches(trainer: Trainer) -> Iterator[Iterator[Any]]:
    """Images of the first training batches, a tensor each; what training reads keeps its place and its draws.

    They come from what `train_dataloader` gives, whether that is a new loader or the one that training reads: from a
    copy with workers and samplers of its own, at the beginning of epoch 0. Under several processes it is split as
    Lightning splits it for the training. At most `limit_train_batches` batches are given. Batch hooks see a validation,
    as many augment when `trainer.training`. Where the order is a function of seed and epoch, as in a `ResumableLoader`,
    the images are the same each time; where it is drawn from a generator, they are what that would draw now. Random
    states are given back: the global ones, and those of generators that the loader, its samplers and data set, or the
    data module hold.

    Args:
        trainer: The Trainer, once its data are set up.

    Raises:
        UserError: If the loader can be read only once, or cannot be copied.
    """
    # what Lightning calls to make the loader: the hook of the data module, of the module, or the loader it was given
    source = trainer.fit_loop._data_source
    with as_validation(trainer), kept_random_state(), kept_generators(source.instance):
        given = _first(source.dataloader())
        with kept_generators(given):
            loader = independent_loader(_split(trainer, given))
            prepare = batch_preparation(trainer)
            batches = islice(loader, _limit(trainer, loader))
            yield (images_from_batch(prepare(batch)) for batch in batches)


def independent_loader(loader: Any) -> Any:
    """A loader of the same images, from the first batch of epoch 0, which can be iterated while the given one is.

    Workers, samplers, generators and the place in the data are its own; the data set is the same object, but for that
    of a stream, which is copied.

    Args:
        loader: A `DataLoader`, or anything that can be iterated several times.

    Raises:
        UserError: If it can be read only once, or cannot be copied.

    Example:
        >>> loader = DataLoader(range(4), shuffle=True, generator=torch.Generator().manual_seed(0))
        >>> other = [int(batch) for batch in independent_loader(loader)]
        >>> other == [int(batch) for batch in loader]
        True
    """
    if isinstance(loader, Iterator):
        raise UserError(
            f"LogSteps recalibrate= reads training images beside the training, and {type(loader).__name__} can be read "
            "only once: give training a DataLoader, or leave recalibrate= out"
        )
    try:
        made = copy.copy(loader)
        if isinstance(loader, DataLoader):
            made.__dict__.update(_own_parts(loader))
    except (TypeError, RuntimeError) as error:
        raise UserError(
            f"LogSteps recalibrate= reads training images beside the training, from a copy of the loader, and "
            f"{type(loader).__name__} cannot be copied ({error}): leave recalibrate= out"
        ) from error
    _set_sampler_epoch(made, 0)
    if isinstance(made, ResumableLoader):
        made.load_state_dict({"epoch": -1, "batches": 0})  # not the place that training resumes at
    return made


@contextmanager
def kept_generators(*holders: Any) -> Iterator[None]:
    """Give random generators that are not the global ones back as they were, also after an error.

    Args:
        *holders: Objects; generators of torch, NumPy and Python in their attributes, at any depth, are kept.

    Example:
        >>> held = {"own": [np.random.default_rng(0)]}
        >>> with kept_generators(held):
        ...     first = held["own"][0].random()
        >>> held["own"][0].random() == first
        True
    """
    restore = [give_back for one in _reachable(*holders) if (give_back := _restoring(one)) is not None]
    try:
        yield
    finally:
        for give_back in restore:
            give_back()


def _first(loaders: Any) -> Iterable[Any]:
    while isinstance(loaders, dict | list | tuple) or hasattr(loaders, "iterables"):
        loaders = getattr(loaders, "iterables", loaders)
        loaders = next(iter(loaders.values() if isinstance(loaders, dict) else loaders))
    return loaders  # type: ignore[no-any-return]


def _split(trainer: Trainer, loader: Any) -> Any:
    """With this process's share, as Lightning gives it to training; on one process the loader itself."""
    return trainer._data_connector._prepare_dataloader(loader, shuffle=True, mode=RunningStage.TRAINING)


def _limit(trainer: Trainer, loader: Any) -> int | None:
    """How many batches training reads in an epoch; None for all, and where it reads none at all."""
    limit = trainer.limit_train_batches
    if isinstance(limit, int):
        return limit or None
    length = sized_len(loader)
    return None if limit in (0.0, 1.0) or length is None else int(length * float(limit or 0))


def _own_parts(loader: DataLoader[Any]) -> dict[str, Any]:
    """The attributes in which a loader has to differ from one that is iterated at the same time."""
    kept = [one for one in _reachable(vars(loader)) if isinstance(one, _SHARED)]
    memo = {id(one): one for one in [*kept, loader.dataset]}
    own: dict[str, Any] = {}
    for name, value in vars(loader).items():
        if isinstance(value, Sampler | torch.Generator) or name in ("sampler", "batch_sampler"):
            own[name] = copy.deepcopy(value, memo)
        elif isinstance(value, list | dict | set):
            own[name] = copy.copy(value)
    if isinstance(loader.dataset, IterableDataset):
        own["dataset"] = copy.copy(loader.dataset)
    # a DataLoader refuses to have some of these set, since an iterator that lives on would not know of it
    return own | {"persistent_workers": False, "_iterator": None}


def _reachable(*roots: Any) -> list[Any]:
    """Objects in the attributes and containers of others."""
    seen: dict[int, Any] = {}
    waiting = list(roots)
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen or isinstance(one, _LEAVES):
            continue
        seen[id(one)] = one
        waiting += _parts(one)
    return list(seen.values())


def _parts(one: Any) -> list[Any]:
    if isinstance(one, dict):
        return list(one.values()) if len(one) <= _MANY else []
    if isinstance(one, list | tuple | set | frozenset):
        return list(one) if len(one) <= _MANY else []
    if isinstance(one, MethodType):
        return [one.__self__]
    if isinstance(one, partial):
        return [one.func, one.args, one.keywords]
    return list(getattr(one, "__dict__", {}).values())


def _restoring(one: Any) -> Callable[[], Any] | None:
    """What puts a generator back into the state that it has now; None for anything else."""
    if isinstance(one, torch.Generator):
        return partial(one.set_state, one.get_state())
    if isinstance(one, np.random.Generator):
        return partial(setattr, one.bit_generator, "state", one.bit_generator.state)
    if isinstance(one, np.random.RandomState):
        return partial(one.set_state, one.get_state())
    if isinstance(one, random.Random) and not isinstance(one, random.SystemRandom):
        return partial(one.setstate, one.getstate())
    return None

"""The test loaders on which a Wise-FT path is judged, by name."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lightning.pytorch import LightningDataModule, Trainer

from lightning_robust.callbacks.sources import whole_loader
from lightning_robust.errors import UserError


def named_test_loaders(trainer: Trainer, tests: Mapping[str, Iterable[Any]] | None) -> dict[str, Iterable[Any]]:
    """Find the test loaders, the reference first; whole, where processes would share them.

    Args:
        trainer: The Trainer.
        tests: Loaders by name; None takes the data module's `test_dataloader()`, named by its `test_loader_names`, else
            `val_loader_names`, else `loader_0` ….

    Raises:
        UserError: If there are none, one can be read once only, or the names do not fit.
    """
    found = dict(tests) if tests is not None else _of_data_module(getattr(trainer, "datamodule", None))
    if not found:
        raise UserError(
            "WiseFT evaluates on test images: give tests={name: loader}, or a data module with test_dataloader()"
        )
    for name, loader in found.items():
        if isinstance(loader, Iterator):
            raise UserError(f"the test images {name!r} are read several times: give a loader, not an iterator")
    return {name: whole_loader(loader) for name, loader in found.items()}


def _of_data_module(datamodule: Any) -> dict[str, Iterable[Any]]:
    make = getattr(type(datamodule), "test_dataloader", None)
    if make is None or make is LightningDataModule.test_dataloader:
        return {}
    loaders = datamodule.test_dataloader()
    if isinstance(loaders, Mapping):
        return dict(loaders)
    listed = list(loaders) if isinstance(loaders, list | tuple) else [loaders] if loaders is not None else []
    names = getattr(datamodule, "test_loader_names", None) or getattr(datamodule, "val_loader_names", None)
    names = list(names) if names else [f"loader_{k}" for k in range(len(listed))]
    if len(names) != len(listed) or len(set(names)) != len(names):
        raise UserError(f"the data module names its {len(listed)} test loaders {names}: give each one name")
    return dict(zip(names, listed, strict=True))

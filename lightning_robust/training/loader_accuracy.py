"""Accuracy on several evaluation loaders: the reference first, the shifts after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torchmetrics.classification import MulticlassAccuracy

from lightning_robust.data.shifts import DistributionShift
from lightning_robust.models.class_mask import ClassMask

_MEAN = "shifts"


class LoaderAccuracy:
    """One micro accuracy per evaluation loader, synchronised across processes by torchmetrics.

    Deliberately no submodule of the LightningModule: it is about the run, not part of the model. A shift that covers a
    part of the classes is counted over its own labels: logits are restricted to them before the largest is taken.

    Args:
        names: Names of the loaders; the first is the reference, all others are shifts.
        num_classes: Number of classes.
        device: Where the predictions lie.
        masks: Labels of the shifts that do not cover all classes, by loader name.

    Raises:
        ValueError: If a name appears twice or is that of the mean, `shifts`, or a mask names a class that there is not.
    """

    def __init__(
        self,
        names: Sequence[str],
        num_classes: int,
        device: torch.device | str = "cpu",
        masks: Mapping[str, ClassMask] | None = None,
    ) -> None:
        if len(set(names)) != len(names):
            raise ValueError(f"Evaluation loaders need different names, not {list(names)}.")
        _refuse_mean(names)
        self.names, self.masks = list(names), dict(masks or {})
        for name, mask in self.masks.items():
            if (largest := max(index for group in mask.groups for index in group)) >= num_classes:
                raise ValueError(
                    f"The labels of {name!r} name class {largest}, but the classes are 0 … {num_classes - 1}."
                )
        self.metrics = [MulticlassAccuracy(num_classes, average="micro", validate_args=False).to(device) for _ in names]

    @classmethod
    def of_run(cls, trainer: Trainer, stage: str, num_classes: int, device: torch.device) -> LoaderAccuracy:
        """Build it for the loaders that a Trainer runs now.

        Args:
            trainer: The Trainer, inside a validation or test run.
            stage: `val` or `test`.
            num_classes: Number of classes.
            device: Where the predictions lie.

        Raises:
            ValueError: If the data module's names do not fit its loaders, or its records of shifts not its names.
        """
        batches: Any = trainer.num_test_batches if stage == "test" else trainer.num_val_batches
        datamodule = getattr(trainer, "datamodule", None)
        names = loader_names(datamodule, stage, len(batches))
        return cls(names, num_classes, device, class_masks(datamodule, names))

    def update(self, loader: int, logits: Tensor, targets: Tensor) -> None:
        """Count a batch.

        Args:
            loader: Index of the loader.
            logits: Over all classes, `(n, C)`.
            targets: True classes, `(n,)`; of a shift with labels of its own, the canonical ones.
        """
        mask = self.masks.get(self.names[loader])
        restricted = logits if mask is None else mask(logits)
        self.metrics[loader].update(restricted.argmax(dim=1), targets)

    def compute(self, stage: str) -> dict[str, Tensor]:
        """Give the accuracies since the last call under their tags, and start again.

        Args:
            stage: First part of the tags: `val` or `test`.

        Returns:
            `<stage>/<name>/accuracy` per loader that was used, in [0, 1], and `<stage>/shifts/accuracy`, the plain mean
            over the shifts, where there are any.
        """
        values: dict[str, Tensor] = {}
        for name, metric in zip(self.names, self.metrics, strict=True):
            if metric.update_called:
                values[name] = metric.compute()
            metric.reset()
        tags = {f"{stage}/{name}/accuracy": value for name, value in values.items()}
        shifts = [value for name, value in values.items() if name != self.names[0]]
        if shifts:
            tags[f"{stage}/{_MEAN}/accuracy"] = sum(shifts[1:], shifts[0]) / len(shifts)
        return tags

    def log(self, module: LightningModule, stage: str) -> None:
        """Log the accuracies since the last call, and start again.

        Args:
            module: Whose log it is; in the hook at the end of its validation or test, on every process.
            stage: First part of the tags: `val` or `test`.
        """
        # the counts are those of all processes already, so that all have the same numbers: their largest is exactly
        # them, where the mean over processes could round
        module.log_dict(self.compute(stage), sync_dist=True, reduce_fx="max")


def loader_names(datamodule: Any, stage: str, count: int) -> list[str]:
    """Names of a data module's evaluation loaders.

    Args:
        datamodule: What the Trainer holds; may be None.
        stage: `val` or `test`: the names are read from `<stage>_loader_names`, for `test` else from `val_loader_names`.
        count: How many loaders there are.

    Returns:
        The names; `loader_0`, `loader_1`, … where the data module has none.

    Raises:
        ValueError: If the data module names another number of loaders than it has.

    Example:
        >>> loader_names(None, "val", 2)
        ['loader_0', 'loader_1']
    """
    names = getattr(datamodule, f"{stage}_loader_names", None) or getattr(datamodule, "val_loader_names", None)
    if names is None:
        return [f"loader_{index}" for index in range(count)]
    if len(names) != count:
        raise ValueError(f"The data module names {len(names)} {stage} loaders {list(names)} but has {count}.")
    return list(names)


def check_countable(datamodule: Any) -> None:
    """Refuse, when a run begins, evaluation loaders that could not be counted later.

    Args:
        datamodule: What the Trainer holds; may be None.

    Raises:
        ValueError: If a loader is named like the mean over the shifts, or a shift is prompted with class names of its
            own.
    """
    for stage in ("val", "test"):
        _refuse_mean(getattr(datamodule, f"{stage}_loader_names", None) or ())
    shift_records(datamodule)


def shift_records(datamodule: Any) -> tuple[DistributionShift, ...]:
    """The records of a data module's shifts; none where it keeps no such records.

    Args:
        datamodule: What the Trainer holds; may be None.

    Raises:
        ValueError: If a shift is prompted with class names of its own: a model that is trained has one head.
    """
    records = tuple(r for r in getattr(datamodule, "shifts", None) or () if isinstance(r, DistributionShift))
    if own := next((record for record in records if record.class_names is not None), None):
        raise ValueError(
            f"The shift {own.name!r} ({own.protocol}) is prompted with class names of its own, and training has one "
            "head: take another protocol for it here, and judge the trained model with 'evaluate'."
        )
    return records


def class_masks(datamodule: Any, names: Sequence[str]) -> dict[str, ClassMask]:
    """The labels of those shifts that cover a part of the classes, by loader name.

    Args:
        datamodule: What the Trainer holds; may be None. Its `shifts` are the records of its loaders after the first.
        names: Names of the loaders, the reference first.

    Raises:
        ValueError: If a loader has no record though others do, or a shift is prompted with class names of its own.

    Example:
        >>> from types import SimpleNamespace
        >>> few = DistributionShift("few", "two of the classes", groups=((0,), (2,)))
        >>> class_masks(SimpleNamespace(shifts=(few,)), ["reference", "few"])["few"].groups
        ((0,), (2,))
    """
    records = {record.name: record for record in shift_records(datamodule)}
    if records and (strange := [name for name in names[1:] if name not in records]):
        raise ValueError(
            f"The data module's loaders after the reference are named {list(names[1:])}, but it has no record of "
            f"{strange[0]!r} among its shifts {list(records)}: each is counted as its record says."
        )
    return {
        name: ClassMask(groups)
        for name in names[1:]
        if name in records and (groups := records[name].groups) is not None
    }


def arguments_of(module: LightningModule) -> dict[str, Any]:
    """The arguments that a module was made with: its hyperparameters, without LightningCLI's own entries.

    Args:
        module: A module that called `save_hyperparameters()`.
    """
    return {name: value for name, value in module.hparams.items() if not name.startswith("_")}


def class_list(datamodule: Any, class_names: Sequence[str] | None) -> list[str]:
    """Class names: as given, else those of the data module.

    Args:
        datamodule: What the Trainer holds; may be None.
        class_names: Given class names, or None.

    Raises:
        ValueError: If they are given nowhere.
    """
    names = class_names if class_names is not None else getattr(datamodule, "class_names", None)
    if not names:
        raise ValueError("No class_names: give them to the model, or use a data module that has them as an attribute.")
    return [str(name) for name in names]


def class_texts(
    datamodule: Any, class_names: Sequence[str] | None, templates: Sequence[str] | None
) -> tuple[list[str], list[str]]:
    """Class names and prompt templates: as given, else those of the data module.

    Args:
        datamodule: What the Trainer holds; may be None.
        class_names: Given class names, or None.
        templates: Given templates, or None.

    Raises:
        ValueError: If either is given nowhere.
    """
    names = class_names if class_names is not None else getattr(datamodule, "class_names", None)
    prompts = templates if templates is not None else getattr(datamodule, "templates", None)
    missing = [what for what, value in (("class_names", names), ("templates", prompts)) if not value]
    if missing or not names or not prompts:
        raise ValueError(
            f"No {' and no '.join(missing)}: give them to the model, or use a data module that has them as attributes."
        )
    return [str(name) for name in names], [str(prompt) for prompt in prompts]


def _refuse_mean(names: Sequence[str]) -> None:
    if _MEAN in names:
        raise ValueError(
            f"The tag of a loader named {_MEAN!r} would be that of the mean over the shifts (val/{_MEAN}/accuracy): "
            "give it another name."
        )

"""What `diagnose` measures of a model: the figures of `probe` that need reference images alone, in one pass."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lightning_robust.cli.evaluate_asked import Asked
from lightning_robust.cli.probe_measured import load_model, measured_model
from lightning_robust.cli.study_images import reference_images
from lightning_robust.errors import UserError
from lightning_robust.results import ProbeRecord
from lightning_robust.robustness.reference_figures import REFERENCE_ONLY, reference_figures

__all__ = ["Measured", "figures_of", "measure_models"]

_POOL, _BATCH, _SPLIT = "mean", 128, "test"  # as in a study


@dataclass(frozen=True)
class Measured:
    """One model.

    Attributes:
        name: As it was asked for; of a path the file.
        record: All that `probe` finds of it without a concept set.
        figures: Those of them that a prediction may be made of, by canonical tag.
    """

    name: str
    record: ProbeRecord
    figures: dict[str, float]


def measure_models(args: argparse.Namespace, asked: Sequence[Asked], data: Any) -> list[Measured]:
    """Measure model by model, each in one pass over the reference's images, as a study does.

    Args:
        args: Of the command.
        asked: What is asked for: models, and paths with a model for each α.
        data: The data module.

    Raises:
        UserError: If a model or the images cannot be had; of several words each is looked at before the first pass.
    """
    names = [name for one in asked for name in (one.path.values() or (one.name,))]
    measuring = _Measuring(args, data)
    for one in asked if len(asked) > 1 else ():
        measuring.network(next(iter(one.path.values()), one.name))
    return list(_measured(measuring, names))


def figures_of(record: ProbeRecord) -> dict[str, float]:
    """The figures of a probe that need reference images alone, by canonical tag.

    Args:
        record: The probe; its last layer is the representation.
    """
    layers = [layer.name for layer in record.layers]
    found = reference_figures(record.scalars, layers, layers[-1])
    return {tag: value for tag, value in found.items() if tag in REFERENCE_ONLY}


class _Measuring:
    """The settings of `probe` with which a study measures: its layers, pooling and images, no concept set."""

    def __init__(self, args: argparse.Namespace, data: Any) -> None:
        self._data, self._split = data, args.split or _SPLIT
        self._texts = (list(data.class_names), list(data.templates))
        self._settings = argparse.Namespace(
            images=None, classes=None, max_images=args.max_images, batch_size=args.batch_size or _BATCH,
            device=args.device, seed=args.seed, download=args.download, concepts=None, layers=None, pool=_POOL,
            weights=None,
        )  # fmt: skip

    def network(self, name: str) -> Any:
        """A model, a CLIP with the zero-shot head of the data's classes."""
        network = load_model(self._settings, name, self._texts)
        if network.head is None:
            raise UserError(f"{name} has no classification head, so that nothing is known of its answers")
        return network

    def record(self, name: str) -> ProbeRecord:
        """Everything that is found of it in one pass."""
        network = self.network(name)
        self._data.transform = network.transform
        given = reference_images(self._data, network, self._settings.batch_size, self._settings.max_images, self._split)
        return measured_model(self._settings, network, given).record


def _measured(measuring: _Measuring, names: Sequence[str]) -> Iterator[Measured]:
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("models", total=len(names))
        for name in names:
            bar.update(task, description=escape(name))
            record = measuring.record(name)
            bar.update(task, advance=1)
            yield Measured(name, record, figures_of(record))

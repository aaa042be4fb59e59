"""What `diagnose` measures of a model: the figures of `probe` that need reference images alone, in one pass."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from lightning_robust.cli.evaluate_asked import Asked
from lightning_robust.cli.probe import load_model, measured_model
from lightning_robust.results import ProbeRecord
from lightning_robust.robustness.reference_figures import REFERENCE_ONLY, reference_figures

__all__ = ["DEFAULT_IMAGES", "Measured", "figures_of", "measure_models"]

DEFAULT_IMAGES: Final = "scenes"
_BATCH: Final = 128


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


def measure_models(args: argparse.Namespace, asked: Sequence[Asked]) -> list[Measured]:
    """Measure model by model, each in one pass over the images, as `probe` does.

    Args:
        args: Of the command.
        asked: What is asked for: models, and paths with a model for each α.

    Raises:
        UserError: If a model or the images cannot be had; of several words each is looked at before the first pass.
    """
    settings = _probe_settings(args)
    names = [name for one in asked for name in (one.path.values() or (one.name,))]
    for one in asked if len(asked) > 1 else ():
        load_model(settings, next(iter(one.path.values()), one.name))
    return list(_measured(settings, names))


def figures_of(record: ProbeRecord) -> dict[str, float]:
    """The figures of a probe that need reference images alone, by canonical tag.

    Args:
        record: The probe; its last layer is the representation.
    """
    layers = [layer.name for layer in record.layers]
    found = reference_figures(record.scalars, layers, layers[-1])
    return {tag: value for tag, value in found.items() if tag in REFERENCE_ONLY}


def _measured(settings: argparse.Namespace, names: Sequence[str]) -> Iterator[Measured]:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("models", total=len(names))
        for name in names:
            bar.update(task, description=name)
            record = measured_model(settings, load_model(settings, name)).record
            bar.update(task, advance=1)
            yield Measured(name, record, figures_of(record))


def _probe_settings(args: argparse.Namespace) -> argparse.Namespace:
    """The arguments of `probe` for what the study measured: its layers, pooling and images, no concept set."""
    return argparse.Namespace(
        images=args.images or DEFAULT_IMAGES,
        classes=args.classes,
        max_images=args.max_images,
        batch_size=args.batch_size or _BATCH,
        device=args.device,
        seed=args.seed,
        download=args.download,
        concepts=None,
        layers=None,
        pool="mean",
        weights=None,
    )

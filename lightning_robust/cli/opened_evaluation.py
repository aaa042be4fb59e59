"""What `prune`, `compress` and `ablate` judge models on: data, sets and their rules, baseline, device."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lightning_robust.cli.data_spec import data_settings, open_data
from lightning_robust.cli.evaluate_baseline import chosen_baseline
from lightning_robust.cli.evaluate_device import chosen_device
from lightning_robust.cli.evaluate_sets import OrderedLoader, evaluation_rules, evaluation_sets, ordered_loaders
from lightning_robust.cli.processes import Processes
from lightning_robust.data.shifts import DistributionShift
from lightning_robust.errors import UserError
from lightning_robust.models.evaluate_rules import AnswerRule, rules_of_reference, same_rule
from lightning_robust.robustness import Baseline

__all__ = ["Opened", "open_evaluation"]

HALF = "half"


@dataclass(frozen=True, eq=False)
class Opened:
    """Data that models are judged on, and what judges them.

    Attributes:
        args: The call's arguments.
        here: This process.
        data: The data module.
        options: Its class and arguments.
        sets: The evaluation sets, the reference first.
        baseline: Of effective robustness, or None.
        device: Where models run.
    """

    args: argparse.Namespace
    here: Processes
    data: Any
    options: dict[str, Any]
    sets: tuple[DistributionShift, ...]
    baseline: Baseline | None
    device: Any

    @property
    def calibration_split(self) -> str:
        """The split of the images that everything is chosen and estimated on."""
        if self.args.calibration == HALF:
            return str(self.args.split)
        return "val" if self.args.split == "test" else "test"

    @property
    def calibration_words(self) -> str:
        """Which images calibrate, for a record's conventions."""
        reference = self.sets[0].name
        if self.args.calibration == HALF:
            return (
                f"everything is chosen and estimated on every second {self.args.split} image of {reference}, and the "
                "others are judged"
            )
        return (
            f"everything is chosen and estimated on the {self.calibration_split} images of {reference}, and judged on "
            f"{self.args.split} images"
        )

    def rules(self, own_heads: Mapping[str, Tensor] | None = None) -> dict[str, AnswerRule]:
        """How each set is answered.

        Args:
            own_heads: By set, the zero-shot head of its own class names.
        """
        return evaluation_rules(self.sets, own_heads)

    def reference_rules(self, rules: Mapping[str, AnswerRule]) -> tuple[dict[str, AnswerRule], dict[str, str]]:
        """What is asked of a reference image, each distinct rule once, and by shift which of these is its own.

        Args:
            rules: What `rules` gave.
        """
        shifts = {one.name: rules[one.name] for one in self.sets[1:]}
        asked = rules_of_reference(shifts, rules[self.sets[0].name])
        matched = {
            name: next(known for known, other in asked.items() if same_rule(rule, other))
            for name, rule in shifts.items()
        }
        return asked, matched

    def judged_loaders(self, transform: Any) -> list[OrderedLoader]:
        """The loaders of the judged images, the reference first; with places of the images.

        Args:
            transform: The model's preprocessing.

        Raises:
            UserError: If they cannot be had.
        """
        loaders = self._loaders(transform, self.args.split)
        if len(loaders) != len(self.sets):
            raise UserError(f"the data have {len(loaders)} loaders and {len(self.sets)} names of them")
        if self.args.calibration == HALF:
            loaders[0] = _half(loaders[0], 1)
        return loaders

    def calibration_loader(self, transform: Any, *, own_batches: bool = False) -> OrderedLoader:
        """The loader of the reference images that everything is chosen and estimated on.

        Args:
            transform: The model's preprocessing.
            own_batches: Whether `--batch_size` is left out of it: for what depends on the batches.

        Raises:
            UserError: If they cannot be had; `--calibration half` needs the judged images alone.
        """
        if self.args.calibration == HALF:
            return _half(self._loaders(transform, self.args.split, own_batches=own_batches)[0], 0)
        try:
            return self._loaders(transform, self.calibration_split, own_batches=own_batches)[0]
        except (UserError, ValueError, OSError) as error:  # as data modules refuse what is not there
            raise UserError(
                f"calibration needs {self.calibration_split} images of {self.sets[0].name}, and they cannot be had "
                f"({error}); --calibration half takes every second judged image instead"
            ) from error

    def _loaders(self, transform: Any, split: str, *, own_batches: bool = False) -> list[OrderedLoader]:
        self.data.transform = transform
        size = None if own_batches else self.args.batch_size
        return ordered_loaders(self.data, split, 1, size, self.args.num_workers)


def open_evaluation(args: argparse.Namespace, here: Processes) -> Opened:
    """Open data, baseline and device as `evaluate` does.

    Args:
        args: With what `add_evaluation_options` added.
        here: This process.

    Raises:
        UserError: If one of them cannot be had, or the command was started on several processes.
    """
    if here.world > 1:
        raise UserError(f"this command runs on one process, and {here.world} were started: leave torchrun out")
    data = open_data(args.data, download=True if args.download else None)
    options = {"scale": args.scale, "x": args.x, "aggregate": args.aggregate}
    return Opened(
        args=args,
        here=here,
        data=data,
        options=data_settings(args.data),
        sets=evaluation_sets(data, args.split),
        baseline=chosen_baseline(args.baseline, args.data, data, args.split, options),
        device=chosen_device(args.device, here),
    )


def _half(loader: OrderedLoader, parity: int) -> OrderedLoader:
    share = (loader.share + 1 - parity) // 2
    return OrderedLoader(_EverySecond(loader.batches, parity), loader.images, share)


class _EverySecond:
    """The images of even or of odd places of a loader `(images, targets, places)`.

    Args:
        batches: The loader.
        parity: 0 for even places, 1 for odd ones.
    """

    def __init__(self, batches: Any, parity: int) -> None:
        self.batches, self.parity = batches, parity

    @property
    def unreadable(self) -> Sequence[str]:
        """What the loader left out."""
        return tuple(getattr(self.batches, "unreadable", ()))

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        for images, targets, places, *_ in self.batches:
            mine = torch.as_tensor(places) % 2 == self.parity
            if bool(mine.any()):
                yield images[mine], targets[mine], torch.as_tensor(places)[mine]

"""Reads the accuracies of a validation from the metrics that the module has logged."""

import math
from collections.abc import Mapping

from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_warn

from lightning_robust.callbacks.accuracy_tags import AccuracyTags
from lightning_robust.callbacks.schedule import is_whole_check
from lightning_robust.callbacks.shares import over_ranks
from lightning_robust.errors import UserError


def logged_accuracies(trainer: Trainer, tags: AccuracyTags) -> dict[str, float] | None:
    """The accuracies by tag, at the end of a validation.

    In a sanity check Lightning withholds what a module logs in the `validation_step` of several loaders. Tags of which
    none is there may be such: then there are no figures from before training, which is told.

    Args:
        trainer: The Trainer.
        tags: Where they stand.

    Returns:
        They, or None where they are withheld.

    Raises:
        UserError: If the module does not log one, or it is no fraction.
    """
    logged = trainer.callback_metrics
    missing = [tag for tag in tags.all if tag not in logged]
    if missing and trainer.sanity_checking and len(missing) == len(tags.all) and len(trainer.num_val_batches) > 1:
        if is_whole_check(trainer):
            rank_zero_warn(
                "no effective robustness of epoch 0: in a sanity check Lightning withholds what a module logs in the "
                "validation_step of several loaders; log accuracies in on_validation_epoch_end"
            )
        return None
    if missing:
        there = [tag for tag in logged if "acc" in tag] or list(logged)
        raise UserError(
            f"the module logs no {missing[0]!r} at validation, so there is no effective robustness: give reference= "
            f"and shifts= the tags of its accuracies; it logs {', '.join(map(repr, there[:8])) or 'nothing'}"
        )
    figures = {tag: float(logged[tag]) for tag in tags.all}
    for tag, value in figures.items():
        if not (math.isnan(value) or 0 <= value <= 1):
            raise UserError(f"{tag!r} is {value:g}, and accuracies are fractions in [0, 1]: log the accuracy as one")
    return figures


def check_same_on_all(trainer: Trainer, figures: Mapping[str, float]) -> None:
    """Check that all processes hold the same accuracies; each has to call this.

    Raises:
        UserError: If one differs: it is that of one process's images alone.
    """
    if trainer.world_size == 1:
        return
    found = over_ranks(figures)
    for tag in figures:
        if len({repr(other[tag]) for other in found}) > 1:
            raise UserError(
                f"{tag!r} differs between processes, so each has it of its own images only: log it with sync_dist=True "
                "or from a torchmetrics metric"
            )

"""One model with all its curves."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Final

from lightning_robust.cli.head_features import HeadFeatures
from lightning_robust.cli.opened_evaluation import Opened
from lightning_robust.cli.prune_counts import whole_counts
from lightning_robust.cli.prune_curves import curve_of, judged_point
from lightning_robust.cli.prune_parts import head_parts
from lightning_robust.cli.prune_sweeps import sweeps_of
from lightning_robust.errors import from_user
from lightning_robust.results.prune_record import PrunedModel

__all__ = ["pruned_model", "sweep_draws"]

_ORDERS_PER_FORM = 3  # importance, smallest first, reduced rank
_FORMS = 2
_WORTH_PRUNING: Final = 5  # times what may be lost: an accuracy must be so far above that of no direction at all


def sweep_draws(seeds: int) -> int:
    """How many times the images of a model are answered, at every number kept: what progress counts.

    Args:
        seeds: Draws of a random control.

    Example:
        >>> sweep_draws(5)
        32
    """
    return _FORMS * (_ORDERS_PER_FORM + 2 * seeds) + 1 + seeds


def pruned_model(
    features: HeadFeatures, role: str, opened: Opened, seeds: Sequence[int], seen: Callable[[int], None] | None = None
) -> tuple[PrunedModel, tuple[str, ...]]:
    """Prune one model in every order.

    Args:
        features: Its head and what it reads.
        role: As of `PrunedModel`.
        opened: Sets, baseline and arguments.
        seeds: Of the random controls.
        seen: Called with numbers of images, for progress.

    Returns:
        The model, and a sentence for each order that it cannot have.

    Raises:
        UserError: If no calibration image has finite features, or the head has no directions.
    """
    head = head_parts(features, opened)
    with from_user(ValueError):
        orders = sweeps_of(head, seeds)
    counts, whole = whole_counts(head)
    model = PrunedModel(
        name=head.model.name,
        origin=head.model.origin,
        checkpoint_hash=head.model.checkpoint_hash,
        alpha=head.model.alpha,
        role=role,
        classes=head.model.head.shape[0],
        d=head.model.head.shape[1],
        unit_norm=head.model.unit_norm,
        bias=head.model.bias is not None,
        rank_raw=orders.rank("raw"),
        rank_centred=orders.rank("centred"),
        privileged_raw=orders.privileged("raw"),
        privileged_centred=orders.privileged("centred"),
        outliers_by_rule=None if orders.outliers is None else len(orders.outliers),
        calibration_images=len(head.calibration),
        unpruned=judged_point(counts, 0, opened),
        curves=tuple(curve_of(sweep, head, whole, opened, seen) for sweep in orders.sweeps),
    )
    nothing = model.without_directions
    above = None if nothing is None else model.unpruned.reference - nothing
    near_chance = above is not None and above <= _WORTH_PRUNING * opened.args.points / 100
    return dataclasses.replace(model, near_chance=near_chance), orders.without

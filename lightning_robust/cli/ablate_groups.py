"""What `ablate` ablates: groups of features or directions, chosen on calibration images, and random ones beside."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_robust.cli.ablate_arguments import MOST, STAND_INS
from lightning_robust.cli.head_features import HeadFeatures
from lightning_robust.errors import UserError
from lightning_robust.results.ablation_record import UnitGroup
from lightning_robust.signatures import DirectionImportanceReport, direction_importance, random_rotation
from lightning_robust.signatures.ablation import UnitValues, feature_axes, unit_values
from lightning_robust.signatures.ablation_units import (
    FeatureRanking,
    UnitFigures,
    feature_ranking,
    random_members,
    unit_figures,
)
from lightning_robust.signatures.bases import thin_svd
from lightning_robust.signatures.layer_ablation import PositionMoments

__all__ = ["FEATURES", "OF_THE_HEAD", "OF_THE_SPACE", "Control", "Group", "head_groups", "layer_groups"]

FEATURES, OF_THE_HEAD, OF_THE_SPACE = (
    "random features",
    "random directions of the head",
    "random directions of the space",
)


@dataclass(frozen=True, eq=False)
class Control:
    """One draw of as many random units as a group has.

    Attributes:
        name: Which kind.
        draw: Its seed.
        members: Their indices; empty for directions drawn in the whole space.
        units: Columns, `(d, m)`.
        values: Of each over calibration images.
    """

    name: str
    draw: int
    members: tuple[int, ...]
    units: Tensor
    values: UnitValues


@dataclass(frozen=True, eq=False)
class Group:
    """Units that are ablated one by one and together.

    Attributes:
        record: What they are.
        units: Columns, `(d, m)`, in the order of the members.
        values: Of each over calibration images (and positions, at an inner layer).
        figures: What is known of each.
        far_out, mean_z: Of features, `(m,)`; NaN for directions, `far_out` also where d is too small for the rule.
        controls: Draws of random units.
        importance: Of every direction of the head; None for features.
    """

    record: UnitGroup
    units: Tensor
    values: UnitValues
    figures: UnitFigures
    far_out: Tensor
    mean_z: Tensor
    controls: tuple[Control, ...]
    importance: DirectionImportanceReport | None = None

    def importance_share(self, member: int) -> float:
        """Of the importance of all directions, in [0, 1]; NaN for a feature.

        Args:
            member: Index of a direction.
        """
        if self.importance is None:
            return math.nan
        return float(self.importance.importance[member] / self.importance.importance.sum())


def head_groups(
    found: HeadFeatures, features: int | None, directions: int | None, seeds: Sequence[int], clip_at: float
) -> tuple[list[Group], list[str]]:
    """The groups at h: features, directions of the raw head, directions of the centred head.

    Args:
        found: The head and what it reads.
        features: At most so many; 0 leaves them out; None takes what the rule finds.
        directions: Likewise of each form of the head.
        seeds: Of the draws of random units.
        clip_at: Standard deviations that clip leaves a unit.

    Returns:
        The groups, and a sentence for whatever is not there.

    Raises:
        UserError: If no calibration image has finite features, or nothing is left to ablate.
    """
    h, head = found.calibration.h, found.model.head
    if not bool(h.isfinite().all(dim=1).any()):
        raise UserError(f"{found.model.name}: no calibration image has finite features, so no unit can be chosen")
    groups, missing = [], list[str]()
    if features != 0:
        ranking = feature_ranking(h)
        groups.append(_feature_group(ranking, features, seeds, clip_at, h, head))
    for centred in () if directions == 0 else (False, True):
        if len(thin_svd(head, centred=centred)[0]) == 0:
            missing.append(f"the {'centred' if centred else 'raw'} head has no directions")
            continue
        report = direction_importance(head, h, centred=centred)
        groups.append(_direction_group(report, directions, seeds, clip_at, h, head))
    if not groups:
        raise UserError(f"nothing is left to ablate: {'; '.join(missing) or '--features and --directions are 0'}")
    for group in groups:
        missing += _short_of_controls(group)
    return groups, missing


def layer_groups(
    pooled: Tensor, moments: PositionMoments, features: int | None, seeds: Sequence[int], clip_at: float
) -> tuple[list[Group], list[str]]:
    """The group of an inner layer: its outlier features.

    Args:
        pooled: One vector for each calibration image, `(n, d)`: the rule looks at these.
        moments: Of every feature over images and positions: mean and clip are taken from these.
        features: At most so many; None takes what the rule finds.
        seeds: Of the draws of random features.
        clip_at: Standard deviations that clip leaves a feature.

    Returns:
        The group, and a sentence for whatever is not there.

    Raises:
        UserError: If no calibration image has finite features, or no feature is asked for.
    """
    if features == 0:
        raise UserError("--features 0 leaves nothing to ablate at an inner layer, which has no directions")
    if not bool(pooled.isfinite().all(dim=1).any()):
        raise UserError("no calibration image has finite features at this layer, so no unit can be chosen")
    group = _feature_group(feature_ranking(pooled), features, seeds, clip_at, pooled, None, moments)
    return [group], _short_of_controls(group)


def _feature_group(
    ranking: FeatureRanking,
    most: int | None,
    seeds: Sequence[int],
    clip_at: float,
    h: Tensor,
    head: Tensor | None,
    moments: PositionMoments | None = None,
) -> Group:
    report, d = ranking.report, ranking.report.d
    by_rule = bool(report.indices)
    members = ranking.order[: _taken(most, len(report.indices), d)]

    def values(chosen: Sequence[int], axes: Tensor) -> UnitValues:
        return unit_values(h, axes, clip_at) if moments is None else moments.values(chosen, clip_at)

    controls = []
    for seed, drawn in _draws(d, {*members, *report.indices}, len(members), seeds):
        axes = feature_axes(d, drawn)
        controls.append(Control(FEATURES, seed, drawn, axes, values(drawn, axes)))
    units = feature_axes(d, members)
    rate = report.per_feature_rate[list(members)].double()
    return Group(
        record=UnitGroup(
            unit="feature",
            words=_feature_words(by_rule, len(members), len(report.indices), report.defined),
            members=members,
            by_rule=by_rule,
            found=len(report.indices) if report.defined else None,
            of=d,
        ),
        units=units,
        values=values(members, units),
        figures=unit_figures(h, units, head),
        far_out=rate if report.defined else torch.full_like(rate, torch.nan),
        mean_z=ranking.mean_z[list(members)],
        controls=tuple(controls),
    )


def _taken(most: int | None, found: int, of: int) -> int:
    """How many units are ablated: of what the rule finds, or of all where it finds none."""
    if most is None:
        return min(MOST, found) if found else min(STAND_INS, of)
    return min(most, found or of)


def _draws(total: int, excluded: set[int], count: int, seeds: Sequence[int]) -> Iterator[tuple[int, tuple[int, ...]]]:
    """A draw for each seed; one that draws the same units as another is left out, and so is one of nothing."""
    seen = set[frozenset[int]]()
    for seed in seeds:
        drawn = random_members(total, excluded, count, seed)
        if drawn and frozenset(drawn) not in seen:
            seen.add(frozenset(drawn))
            yield seed, drawn


def _feature_words(by_rule: bool, taken: int, found: int, defined: bool) -> str:
    if by_rule:
        return "outlier features" if taken == found else f"{taken} of {found} outlier features"
    return f"largest features ({'no outlier by the rule' if defined else 'too few features for the rule'})"


def _direction_group(
    report: DirectionImportanceReport, most: int | None, seeds: Sequence[int], clip_at: float, h: Tensor, head: Tensor
) -> Group:
    form = "centred" if report.centred else "raw"
    order = report.importance.argsort(descending=True, stable=True).tolist()
    by_rule = bool(report.privileged)
    members = tuple(order[: _taken(most, len(report.privileged), report.r)])
    controls = []
    for seed, drawn in _draws(report.r, {*members, *report.privileged}, len(members), seeds):
        V = report.directions[:, list(drawn)]
        controls.append(Control(OF_THE_HEAD, seed, drawn, V, unit_values(h, V, clip_at)))
    for seed in seeds:
        Q = random_rotation(h.shape[1], len(members), seed)
        controls.append(Control(OF_THE_SPACE, seed, (), Q, unit_values(h, Q, clip_at)))
    units = report.directions[:, list(members)]
    nothing = torch.full((len(members),), torch.nan, dtype=torch.float64)
    privileged = len(report.privileged)
    few = "" if privileged == len(members) else f"{len(members)} of {privileged} "
    return Group(
        record=UnitGroup(
            unit="direction",
            form=form,
            words=f"{few}privileged directions of the {form} head"
            if by_rule
            else f"most important directions of the {form} head (none privileged)",
            members=members,
            by_rule=by_rule,
            found=privileged,
            of=report.r,
        ),
        units=units,
        values=unit_values(h, units, clip_at),
        figures=unit_figures(h, units, head, centred=report.centred),
        far_out=nothing,
        mean_z=nothing.clone(),
        controls=tuple(controls),
        importance=report,
    )


def _short_of_controls(group: Group) -> list[str]:
    """Where a narrow layer or a small head has fewer others than are ablated."""
    wanted = len(group.record.members)
    name = FEATURES if group.record.unit == "feature" else OF_THE_HEAD
    drawn = [len(one.members) for one in group.controls if one.name == name]
    if not drawn:
        return [f"{group.record.words}: no others are left to draw {name} from"]
    if (left := drawn[0]) < wanted:
        others = "1 other is" if left == 1 else f"{left} others are"
        return [f"{group.record.words}: only {others} left to draw {name} from, too few to compare with the {wanted}"]
    return []

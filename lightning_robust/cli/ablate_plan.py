"""Which ablations `ablate` runs: each group one by one and together, its controls likewise, every kind."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from lightning_robust.cli.ablate_groups import Group
from lightning_robust.results.ablation_record import UnitGroup
from lightning_robust.signatures.ablation import KINDS, AblationOf, UnitValues
from lightning_robust.signatures.layer_ablation import FeatureAblation

__all__ = ["Planned", "planned", "runs"]


@dataclass(frozen=True, eq=False)
class Planned:
    """One ablation.

    Attributes:
        group: Whose it is.
        kind: `"zero"`, `"mean"` or `"clip"`.
        members: Indices of what is ablated; empty for directions drawn in the whole space.
        columns: Their places in the group or the draw, which tell two such directions apart.
        units: Columns, `(d, m)`.
        values: Of each over calibration images.
        together: Whether the whole group or draw is meant.
        control: Name of a control; empty for the group's own.
        draw: Its seed.
    """

    group: UnitGroup
    kind: str
    members: tuple[int, ...]
    columns: tuple[int, ...]
    units: Tensor
    values: UnitValues
    together: bool
    control: str = ""
    draw: int | None = None

    @property
    def key(self) -> tuple[object, ...]:
        """Of what is done to the model: a group of one together is that one alone."""
        return self.group.unit, self.group.form, self.control, self.draw, self.kind, self.columns

    @property
    def of_h(self) -> AblationOf:
        """As it is applied to h."""
        return AblationOf(self.units, self.kind, self.values)

    @property
    def of_layer(self) -> FeatureAblation:
        """As it is applied to the features of an inner layer."""
        return FeatureAblation(self.members, self.kind, self.values)


def planned(groups: Sequence[Group], *, singles: int | None = None) -> list[Planned]:
    """Every ablation, group by group: its own, then its controls; one by one, then together.

    Args:
        groups: What is ablated.
        singles: How many of each draw are ablated one by one; None for all.
    """
    found = list[Planned]()
    for group in groups:
        found += _of(group.record, group.record.members, group.units, group.values)
        for one in group.controls:
            found += _of(group.record, one.members, one.units, one.values, one.name, one.draw, singles)
    return found


def runs(plans: Sequence[Planned]) -> tuple[list[Planned], list[int]]:
    """Those that differ in what is done, and for each plan which of them it is.

    Args:
        plans: Every ablation.
    """
    place = dict[tuple[object, ...], int]()
    different = list[Planned]()
    for plan in plans:
        if plan.key not in place:
            place[plan.key] = len(different)
            different.append(plan)
    return different, [place[plan.key] for plan in plans]


def _of(
    group: UnitGroup,
    members: tuple[int, ...],
    units: Tensor,
    values: UnitValues,
    control: str = "",
    draw: int | None = None,
    singles: int | None = None,
) -> Iterator[Planned]:
    every = tuple(range(units.shape[1]))
    for kind in KINDS:
        for columns in ((column,) for column in every[:singles]):
            chosen = tuple(members[column] for column in columns) if members else ()
            part = units[:, list(columns)]
            yield Planned(group, kind, chosen, columns, part, values.take(columns), False, control, draw)
        yield Planned(group, kind, members, every, units, values, True, control, draw)

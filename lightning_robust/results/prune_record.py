"""``results.json`` of ``prune``: what is left of a model when directions or features of its head's input go."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from lightning_robust.results.effective_robustness import EffectiveRobustness
from lightning_robust.results.evaluation_record import AccuracyRow
from lightning_robust.results.provenance import Provenance
from lightning_robust.results.pruned_headline import PrunedHeadline
from lightning_robust.results.record_file import read_record, write_record
from lightning_robust.results.run_record import DataDescription

__all__ = [
    "AGREEMENT_ORDERS",
    "PRUNE_KIND",
    "PRUNE_ORDERS",
    "PRUNE_SCHEMA",
    "JudgedPoint",
    "PruneCurve",
    "PruneRecord",
    "PrunedModel",
    "read_pruning",
    "write_pruning",
]

PRUNE_SCHEMA: Final = 1
PRUNE_KIND: Final = "pruning"
PRUNE_ORDERS: Final[Mapping[str, str]] = {
    "importance": "the most important directions are kept",
    "smallest_first": "control: the least important directions are kept, the largest go first",
    "random": "control: random directions among the r are kept",
    "reduced_rank": "control: the head of rank k that is best for the logits of the calibration images",
    "random_head": "control: Gaussian weights in place of the head, its own most important directions are kept",
    "outlier_features": "control: features are zeroed, the furthest out first",
    "random_features": "control: random features are zeroed",
}
"""What each order is, in words."""
AGREEMENT_ORDERS: Final = ("importance", "reduced_rank", "random_head")
"""Orders that are held to answers that stay, too: one yardstick for a head and for random heads."""


@dataclass(frozen=True, kw_only=True)
class JudgedPoint:
    """A model as it is at one place of a curve, judged as ``evaluate`` judges a model.

    Attributes:
        rows: accuracies with intervals, the reference first.
        robustness: effective robustness with intervals; None without a baseline.
    """

    rows: tuple[AccuracyRow, ...]
    robustness: EffectiveRobustness | None = None

    @property
    def reference(self) -> float:
        """Accuracy on the reference, a fraction."""
        return self.rows[0].accuracy

    @property
    def shifts_mean(self) -> float | None:
        """Unweighted mean of the accuracies on the shifts; None without shifts."""
        shifts = self.rows[1:]
        return sum(row.accuracy for row in shifts) / len(shifts) if shifts else None


@dataclass(frozen=True, kw_only=True)
class PruneCurve:
    """One order in which directions, or features, of the head's input go.

    Attributes:
        order: a key of ``PRUNE_ORDERS``.
        form: ``"raw"`` or ``"centred"``: which head the directions are of; empty where features go.
        of: ``"directions"`` or ``"features"``: what goes.
        total: how many there are: r, the rank of the head, never d; for features d.
        kept: numbers that are kept, descending from ``total``; the last is 0, where every logit is the head's bias.
        seeds: of the draws, in order; empty for an order that draws nothing, which has one row all the same.
        correct: by set, for each draw and number kept, images that are answered right.
        agreement: likewise, images that are answered as the whole head answers them; of a random head, as the whole
            random head does.
        robustness: for each draw and number kept, effective robustness in the mean over the shifts; empty without a
            baseline, None where there is none (a reference accuracy of 0 or 1 has no place on a line).
        extrapolated: likewise, whether that is an extrapolation: the reference accuracy lies outside that of the
            baseline's models. Empty where it was not noted.
        headlines: for each draw the largest fraction pruned, searched over every number kept from 1 to ``total``:
            ``"reference"`` and ``"shifts"`` (mean over them; absent without shifts), and ``"agreement"``: on the
            reference, with at most so large a share of the whole head's answers changed. Random heads, which are no
            better than chance, have the last alone, and the orders that they are compared with have it too
            (``AGREEMENT_ORDERS``; records of an early date lack it there).
        judged: with intervals, by number kept as text; of the first draw.
    """

    order: str
    form: str
    of: str
    total: int
    kept: tuple[int, ...]
    seeds: tuple[int, ...] = ()
    correct: Mapping[str, tuple[tuple[int, ...], ...]]
    agreement: Mapping[str, tuple[tuple[int, ...], ...]]
    robustness: tuple[tuple[float | None, ...], ...] = ()
    extrapolated: tuple[tuple[bool, ...], ...] = ()
    headlines: Mapping[str, tuple[PrunedHeadline, ...]] = field(default_factory=dict)
    judged: Mapping[str, JudgedPoint] = field(default_factory=dict)

    @property
    def fractions(self) -> tuple[float, ...]:
        """Fraction pruned at each number kept, ``1 − k / total``, ascending from 0 to 1."""
        return tuple(1 - k / self.total for k in self.kept)

    @property
    def draws(self) -> int:
        """How many rows the curve has: one for each seed, or one."""
        return max(1, len(self.seeds))


@dataclass(frozen=True, kw_only=True)
class PrunedModel:
    """One model with all its curves.

    Attributes:
        name, origin, checkpoint_hash, alpha: as in ``ModelEvaluation``.
        role: ``"asked"``, or ``"supervised twin"``: a control of the models that were asked for.
        classes: rows of its head, C.
        d: features that the head reads.
        unit_norm: whether they are scaled to unit length first, as a CLIP does.
        bias: whether the head has a bias, which is never pruned.
        rank_raw, rank_centred: numerical rank of the head and of the centred head: the r of fractions.
        privileged_raw, privileged_centred: how many directions the rule of METHODS 3 calls privileged.
        outliers_by_rule: outlier features on the calibration images; None where d is too small for the rule.
        calibration_images: reference images of the other split, that orders were estimated on.
        unpruned: the model as it is.
        near_chance: whether its accuracy is so little above that of no direction at all that how much can go says
            nothing.
        curves: one for each order and form.
    """

    name: str
    origin: str
    checkpoint_hash: str
    alpha: float | None = None
    role: str = "asked"
    classes: int
    d: int
    unit_norm: bool
    bias: bool
    rank_raw: int
    rank_centred: int
    privileged_raw: int
    privileged_centred: int
    outliers_by_rule: int | None
    calibration_images: int
    unpruned: JudgedPoint
    near_chance: bool = False
    curves: tuple[PruneCurve, ...]

    @property
    def null(self) -> int:
        """Directions that the raw head does not read, d − r: they prune for free and count in no fraction."""
        return self.d - self.rank_raw

    @property
    def comparable(self) -> bool:
        """Whether r is at least d / 2: below, the paper's 80 % is not comparable (METHODS 4)."""
        return 2 * self.rank_raw >= self.d

    @property
    def without_directions(self) -> float | None:
        """Accuracy on the reference with no direction left, a fraction; None without the curve of importance."""
        curve = self.curve("importance", "raw")
        return None if curve is None else self.accuracies(curve, self.unpruned.rows[0].set)[0][-1]

    def curve(self, order: str, form: str = "") -> PruneCurve | None:
        """The curve of an order and a form, if there is one."""
        return next((one for one in self.curves if (one.order, one.form) == (order, form)), None)

    def accuracies(self, curve: PruneCurve, name: str) -> tuple[tuple[float, ...], ...]:
        """Accuracy on a set for each draw and number kept, fractions."""
        return self._shares(curve.correct[name], name)

    def agreements(self, curve: PruneCurve, name: str) -> tuple[tuple[float, ...], ...]:
        """Share of a set's images that are answered as by the whole head, for each draw and number kept."""
        return self._shares(curve.agreement[name], name)

    def shift_accuracies(self, curve: PruneCurve) -> tuple[tuple[float, ...], ...]:
        """Unweighted mean over the shifts of the accuracies, for each draw and number kept; empty without shifts."""
        sets = [self.accuracies(curve, row.set) for row in self.unpruned.rows[1:]]
        return tuple(
            tuple(sum(at_k) / len(at_k) for at_k in zip(*draws, strict=True)) for draws in zip(*sets, strict=True)
        )

    def _shares(self, counts: tuple[tuple[int, ...], ...], name: str) -> tuple[tuple[float, ...], ...]:
        images = next(row.images for row in self.unpruned.rows if row.set == name)
        return tuple(tuple(count / images for count in draw) for draw in counts)


@dataclass(frozen=True, kw_only=True)
class PruneRecord:
    """All that one call of ``prune`` found.

    Attributes:
        schema_version: version of this layout.
        kind: ``"pruning"``.
        provenance: versions, machine, revision, time.
        seeds: every seed, by what it seeds.
        data: data set, protocol and image counts.
        conventions: sentences on how figures were taken; an image that could not be read has one.
        split: ``"test"`` or ``"val"``: which images were judged.
        baseline: the baseline of effective robustness in words; None without one.
        points: accuracy that a headline may lose, a fraction; 0.01 is one point.
        missing: a sentence for each control that is not there, with how to have it.
        twin: name of the model that serves the others as supervised twin: one that was asked for, or the last, whose
            role says it. None where there is none; records of an early date say it by the role alone.
        models: those that were asked for, in order, and then the supervised twin, unless it was asked for.
    """

    schema_version: int = PRUNE_SCHEMA
    kind: str = PRUNE_KIND
    provenance: Provenance
    seeds: Mapping[str, int]
    data: DataDescription
    conventions: tuple[str, ...]
    split: str = "test"
    baseline: str | None = None
    points: float = 0.01
    missing: tuple[str, ...] = ()
    twin: str | None = None
    models: tuple[PrunedModel, ...]


def write_pruning(record: PruneRecord, path: str | os.PathLike[str]) -> None:
    """Write ``results.json``, whole or not at all.

    Raises:
        FileNotFoundError: the folder does not exist.
    """
    write_record(record, path)


def read_pruning(path: str | os.PathLike[str]) -> PruneRecord:
    """Read a ``results.json`` of ``prune``.

    Raises:
        UserError: there is none at ``path``, it is no JSON, no such record, or of a newer version.
    """
    return read_record(PruneRecord, path, PRUNE_SCHEMA, "a results.json of prune", "prune")

"""``results.json`` of ``ablate``: what outlier features and privileged directions do, and what they answer to."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from lightning_robust.results.choices import Interval
from lightning_robust.results.effective_robustness import EffectiveRobustness
from lightning_robust.results.evaluation_record import AccuracyRow
from lightning_robust.results.probe_record import ConceptEntry, ModelDescription
from lightning_robust.results.provenance import Provenance
from lightning_robust.results.record_file import read_record, write_record
from lightning_robust.results.run_record import DataDescription

__all__ = [
    "ABLATION_KIND",
    "ABLATION_SCHEMA",
    "AblatedUnit",
    "Ablation",
    "AblationRecord",
    "TopImage",
    "UnitGroup",
    "read_ablation",
    "write_ablation",
]

ABLATION_SCHEMA = 1
ABLATION_KIND = "ablation"


@dataclass(frozen=True, kw_only=True)
class TopImage:
    """An image on which a unit is large.

    Attributes:
        image: its id in ``images.csv`` and ``scores.csv``, ``"reference/00017"``.
        set: name of its evaluation set. place: its position in the set.
        label: name of its class, of its own where the set tells it.
        score: value of the unit on it, of h as the encoder gives it.
        file: a small picture of it, relative to the run's folder; None where it could not be drawn.
    """

    image: str
    set: str
    place: int
    label: str
    score: float
    file: str | None = None


@dataclass(frozen=True, kw_only=True)
class AblatedUnit:
    """One feature or direction that was ablated.

    Attributes:
        unit: ``"feature"`` or ``"direction"``.
        form: ``"raw"`` or ``"centred"``, of the head whose direction it is; empty for a feature.
        index: position among the d features, or among the right singular vectors, 0 the largest singular value.
        by_rule: whether the rule calls it an outlier feature or a privileged direction.
        far_out: share of the calibration images on which the feature's ``|z|`` exceeds 6, in [0, 1]; NaN for a
            direction, and where d is too small for the rule.
        mean_z: mean of the feature's ``|z|`` over these images; NaN for a direction.
        share: of ``‖h‖²``, summed over these images, in [0, 1].
        importance: ``‖W u‖ · mean |cos(u, h)| / Σσ``, in [0, 1]; a direction's normalised importance, which compares
            models, and the same for the axis of a feature; NaN at an inner layer. Over all directions it sums to less
            than 1.
        importance_share: a direction's importance over the sum of that of all r directions, in [0, 1]; NaN for a
            feature.
        common: share of ``‖W u‖²`` that is the same for every class and so can change no prediction, in [0, 1]; NaN at
            an inner layer.
        mean, std: of the unit's value over the calibration images. low, high: what ``clip`` limits it to.
        concepts: that it ranks best, the largest average precision first; empty without a concept set.
        top: the images on which its value is largest, the largest first.
        bottom: those on which it is smallest, the smallest first; empty for a feature that is never negative.
    """

    unit: str
    form: str = ""
    index: int
    by_rule: bool
    far_out: float
    mean_z: float
    share: float
    importance: float
    importance_share: float = math.nan
    common: float
    mean: float
    std: float
    low: float
    high: float
    concepts: tuple[ConceptEntry, ...] = ()
    top: tuple[TopImage, ...] = ()
    bottom: tuple[TopImage, ...] = ()

    @property
    def name(self) -> str:
        """What it is called in tables: ``"feature 7"``, ``"direction 1 (raw)"``, directions counted from 1."""
        return f"feature {self.index}" if self.unit == "feature" else f"direction {self.index + 1} ({self.form})"


@dataclass(frozen=True, kw_only=True)
class UnitGroup:
    """The units that are ablated together.

    Attributes:
        unit, form: as in ``AblatedUnit``.
        words: what they are called, ``"outlier features"``, ``"largest features (no outlier by the rule)"``.
        members: their indices, the first in rank first; at least one.
        by_rule: whether a rule found them; without, the first in rank were taken.
        found: how many the rule found; None where it is not defined.
        of: how many there are, d features or r directions.
    """

    unit: str
    form: str = ""
    words: str
    members: tuple[int, ...]
    by_rule: bool
    found: int | None
    of: int


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """One ablation, judged.

    Attributes:
        unit, form: of the group that it belongs to.
        kind: ``"zero"``, ``"mean"`` or ``"clip"``.
        members: indices of what is ablated; empty for directions drawn in the whole space.
        count: how many are ablated at once.
        together: whether all of a group are, or as many random ones.
        control: empty for the group's own; ``"random features"``, ``"random directions of the head"`` or ``"random
            directions of the space"``.
        draw: seed of a control; None for the group's own.
        places: places of what is ablated in the group or the draw, from 0; with the draw they name the columns of
            ``directions.safetensors`` that it can be remade from.
        rows: accuracies, the reference first.
        robustness: effective robustness; None without a baseline. Controls have estimates without intervals.
        differences: accuracy minus that of the untouched model on the same images, by set and for ``"shifts"``, by
            paired bootstrap; empty for controls, whose spread over draws is shown.
        changed: predictions that differ from those of the untouched model, by set.
    """

    unit: str
    form: str = ""
    kind: str
    members: tuple[int, ...]
    count: int
    together: bool
    control: str = ""
    draw: int | None = None
    places: tuple[int, ...] = ()
    rows: tuple[AccuracyRow, ...]
    robustness: EffectiveRobustness | None = None
    differences: Mapping[str, Interval] = field(default_factory=dict)
    changed: Mapping[str, int] = field(default_factory=dict)

    @property
    def shifts_mean(self) -> float:
        """Unweighted mean of the accuracies on the shifts, NaN without shifts."""
        shifts = self.rows[1:]
        return sum(row.accuracy for row in shifts) / len(shifts) if shifts else float("nan")


@dataclass(frozen=True, kw_only=True)
class AblationRecord:
    """All that one ``ablate`` found.

    Attributes:
        schema_version: version of this layout.
        kind: ``"ablation"``.
        provenance: versions, machine, revision, time.
        seeds: every seed, by what it seeds.
        data: data set, protocol and image counts.
        conventions: sentences on how figures were taken.
        split: of the judged images, ``"test"`` or ``"val"``.
        baseline: the baseline of effective robustness in words; None without one.
        model: which model.
        layer: whose features are ablated. form: its axis and pooling in words. d: features.
        at_head: whether it is h, what the head reads, rather than an inner layer.
        clip_at: standard deviations from its mean that ``clip`` leaves a unit.
        calibration: images that units were chosen and their means and limits taken on.
        untouched: accuracies of the model as it is. robustness: its effective robustness.
        groups: of units that are ablated together.
        units: every unit of the groups.
        ablations: of each unit, of each group, and of the controls.
        random_concepts: largest average precision of each of as many random directions, which a unit's own has to
            exceed to mean something; NaN where no concept is eligible, empty without a concept set.
        notes: sentences on what is not there, such as a head without directions.
        files: plain files beside this one, by name what each holds.
    """

    schema_version: int = ABLATION_SCHEMA
    kind: str = ABLATION_KIND
    provenance: Provenance
    seeds: Mapping[str, int]
    data: DataDescription
    conventions: tuple[str, ...]
    split: str
    baseline: str | None
    model: ModelDescription
    layer: str
    form: str
    d: int
    at_head: bool
    calibration: int
    untouched: tuple[AccuracyRow, ...]
    robustness: EffectiveRobustness | None
    groups: tuple[UnitGroup, ...]
    units: tuple[AblatedUnit, ...]
    ablations: tuple[Ablation, ...]
    clip_at: float = 3.0
    random_concepts: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)

    def units_of(self, group: UnitGroup) -> tuple[AblatedUnit, ...]:
        """The units of a group, in the order of its members."""
        own = {one.index: one for one in self.units if (one.unit, one.form) == (group.unit, group.form)}
        return tuple(own[member] for member in group.members)

    def ablations_of(
        self, group: UnitGroup, kind: str, *, together: bool, control: str = "", member: int | None = None
    ) -> tuple[Ablation, ...]:
        """The ablations of a group: its own, or every draw of one of its controls.

        Args:
            group: one of ``groups``.
            kind: ``"zero"``, ``"mean"`` or ``"clip"``.
            together: all members at once, or one by one.
            control: name of a control; empty for the group's own.
            member: only the one of this unit.
        """
        return tuple(
            one
            for one in self.ablations
            if (one.unit, one.form, one.kind, one.together, one.control)
            == (group.unit, group.form, kind, together, control)
            and (member is None or one.members == (member,))
        )


def write_ablation(record: AblationRecord, path: str | os.PathLike[str]) -> None:
    """Write ``results.json``, whole or not at all.

    Raises:
        FileNotFoundError: the folder does not exist.
    """
    write_record(record, path)


def read_ablation(path: str | os.PathLike[str]) -> AblationRecord:
    """Read a ``results.json`` of ``ablate``.

    Raises:
        UserError: there is none at ``path``, it is no JSON, no such record, or of a newer version.
    """
    return read_record(AblationRecord, path, ABLATION_SCHEMA, "a results.json of ablate", "ablate")

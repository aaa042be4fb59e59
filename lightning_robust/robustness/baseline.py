"""What a standard model of some reference accuracy reaches on each shift, and how far a model lies above it."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from lightning_robust.results import Provenance
from lightning_robust.results.baseline_record import BaselineRecord, ModelAccuracies
from lightning_robust.results.effective_robustness import EffectiveRobustness
from lightning_robust.robustness.accuracy_table import REFERENCE, AccuracyTable, judged_row, tabulate
from lightning_robust.robustness.effective import DrawnLines, draw_lines, judge
from lightning_robust.robustness.line import Line, fit_lines
from lightning_robust.robustness.links import clip_accuracy, link_named

__all__ = ["MEAN", "Baseline"]

MEAN = "mean"
"""Stands for the mean over the shifts where a shift is named."""


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """Lines fitted by ordinary least squares on models trained with standard supervision on the reference alone.

    ``logit(acc_shift) = intercept + slope · logit(acc_ref)`` for each shift (Taori et al. 2020, arXiv 2007.00644).
    Make one with `Baseline.fit` or `load_baseline`.

    Attributes:
        name: what it is called in tables.
        models: the standard models.
        images: number of images by evaluation set; ``"reference"``, ``"matched/<shift>"`` and the shifts.
        scale: ``"logit"``, ``"probit"`` or ``"linear"``.
        x: ``"full"``, or ``"matched"`` for reference accuracy on the classes that a shift covers.
        aggregate: what the mean is: ``"er"``, the mean of the per-shift values, or ``"accuracy"``, from one line on
            the mean accuracy over the shifts.
        lines: by shift.
        mean_line: on the mean accuracy over the shifts, fitted for either ``aggregate``.
        protocols: how accuracy is counted, by evaluation set, where it is known.
        description: one sentence: which models, on what data.
        dataset: the data in words, as evaluations name them; empty where it is not known.
        table: the models' accuracies as one array.

    Example:
        >>> models = [ModelAccuracies(f"m{k}", k / 10, {"sketch": k / 20}) for k in range(1, 9)]
        >>> baseline = Baseline.fit(models, n={"reference": 1000, "sketch": 1000}, scale="linear")
        >>> round(baseline.lines["sketch"].slope, 6)
        0.5
        >>> er = baseline.effective_robustness(0.6, {"sketch": 0.5}, baseline.images)
        >>> round(er.mean.expected, 6), round(er.mean.estimate, 6), er.mean.extrapolated
        (0.3, 0.2, False)
    """

    name: str
    models: tuple[ModelAccuracies, ...]
    images: Mapping[str, int]
    scale: str
    x: str
    aggregate: str
    lines: Mapping[str, Line]
    mean_line: Line
    protocols: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    dataset: str = ""
    table: AccuracyTable = field(repr=False, compare=False)
    # lines of the last replicates drawn, and baselines on fewer shifts: neither changes what it is
    _cache: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def fit(
        cls,
        models: Sequence[ModelAccuracies],
        *,
        n: Mapping[str, int],
        shifts: Sequence[str] | None = None,
        scale: Literal["logit", "probit", "linear"] = "logit",
        x: Literal["full", "matched"] = "full",
        aggregate: Literal["er", "accuracy"] = "er",
        name: str = "own",
        protocols: Mapping[str, str] | None = None,
        description: str = "",
        dataset: str = "",
    ) -> "Baseline":
        """Fit the lines.

        Args:
            models: standard models, at least three; a line that means something needs a dozen or more.
            n: number of images by evaluation set; ``"reference"`` is the reference, ``"matched/<shift>"`` its images
                of the classes that a shift covers (for ``x="matched"``).
            shifts: which shifts, in this order; None takes those of the first model.
            scale: on which the line is straight.
            x: which reference accuracy: over all classes, or over those that the shift covers.
            aggregate: what the mean over shifts is.
            name: of the baseline.
            protocols: how accuracy is counted, by evaluation set.
            description: one sentence.
            dataset: the data in words.

        Raises:
            ValueError: an unknown option, fewer than three models, two of one name, figures that are missing or no
                fractions, or reference accuracies that are all alike.
        """
        if aggregate not in ("er", "accuracy"):
            raise ValueError(f"aggregate is 'er' or 'accuracy', got {aggregate!r}")
        if len(models) < 3:
            raise ValueError(f"a baseline needs at least 3 models, got {len(models)}")
        names = [model.name for model in models]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"each model counts once in a baseline, {', '.join(twice)} does not")
        chosen = tuple(models[0].shifts if shifts is None else shifts)
        if not chosen:
            raise ValueError("a baseline needs at least one shift")
        table = tabulate(models, chosen, n, x)
        if x == "matched" and set(table.references) == {REFERENCE}:
            raise ValueError("x='matched' needs reference accuracy on the classes of a shift, and no model has any")
        lines = fit_lines(table, link_named(scale))
        return cls(
            name=name,
            models=tuple(models),
            images={column: int(count) for column, count in n.items()},
            scale=scale,
            x=x,
            aggregate=aggregate,
            lines=dict(zip(chosen, lines[:-1], strict=True)),
            mean_line=lines[-1],
            protocols=dict(protocols or {}),
            description=description,
            dataset=dataset,
            table=table,
        )

    @property
    def shifts(self) -> tuple[str, ...]:
        """Names of the shifts."""
        return tuple(self.lines)

    @property
    def reference_range(self) -> tuple[float, float]:
        """Lowest and highest reference accuracy (all classes) of the models, as fractions."""
        accuracies = [model.reference for model in self.models]
        return min(accuracies), max(accuracies)

    def on(self, shifts: Sequence[str]) -> "Baseline":
        """The same baseline on some of its shifts: the mean is over these.

        Args:
            shifts: names, in any order; the baseline's order is kept.

        Raises:
            ValueError: none, or one that it has no line for.
        """
        if unknown := [name for name in shifts if name not in self.lines]:
            near = difflib.get_close_matches(unknown[0], self.lines, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(self.lines)}"
            raise ValueError(f"the baseline {self.name} has no line for {', '.join(unknown)}: {hint}")
        kept = tuple(name for name in self.lines if name in shifts)
        if not kept:
            raise ValueError("effective robustness needs accuracy on at least one shift")
        if kept == self.shifts:
            return self
        if kept not in self._cache:
            table = tabulate(self.models, kept, self.images, self.x)
            lines = fit_lines(table, link_named(self.scale))
            self._cache[kept] = replace(
                self, lines={name: self.lines[name] for name in kept}, mean_line=lines[-1], table=table, _cache={}
            )
        fewer: Baseline = self._cache[kept]
        return fewer

    @property
    def mean_left_out_sd(self) -> float:
        """Standard deviation of the models' mean effective robustness, each among the others; a fraction."""
        if self.aggregate == "accuracy":
            return self.mean_line.left_out_sd
        return float(np.std(np.mean([line.left_out_accuracy for line in self.lines.values()], axis=0)))

    @property
    def clipped(self) -> tuple[str, ...]:
        """Names of models with an accuracy of exactly 0 or 1, which was clipped before it had a logit."""
        extreme = ((self.table.values == 0) | (self.table.values == 1)).any(axis=1)
        return tuple(model.name for model, is_extreme in zip(self.models, extreme, strict=True) if is_extreme)

    def to_record(self, provenance: Provenance) -> BaselineRecord:
        """What ``write_baseline`` writes and `load_baseline` reads: the models and the options, not the fit.

        Args:
            provenance: of the file.
        """
        return BaselineRecord(
            name=self.name,
            description=self.description,
            dataset=self.dataset,
            protocols=self.protocols,
            images=self.images,
            scale=self.scale,
            x=self.x,
            aggregate=self.aggregate,
            models=self.models,
            provenance=provenance,
        )

    def expected(self, reference: Float[np.ndarray, "n"], shift: str = MEAN) -> Float[np.ndarray, "n"]:
        """β: what standard models of these reference accuracies reach.

        Args:
            reference: accuracies as fractions; on the classes of the shift for ``x="matched"``.
            shift: a shift, or ``"mean"``: over the shifts as ``aggregate`` says. (With ``x="matched"`` each shift has
                a reference accuracy of its own, and the mean is that of the line on the mean accuracy.)

        Raises:
            ValueError: no line for that shift.
        """
        lines, link = self.lines_of(shift), link_named(self.scale)
        x = link.forward(clip_accuracy(reference, self.images[REFERENCE]))
        return np.asarray(np.mean([link.inverse(line.intercept + line.slope * x) for line in lines], axis=0))

    def effective_robustness(
        self,
        reference: float | Mapping[str, float],
        shifted: Mapping[str, float],
        n: Mapping[str, int],
        *,
        replicates: int = 2000,
        seed: int = 0,
        level: float = 0.95,
    ) -> EffectiveRobustness:
        """Accuracy on each shift minus what a standard model of the same reference accuracy reaches.

        Args:
            reference: reference accuracy as a fraction. For ``x="matched"`` a mapping with ``"reference"`` and, by
                shift, the accuracy on the reference images of its classes.
            shifted: accuracy by shift; all shifts of the baseline, or some: the mean is over those given.
            n: number of images that each was counted on: ``"reference"``, the shifts, and for ``x="matched"``
                ``"matched/<shift>"``.
            replicates: bootstrap replicates; 0 gives the estimates without intervals.
            seed: of the replicates; one seed gives every model the same lines.
            level: nominal coverage of the intervals, in (0, 1).

        Raises:
            ValueError: a figure or number of images is missing or out of range, or a shift has no line.
        """
        if not 0 < level < 1:
            raise ValueError(f"the level of an interval lies between 0 and 1, got {level}")
        if replicates < 0:
            raise ValueError(f"the number of replicates is at least 0, got {replicates}")
        if seed < 0:
            raise ValueError(f"the seed is at least 0, got {seed}")
        baseline = self.on(tuple(shifted))
        table, row = judged_row(baseline.table, reference, shifted, n)
        found = judge(
            table,
            row,
            [*baseline.lines.values(), baseline.mean_line],
            link_named(self.scale),
            self.aggregate,
            baseline.drawn(replicates, seed) if replicates else None,
            level,
        )
        return EffectiveRobustness(
            shifts=dict(zip(baseline.shifts, found[:-1], strict=True)),
            mean=found[-1],
            baseline=self.name,
            scale=self.scale,
            x=self.x,
            aggregate=self.aggregate,
        )

    def lines_of(self, shift: str) -> list[Line]:
        """The lines whose mean is what a standard model reaches.

        Args:
            shift: a shift, or ``"mean"``.

        Raises:
            ValueError: no line for that shift.
        """
        if shift != MEAN:
            return [self.on([shift]).lines[shift]]
        return list(self.lines.values()) if self.aggregate == "er" and self.x == "full" else [self.mean_line]

    def drawn(self, replicates: int, seed: int) -> DrawnLines:
        """The lines of bootstrap replicates, kept until others are asked for.

        Args:
            replicates: how many.
            seed: of everything random.
        """
        if self._cache.get("drawn for") != (replicates, seed):
            lines = [*self.lines.values(), self.mean_line]
            self._cache["drawn"] = draw_lines(self.table, lines, link_named(self.scale), replicates, seed)
            self._cache["drawn for"] = (replicates, seed)
        drawn: DrawnLines = self._cache["drawn"]
        return drawn

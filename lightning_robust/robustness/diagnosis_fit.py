"""A table's points made into regressions: the one that predicts, and those that say how well it does."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from lightning_robust.results.diagnosis_record import PredictorSkill, TrainingPoint
from lightning_robust.robustness.diagnosis_left_out import FEWEST_FAMILIES, LeftOut, leave_families_out
from lightning_robust.robustness.diagnosis_predictors import on_scale
from lightning_robust.robustness.diagnosis_regression import FamilyRows
from lightning_robust.robustness.diagnosis_skill import judged

__all__ = ["TableFit", "fit_table", "heads_of_families", "skill_of"]

_FIRST = ("zero-shot", "supervised", "finetuned", "interpolated")


@dataclass(frozen=True)
class TableFit:
    """A regression of effective robustness on some figures of a table.

    Attributes:
        figures: tags, in the order of the columns.
        points: the rows that have all of them.
        raw: the figures on their scales, as they are.
        scaler: scikit-learn's ``StandardScaler``, fitted on what they are over those of the first row.
        left_out: the regression without each family, on standardised figures.
    """

    figures: tuple[str, ...]
    points: tuple[TrainingPoint, ...]
    raw: FamilyRows
    scaler: Any
    left_out: LeftOut

    def standardised(self, figures: Mapping[str, float]) -> Float[np.ndarray, "p"]:
        """A model's figures on the table's scale.

        Args:
            figures: as measured, by tag.

        Raises:
            KeyError: one was not measured.
        """
        x = np.array([[on_scale(tag, figures[tag]) for tag in self.figures]])
        return np.asarray(_standardised(self.scaler, x - self.raw.x[0])[0])

    def ridge(self) -> Any:
        """scikit-learn's ``Ridge`` on the whole table's standardised figures, fitted."""
        from sklearn.linear_model import Ridge

        rows = self.left_out.rows
        return Ridge(alpha=self.left_out.penalty).fit(rows.x, rows.y, sample_weight=rows.weights)


def fit_table(points: Sequence[TrainingPoint], figures: Sequence[str]) -> TableFit:
    """Fit a table's regression without each family.

    Args:
        points: rows in order of family and name; those without one of the figures are left out.
        figures: tags.

    Raises:
        ValueError: fewer than four families.
    """
    from sklearn.preprocessing import StandardScaler

    used = tuple(point for point in points if _complete(point, figures))
    if not used:
        raise ValueError(f"a diagnosis needs a table of at least {FEWEST_FAMILIES} families, got 0")
    x = np.array([[on_scale(tag, point.figures[tag]) for tag in figures] for point in used])
    _, family = np.unique([point.family for point in used], return_inverse=True)
    raw = FamilyRows(x, np.array([point.target for point in used]), family)
    over_first = x - x[0]  # exact zeros where a figure never changes; its weighted variance may else be below 0
    scaler = StandardScaler().fit(over_first, sample_weight=raw.weights)
    rows = FamilyRows(_standardised(scaler, over_first), raw.y, family)
    return TableFit(tuple(figures), used, raw, scaler, leave_families_out(rows))


def heads_of_families(points: Sequence[TrainingPoint]) -> Bool[np.ndarray, "n"]:
    """Which rows stand for their families: the pretrained model itself, or else the first of what descends from it.

    Args:
        points: rows of the table.
    """
    first: dict[str, tuple[int, str]] = {}
    for point in points:
        rank = (_FIRST.index(point.kind), point.name)
        first[point.family] = min(first.get(point.family, rank), rank)
    return np.array([first[point.family][1] == point.name for point in points])


def skill_of(fit: TableFit, name: str, role: str, level: float, seed: int) -> PredictorSkill:
    """How well a fit predicts the families of its own table.

    Args:
        fit: the fit.
        name: of what is judged.
        role: ``"diagnosis"``, ``"rival"`` or ``"single figure"``.
        level: of the prediction intervals.
        seed: of the bootstraps.
    """
    heads = heads_of_families(fit.points)
    pretrained = heads & np.array([point.kind == "zero-shot" for point in fit.points])
    return judged(fit.left_out, name, role, fit.figures, heads, pretrained, level, seed)


def _complete(point: TrainingPoint, figures: Sequence[str]) -> bool:
    values = [on_scale(tag, point.figures.get(tag, math.nan)) for tag in figures]
    return all(map(math.isfinite, [point.target, *values]))


def _standardised(scaler: Any, x: Float[np.ndarray, "n p"]) -> Float[np.ndarray, "n p"]:
    return np.asarray((x - scaler.mean_) / scaler.scale_)  # as its transform does, less its checks on every call

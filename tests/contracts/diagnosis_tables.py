"""Studies made up for diagnosis: effective robustness follows one figure by a known rule, the others say nothing."""

import numpy as np

from lightning_robust.results import DataDescription, Provenance
from lightning_robust.results.study_record import StudyRecord, StudyRow
from lightning_robust.robustness.diagnosis_predictors import PREDICTORS, RIVALS
from lightning_robust.robustness.diagnosis_regression import FamilyRows

TELLS = "kurtosis/last/width_adjusted"
MARGIN = 0.04
PROVENANCE = Provenance(
    packages={}, python="3.11", platform="test", device="cpu", threads=1, git_revision=None, created="2026-01-01"
)


def study_of(rows):
    """A study of these rows."""
    return StudyRecord(
        name="made up",
        provenance=PROVENANCE,
        seeds={},
        data=DataDescription(dataset="none", protocol="none", images={}),
        conventions=(),
        rows=tuple(rows),
    )


def made_up_rows(families=14, rows=4, *, between=0.08, within=0.08, noise=0.01, seed=0, tags=(*PREDICTORS, *RIVALS)):
    """Rows whose robustness is ``0.1 + between · (family's place) + within · (place inside it)`` and some noise.

    The logarithm of `TELLS` is the sum of both places, so that slopes that differ tell families from rows.
    """
    draw = np.random.default_rng(seed)
    found = []
    for f in range(families):
        place = draw.normal()
        for k in range(rows):
            inside = 0.6 * draw.normal()
            figures = {tag: float(np.exp(0.3 * draw.normal())) for tag in dict.fromkeys(tags)}
            figures[TELLS] = float(np.exp(place + inside))
            robust = float(0.1 + between * place + within * inside + noise * draw.normal())
            figures |= {"er/mean": robust, "er/mean/prediction_low": robust - MARGIN, "er/extrapolated": 0.0}
            kind = "zero-shot" if k == 0 else "interpolated"
            name = f"m{f:02}" if k == 0 else f"m{f:02}-finetuned, α = {k / 4:g}"
            found.append(
                StudyRow(
                    name=name, model=f"m{f:02}", family=f"m{f:02}", kind=kind, figures=figures,
                    checkpoint_hash=f"{seed}-{f}-{k}",
                )
            )  # fmt: skip
    return found


def family_rows(families=6, most=3, p=3, *, noise=0.5, seed=0):
    """Numbers alone: families of one to ``most`` rows, p figures of which the first two tell."""
    draw = np.random.default_rng(seed)
    family = np.repeat(np.arange(families), 1 + np.arange(families) % most)
    x = draw.normal(size=(len(family), p)) + 0.5 * draw.normal(size=(families, p))[family]
    y = x[:, 0] - 0.5 * x[:, min(1, p - 1)] + noise * (draw.normal(size=families)[family] + draw.normal(size=len(x)))
    return FamilyRows(x, y, family)

"""Records of a made-up study, its calibration and diagnoses."""

import math

import numpy as np

from lightning_robust.data.scenes.distributions import WORLD_VERSION
from lightning_robust.results import DataDescription, Interval, collect_provenance
from lightning_robust.results.diagnosis_record import (
    CalibrationRecord,
    Coverage,
    DiagnosedModel,
    DiagnosisRecord,
    PredictorSkill,
    TrainingPoint,
)
from lightning_robust.results.study_record import StudyRecord, StudyRow

DATA = DataDescription(dataset=f"scenes world, version {WORLD_VERSION}", protocol="top-1", images={"reference": 2000})
NAN = math.nan
FIGURES = ("kurtosis/last/width_adjusted", "kurtosis/h", "rankme/h", "importance/centred/max_over_median",
           "head/effective_rank", "confidence/mean", "confidence/accuracy")  # fmt: skip


def study_row(name, family, kind, robustness, rng, *, alpha=None, noise=0.03, hashed=""):
    """Kurtosis follows effective robustness, confidence does a little, the others are noise."""
    n = rng.standard_normal(12)
    figures = {
        "er/mean": robustness,
        "kurtosis/h": 3 + 10 * robustness + 10 * noise * n[0],
        "kurtosis/last": 4 + 30 * robustness + 30 * noise * n[1],
        "kurtosis/last/width_adjusted": 1.3 + 10 * robustness + 10 * noise * n[1],
        "rankme/h": 60 + 20 * n[2],
        "covariance_effective_rank/h": 70 + 20 * n[3],
        "importance/raw/max_over_median": 9 + 2 * n[4],
        "importance/centred/max_over_median": 6 + n[4],
        "head/effective_rank": 18 + n[5],
        "head/stable_rank": 8 + n[6],
        "weights/alpha": 3 + 0.2 * n[7],
        "confidence/mean": 0.8 - 0.3 * robustness + 0.02 * n[8],
        "confidence/accuracy": 0.85 - 0.2 * robustness + 0.05 * n[9],
        "confidence/overconfidence": 0.01 * n[10],
    }
    return StudyRow(
        name=name, model=name.split(",")[0], family=family, kind=kind, alpha=alpha, checkpoint_hash=hashed or name,
        figures=figures,
    )  # fmt: skip


def made_up_study(families=12, *, seed=0, noise=0.03, name="made-up"):
    """Half of the families are CLIPs with a path of four points, half supervised."""
    rng = np.random.default_rng(seed)
    rows = []
    for k in range(families):
        if k % 2:
            rows.append(study_row(f"sup-{k}", f"sup-{k}", "supervised", 0.02 * rng.standard_normal(), rng, noise=noise))
            continue
        own = 0.1 + 0.3 * rng.random()
        rows.append(study_row(f"clip-{k}", f"clip-{k}", "zero-shot", own, rng, noise=noise))
        for alpha in (0.25, 0.5, 0.75, 1.0):
            kind = "finetuned" if alpha == 1 else "interpolated"
            here = f"clip-{k}-finetuned, α = {alpha:g}"
            rows.append(study_row(here, f"clip-{k}", kind, own * (1 - 0.7 * alpha), rng, alpha=alpha, noise=noise))
    rows.append(study_row("random", "random", "random", NAN, rng))
    return StudyRecord(
        name=name, provenance=collect_provenance(), seeds={"intervals": 0}, data=DATA, conventions=("made up",),
        baseline="scenes: 13 models", shifts=("sketch",), rows=tuple(rows),
    )  # fmt: skip


def interval(estimate, half=0.1):
    return Interval(estimate, estimate - half, estimate + half, level=0.95, replicates=200, seed=0)


def skill(name="diagnosis", role="diagnosis", correlation=0.82, covered=(52, 60)):
    coverage = Coverage(held=covered[0], total=covered[1], low=0.76, high=0.93, nominal=0.9) if covered else None
    by_family = Coverage(held=11, total=12, low=0.65, high=0.99, nominal=0.9) if covered else None
    return PredictorSkill(
        name=name, role=role, figures=FIGURES if role == "diagnosis" else (name,), correlation=interval(correlation),
        r_squared=correlation**2 - 0.1, between_families=interval(correlation), within_families=interval(0.4),
        coverage=coverage, rows=60, families=12, coverage_by_family=by_family,
        pretrained=interval(0.3) if covered else None,
    )  # fmt: skip


SKILLS = (
    skill(),
    skill("confidence/accuracy", "rival", 0.35),
    skill("confidence/mean", "rival", 0.5),
    skill("weights/alpha", "rival", -0.2),
    skill("kurtosis/h", "single figure", 0.7),
)


def table_points(n=24):
    rng = np.random.default_rng(1)
    found = []
    for k in range(n):
        target = 0.4 * rng.random()
        predicted = target + 0.05 * rng.standard_normal()
        figures = dict(zip(FIGURES, rng.random(len(FIGURES)) + 1, strict=True))
        kind = ("zero-shot", "interpolated", "finetuned", "supervised")[k % 4]
        found.append(
            TrainingPoint(
                name=f"row {k}", family=f"family {k // 2}", kind=kind, figures=figures, target=target,
                predicted=predicted, low=predicted - 0.1, high=predicted + 0.1, checkpoint_hash=f"{k:064d}",
            )
        )  # fmt: skip
    return tuple(found)


def calibration(**changes):
    fields = {
        "name": "made-up", "provenance": collect_provenance(), "seeds": {"intervals": 0}, "data": DATA,
        "conventions": ("ridge regression",), "baseline": "scenes: 13 models", "target": "er/mean", "figures": FIGURES,
        "penalty": 1.0, "level": 0.9, "points": table_points(), "left_out": {"random": "random weights"},
        "skills": SKILLS, "usable": True, "reasons": ("60 rows of 12 families",),
    }  # fmt: skip
    return CalibrationRecord(**(fields | changes))


def diagnosed(name="scenes-clip", verdict="robust", **changes):
    fields = {
        "name": name, "origin": "pretrained weights", "checkpoint_hash": "ab" * 32,
        "figures": dict.fromkeys(FIGURES, 1.5) | {"head/stable_rank": 3.0}, "predicted": 0.31, "low": 0.18,
        "high": 0.44, "distance": 0.8, "farthest": 2.1, "outside": (),
        "contributions": {tag: 0.08 / (k + 1) * (-1) ** k for k, tag in enumerate(FIGURES)}, "verdict": verdict,
        "reasons": ("all of the interval is above 0",),
    }  # fmt: skip
    return DiagnosedModel(**(fields | changes))


def diagnosis(*models, **changes):
    fields = {
        "provenance": collect_provenance(), "seeds": {"random": 0}, "data": DATA, "conventions": ("one pass",),
        "calibration": "made-up", "calibration_hash": "cd" * 32, "skill": SKILLS[0], "models": models or (diagnosed(),),
        "skills": SKILLS, "points": table_points(),
    }  # fmt: skip
    return DiagnosisRecord(**(fields | changes))

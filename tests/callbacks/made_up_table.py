"""A made-up table of diagnoses whose figures lie where those of the tiny network of the contracts do."""

import numpy as np

from lightning_robust.results import DataDescription, collect_provenance
from lightning_robust.results.diagnosis_record import write_calibration
from lightning_robust.results.study_record import StudyRecord, StudyRow
from lightning_robust.robustness.diagnosis import fit_calibration

STEM = "norm"
"""A layer before the representation of the tiny network."""
_MIDDLE = {
    "kurtosis/last/width_adjusted": 1.0,
    "kurtosis/h": 4.0,
    "kurtosis/h/width_adjusted": 1.2,
    "kurtosis/largest": 4.0,
    "rankme/h": 15.0,
    "importance/centred/max_over_median": 2.0,
    "head/effective_rank": 4.7,
    "confidence/mean": 0.4,
    "confidence/accuracy": 0.5,
    "weights/alpha": 3.0,
}


def made_up_calibration(figures=None, *, families=12, seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for k in range(families):
        for j in range(3):
            noise = rng.standard_normal(len(_MIDDLE))
            values = {tag: middle * np.exp(0.2 * n) for (tag, middle), n in zip(_MIDDLE.items(), noise, strict=True)}
            robustness = 0.2 + 0.1 * noise[0] - 0.05 * noise[7] + 0.02 * rng.standard_normal()
            rows.append(
                StudyRow(
                    name=f"clip-{k}-{j}", model=f"clip-{k}", family=f"clip-{k}",
                    kind="finetuned" if j else "zero-shot",
                    checkpoint_hash=f"{k:032d}{j:032d}", figures=values | {"er/mean": float(robustness)},
                )
            )  # fmt: skip
    study = StudyRecord(
        name="tiny", provenance=collect_provenance(), seeds={}, conventions=(), rows=tuple(rows),
        data=DataDescription(dataset="scenes", protocol="top-1", images={"reference": 30}),
    )  # fmt: skip
    return fit_calibration(study, figures)


def save(calibration, folder, name="table.json"):
    file = folder / name
    write_calibration(calibration, file)
    return file

"""A comparison of pretrainings made up from curves with known answers."""

import math

import numpy as np

from lightning_robust.report.emergence_summary import summarised
from lightning_robust.results import DataDescription, collect_provenance
from lightning_robust.results.emergence_record import EmergencePoint, EmergenceRecord, EmergenceRun

STEPS = (0, 1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128, 181, 256, 362, 512, 724, 1024, 1448, 2048, 2400)
VARIANTS = ("contrastive_broad", "contrastive_reference", "supervised_reference", "supervised_broad")
H, LAYERS = "visual", ("visual.layer3", "visual.layer4", "visual")


def rising(step, half, low, high):
    """A curve that has risen half of its way after so many steps."""
    return low + (high - low) * step**2 / (step**2 + half**2)


def figures(variant, seed, step):
    draw = np.random.default_rng([seed, step, VARIANTS.index(variant)])
    k = VARIANTS.index(variant)
    reference = rising(step, 200 + 40 * seed, 0.05, 0.85 - 0.03 * k)
    robust = rising(step, 300 + 60 * seed, 0.02, (0.4, 0.05, 0.01, 0.3)[k]) + 0.001 * draw.normal()
    found = {
        "train/loss": math.nan if step == 0 else rising(step, 200, 4.8, 1.0),
        "val/reference/accuracy": reference,
        "val/sketch/accuracy": 0.7 * reference,
        "val/shifts/accuracy": 0.7 * reference,
        "er/mean": robust,
        "er/mean/prediction_low": robust - 0.1,
        "er/mean/prediction_high": robust + 0.1,
        "er/extrapolated": float(reference < 0.5555),
        f"spectrum/{H}/rankme": rising(step, 30, 3, 60 - 9 * k),
    }
    for number, layer in enumerate(LAYERS):
        found[f"kurtosis/{layer}"] = rising(step, 700, 3, 9 - 2.2 * number) + 0.1 * draw.normal()
        found[f"outliers/{layer}/features"] = float(number == 1 and step > 700 and k == 0)
        found[f"spectrum/{layer}/rankme"] = rising(step, 30, 3, 60 - 9 * k)
    for basis, top in (("singular_vectors", 0.5), ("random_rotation", 0.3)):
        found[f"concepts/{H}/{basis}/mean_best_ap"] = rising(step, 400, 0.15, top - 0.03 * k)
        found[f"concepts/{H}/{basis}/unique_0.9"] = round(rising(step, 800, 0, 20 * top))
    for head, top in (("raw", 150), ("centred", 40)):
        found[f"importance/{H}/{head}/max_over_median"] = rising(step, 500, 3, top * (1 - 0.2 * k))
        found[f"importance/{H}/{head}/privileged"] = round(rising(step, 500, 1, 6))
    return found


def made_up(seeds=(0, 1, 2), variants=VARIANTS, steps=STEPS, missing=None):
    runs = tuple(
        EmergenceRun(
            variant=variant, seed=seed, folder=f"checkpoints/{variant}/001-seed{seed}", reference="reference",
            checkpoint="0" * 64,
            points=tuple(
                EmergencePoint(step=step, images=128 * step, figures=figures(variant, seed, step)) for step in steps
            ),
        )
        for variant in variants
        for seed in seeds
    )  # fmt: skip
    record = EmergenceRecord(
        provenance=collect_provenance(threads=1),
        seeds=tuple(seeds),
        data=DataDescription(dataset="scenes", protocol="top-1", images={"reference (validation)": 2000}),
        baseline="scenes: 13 models",
        conventions=("made up",),
        runs=runs,
        missing=missing or {},
    )
    return summarised(record)

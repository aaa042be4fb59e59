"""Evaluations of made-up models, as `evaluate` records them, for tests of what reads them."""

from lightning_robust.results import (
    AccuracyRow,
    DataDescription,
    EvaluationRecord,
    ModelEvaluation,
    collect_provenance,
)

SHIFTS = ("sketch", "art")


def row(name, correct, images=1000, **fields):
    share = correct / images
    return AccuracyRow(
        set=name, protocol=f"top-1 on {name}", correct=correct, images=images, low=share, high=share, **fields
    )


def evaluated(k, **change):
    """The k-th of models that get better and better, on the reference and both shifts."""
    reference = 450 + 20 * k
    fields = {
        "name": f"m{k}",
        "origin": f"trained with seed {k}",
        "checkpoint_hash": f"{k:064x}",
        "rows": (
            row("reference", reference),
            row("sketch", reference - 200 + 7 * (k % 3)),
            row("art", reference // 2 + 5 * (k % 2), matched_correct=reference // 4 + 100, matched_images=400),
        ),
    }
    return ModelEvaluation(**fields | change)


def evaluation(models, **change):
    fields = {
        "provenance": collect_provenance(threads=1),
        "seeds": {},
        "data": DataDescription(dataset="made-up photos", protocol="top-1", images={"reference": 1000}),
        "conventions": (),
        "models": tuple(models),
    }
    return EvaluationRecord(**fields | change)

"""Small results for tests of the HTML page, with hostile text wherever data can hold text."""

import dataclasses
import json
from html.parser import HTMLParser

import numpy as np

from lightning_robust.results import (
    AccuracyRow,
    AlphaChoice,
    AlphaRow,
    CurveFile,
    CurveRow,
    DataDescription,
    EvaluationRecord,
    Interval,
    ModelDescription,
    ModelEvaluation,
    ProbedLayer,
    ProbeRecord,
    RunRecord,
    collect_provenance,
    write_baseline,
    write_evaluation,
    write_probe,
    write_run,
)
from lightning_robust.robustness import Baseline, ModelAccuracies

HOSTILE = '<script>alert("x")</script><b>\'&'
SHIFTS = ("v2", "sketch")
IMAGES = dict.fromkeys(("reference", *SHIFTS), 1000)
H, BLOCK = "model.encoder.visual", "model.encoder.visual.layer4"
OWN, START = "a" * 64, "b" * 64
MODELS = [
    ModelAccuracies(f"standard {k}", a, {"v2": 0.9 * a, "sketch": 0.4 * a})
    for k, a in enumerate(np.linspace(0.4, 0.9, 12).tolist())
]
BASELINE = Baseline.fit(MODELS, n=IMAGES, name="made up")
_VOID = {"br", "hr", "img", "input", "meta"}


def provenance(created="2026-11-26T10:00:00+00:00"):
    return dataclasses.replace(collect_provenance(threads=1), created=created, git_revision=None)


def robustness(reference, shifts, baseline=BASELINE):
    return baseline.effective_robustness(reference, shifts, IMAGES, replicates=200)


def alpha_row(alpha, *, sketch=0.7):
    reference, shifts = 0.6 + 0.2 * alpha, {"v2": 0.65 + 0.1 * alpha, "sketch": sketch - 0.3 * alpha}
    return AlphaRow(
        alpha=alpha, val_reference=reference, reference=reference, shifts=shifts,
        shifts_mean=float(np.mean(list(shifts.values()))), effective_robustness=robustness(reference, shifts),
        signatures={
            f"kurtosis/{H}": 3.2 - 0.1 * alpha, f"kurtosis/{BLOCK}": 7.0 + alpha,
            f"importance/{H}/raw/max_over_median": 120.0 + alpha, "weights/model.head.weight/stable_rank": 1.5,
        },
    )  # fmt: skip


def run_record(alphas=(0.0, 0.5, 1.0), **changes):
    change = Interval(-0.1, -0.15, -0.05, 0.95, 2000, 0)
    fields = {
        "kind": "ClassifierFinetuning", "provenance": provenance(), "seeds": {"everything": 0},
        "config": {"trainer": {"max_epochs": 3}, "note": HOSTILE},
        "data": DataDescription(dataset=f"scenes {HOSTILE}", protocol="top-1", images=IMAGES),
        "conventions": (f"kurtosis: Pearson's {HOSTILE}",),
        "wise_ft": tuple(alpha_row(alpha) for alpha in alphas),
        "choice": AlphaChoice(
            alpha_fixed=0.5, alpha_star=0.5, tolerance=0.01, alphas=alphas, validation_accuracies=(0.6, 0.7, 0.8),
            bootstrap_shares=(0.1, 0.8, 0.1), images=1000, replicates=2000, seed=0, rule="the smallest α near the best",
        ),
        "intervals": {"reference: α=1 − α=0": change, "mean of the shifts: α=1 − α=0": change},
        "reference_lines": {"untrained": {f"kurtosis/{H}": 2.9}},
        "checkpoints": {"encoder before training": START, "wise_ft/alpha=1.00.safetensors": OWN},
        "baseline": "made up: 12 models",
    }  # fmt: skip
    return RunRecord(**fields | changes)


def curve_rows(epochs=3):
    rows = []
    for epoch in range(epochs + 1):
        figures = {
            "val/reference/accuracy": 0.6 + 0.05 * epoch, "val/v2/accuracy": 0.6,
            "val/sketch/accuracy": 0.5 - 0.05 * epoch,
            "val/shifts/accuracy": 0.55, "er/mean": 0.2 - 0.02 * epoch, "er/v2": 0.1, "er/sketch": 0.3,
            "er/mean/prediction_low": 0.1, "er/mean/prediction_high": 0.3, "er/extrapolated": 0.0,
            f"kurtosis/{BLOCK}": 7.0 + epoch, f"kurtosis/{H}": 3.2 - 0.1 * epoch, f"kurtosis/{H}/q05": 2.0,
            f"kurtosis/{H}/q95": 4.0, f"kurtosis/{H}/untrained": 2.9, f"outliers/{H}/features": float("nan"),
            f"outliers/{BLOCK}/features": float(epoch), f"importance/{H}/raw/max_over_median": 100.0 + epoch,
            "weights/model.head.weight/stable_rank": 1.5,
        }  # fmt: skip
        rows += [CurveRow(epoch, 10 * epoch, tag, value) for tag, value in figures.items()]
    return tuple(rows)


def evaluation_record(*models, created="2026-11-26T11:00:00+00:00"):
    return EvaluationRecord(
        provenance=provenance(created), seeds={"intervals": 0}, conventions=(), baseline="made up: 12 models",
        data=DataDescription(dataset="scenes", protocol="top-1", images=IMAGES),
        models=models or (evaluated("one"),),
    )  # fmt: skip


def evaluated(name, *, reference=0.8, sketch=0.7, digest=OWN, robust=True):
    shifts = {"v2": 0.7, "sketch": sketch}
    rows = [
        AccuracyRow(set=s, protocol="top-1", correct=round(1000 * a), images=1000, low=a - 0.03, high=a + 0.03)
        for s, a in {"reference": reference, **shifts}.items()
    ]
    return ModelEvaluation(
        name=name, origin="a file", checkpoint_hash=digest, rows=tuple(rows),
        robustness=robustness(reference, shifts) if robust else None,
    )  # fmt: skip


def probe_record(name="scenes-clip", *, digest=OWN, created="2026-11-26T12:00:00+00:00", **changes):
    layer, block = "encoder.visual", "encoder.visual.layer4"
    fields = {
        "provenance": provenance(created), "seeds": {"random heads": 0},
        "model": ModelDescription(name=name, origin="own", checkpoint_hash=digest, parameters=1_430_000, classes=20),
        "data": DataDescription(dataset="scenes", protocol="own", images={"reference test images": 500}),
        "conventions": ("Pearson kurtosis",),
        "layers": (
            ProbedLayer(name=block, form="512 features, mean over 4 positions", d=512),
            ProbedLayer(name=layer, form="128 features", d=128),
        ),
        "scalars": {
            f"kurtosis/{layer}": 3.14, f"kurtosis/{block}": 7.29, f"kurtosis/{layer}/width_adjusted": 1.07,
            f"kurtosis/{block}/width_adjusted": 2.43, f"outliers/{layer}/features": float("nan"),
            f"spectrum/{layer}/rankme": 14.2, f"importance/{layer}/raw/max_over_median": 148.9,
            f"importance/{layer}/raw/privileged": 6.0, f"importance/{layer}/centred/max_over_median": 52.1,
            f"importance/{layer}/centred/privileged": 4.0, f"importance/{layer}/raw/random_head/max_over_median": 1.9,
            "weights/conv1.weight/stable_rank": 2.0, "weights/conv1.weight/alpha": float("nan"),
        },
        "curves": {
            f"spectrum/{layer}/eigenvalues": (2.0, 1.0, 0.5, 0.0), f"spectrum/{block}/eigenvalues": (5.0, 0.1),
            f"importance/{layer}/raw/directions": (0.5, 0.02, 0.01, 0.001),
            f"importance/{layer}/centred/directions": (0.4, 0.02, 0.01),
        },
        "indices": {},
    }  # fmt: skip
    return ProbeRecord(**fields | changes)


def run_folder(folder, record=None):
    """A finished run's folder with results, curves and baseline."""
    folder.mkdir(parents=True)
    write_run(record or run_record(), folder / "results.json")
    CurveFile(folder / "signatures.csv").append(curve_rows())
    write_baseline(BASELINE.to_record(provenance()), folder / "baseline.json")
    return folder


def evaluation_folder(folder, record=None):
    folder.mkdir(parents=True)
    write_evaluation(record or evaluation_record(), folder / "results.json")
    return folder


def probe_folder(folder, record=None):
    folder.mkdir(parents=True)
    write_probe(record or probe_record(), folder / "results.json")
    return folder


def other_folder(folder, **data):
    """A results.json of any kind."""
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(data), encoding="utf-8")
    return folder


class Parsed(HTMLParser):
    """The elements of a page; `problems` lists tags that do not match."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.problems, self.text, self._open = [], [], "", []
        self.feed(str(text))
        self.close()
        self.problems += [f"<{name}> is never closed" for name in self._open]

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self._open or self._open[-1] != tag:
            self.problems.append(f"</{tag}> closes {self._open[-1:]}")
        else:
            self._open.pop()

    def handle_data(self, data):
        if self._open[-1:] not in (["script"], ["style"]):
            self.text += data

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]

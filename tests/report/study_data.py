"""A study made up from rules with known answers: 2 backbones × 4 corpora × 2 seeds, paths, twins and random models."""

import math

import numpy as np

from lightning_robust.results import DataDescription, collect_provenance
from lightning_robust.results.study_record import StudyFailure, StudyRecord, StudyRow

CORPORA = ("diverse", "web", "snapshots", "stock")
BACKBONES = ("rn", "vit")
ALPHAS = (0.25, 0.5, 0.75, 1.0)


def figures(kind, corpus, backbone, alpha, draw):
    """Robustness falls from diverse to stock and along the path; kurtosis follows it, pruning does not."""
    pretrained = kind in ("zero-shot", "finetuned", "interpolated")
    breadth = (0.9, 0.6, 0.45, 0.3)[CORPORA.index(corpus)] if corpus else 0.0
    robust = (0.5 * breadth * (1 - 0.6 * alpha)) * pretrained + 0.02 * draw.normal()
    reference = (0.45 + 0.4 * alpha**0.5 if pretrained else 0.8) + 0.02 * draw.normal()
    if kind == "random":
        reference, robust = 0.06, 0.1
    found = {
        "accuracy/reference": reference,
        "accuracy/sketch": 0.5 * reference + robust,
        "accuracy/shifts": 0.5 * reference + robust,
        "er/sketch": robust,
        "er/mean": robust,
        **{f"er/mean/{end}": robust + half for end, half in (("low", -0.03), ("high", 0.03))},
        "er/mean/prediction_low": robust - 0.1,
        "er/mean/prediction_high": robust + 0.1,
        "er/extrapolated": float(reference < 0.46),
        "kurtosis/h": 2.8 + robust + 0.05 * draw.normal(),
        "kurtosis/h/width_adjusted": 0.95 + robust / 3 + 0.02 * draw.normal(),
        "kurtosis/last/width_adjusted": (2.3 if backbone == "rn" else 1.4) + 2 * robust + 0.1 * draw.normal(),
        "outliers/largest": float(robust > 0.3),
        "rankme/h": 20 - 10 * robust + draw.normal(),
        "importance/raw/max_over_median": 10 ** (2.2 * pretrained + 0.1 * draw.normal()),
        "importance/centred/max_over_median": 10 ** (1.2 * pretrained + 0.1 * draw.normal()),
        "importance/raw/privileged": float(draw.integers(1, 5) * pretrained),
        "importance/centred/privileged": float(draw.integers(0, 3) * pretrained),
        "confidence/mean": 0.5 + 0.3 * reference + 0.01 * draw.normal(),
        "confidence/accuracy": reference,
    }
    for infix, low in (("", 0.0), ("neurons/", 0.15), ("random_rotation/", 0.15)):
        found[f"concepts/{infix}mean_best_ap"] = 0.3 + 0.3 * robust - low / 2 + 0.01 * draw.normal()
        found[f"concepts/{infix}unique_0.9"] = float(round(8 * robust)) if not infix else 1.0
        share = 0.4 + 0.5 * robust - low + 0.03 * draw.normal()
        found[f"concepts/{infix}polysemantic_share_0.5"] = share
        found[f"concepts/{infix}monosemantic_share_0.5"] = 1 - share
    if alpha in (0.0, 1.0):
        share = float(np.clip(0.6 + 0.1 * draw.normal(), 0, 1))
        found |= {
            "prune/reference/fraction": share,
            "prune/reference/fraction/low": share - 0.05,
            "prune/reference/fraction/high": share + 0.05,
        }
    if kind == "random":
        found["concepts/polysemantic_share_0.5"] = math.nan
    return found


def made_up(corpora=CORPORA, backbones=BACKBONES, seeds=(0, 1), failures=()):
    """A study of so many models."""
    rows = []
    for b, backbone in enumerate(backbones):
        for k, corpus in enumerate(corpora):
            for seed in seeds:
                name = f"{backbone}-{corpus}-{seed}"
                labels = {"backbone": backbone, "corpus": corpus, "seed": str(seed)}
                for alpha in (0.0, *ALPHAS):
                    kind = "zero-shot" if alpha == 0 else "finetuned" if alpha == 1 else "interpolated"
                    draw = np.random.default_rng([b, k, seed, int(100 * alpha)])
                    rows.append(
                        StudyRow(
                            name=f"{name}-finetuned, α = {alpha:g}" if alpha else name,
                            model=f"{name}-finetuned" if alpha else name,
                            family=name, kind=kind, alpha=alpha or None, labels=labels,
                            checkpoint_hash=f"{name}{alpha}", figures=figures(kind, corpus, backbone, alpha, draw),
                        )
                    )  # fmt: skip
        for kind in ("supervised", "random"):
            for seed in seeds if kind == "supervised" else (0,):
                name = f"{backbone}-{kind}-{seed}"
                draw = np.random.default_rng([b, 9, seed])
                labels = {"backbone": backbone, "seed": str(seed)}
                own = figures(kind, "", backbone, 0.0, draw)
                rows.append(StudyRow(name=name, model=name, family=name, kind=kind, labels=labels, figures=own))
    return StudyRecord(
        name="made up", provenance=collect_provenance(), seeds={"intervals": 0},
        data=DataDescription(dataset="scenes", protocol="made up", images={"reference": 2000, "sketch": 1000}),
        conventions=("all of it is made up",), baseline="scenes", shifts=("sketch",), rows=tuple(rows),
        failures=tuple(StudyFailure(model=m, step=s, reason=r) for m, s, r in failures),
    )  # fmt: skip

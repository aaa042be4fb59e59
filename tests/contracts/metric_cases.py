"""The metrics under contract: how to make each, its data, an independent reference, and the laws it obeys."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from controls_reference import SEEDS, controls_reference

from lightning_robust.signatures import (
    ActivationKurtosis,
    ConceptAveragePrecision,
    DirectionImportance,
    FeatureSpectrum,
    ImportanceControls,
    MassiveActivations,
    OutlierFeatures,
    PredictionConfidence,
    neurons,
    random_rotation,
)

D = 48
N = 60
C = 6
HEAD = torch.randn(7, D, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
CATEGORIES = ["colour", "colour", "part", "part", "scene", "scene"]


@dataclass(frozen=True)
class Case:
    make_for: Callable  # from the number of features
    reference: Callable
    scale: dict = field(default_factory=dict)  # key → power of s under h → s · h; keys left out are not checked
    image_shift: tuple = ()  # keys unchanged when a constant is added to all features of an image
    feature_shift: tuple = ()  # keys unchanged when a vector is added to all images
    constant_state: bool = True
    labels: bool = False
    any_width: bool = False  # takes hidden states, not pooled
    labels_of: Callable = lambda y: y  # from concept labels to those that the metric takes

    def make(self, **kwargs):
        return self.make_for(D, **kwargs)

    def __str__(self):
        return self.make().__class__.__name__


def data(seed=0, n=N):
    """Features with a few outliers, labels with unknowns; every concept has a positive."""
    generator = torch.Generator().manual_seed(seed)
    h = torch.randn(n, D, generator=generator, dtype=torch.float64) * torch.linspace(0.5, 2, D, dtype=torch.float64)
    h[:, 3] += 25
    h[: n // 3, 9] -= 40
    labels = torch.randint(-1, 2, (n, C), generator=generator)
    labels[:2] = 1
    labels[2:4] = 0
    return h, labels


# scipy and sklearn are imported where they are used, so that the spawned ranks start in half the time


def kurtosis_reference(h, _):
    import scipy.stats

    k = scipy.stats.kurtosis(h, axis=1, fisher=False, bias=True)
    d = h.shape[1]
    quantiles = {f"q{level:02d}": np.quantile(k, level / 100) for level in (5, 50, 95)}
    mean = k.mean()
    return {
        "mean": mean,
        **quantiles,
        "width_adjusted": mean * (d + 1) / (3 * (d - 1)),
        "n": len(h),
        "undefined": 0,
        "not_finite": 0,
    }


def outlier_reference(h, _):
    import scipy.stats

    z = scipy.stats.zscore(h, axis=1)
    rate = (np.abs(z) > 6).mean(axis=0)
    chosen = [j for j in range(h.shape[1]) if rate[j] >= 0.06]
    m = (h**2).mean(axis=0)
    share = sum((h[:, j] ** 2).sum() for j in chosen) / np.linalg.norm(h) ** 2
    return {
        "count": len(chosen),
        "share": share,
        "per_feature_rate": rate,
        "neuron_norm_kurtosis": (m**2).mean() / m.mean() ** 2,
        "n": len(h),
        "not_finite": 0,
    }


def spectrum_reference(h, _):
    """From singular values of the data matrix, not from moments."""

    def rank(singular):
        p = singular / singular.sum()
        return np.exp(-(p * np.log(p)).sum())

    raw = np.linalg.svd(h, compute_uv=False)
    centred = np.linalg.svd(h - h.mean(axis=0), compute_uv=False)
    ratio = (centred**2).sum() ** 2 / (centred**4).sum()
    return {
        "eigenvalues": raw**2 / len(h),
        "covariance_eigenvalues": centred**2 / len(h),
        "rankme": rank(raw),
        "covariance_effective_rank": rank(centred),
        "participation_ratio": ratio,
        "n": len(h),
        "not_finite": 0,
    }


def importance_reference(h, _):
    W = HEAD.numpy() - HEAD.numpy().mean(axis=0)
    _, sigma, Vh = np.linalg.svd(W, full_matrices=False)
    importance = []
    for s, v in zip(sigma[:6], Vh[:6], strict=True):  # centring costs one rank of seven
        cosines = [abs(v @ x) / np.linalg.norm(x) for x in h]
        importance.append(s * sum(cosines) / len(cosines))
    importance = np.array(importance)
    median = np.median(importance)
    return {
        "importance": importance,
        "normalised": importance / sigma[:6].sum(),
        "max_over_median": importance.max() / median,
        "singular_values": sigma[:6],
        "n": len(h),
        "not_finite": 0,
        "privileged": importance > 10 * median,
    }


MAGNITUDE, RATIO = 24.0, 30.0  # between the values that ``data`` plants


def massive_reference(h, _):
    count = images = 0
    largest, ratios = 0.0, []
    for x in np.abs(h):
        median = np.median(x)
        found = sum(1 for a in x if a > MAGNITUDE and a > RATIO * median)
        count, images = count + found, images + (found > 0)
        largest = max(largest, x.max())
        if x.max() > MAGNITUDE:
            ratios.append(x.max() / median)
    assert 0 < images < len(ratios) < len(h), "each part of the rule decides for some image"
    return {
        "count": count / len(h),
        "images": images / len(h),
        "largest": largest,
        "largest_ratio": max(ratios),
        "n": len(h),
        "not_finite": 0,
    }


def bases(d):
    return {"neurons": neurons(d, min(d, 5)), "rotation": random_rotation(d, min(d, 5))}


def concept_reference(h, y):
    from sklearn.metrics import average_precision_score

    unit = h / np.linalg.norm(h, axis=1, keepdims=True)
    result = {"n": len(h), "not_finite": 0}
    for name, basis in bases(D).items():
        scores = (unit @ basis.numpy()).astype(np.float32)
        ap, negative = np.zeros((2, scores.shape[1], y.shape[1]))
        for i in range(scores.shape[1]):
            for c in range(y.shape[1]):
                known = y[:, c] >= 0
                both = [average_precision_score(y[known, c], sign * scores[known, i]) for sign in (1, -1)]
                ap[i, c], negative[i, c] = max(both), both[1] > both[0]
        result[f"ap/{name}"], result[f"negative/{name}"] = ap, negative
    positives, negatives = (y == 1).sum(axis=0), (y == 0).sum(axis=0)
    result["prevalence"] = positives / (positives + negatives)
    result["eligible"] = (positives >= 10) & (negatives >= 10) & (result["prevalence"] <= 0.5)
    return result


BIAS = torch.linspace(-0.5, 0.5, 7, dtype=torch.float64)


def classes(y):
    """Classes of images, some unknown."""
    return torch.where(y[:, 0] > 0, 2 + 3 * (y[:, 1] > 0).to(y), y[:, 0])


def confidence_reference(h, y):
    import scipy.special
    import scipy.stats

    unit = h / np.linalg.norm(h, axis=1, keepdims=True)
    p = scipy.special.softmax(unit @ HEAD.numpy().T + BIAS.numpy(), axis=1)
    truth, ordered = classes(torch.from_numpy(y)).numpy(), np.sort(p, axis=1)
    known = truth >= 0
    confidence, right = ordered[known, -1], p[known].argmax(axis=1) == truth[known]
    assert 0 < right.sum() < known.sum() < len(h), "right, wrong and unknown"
    edges = np.arange(16) / 15
    inside = [(low < confidence) & (confidence <= high) for low, high in itertools.pairwise(edges)]
    assert 3 < sum(m.any() for m in inside) < 15
    return {
        "mean": ordered[:, -1].mean(),
        "entropy": scipy.stats.entropy(p, axis=1).mean() / np.log(7),
        "margin": (ordered[:, -1] - ordered[:, -2]).mean(),
        "accuracy": right.mean(),
        "overconfidence": confidence.mean() - right.mean(),
        "ece": sum(abs(right[m].mean() - confidence[m].mean()) * m.sum() for m in inside if m.any()) / known.sum(),
        "bin_images": np.array([m.sum() for m in inside]),
        "bin_confidence": np.array([confidence[m].mean() if m.any() else np.nan for m in inside]),
        "bin_accuracy": np.array([right[m].mean() if m.any() else np.nan for m in inside]),
        "n": len(h),
        "labelled": known.sum(),
        "not_finite": 0,
    }


CASES = [
    Case(
        lambda d, **kw: ActivationKurtosis(**kw),
        kurtosis_reference,
        scale=dict.fromkeys(["mean", "q05", "q50", "q95", "width_adjusted"], 0),
        image_shift=("mean", "q05", "q50", "q95", "width_adjusted"),
    ),
    Case(
        lambda d, **kw: OutlierFeatures(**kw),
        outlier_reference,
        scale=dict.fromkeys(["count", "share", "per_feature_rate", "neuron_norm_kurtosis"], 0),
        image_shift=("count", "per_feature_rate"),
    ),
    Case(
        lambda d, **kw: FeatureSpectrum(**kw),
        spectrum_reference,
        scale={
            "eigenvalues": 2,
            "covariance_eigenvalues": 2,
            "rankme": 0,
            "covariance_effective_rank": 0,
            "participation_ratio": 0,
        },
        feature_shift=("covariance_eigenvalues", "covariance_effective_rank", "participation_ratio"),
    ),
    Case(
        lambda d, **kw: DirectionImportance(HEAD[:, :d], centred=True, **kw),
        importance_reference,
        scale=dict.fromkeys(["importance", "normalised", "max_over_median"], 0),
    ),
    Case(
        lambda d, **kw: ImportanceControls(HEAD[:, :d], SEEDS, **kw),
        lambda h, _: controls_reference(h, HEAD),
        scale={key: 0 for key in controls_reference(np.eye(D), HEAD) if not key.startswith(("privileged", "n"))},
    ),
    Case(
        lambda d, **kw: MassiveActivations(MAGNITUDE, RATIO, **kw),
        massive_reference,
        any_width=True,
    ),
    Case(
        lambda d, **kw: ConceptAveragePrecision(bases(d), **kw),
        concept_reference,
        scale={"ap/neurons": 0, "ap/rotation": 0},
        constant_state=False,
        labels=True,
    ),
    Case(
        lambda d, **kw: PredictionConfidence(HEAD[:, :d], BIAS, unit_norm=True, **kw),
        confidence_reference,
        labels=True,
        labels_of=classes,
    ),
]


def feed(metric, case, h, y):
    if case.labels:
        metric.update(h, case.labels_of(y))
    else:
        metric.update(h)
    return metric


def assert_same(result, expected, rtol=1e-12, keys=None):
    keys = expected.keys() if keys is None else keys
    for key in keys:
        want = torch.as_tensor(np.asarray(expected[key])).to(result[key].dtype)
        atol = rtol * float(want.double().abs().nan_to_num().max())
        torch.testing.assert_close(
            result[key], want, rtol=rtol, atol=atol, equal_nan=True, msg=lambda m, k=key: f"{k}: {m}"
        )

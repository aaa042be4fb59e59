"""Records of compression computed in numpy from a small network, so that pictures and tables have real shapes."""

import math

import numpy as np

from lightning_robust.results import AccuracyRow, DataDescription, Interval, collect_provenance
from lightning_robust.results.compress_record import CompressedPoint, CompressRecord, Latency
from lightning_robust.results.effective_robustness import EffectiveRobustness, ShiftRobustness

CLASSES, REPLICATES = 12, 200


def world(seed, n, shifts):
    """Points around class centres by set; every further shift has more noise."""
    draw = np.random.default_rng(seed)
    centres = draw.normal(size=(CLASSES, 40)) * np.geomspace(1, 0.1, 40)
    sets = {}
    for k, name in enumerate(("calibration", "reference", *shifts)):
        t = draw.integers(CLASSES, size=n)
        sets[name] = (centres[t] + (0.45 + 0.15 * max(0, k - 1)) * draw.normal(size=(n, 40)), t)
    return sets


def hidden(matrices, x):
    for w in matrices:
        x = np.maximum(x @ w.T, 0)
    return x


def head(features, t):
    """Ridge regression on the classes."""
    return np.linalg.solve(features.T @ features + 10 * np.eye(features.shape[1]), features.T @ np.eye(CLASSES)[t])


def one_budget(matrices, keep):
    """Ranks that take the largest singular values first, as shares of each matrix and per entry, while they fit."""
    ranks, left = [0] * len(matrices), keep * sum(w.size for w in matrices)
    values = [np.linalg.svd(w, compute_uv=False) ** 2 for w in matrices]
    worth = [(-e / v.sum() / sum(w.shape), k) for k, (w, v) in enumerate(zip(matrices, values, strict=True)) for e in v]
    for _, k in sorted(worth):
        left -= sum(matrices[k].shape)
        if left < 0:
            break
        ranks[k] += 1
    return ranks


def low_rank(matrices, keep, x=None, chosen=None):
    """Every matrix at the rank that keeps such a share of its entries, best for the inputs x or for none."""
    found, ranks = [], []
    for k, w in enumerate(matrices):
        rank = chosen[k] if chosen else max(1, int(keep * w.size / sum(w.shape)))
        u = np.linalg.svd(w if x is None else w @ x.T, full_matrices=False)[0][:, :rank]
        found.append(u @ (u.T @ w))
        ranks.append(rank)
        x = None if x is None else hidden([w], x)
    return found, ranks


def masked(matrices, keep):
    """The largest entries of all matrices alone."""
    bar = np.quantile(np.abs(np.concatenate([w.ravel() for w in matrices])), 1 - keep)
    return [np.where(np.abs(w) >= bar, w, 0) for w in matrices]


def wilson(p, n):
    middle, half, z = p + 1.92 / n, math.sqrt(p * (1 - p) / n + 0.96 / n**2), 1.96
    return max(0.0, (middle - z * half) / (1 + 3.84 / n)), min(1.0, (middle + z * half) / (1 + 3.84 / n))


def judged(right, dense, baseline):
    """Rows, effective robustness over the line y = 0.9 x and differences to the dense network."""
    rows = tuple(
        AccuracyRow(
            set=name, protocol="top-1", correct=int(c.sum()), images=len(c), low=wilson(c.mean(), len(c))[0],
            high=wilson(c.mean(), len(c))[1],
        )
        for name, c in right.items()
    )  # fmt: skip
    first, *shifts = rows
    robustness = None
    if baseline and shifts:
        each = {row.set: shift_robustness(row.accuracy, 0.9 * first.accuracy) for row in shifts}
        mean = shift_robustness(float(np.mean([row.accuracy for row in shifts])), 0.9 * first.accuracy)
        robustness = EffectiveRobustness(
            shifts=each, mean=mean, baseline="toy", scale="linear", x="full", aggregate="er"
        )
    draw = np.random.default_rng(1)
    drawn = {
        name: (c.astype(float) - dense[name])[draw.integers(len(c), size=(REPLICATES, len(c)))].mean(1)
        for name, c in right.items()
    }
    estimates = {name: float(c.mean() - dense[name].mean()) for name, c in right.items()}
    if shifts:
        drawn["shifts"] = np.mean([drawn[row.set] for row in shifts], axis=0)
        estimates["shifts"] = float(np.mean([estimates[row.set] for row in shifts]))
    return rows, robustness, {name: interval(estimates[name], drawn[name]) for name in drawn}


def interval(estimate, draws):
    low, high = np.quantile(draws, (0.025, 0.975))
    return Interval(float(estimate), float(low), float(high), 0.95, REPLICATES, 0)


def shift_robustness(accuracy, expected):
    estimate = accuracy - expected
    near, far = (Interval(estimate, estimate - w, estimate + w, 0.95, REPLICATES, 0) for w in (0.02, 0.05))
    return ShiftRobustness(
        accuracy=accuracy, expected=expected, estimate=estimate, interval=near, prediction=far, extrapolated=False
    )


def latency(flops, dense):
    """What a machine would need with a fixed cost beside the operations; the numbers are made up, their use is not."""
    found = {}
    for batch in (1, 64):
        ms, own = (1e-5 * (batch * f + 4000) for f in (flops, dense))
        found[str(batch)] = Latency(
            median_ms=ms, low_ms=0.95 * ms, high_ms=1.3 * ms, rounds=9, processor_ms=0.99 * ms,
            speedup=own / ms, speedup_low=0.9 * own / ms, speedup_high=1.1 * own / ms,
        )  # fmt: skip
    return found


def compress_record(keeps=(0.75, 0.5, 0.25), shifts=("sketch", "art"), *, baseline=True, finetune=1, timed=True, n=400):
    """A network of two matrices and a head, made smaller in every way, judged on every set."""
    sets = world(0, n, shifts)
    x, t = sets.pop("calibration")
    draw = np.random.default_rng(2)
    matrices = [draw.normal(size=(96, 40)) / 6, draw.normal(size=(96, 96)) / 8]
    own = head(hidden(matrices, x), t)
    fixed, size = own.size, sum(w.size for w in matrices)
    flops = 2 * (fixed + size)

    def answers(found, w):
        return {name: (hidden(found, x) @ w).argmax(1) == t for name, (x, t) in sets.items()}

    dense = answers(matrices, own)
    rows, robustness, _ = judged(dense, dense, baseline)
    points = [
        CompressedPoint(
            method="dense", parameters=fixed + size, nonzero=fixed + size, flops=flops, file_bytes=4 * (fixed + size),
            latency=latency(flops, flops) if timed else {}, rows=rows, robustness=robustness,
        )
    ]  # fmt: skip
    for keep in keeps:
        for method in ("calibrated", "plain", "uniform", "magnitude"):
            if method == "magnitude":
                found, ranks = masked(matrices, keep), []
            elif method == "plain":
                found, ranks = low_rank(matrices, keep, chosen=one_budget(matrices, keep))
            else:
                found, ranks = low_rank(matrices, keep, x if method == "calibrated" else None)
            stored = fixed + (sum(r * sum(w.shape) for r, w in zip(ranks, matrices, strict=True)) if ranks else size)
            for epochs in (0, finetune) if finetune and ranks else (0,):
                w = head(hidden(found, x), t) if epochs else own
                rows, robustness, differences = judged(answers(found, w), dense, baseline)
                points.append(
                    CompressedPoint(
                        method=method, finetuned_epochs=epochs, keep=keep, parameters=stored,
                        nonzero=stored if ranks else fixed + sum(int((w != 0).sum()) for w in found),
                        flops=2 * stored, file_bytes=4 * stored, latency=latency(2 * stored, flops) if timed else {},
                        ranks=dict(zip(("first.weight", "second.weight"), ranks, strict=False)), rows=rows,
                        robustness=robustness, differences=differences,
                        folder=f"keep={keep:.2f}" if method == "calibrated" and not epochs else None,
                    )
                )  # fmt: skip
    return CompressRecord(
        provenance=collect_provenance(threads=1),
        seeds={"intervals": 0},
        data=DataDescription(dataset="toy", protocol="top-1", images={name: len(t) for name, (_, t) in sets.items()}),
        conventions=("calibration: reference images that are not judged.",),
        baseline="toy" if baseline else None,
        model="toy-network",
        origin="drawn at random",
        checkpoint_hash="0" * 64,
        calibration_images=n,
        threads=1,
        matrices={"first.weight": (96, 40), "second.weight": (96, 96)},
        points=tuple(points),
    )

"""How fast predictions for every number of directions kept are, against projecting the images for each.

    python tests/benchmarks/bench_pruning.py [--small] [--rounds 3] [--json FILE]

1,000 classes × 512 features × 2,000 images, all k from 512 to 0, one process, one thread, some minutes. The naive loop
projects the images on k directions (`h V_k V_kᵀ`), multiplies with the head and takes `argmax`, in float32 as a script
would and in float64 as `pruned_predictions` does; "head alone" keeps the coefficients `h V` and the product `W V` and
multiplies `(h V)_k (W V)_kᵀ` for each k. They are timed at every 16th k, evenly from 512 to 0, and scaled to all 513;
`pruned_predictions` is timed whole, and so are the 33 k alone. Rounds alternate, so that all meet the same load; times
are processor time of the one thread and ratios medians over rounds. Weights and images are random, with a direction
that all classes share and one that all images share.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from lightning_robust.results import collect_provenance
from lightning_robust.robustness import largest_pruned
from lightning_robust.signatures import direction_importance, direction_order, pruned_predictions, unpruned_predictions

BARS = {
    "naive_float32_over_ours": 10.0,
    "naive_float64_over_ours": 20.0,
    "head_alone_float64_over_ours": 10.0,
}


def random_model(classes, features, images):
    """Head and unit vectors, float32, the most important directions first."""
    generator = torch.Generator().manual_seed(0)
    W = torch.randn(classes, features, generator=generator) + torch.randn(features, generator=generator)
    h = torch.randn(images, features, generator=generator) + torch.randn(features, generator=generator)
    h /= h.norm(dim=1, keepdim=True)
    report = direction_importance(W, h)
    return W, h, report.directions[:, direction_order("importance", report.importance)]


def naive(W, h, V, ks):
    """For each k: project, multiply, take the largest."""
    found = []
    for k in ks:
        kept = V[:, :k]
        found.append((((h @ kept) @ kept.T) @ W.T).argmax(dim=1))
    return torch.stack(found)


def head_alone(W, h, V, ks):
    """Without going back to features."""
    coefficients, pieces = h @ V, (W @ V).T
    return torch.stack([(coefficients[:, :k] @ pieces[:k]).argmax(dim=1) for k in ks])


def seconds(job):
    """Processor time of one call in this thread, and what it gives."""
    start = time.thread_time()
    found = job()
    return time.thread_time() - start, found


def measure(classes, features, images, rounds, step):
    """All figures of one size."""
    W, h, V = random_model(classes, features, images)
    doubles = W.double(), h.double(), V
    r = V.shape[1]
    sampled = list(range(r, -1, -step))
    scale = (r + 1) / len(sampled)
    jobs = {
        "ours": (1, lambda: pruned_predictions(W, h, V)),
        "ours_sampled": (1, lambda: pruned_predictions(W, h, V, kept=sampled)),
        "unpruned": (1, lambda: unpruned_predictions(W, h)),
        "naive_float32": (scale, lambda: naive(W, h, V.float(), sampled)),
        "naive_float64": (scale, lambda: naive(*doubles, sampled)),
        "head_alone_float64": (scale, lambda: head_alone(*doubles, sampled)),
    }
    times, answers = {name: [] for name in jobs}, {}
    pruned_predictions(W, h[:50], V)  # warms up
    for _ in range(rounds):
        for name, (times_k, job) in jobs.items():
            took, answers[name] = seconds(job)
            times[name].append(took * times_k)
    whole = answers["ours"][[r - k for k in sampled]]
    others = {name: float((answers[name] != whole).double().mean()) for name in answers if name[:2] in ("na", "he")}
    ours = statistics.median(times["ours"])
    return {
        "classes": classes,
        "features": features,
        "images": images,
        "r": r,
        "sampled_k": len(sampled),
        "seconds": times,
        "ratios": {f"{name}_over_ours": ratio(times, name, "ours") for name in times if name != "ours"},
        "nanoseconds_of_a_logit": 1e9 * ours / ((r + 1) * images * classes),
        "share_of_predictions_that_differ": others,
        "sampled_equal": bool((answers["ours_sampled"] == whole).all()),
        "unpruned_equal": bool((answers["ours"][0] == answers["unpruned"]).all()),
        "headline_seconds": headline_seconds(answers["ours"]),
    }


def headline_seconds(predictions):
    """Agreement with the unpruned predictions as a headline, 2,000 replicates."""
    right = (predictions == predictions[0]).numpy()
    kept = list(range(len(right) - 1, -1, -1))
    return seconds(lambda: largest_pruned(right, kept, kept[0], np.ones(right.shape[1], dtype=bool), points=0.1))[0]


def ratio(times, one, other):
    """Median over rounds of the time of one over that of the other."""
    return statistics.median(a / b for a, b in zip(times[one], times[other], strict=True))


def processor():
    """The processor's name where the system tells it, else its architecture."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def main():
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="a second; its ratios say little")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="file to write")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    size = (50, 32, 100) if arguments.small else (1000, 512, 2000)
    found = measure(*size, arguments.rounds, 4 if arguments.small else 16)
    bars = {
        name: {"value": found["ratios"][name], "at_least": bar, "met": found["ratios"][name] >= bar}
        for name, bar in BARS.items()
    }
    result = {
        "benchmark": "pruning",
        "small": arguments.small,
        "bars": bars,
        **found,
        "rounds": arguments.rounds,
        "processor": processor(),
        "cores": os.cpu_count(),
        "load_before": load,
        "load_after": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "provenance": asdict(collect_provenance()),
    }
    for name, bar in bars.items():
        said = "met" if bar["met"] else "NOT met"
        sys.stderr.write(f"{name:32} {bar['value']:8.1f} (at least {bar['at_least']:g}) {said}\n")
    text = json.dumps(result, indent=2) + "\n"
    sys.stdout.write(text)
    if arguments.json:
        arguments.json.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

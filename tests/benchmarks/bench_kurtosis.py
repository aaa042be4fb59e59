"""How fast the kurtosis of every image is, against scipy and against one sum over the same numbers; prints JSON.

    python tests/benchmarks/bench_kurtosis.py [--small] [--json FILE]

50,000 images of 768 features in float32, one process, one thread, about half a minute. The jobs alternate, so that all
meet the same load of the machine; ratios are medians over the rounds of the ratio within a round.
"""

import argparse
import json
import os
import statistics
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import scipy
import scipy.stats
import torch

from lightning_robust.results import collect_provenance
from lightning_robust.signatures import ActivationKurtosis, activation_kurtosis

BARS = {"scipy_over_ours": {"at_least": 4.0}, "ours_over_sum": {"at_most": 10.0}}


def processor() -> str:
    """The processor's name where the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else "unknown"


def seconds(job) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def measure(n: int, d: int, rounds: int) -> dict:
    """Alternate the jobs and give their times, ratios and the largest difference from scipy."""
    h = torch.randn(n, d, generator=torch.Generator().manual_seed(0))
    h[:, : d // 100 + 1] *= 20  # as a representation with outlier features
    array, metric = h.numpy(), ActivationKurtosis()
    jobs = {
        "sum": lambda: h.sum(),
        "ours": lambda: activation_kurtosis(h),
        "metric": lambda: metric.update(h),
        "scipy": lambda: scipy.stats.kurtosis(array, axis=1, fisher=False, bias=True),
    }
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for number in range(rounds + 1):
        for name, job in jobs.items():
            if name == "scipy" and number == 0:
                continue  # needs no warming up
            taken = seconds(job)
            if number:  # the first round warms up
                times[name].append(taken)
    exact = scipy.stats.kurtosis(array[:500].astype(np.float64), axis=1, fisher=False, bias=True)
    difference = np.abs(activation_kurtosis(h[:500]).numpy() / exact - 1).max()

    def ratio(above: str, below: str) -> float:
        return statistics.median(a / b for a, b in zip(times[above], times[below], strict=True))

    return {
        "medians": {name: statistics.median(values) for name, values in times.items()},
        "seconds": times,
        "ratios": {
            "scipy_over_ours": ratio("scipy", "ours"),
            "ours_over_sum": ratio("ours", "sum"),
            "metric_over_sum": ratio("metric", "sum"),
        },
        "largest_relative_difference_from_scipy_in_float64": float(difference),
    }


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="a few seconds; its ratios say little")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="file to write")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    n, d = (2_000, 96) if arguments.small else (50_000, 768)
    measured = measure(n, d, arguments.rounds)
    ratios = measured["ratios"]
    met = {
        name: ratios[name] >= bar["at_least"] if "at_least" in bar else ratios[name] <= bar["at_most"]
        for name, bar in BARS.items()
    }
    result = {
        "benchmark": "kurtosis",
        "small": arguments.small,
        "images": n,
        "features": d,
        "dtype": "float32",
        "rounds": arguments.rounds,
        **measured,
        "bars": BARS,
        "met": met,
        "processor": processor(),
        "cores": os.cpu_count(),
        "load_before": load,
        "versions": {"numpy": np.__version__, "scipy": scipy.__version__},
        "provenance": asdict(collect_provenance()),
    }
    for name, value in ratios.items():
        bar = BARS.get(name, {})
        wanted = " ".join(f"({key.replace('_', ' ')} {limit:g})" for key, limit in bar.items())
        sys.stderr.write(f"{name:18} {value:8.2f} {wanted}\n")
    text = json.dumps(result, indent=2) + "\n"
    sys.stdout.write(text)
    if arguments.json:
        arguments.json.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

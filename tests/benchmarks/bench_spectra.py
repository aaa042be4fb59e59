"""Spectra of all weights of a ViT-B/32 image tower against WeightWatcher, a sketch of them, and a second call.

    python tests/benchmarks/bench_spectra.py [--small] [--rounds 3] [--json FILE]

One process, one thread; rounds of both alternate, so that they meet the same load, and ratios are medians over rounds.
WeightWatcher is needed by this benchmark alone (`pip install weightwatcher`); where it is missing its rows are skipped.
"""

import argparse
import importlib.util
import json
import logging
import os
import platform
import statistics
import sys
import time
import warnings
from dataclasses import asdict
from pathlib import Path

import numpy as np
import open_clip
import torch

from lightning_robust.results import collect_provenance
from lightning_robust.signatures import (
    SpectrumCache,
    power_law_alpha,
    sketch_spectrum,
    weight_matrices,
    weight_spectra,
)

SMALL = {"layers": 2, "width": 128, "image_size": 64}
LEADING = 10


def processor():
    """The processor's name where the system tells it, else its architecture."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def image_tower(small):
    """ViT-B/32 of open_clip with random weights."""
    config = dict(open_clip.get_model_config("ViT-B-32")["vision_cfg"])
    torch.manual_seed(0)
    return open_clip.model._build_vision_tower(512, {**config, **(SMALL if small else {})}).eval()


def seconds(function, *arguments, **options):
    """How long a call takes, and what it gives."""
    start = time.perf_counter()
    result = function(*arguments, **options)
    return time.perf_counter() - start, result


def weightwatcher_of(tower):
    """A function that analyses the tower and gives alpha and singular values by name; None where it is missing."""
    if importlib.util.find_spec("weightwatcher") is None:
        return None, None
    logging.disable(logging.CRITICAL)
    import weightwatcher

    watcher = weightwatcher.WeightWatcher(model=tower)

    def values(details):
        return {
            f"{name}.weight": (alpha, np.sqrt(np.sort(watcher.get_ESD(layer=number))[::-1]))
            for number, name, alpha in zip(details.layer_id, details.longname, details.alpha, strict=True)
        }

    return watcher.analyze, values


def largest_error(found, true):
    """Largest error of any singular value, relative to the largest one."""
    found, true = np.asarray(found), np.asarray(true)
    return float(np.abs(found - true).max() / true.max())


def compare_with_weightwatcher(spectra, theirs):
    """Singular values and alphas of the matrices that both have in the same form (not the convolution)."""
    errors, default, short = [], [], []
    for name, (alpha, sigma) in theirs.items():
        mine = spectra.matrices[name].spectrum
        if len(sigma) == len(mine.singular_values):
            errors.append(largest_error(mine.singular_values, sigma))
            default.append(abs(mine.alpha - alpha) / alpha)
            short.append(abs(power_law_alpha(mine.singular_values.square(), min_tail=2) - alpha) / alpha)
    return {
        "matrices": len(theirs),
        "matrices_compared": len(errors),
        "largest_error_of_singular_values": max(errors),
        "alpha_equal_to_1_percent": sum(d < 0.01 for d in default),
        "alpha_equal_to_1_percent_with_tails_down_to_2": sum(d < 0.01 for d in short),
        "median_difference_of_alpha": statistics.median(default),
        "why_alphas_differ": "WeightWatcher also fits tails shorter than 10 eigenvalues",
    }


def judge_sketch(matrices, exact, sketches):
    """Errors of the sketches beside what they say of themselves."""
    leading, residuals, ranks, inside = [], [], [], 0
    for name, found in sketches.items():
        true = exact.matrices[name].spectrum
        sigma = true.singular_values
        leading.append(largest_error(found.leading, sigma[: len(found.leading)]))
        residuals.append(float(found.residuals.max() / sigma[0]))
        ranks.append(abs(found.effective_rank / true.effective_rank - 1))
        inside += found.effective_rank_low <= true.effective_rank <= found.effective_rank_high
    norms = [abs(found.frobenius / float(matrices[n].double().norm()) - 1) for n, found in sketches.items()]
    return {
        "largest_error_of_leading_values": max(leading),
        "largest_stated_residual": max(residuals),
        "median_error_of_effective_rank": statistics.median(ranks),
        "largest_error_of_effective_rank": max(ranks),
        "effective_rank_inside_its_interval": f"{inside} of {len(sketches)}",
        "largest_error_of_frobenius": max(norms),
    }


def measure(small, rounds):
    """All timings and comparisons."""
    tower = image_tower(small)
    matrices = weight_matrices(tower)
    analyse, values = weightwatcher_of(tower)
    times = {name: [] for name in ("spectra", "sketch", "again", *(["weightwatcher"] if analyse else []))}
    for number in range(rounds + 1):
        cache = SpectrumCache()
        now = {}
        now["spectra"], spectra = seconds(weight_spectra, tower, cache=cache)
        if analyse:
            now["weightwatcher"], details = seconds(analyse)
        now["sketch"], sketches = seconds(lambda: {n: sketch_spectrum(W, LEADING) for n, W in matrices.items()})
        now["again"], second = seconds(weight_spectra, tower, cache=cache)
        if number or small:  # the first round warms up
            for name, took in now.items():
                times[name].append(took)
    if second.computed:
        raise RuntimeError(f"unchanged matrices were computed again: {second.computed}")
    exact_seconds, exact = seconds(weight_spectra, tower, method="exact")
    numpy_error = max(
        largest_error(spectra.matrices[name].spectrum.singular_values, np.linalg.svd(W.double(), compute_uv=False))
        for name, W in matrices.items()
    )
    return {
        "matrices": len(matrices),
        "shapes": sorted({tuple(W.shape) for W in matrices.values()}),
        "seconds": times,
        "seconds_exact": exact_seconds,
        "largest_error_of_singular_values_against_numpy": numpy_error,
        "weightwatcher": compare_with_weightwatcher(spectra, values(details)) if analyse else None,
        "sketch": judge_sketch(matrices, exact, sketches),
    }


def ratio(times, one, other):
    """Median over rounds of the time of one over that of the other."""
    return statistics.median(a / b for a, b in zip(times[one], times[other], strict=True))


def bars_of(found):
    """What was asked for, the figure, and whether it is met."""
    times, theirs = found["seconds"], found["weightwatcher"]
    bars = {
        "sketch: times faster than the spectra": (ratio(times, "spectra", "sketch"), "≥ 10"),
        "second call of an unchanged model: time over the first": (ratio(times, "again", "spectra"), "≤ 0.1"),
        "singular values against numpy: error over the largest": (
            found["largest_error_of_singular_values_against_numpy"],
            "≤ 1e-06",
        ),
    }
    if theirs:
        bars |= {
            "spectra: time over WeightWatcher's analyze()": (ratio(times, "spectra", "weightwatcher"), "≤ 1"),
            "singular values against WeightWatcher: error over the largest": (
                theirs["largest_error_of_singular_values"],
                "≤ 1e-06",
            ),
        }
    return {what: {"value": value, "bar": bar, "met": _met(value, bar)} for what, (value, bar) in bars.items()}


def _met(value, bar):
    sign, limit = bar.split()
    return value >= float(limit) if sign == "≥" else value <= float(limit)


def main():
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="two narrow layers: seconds")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="where to write the result")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    found = measure(arguments.small, arguments.rounds)
    result = {
        "benchmark": "spectra",
        "network": "open_clip ViT-B-32 image tower, random weights" + (", small" if arguments.small else ""),
        "bars": bars_of(found),
        **found,
        "rounds": arguments.rounds,
        "processor": processor(),
        "cores": os.cpu_count(),
        "load_before": load,
        "load_after": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "provenance": asdict(collect_provenance()),
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    show(result)


def show(result):
    """A table for people."""
    lines = [f"{result['network']}: {result['matrices']} matrices, {result['rounds']} rounds"]
    for what, bar in result["bars"].items():
        lines.append(f"  {what:62} {bar['value']:10.3g}  {bar['bar']:8} {'met' if bar['met'] else 'not met'}")
    for name, took in result["seconds"].items():
        lines.append(f"  {name:20} {statistics.median(took):8.3f} s")
    lines.append(f"  {'exact':20} {result['seconds_exact']:8.3f} s")
    if result["weightwatcher"] is None:
        lines.append("  WeightWatcher is not installed, so it was not compared with: pip install weightwatcher.")
    for part in ("weightwatcher", "sketch"):
        lines += [f"  {part}: {name} = {value}" for name, value in (result[part] or {}).items()]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

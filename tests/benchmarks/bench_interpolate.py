"""Interpolating a ViT-B/32 into existing memory against `copy_` and against the written formula.

    python tests/benchmarks/bench_interpolate.py [--small] [--rounds 9] [--json FILE]

One process, one thread; rounds of all ways alternate, so that they meet the same load, and ratios are medians over
rounds. `interpolate_into` is timed whole, with its checks of names, shapes, dtypes and shared memory. Its first call
with a state reads it once more, to see whether any value is infinite; that call is timed apart.
"""

import argparse
import json
import logging
import os
import platform
import statistics
import sys
import time
from dataclasses import asdict
from pathlib import Path

import open_clip
import torch

from lightning_robust.models import interpolate_into
from lightning_robust.results import collect_provenance

ALPHA = 0.3
SMALL = {"vision_cfg": {"layers": 2, "width": 64, "image_size": 64}, "text_cfg": {"layers": 2, "width": 64, "heads": 2}}
BAR = 1.6


def processor():
    """The processor's name where the system tells it, else its architecture."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def states(small):
    """θ0, θ1 and a working copy: a ViT-B/32 CLIP of open_clip with random weights, and one a little off."""
    config = open_clip.get_model_config("ViT-B-32")
    for part, values in SMALL.items() if small else ():
        config[part] |= values
    torch.manual_seed(0)
    theta0 = {name: value.clone() for name, value in open_clip.CLIP(**config).state_dict().items()}
    theta1 = {
        name: value + 0.01 * torch.randn_like(value) if value.is_floating_point() else value.clone()
        for name, value in theta0.items()
    }
    return theta0, theta1, {name: torch.zeros_like(value) for name, value in theta0.items()}


def ways(theta0, theta1, target):
    """What is timed, by name; each fills the target."""

    def copy():
        for name, out in target.items():
            out.copy_(theta0[name])

    def into():
        interpolate_into(target, theta0, theta1, ALPHA)

    def lerp():
        for name, out in target.items():
            torch.lerp(theta0[name], theta1[name], ALPHA, out=out)

    def formula():
        for name, out in target.items():
            out.copy_((1 - ALPHA) * theta0[name] + ALPHA * theta1[name])

    return {"copy_": copy, "interpolate_into": into, "lerp alone": lerp, "formula": formula}


def seconds(function):
    """How long a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def largest_difference(theta0, theta1, target):
    """Largest error against float64, over the largest value of its entry."""
    return max(
        float((out.double() - (1 - ALPHA) * theta0[n].double() - ALPHA * theta1[n].double()).abs().max())
        / max(float(out.abs().max()), 1e-30)
        for n, out in target.items()
        if out.is_floating_point()
    )


def measure(small, rounds):
    """All timings."""
    theta0, theta1, target = states(small)
    functions = ways(theta0, theta1, target)
    first = seconds(functions["interpolate_into"])
    error = largest_difference(theta0, theta1, target)
    times = {name: [] for name in functions}
    for number in range(rounds + 1):
        for name, function in functions.items():
            took = seconds(function)
            if number:  # the first round warms up
                times[name].append(took)
    return {
        "entries": len(theta0),
        "parameters": sum(value.numel() for value in theta0.values()),
        "mebibytes_of_a_state": sum(value.nbytes for value in theta0.values()) / 2**20,
        "alpha": ALPHA,
        "largest_error_over_largest_value": error,
        "seconds_first_call": first,
        "seconds": times,
    }


def ratio(times, one):
    """Median over rounds of the time over that of `copy_`, with the smallest and the largest."""
    found = [a / b for a, b in zip(times[one], times["copy_"], strict=True)]
    return {"median": statistics.median(found), "smallest": min(found), "largest": max(found)}


def main():
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="two narrow layers: seconds")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path, help="where to write the result")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    found = measure(arguments.small, arguments.rounds)
    ratios = {name: ratio(found["seconds"], name) for name in found["seconds"] if name != "copy_"}
    value = ratios["interpolate_into"]["median"]
    result = {
        "benchmark": "interpolate",
        "network": "open_clip ViT-B-32, random weights" + (", small" if arguments.small else ""),
        "bars": {
            "interpolate_into: time over copy_": {"value": value, "bar": f"≤ {BAR}", "met": value <= BAR},
        },
        "times_copy_": ratios,
        **found,
        "rounds": arguments.rounds,
        "threads": 1,
        "processor": processor(),
        "cores": os.cpu_count(),
        "load_before": load,
        "load_after": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "provenance": asdict(collect_provenance()),
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    show(result)


def show(result):
    """A table for people."""
    lines = [
        f"{result['network']}: {result['parameters'] / 1e6:.1f} M values in {result['entries']} entries, "
        f"{result['rounds']} rounds",
        f"  {'copy_':18} {statistics.median(result['seconds']['copy_']):8.4f} s",
    ]
    for name, times in result["times_copy_"].items():
        lines.append(
            f"  {name:18} {statistics.median(result['seconds'][name]):8.4f} s  {times['median']:6.2f} × copy_ "
            f"({times['smallest']:.2f} to {times['largest']:.2f})"
        )
    lines.append(f"  {'first call':18} {result['seconds_first_call']:8.4f} s")
    for what, bar in result["bars"].items():
        lines.append(f"  {what}: {bar['value']:.3g}, {bar['bar']}: {'met' if bar['met'] else 'not met'}")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

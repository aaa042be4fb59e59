"""How fast scenes are drawn: images per second on one thread, as JSON with versions and hardware.

Run `python tests/benchmarks/bench_render.py > render.json`: about 10 seconds. Figures are medians of several
repetitions, silhouettes and backdrops made before. On a machine that is busy with other things read the rate per second
of processor time; the load before the start is printed too.
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

from lightning_robust.data.scenes.captions import captions
from lightning_robust.data.scenes.distributions import DISTRIBUTIONS, WORLD_VERSION
from lightning_robust.data.scenes.draws import draw_scenes
from lightning_robust.data.scenes.render import IMAGE_SIZE, render
from lightning_robust.results import collect_provenance


def processor() -> str:
    """The processor's name where the system tells it, else its architecture."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def images_per_second(name: str, n: int, repetitions: int) -> dict[str, float]:
    """Draw, render and caption n images several times over: median rates, and the spread of the rendering."""
    distribution, rates, busy, texts = DISTRIBUTIONS[name], [], [], []
    for repetition in range(repetitions + 1):
        start, busy_start = time.perf_counter(), time.process_time()
        scenes = draw_scenes(distribution, 0, "train", np.arange(n) + repetition * n)
        render(scenes)
        middle, busy_middle = time.perf_counter(), time.process_time()
        captions(scenes)
        end = time.perf_counter()
        if repetition:  # the first one warms up
            rates.append(n / (middle - start))
            busy.append(n / max(busy_middle - busy_start, 1e-9))
            texts.append(n / (end - middle))
    return {
        "images_per_second": round(statistics.median(rates)),
        "images_per_processor_second": round(statistics.median(busy)),
        "slowest": round(min(rates)),
        "fastest": round(max(rates)),
        "captions_per_second": round(statistics.median(texts)),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1024, help="images in a repetition")
    parser.add_argument("--repetitions", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    result = {
        "benchmark": "render",
        "world_version": WORLD_VERSION,
        "image_size": IMAGE_SIZE,
        "images": arguments.images,
        "repetitions": arguments.repetitions,
        "processor": processor(),
        "cores": os.cpu_count(),
        "load_before": load,
        "provenance": asdict(collect_provenance()),
        "results": {
            name: images_per_second(name, arguments.images, arguments.repetitions) for name in ("broad", "reference")
        },
    }
    json.dump(result, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()

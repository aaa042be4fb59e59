"""How much memory every metric takes after 1, 10 and 1,000 batches; prints JSON.

    python tests/benchmarks/bench_memory.py [--small] [--json FILE]

States are counted in bytes, exactly; the peak is what the process took at most while the batches ran beyond what it had
before (Linux only, null elsewhere). A state must not grow with the images; that of concepts holds features once, in
float32, beside the labels. 32 images of 768 features a batch, one thread, about three minutes.
"""

import argparse
import gc
import json
import os
import platform
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch

from lightning_robust.results import collect_provenance
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
)

BATCH, CLASSES, CONCEPTS = 32, 100, 20


def made(d: int) -> dict:
    """One of each metric; the head and the directions are random."""
    head = torch.randn(CLASSES, d, generator=torch.Generator().manual_seed(0))
    return {
        "ActivationKurtosis": ActivationKurtosis(),
        "OutlierFeatures": OutlierFeatures(),
        "MassiveActivations": MassiveActivations(),
        "FeatureSpectrum": FeatureSpectrum(),
        "DirectionImportance": DirectionImportance(head),
        "ImportanceControls": ImportanceControls(head),
        "PredictionConfidence": PredictionConfidence(head),
        "ConceptAveragePrecision": ConceptAveragePrecision({"neurons": neurons(d)}),
    }


def state_bytes(metric) -> int:
    """Bytes of all state tensors."""
    states = metric.metric_state.values()
    return sum(s.nbytes if isinstance(s, torch.Tensor) else sum(part.nbytes for part in s) for s in states)


def memory(field: str) -> int | None:
    """A field of the process status in bytes."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return None
    lines = [line.split() for line in status.read_text(encoding="utf-8").splitlines() if line.startswith(field)]
    return int(lines[0][1]) * 1024 if lines else None


def forget_peak() -> bool:
    """Let the process count its peak anew, where the system allows it."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    except OSError:
        return False
    return True


def follow(metric, d: int, stops: tuple[int, ...]) -> dict:
    """Feed batches; note state and peak at each stop."""
    generator = torch.Generator().manual_seed(1)
    sizes, peaks, done = {}, {}, 0
    start = time.perf_counter()
    gc.collect()
    before, counted = memory("VmRSS"), forget_peak()
    for stop in stops:
        for _ in range(stop - done):
            h = torch.randn(BATCH, d, generator=generator)
            if metric.uses_labels:  # classes of images, or which concepts each of them shows
                classes = isinstance(metric, PredictionConfidence)
                high, shape = (CLASSES, (BATCH,)) if classes else (2, (BATCH, CONCEPTS))
                metric.update(h, torch.randint(-1, high, shape, generator=generator))
            else:
                metric.update(h)
        done = stop
        sizes[str(stop)] = state_bytes(metric)
        peak = memory("VmHWM")
        peaks[str(stop)] = peak - before if counted and peak and before else None
    return {"state_bytes": sizes, "peak_bytes_beyond_start": peaks, "seconds": round(time.perf_counter() - start, 3)}


def judged(name: str, sizes: dict[str, int], d: int) -> dict:
    """Whether the state is constant; of concepts, whether it holds the features once in float32."""
    if name != "ConceptAveragePrecision":
        return {"bar": "state does not grow with the images", "met": len(set(sizes.values())) == 1}
    images = {stop: int(stop) * BATCH for stop in sizes}
    # for each image four bytes and at most five a label: where it is positive, and whether it is known
    met = all(sizes[stop] <= images[stop] * (4 * d + 4 + 5 * CONCEPTS) + 64 for stop in sizes)
    return {"bar": "features once in float32, and the labels", "met": met}


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="few features and at most 100 batches: a second")
    parser.add_argument("--json", type=Path, help="file to write")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    d, stops = (48, (1, 10, 100)) if arguments.small else (768, (1, 10, 1000))
    results = {}
    for name, metric in made(d).items():
        results[name] = follow(metric, d, stops)
        results[name].update(judged(name, results[name]["state_bytes"], d))
        sizes = "  ".join(f"{stop:>5}: {size:>12,}" for stop, size in results[name]["state_bytes"].items())
        sys.stderr.write(f"{name:24} bytes after batches {sizes}  {'met' if results[name]['met'] else 'NOT MET'}\n")
    result = {
        "benchmark": "memory",
        "small": arguments.small,
        "features": d,
        "images_per_batch": BATCH,
        "concepts": CONCEPTS,
        "results": results,
        "met": all(found["met"] for found in results.values()),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "provenance": asdict(collect_provenance()),
    }
    text = json.dumps(result, indent=2) + "\n"
    sys.stdout.write(text)
    if arguments.json:
        arguments.json.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

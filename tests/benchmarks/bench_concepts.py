"""How fast average precision is for many directions and concepts, against scikit-learn, torchmetrics and one sort.

    python tests/benchmarks/bench_concepts.py [--small] [--json FILE]

768 directions × 1,197 concepts × 63,305 images, one process, one thread, less than a minute. Scores are random; labels
have the density and the gaps of Broden: images of four sources, each annotated for some of six categories, about ten
labels an image, concepts of a category drawn with weights 1/6, 1/7, 1/8 … Scores are made for 64 directions at a time;
for each such block every direction is sorted once and then scored, v and −v, so that both meet the same load of the
machine. "One sort" is `np.argsort` of 63,305 float32 numbers, the fastest of numpy (AVX-512 or AVX2 where there is);
the stable one, which scikit-learn takes, is timed too. Between blocks scikit-learn and torchmetrics score sampled
pairs, one sign, on the known images of the concept. `metric` is `ConceptAveragePrecision` from features to results,
products included. Times are processor time of the one thread, which a busy machine lengthens less than wall time; that
of everything is given beside it.
"""

import argparse
import json
import os
import resource
import statistics
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import sklearn
import torch
import torchmetrics
from sklearn.metrics import average_precision_score
from torchmetrics.functional.classification import binary_average_precision

from lightning_robust.results import collect_provenance
from lightning_robust.signatures import ConceptAveragePrecision, SparseLabels, neurons
from lightning_robust.signatures.concepts import average_precision_rows, ranking_of

SOURCES = {"ade20k": 22_210, "pascal": 10_103, "opensurfaces": 25_352, "dtd": 5_640}
CATEGORIES = {  # sources that are annotated for it, concepts, labels of an annotated image
    "scene": (("ade20k",), 407, 1),
    "object": (("ade20k", "pascal"), 508, 8),
    "part": (("ade20k", "pascal"), 203, 3),
    "material": (("opensurfaces",), 28, 3),
    "texture": (("dtd",), 41, 1),
    "colour": (tuple(SOURCES), 10, 3),
}
BLOCK = 64
BARS = {
    "sklearn_over_ours": {"at_least": 1000.0},
    "torchmetrics_over_ours": {"at_least": 800.0},
    "ours_over_sort": {"at_most": 6.0},
    "peak_gigabytes": {"at_most": 3.0},
}


def broden_like(share: float, rng: np.random.Generator) -> SparseLabels:
    """Labels of a share of the images."""
    source = np.repeat(list(SOURCES), [round(number * share) for number in SOURCES.values()])
    annotated = np.stack([np.isin(source, sources) for sources, _, _ in CATEGORIES.values()], axis=1)
    images, concepts, categories = [], [], []
    for category, (_, number, labels) in enumerate(CATEGORIES.values()):
        weights = -np.log(np.arange(6, number + 6))  # so that none is on more than half of the images
        for part in np.array_split(np.flatnonzero(annotated[:, category]), 1 + int(32 * share)):
            # the largest of weight + Gumbel noise are a draw without repetition
            drawn = np.argpartition(-weights - rng.gumbel(size=(len(part), number)), labels, axis=1)[:, :labels]
            images.append(part.repeat(labels))
            concepts.append(drawn.ravel() + len(categories))
        categories += [category] * number
    pairs = (torch.from_numpy(np.concatenate(parts)) for parts in (images, concepts))
    return SparseLabels.from_pairs(*pairs, torch.from_numpy(annotated), categories)


def seconds(job) -> float:
    """Processor time of one call in this thread."""
    start = time.thread_time()
    job()
    return time.thread_time() - start


class Everything:
    """Sorts and scores every direction, block by block, and pairs sampled from each block with the others."""

    def __init__(self, labels: SparseLabels, directions: int, samples: int, rng: np.random.Generator) -> None:
        self.labels, self.directions, self.samples, self.rng = labels, directions, samples, rng
        self.preparing = seconds(self._prepare)
        self.best = np.empty((directions, labels.shape[1]))
        self.times = {name: [] for name in ("sort", "ours", "stable_sort", "sklearn", "torchmetrics")}
        self.difference = 0.0
        self.annotated = self.labels.patterns()

    def _prepare(self) -> None:
        self.ranking = ranking_of(self.labels, "ignore")

    def run(self) -> None:
        """All blocks."""
        images, concepts = self.labels.images.numpy(), self.labels.positives.numpy()
        shown = np.flatnonzero(self.labels.positives_per_concept().numpy())
        for first in range(0, self.directions, BLOCK):
            size = min(BLOCK, self.directions - first)
            scores = self.rng.standard_normal((size, len(self.labels)), dtype=np.float32)
            if first == 0:  # warms up
                average_precision_rows(self.ranking, torch.from_numpy(scores[:4]))
            self.block(scores, first)
            for concept in self.rng.choice(shown, self.samples):
                y = np.zeros(len(self.labels), dtype=np.int64)
                y[images[concepts == concept]] = 1
                self.pair(scores, first, int(concept), y)

    def block(self, scores: np.ndarray, first: int) -> None:
        """Sort and score a block of directions."""

        def ours() -> None:
            up, down = average_precision_rows(self.ranking, torch.from_numpy(scores))
            self.best[first : first + len(scores)] = torch.fmax(up, down)

        self.times["sort"].append(seconds(lambda: [np.argsort(row) for row in scores]))
        self.times["ours"].append(seconds(ours))
        few = scores[:8]
        taken = seconds(lambda: [np.argsort(row, kind="stable") for row in few])
        self.times["stable_sort"].append(taken * len(scores) / len(few))

    def pair(self, scores: np.ndarray, first: int, concept: int, y: np.ndarray) -> None:
        """Score one pair with the others."""
        patterns, of = self.annotated
        known = patterns[:, concept][of].numpy()
        direction = self.rng.integers(len(scores))
        y, s = y[known], scores[direction, known]
        probabilities, target = torch.from_numpy(s).sigmoid(), torch.from_numpy(y)
        self.times["sklearn"].append(seconds(lambda: average_precision_score(y, s)))
        self.times["torchmetrics"].append(seconds(lambda: binary_average_precision(probabilities, target)))
        want = max(average_precision_score(y, s), average_precision_score(y, -s))
        self.difference = max(self.difference, abs(self.best[first + direction, concept] / want - 1))


def score_features(labels: SparseLabels, d: int) -> float:
    """Seconds of the metric, neurons as directions."""
    metric = ConceptAveragePrecision({"neurons": neurons(d)})
    metric.update(torch.randn(len(labels), d, generator=torch.Generator().manual_seed(0)), labels)
    return seconds(metric.compute)


def peak_gigabytes() -> float:
    """Largest resident memory of this process so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def processor() -> str:
    """The processor's name where the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else "unknown"


def measure(share: float, directions: int, samples: int) -> dict:
    """All figures of one size."""
    rng, start = np.random.default_rng(0), time.perf_counter()
    labels = broden_like(share, rng)
    everything = Everything(labels, directions, samples, rng)
    everything.run()
    peak = peak_gigabytes()
    times = everything.times
    total = {name: sum(times[name]) for name in ("sort", "ours", "stable_sort")}
    total["ours"] += everything.preparing
    pair = {name: statistics.mean(times[name]) for name in ("sklearn", "torchmetrics")}
    pair["ours"] = total["ours"] / (directions * labels.shape[1])
    metric = score_features(labels, directions)
    return {
        "images": len(labels),
        "concepts": labels.shape[1],
        "positives": len(labels.positives),
        "directions": directions,
        "sampled_pairs": len(times["sklearn"]),
        "seconds": {**total, "preparing_labels": everything.preparing, "metric": metric},
        "seconds_of_a_pair": pair,
        "seconds_of_blocks": {name: times[name] for name in total},
        "ratios": {
            "sklearn_over_ours": pair["sklearn"] / pair["ours"],
            "torchmetrics_over_ours": pair["torchmetrics"] / pair["ours"],
            "ours_over_sort": total["ours"] / total["sort"],
            "ours_over_stable_sort": total["ours"] / total["stable_sort"],
            "peak_gigabytes": peak,
            "peak_gigabytes_with_metric": peak_gigabytes(),
        },
        "largest_relative_difference_from_sklearn": everything.difference,
        "wall_seconds_of_everything": time.perf_counter() - start,
    }


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="a few seconds; its ratios say little")
    parser.add_argument("--json", type=Path, help="file to write")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    measured = measure(0.03, 20, 6) if arguments.small else measure(1.0, 768, 10)
    ratios = measured["ratios"]
    met = {
        name: ratios[name] >= bar["at_least"] if "at_least" in bar else ratios[name] <= bar["at_most"]
        for name, bar in BARS.items()
    }
    result = {
        "benchmark": "concepts",
        "small": arguments.small,
        **measured,
        "sort": "numpy.argsort, default kind, float32",
        "bars": BARS,
        "met": met,
        "processor": processor(),
        "cores": os.cpu_count(),
        "load_before": load,
        "versions": {
            "numpy": np.__version__,
            "sklearn": sklearn.__version__,
            "torchmetrics": torchmetrics.__version__,
        },
        "provenance": asdict(collect_provenance()),
    }
    for name, value in ratios.items():
        bar = BARS.get(name, {})
        wanted = " ".join(f"({key.replace('_', ' ')} {limit:g})" for key, limit in bar.items())
        said = "" if name not in met else "met" if met[name] else "NOT met"
        sys.stderr.write(f"{name:26} {value:9.2f} {wanted} {said}\n")
    text = json.dumps(result, indent=2) + "\n"
    sys.stdout.write(text)
    if arguments.json:
        arguments.json.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

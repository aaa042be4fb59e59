"""Eleven points of a Wise-FT path in one pass over the images, against eleven passes; prints JSON.

    python tests/benchmarks/bench_evaluate.py [--small] [--json FILE]

400 JPEGs of 500 × 375 pixels (ImageNet's usual size) in class folders, decoded and resized to 32 pixels for the bundled
CLIP: decoding binds, as it does for a large network on a GPU. One process, one thread, no worker, about two minutes.
The jobs alternate, so that both meet the same load of the machine; the ratio is the median over the rounds of the
ratio within a round. All predictions are compared: they are equal.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from lightning_robust.data.labelled import LabelledImages, class_folders, evaluation_loader
from lightning_robust.data.scenes.distributions import REFERENCE
from lightning_robust.data.scenes.draws import draw_scenes
from lightning_robust.data.scenes.render import render
from lightning_robust.data.scenes.vocabulary import CLASSES, TEMPLATES
from lightning_robust.models import evaluate_path
from lightning_robust.models.networks import load_network
from lightning_robust.results import collect_provenance

ALPHAS = tuple(k / 10 for k in range(11))
BARS = {"one_pass_over_eleven": {"at_most": 0.5}}


def processor() -> str:
    """The processor's name where the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else "unknown"


def write_jpegs(root: Path, n: int) -> None:
    """Scenes, enlarged and noisy, so that a JPEG has the size and the detail of a photo."""
    rng = np.random.default_rng(0)
    scenes = draw_scenes(REFERENCE, 0, "test", np.arange(n))
    pixels = render(scenes)[0]
    for k, (picture, label) in enumerate(zip(pixels, scenes.label, strict=True)):
        large = np.asarray(Image.fromarray(picture.transpose(1, 2, 0)).resize((500, 375), Image.Resampling.BICUBIC))
        noisy = np.clip(large + rng.normal(0, 12, large.shape), 0, 255).astype(np.uint8)
        folder = root / CLASSES[int(label)]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noisy).save(folder / f"{k:04d}.jpg", quality=90)


def measure(root: Path, rounds: int) -> dict:
    """Alternate one pass for all α and a pass for each, and give times and the ratio."""
    network = load_network("scenes-clip", class_names=list(CLASSES), templates=list(TEMPLATES))
    theta0 = {name: tensor.clone() for name, tensor in network.model.state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    theta1 = {
        name: tensor + 0.3 * tensor.std() * torch.randn(tensor.shape, generator=generator)
        if name.startswith("encoder.visual") and tensor.ndim > 1
        else tensor
        for name, tensor in theta0.items()
    }
    source = class_folders(root)
    images = LabelledImages(source, network.transform, [list(CLASSES).index(name) for name in source.class_names])
    loader = evaluation_loader(images, 50)

    def seconds(groups: list[tuple[float, ...]]) -> tuple[float, torch.Tensor]:
        start = time.perf_counter()
        found = [evaluate_path(network.model, theta0, theta1, group, {"test": loader})["test"] for group in groups]
        return time.perf_counter() - start, torch.cat([one.predictions for one in found])

    start = time.perf_counter()
    for _ in loader:
        pass
    reading = time.perf_counter() - start
    times: dict[str, list[float]] = {"one_pass": [], "eleven_passes": []}
    equal = True
    for _ in range(rounds):
        together, first = seconds([ALPHAS])
        apart, second = seconds([(alpha,) for alpha in ALPHAS])
        times["one_pass"].append(together)
        times["eleven_passes"].append(apart)
        equal = equal and torch.equal(first, second)
    ratio = statistics.median(a / b for a, b in zip(times["one_pass"], times["eleven_passes"], strict=True))
    return {
        "images": len(images),
        "reading_and_preparing_alone": reading,
        "seconds": times,
        "medians": {name: statistics.median(values) for name, values in times.items()},
        "ratios": {"one_pass_over_eleven": ratio},
        "predictions_equal": equal,
    }


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="a few seconds; its ratio says little")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="file to write")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    with tempfile.TemporaryDirectory() as folder:
        write_jpegs(Path(folder), 20 if arguments.small else 400)
        measured = measure(Path(folder), arguments.rounds)
    ratios = measured["ratios"]
    result = {
        "benchmark": "evaluate",
        "small": arguments.small,
        "alphas": len(ALPHAS),
        "rounds": arguments.rounds,
        **measured,
        "bars": BARS,
        "met": {name: ratios[name] <= bar["at_most"] for name, bar in BARS.items()},
        "processor": processor(),
        "cores": os.cpu_count(),
        "load_before": load,
        "provenance": asdict(collect_provenance()),
    }
    for name, value in ratios.items():
        sys.stderr.write(f"{name:22} {value:8.2f} (at most {BARS[name]['at_most']:g})\n")
    text = json.dumps(result, indent=2) + "\n"
    sys.stdout.write(text)
    if arguments.json:
        arguments.json.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

"""How fast labelled images are read and preprocessed, against torchvision's `ImageFolder`; prints JSON.

    python tests/benchmarks/bench_decoding.py [--small] [--images N] [--folder FOLDER] [--json FILE]

2,000 JPEG files in class folders (of `--folder`, else of PACS where it lies, else generated ones), resized to 32 and to
224 pixels by open_clip's evaluation transform, with 0 and with 2 workers: four or five minutes. Both read the same
files by the same transform with the same workers. Rounds alternate, so that both meet the same load of the machine;
ratios are medians over the rounds of the ratio within a round, with quartiles and range over the rounds. On a machine
that is busy with other things read the ratio of processor times.
"""

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import PIL
import torch
import torchvision
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

from lightning_robust.data.labelled import LabelledImages, class_folders, evaluation_loader
from lightning_robust.results import collect_provenance

#: torchvision's time over ours, with 0 and with 2 workers: at least as fast, at each size.
BARS = {"0_workers": {"at_least": 1.0}, "2_workers": {"at_least": 1.0}}
BATCH = 64
SIZES = (32, 224)


def processor() -> str:
    """The processor's name where the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else "unknown"


@contextmanager
def class_tree(given: Path | None, n: int) -> Iterator[tuple[Path, str]]:
    """A folder of class folders with n JPEG files, links to those of `given` or generated ones; and what they are."""
    with tempfile.TemporaryDirectory() as temporary:
        top = Path(temporary)
        found = sorted(given.rglob("*.jpg")) if given else []
        for k in range(n):
            folder = top / f"class{k % 7}"
            folder.mkdir(exist_ok=True)
            file = folder / f"{k:05}.jpg"
            if len(found) >= n:
                file.symlink_to(found[k * len(found) // n].resolve())
            else:
                Image.fromarray(picture(k)).save(file, "JPEG", quality=90)
        yield top, "PACS or the folder given" if len(found) >= n else "generated, 128 × 128 pixels"


def picture(k: int) -> Any:
    """A smooth image with some noise, which compresses as photos do."""
    rng = np.random.default_rng(k)
    coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((128, 128))
    return (np.asarray(coarse) * 0.9 + rng.integers(0, 25, (128, 128, 3))).astype(np.uint8)


def busy() -> float:
    """Processor seconds of this process and of the workers that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def read(loader: DataLoader[Any]) -> tuple[float, float, float]:
    """Seconds of a pass, processor seconds, and a sum over pixels and labels: whether two passes saw the same."""
    start, busy_start, total = time.perf_counter(), busy(), 0.0
    for images, labels in loader:
        total += float(images.double().sum()) + float(labels.sum())
    return time.perf_counter() - start, busy() - busy_start, total


def measure(folder: Path, rounds: int, workers: int, size: int) -> dict[str, Any]:
    """Alternate the two loaders."""
    transform = open_clip.image_transform(size, is_train=False)
    ours = LabelledImages(class_folders(folder), transform)
    theirs = ImageFolder(str(folder), transform)
    made: dict[str, Callable[[], DataLoader[Any]]] = {
        "ours": lambda: evaluation_loader(ours, BATCH, workers),
        "torchvision": lambda: DataLoader(theirs, batch_size=BATCH, num_workers=workers),
    }
    times: dict[str, list[float]] = {name: [] for name in made}
    work: dict[str, list[float]] = {name: [] for name in made}
    sums = set()
    for number in range(rounds + 1):
        for name in list(made)[:: 1 if number % 2 else -1]:
            taken, worked, total = read(made[name]())
            sums.add(round(total, 3))
            if number:  # the first round warms up
                times[name].append(taken)
                work[name].append(worked)
    return {
        "workers": workers,
        "size": size,
        "images_per_second": {name: len(ours) / statistics.median(taken) for name, taken in times.items()},
        "seconds": times,
        "processor_seconds": work,
        "torchvision_over_ours": ratio(times),
        "torchvision_over_ours_over_rounds": spread(times),
        "torchvision_over_ours_in_processor_time": ratio(work),
        "torchvision_over_ours_in_processor_time_over_rounds": spread(work),
        "same_pixels_and_labels": len(sums) == 1,
    }


def ratio(seconds: dict[str, list[float]]) -> float:
    """Median over the rounds of torchvision's time over ours."""
    return statistics.median(ratios_of(seconds))


def spread(seconds: dict[str, list[float]]) -> dict[str, float]:
    """How far that ratio differs between rounds: its least and greatest value and its quartiles."""
    names = ("least", "lower_quartile", "upper_quartile", "greatest")
    return dict(zip(names, np.quantile(ratios_of(seconds), [0, 0.25, 0.75, 1]).tolist(), strict=True))


def ratios_of(seconds: dict[str, list[float]]) -> list[float]:
    """torchvision's time over ours in each round."""
    return [a / b for a, b in zip(seconds["torchvision"], seconds["ours"], strict=True)]


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="a few seconds; its ratios say little")
    parser.add_argument("--folder", type=Path, help="where JPEG files are")
    parser.add_argument("--images", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path, help="file to write")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    beside = Path(__file__).resolve().parents[3] / "shared" / "data" / "pacs"
    given = arguments.folder or Path(os.environ.get("LIGHTNING_ROBUST_PACS", beside))
    n = 70 if arguments.small else arguments.images
    with class_tree(given if given.is_dir() else None, n) as (folder, kind):
        runs = [
            measure(folder, arguments.rounds, workers, size)
            for size in (SIZES[:1] if arguments.small else SIZES)
            for workers in (0, 2)
        ]
    ratios = {f"{w}_workers": min(run["torchvision_over_ours"] for run in runs if run["workers"] == w) for w in (0, 2)}
    result = {
        "benchmark": "decoding",
        "small": arguments.small,
        "images": n,
        "kind": kind,
        "batch": BATCH,
        "rounds": arguments.rounds,
        "runs": runs,
        "ratios": ratios,
        "bars": BARS,
        "met": {name: ratios[name] >= bar["at_least"] for name, bar in BARS.items()},
        "processor": processor(),
        "cores": os.cpu_count(),
        "load_before": load,
        "versions": {"pillow": PIL.__version__, "torchvision": torchvision.__version__},
        "provenance": asdict(collect_provenance()),
    }
    for run in runs:
        rates, between = run["images_per_second"], run["torchvision_over_ours_in_processor_time_over_rounds"]
        sys.stderr.write(
            f"{run['size']:4} px, {run['workers']} workers: {rates['ours']:7.0f} images/s, torchvision "
            f"{rates['torchvision']:7.0f}, ratio {run['torchvision_over_ours']:.3f}, in processor time "
            f"{run['torchvision_over_ours_in_processor_time']:.3f} (rounds: {between['least']:.3f} to "
            f"{between['greatest']:.3f})\n"
        )
    text = json.dumps(result, indent=2) + "\n"
    sys.stdout.write(text)
    if arguments.json:
        arguments.json.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

"""What monitors cost a validation loop: the same images with and without them, as paired ratios; prints JSON.

    python tests/benchmarks/bench_monitors.py [--small] [--images 512] [--rounds 10] [--without-concepts] [--json FILE]

A ViT-B/32 of open_clip with random weights, its head of 1,000 classes, in Lightning's own validation loop, one process,
one thread. In each round three validations of the same images: without monitors, with kurtosis, outliers, massive
activations, feature spectrum and importance at three layers, and with concepts too (1,197 of them, 10 labels an image,
in the three bases of ConceptMonitor at what the head reads, with the permuted control). Their order changes from round
to round. Everything that callbacks and loggers do in a validation counts, figures for TensorBoard included. Most of it
is the same for any number of images (decompositions and figures), so ratios fall with more. Two seconds for each image.
The bars are judged by the clock; on a machine that does other things too read the ratios of processor time.
"""

import argparse
import json
import logging
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from open_clip.transformer import VisionTransformer
from torch import nn
from torch.utils.data import DataLoader, Dataset

from lightning_robust.callbacks import ConceptMonitor, SignatureMonitor
from lightning_robust.callbacks.schedule import Schedule
from lightning_robust.results import collect_provenance

BARS = {"monitors": {"at_most": 1.03}, "with_concepts": {"at_most": 1.10}}
ARMS = ("without", "monitors", "with_concepts")


@dataclass(frozen=True)
class Size:
    """What is run: the tower, its head, images, and concepts."""

    name: str = "open_clip ViT-B/32, random weights"
    pixels: int = 224
    patch: int = 32
    width: int = 768
    depth: int = 12
    heads: int = 12
    embedding: int = 512
    classes: int = 1000
    batch: int = 64
    concepts: int = 1197
    images: int = 512

    @property
    def layers(self) -> list[str]:
        """The middle block, the last one, and what the head reads."""
        blocks = [f"tower.transformer.resblocks.{k}" for k in (self.depth // 2 - 1, self.depth - 1)]
        return [*blocks, "head:input"]


SMALL = Size("a ViT of two blocks", 32, 8, 64, 2, 2, 48, 20, 16, 30, 48)


class Classifier(pl.LightningModule):
    """The tower and a linear head; training takes steps of size 0."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.tower = VisionTransformer(
            size.pixels, size.patch, size.width, size.depth, size.heads, 4.0, output_dim=size.embedding
        )
        self.head = nn.Linear(size.embedding, size.classes, bias=False)

    def forward(self, images):
        return self.head(self.tower(images))

    def training_step(self, batch, batch_idx):
        return self(batch[0][:2]).square().mean()

    def validation_step(self, batch, batch_idx):
        self.log("val/largest", self(batch[0]).max())

    def configure_optimizers(self):
        return torch.optim.SGD(self.head.parameters(), lr=0.0)


class Labelled(Dataset):
    """Random images with about ten concepts each; an image is annotated for half of the concepts or all."""

    def __init__(self, size: Size) -> None:
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randn(size.images, 3, size.pixels, size.pixels, generator=generator)
        drawn = torch.rand(size.images, size.concepts, generator=generator)
        self.labels = (drawn < min(0.3, 10 / size.concepts)).to(torch.int8)
        self.labels[::2, size.concepts // 2 :] = -1

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index], self.labels[index]


@dataclass(frozen=True)
class Chosen(Schedule):
    """Measures after the epochs of one arm."""

    epochs: frozenset[int] = frozenset()

    def is_due(self, epochs: int) -> bool:
        return epochs in self.epochs


class Clock(pl.Callback):
    """Seconds of each validation, with all that callbacks and loggers do in it: by the clock, and of the processor."""

    def __init__(self):
        self.seconds = []

    def on_validation_start(self, trainer, pl_module):
        self.start = time.perf_counter(), time.process_time()

    def on_validation_end(self, trainer, pl_module):
        self.seconds.append((time.perf_counter() - self.start[0], time.process_time() - self.start[1]))


def arms_by_epoch(arms: Sequence[str], rounds: int) -> list[str]:
    """A first round that warms up, then the arms in an order that turns."""
    k = len(arms)
    return [arms[(position + number) % k] for number in range(rounds + 1) for position in range(k)]


def times(size: Size, arms: Sequence[str], rounds: int) -> tuple[list[dict[str, list[float]]], dict[str, int]]:
    """Seconds of each arm in each round, by the clock and of the processor, and how many figures each measures."""
    torch.manual_seed(0)
    plan, clock = arms_by_epoch(arms, rounds), Clock()
    categories = [f"category {k % 6}" for k in range(size.concepts)]
    measured = {arm: frozenset(k + 1 for k, a in enumerate(plan) if a == arm) for arm in BARS}
    monitors = [SignatureMonitor(("kurtosis", "spectrum"), size.layers, head="head")]
    monitors[0].schedule = Chosen(epochs=measured["monitors"] | measured["with_concepts"])
    if "with_concepts" in arms:
        monitors.append(ConceptMonitor("validation", layers=["head:input"], head="head", categories=categories))
        monitors[1].schedule = Chosen(epochs=measured["with_concepts"])
    data = Labelled(size)
    loader = DataLoader(data, batch_size=size.batch)
    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(
            accelerator="cpu", devices=1, max_epochs=len(plan), num_sanity_val_steps=0, limit_train_batches=1,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
            logger=TensorBoardLogger(folder), default_root_dir=folder, callbacks=[clock, *monitors],
        )  # fmt: skip
        trainer.fit(Classifier(size), loader, loader)
    taken = list(zip(clock.seconds, plan, strict=True))[len(arms) :]
    found = [{arm: [seconds[kind] for seconds, a in taken if a == arm] for arm in arms} for kind in (0, 1)]
    return found, {" and ".join(m.signatures): len(m.history[-1]["scalars"]) for m in monitors}


def paired(found: dict[str, list[float]], arm: str) -> dict:
    """Median over the rounds of the ratio within a round, with its 95 % bootstrap interval."""
    ratios = np.array(found[arm]) / np.array(found["without"])
    drawn = np.random.default_rng(0).choice(ratios, (10_000, len(ratios)))
    low, high = np.quantile(np.median(drawn, axis=1), (0.025, 0.975))
    return {"median": float(np.median(ratios)), "interval": [float(low), float(high)], "ratios": ratios.tolist()}


def processor() -> str:
    """The processor's name where the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else "unknown"


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="a few seconds; its ratios say little")
    parser.add_argument("--images", type=int, help="validation images")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--without-concepts", action="store_true", help="two validations in a round: a third faster")
    parser.add_argument("--json", type=Path, help="file to write")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    arms = ARMS[:2] if arguments.without_concepts else ARMS
    size = SMALL if arguments.small else Size()
    size = Size(**{**asdict(size), "images": arguments.images or size.images})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (found, busy), figures = times(size, arms, arguments.rounds)
    ratios = {arm: paired(found, arm) for arm in arms[1:]}
    result = {
        "benchmark": "monitors",
        "small": arguments.small,
        "what": "seconds of a validation with monitors over one of the same images without",
        **asdict(size),
        "layers": size.layers,
        "rounds": arguments.rounds,
        "figures": figures,
        "seconds": found,
        "medians": {arm: statistics.median(values) for arm, values in found.items()},
        "ratios": ratios,
        "ratios_of_processor_time": {arm: paired(busy, arm) for arm in arms[1:]},
        "bars": {arm: BARS[arm] for arm in arms[1:]},
        "met": {arm: ratio["median"] <= BARS[arm]["at_most"] for arm, ratio in ratios.items()},
        "processor": processor(),
        "cores": os.cpu_count(),
        "load_before": load,
        "provenance": asdict(collect_provenance()),
    }
    sys.stderr.write(f"{size.images} images, {size.name}, {arguments.rounds} rounds\n")
    for arm, ratio in ratios.items():
        low, high = ratio["interval"]
        bar, cpu = BARS[arm]["at_most"], result["ratios_of_processor_time"][arm]["median"]
        sys.stderr.write(f"{arm:14} {ratio['median']:.4f} (95 % {low:.4f} to {high:.4f}; at most {bar:g}; ")
        sys.stderr.write(f"of processor time {cpu:.4f})\n")
    text = json.dumps(result, indent=2) + "\n"
    sys.stdout.write(text)
    if arguments.json:
        arguments.json.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

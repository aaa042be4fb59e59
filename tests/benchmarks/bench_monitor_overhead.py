"""What monitors cost: a validation epoch with and without them, in one process, as a ratio; prints JSON.

    python tests/benchmarks/bench_monitor_overhead.py [--images 2000] [--rounds 5]

Rounds with and without alternate, so that both meet the same load of the machine; the ratio is that of the medians.
"""

import argparse
import json
import logging
import platform
import statistics
import sys
import tempfile
import time
import warnings

import lightning.pytorch as pl
import torch
import torchvision
from torch.utils.data import DataLoader, TensorDataset

from lightning_robust.callbacks import KurtosisMonitor, SpectrumMonitor

LAYERS = ["network.layer3", "network.layer4", "network.fc:input"]
BATCH = 100


class Network(pl.LightningModule):
    """A ResNet-18 on 32-pixel images."""

    def __init__(self):
        super().__init__()
        self.network = torchvision.models.resnet18(num_classes=20)

    def forward(self, images):
        return self.network(images)

    def training_step(self, batch, batch_idx):
        return torch.nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch, batch_idx):
        self.log("val/loss", torch.nn.functional.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


class Clock(pl.Callback):
    """Seconds of each validation in `fit`, with all that callbacks do in it."""

    def __init__(self):
        self.seconds = []

    def on_validation_start(self, trainer, pl_module):
        self.start = time.perf_counter()

    def on_validation_end(self, trainer, pl_module):
        self.seconds.append(time.perf_counter() - self.start)


def seconds_of(module, loaders, folder, monitors):
    """Seconds of one validation epoch."""
    clock = Clock()
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(
        accelerator="cpu", devices=1, max_epochs=1, num_sanity_val_steps=0, enable_checkpointing=False,
        default_root_dir=folder, callbacks=[*monitors, clock], **quiet,
    )  # fmt: skip
    trainer.fit(module, *loaders)
    return clock.seconds[-1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2000, help="validation images")
    parser.add_argument("--rounds", type=int, default=5, help="validations with and without")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.manual_seed(0)
    images, targets = torch.randn(arguments.images, 3, 32, 32), torch.arange(arguments.images) % 20
    loaders = [DataLoader(TensorDataset(images[:n], targets[:n]), batch_size=BATCH) for n in (BATCH, arguments.images)]
    module, times = Network(), {"without": [], "with": []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(arguments.rounds + 1):
            monitors = [KurtosisMonitor(layers=LAYERS), SpectrumMonitor(layers=LAYERS, head="network.fc")]
            for name, used in (("without", []), ("with", monitors)):
                seconds = seconds_of(module, loaders, folder, used)
                if number:  # the first round warms up
                    times[name].append(seconds)
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    result = {
        "what": "validation epoch with KurtosisMonitor and SpectrumMonitor over one without",
        "ratio": medians["with"] / medians["without"],
        "seconds": times,
        "images": arguments.images,
        "layers": LAYERS,
        "network": "torchvision resnet18, 32 pixels",
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "versions": {"torch": torch.__version__, "lightning": pl.__version__, "python": platform.python_version()},
    }
    sys.stdout.write(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""One measurement before training and one in a validation, on so many CPU processes; a script, a file for each rank.

    python sharing_processes.py FOLDER DEVICES CASE

With a learning rate of 0 and in float64, so that figures can be compared to the last digits.
"""

import json
import os
import sys
import warnings
from pathlib import Path

import torch
from callback_cases import OWN, REFERENCE, SHIFT, TRAIN, Data, ListLogger, Noisy, draw, seed_all, trainer
from torch import distributed, nn
from torch.nn import functional
from torch.utils.data import DataLoader, DistributedSampler, Sampler, TensorDataset

from lightning_robust.callbacks import KurtosisMonitor, SignatureMonitor
from lightning_robust.data import UnrepeatedSampler

LAYERS = ["fc:input", "stem"]
IMAGES, OWN_IMAGES = 37, 23


class Steady(Noisy):
    """Nothing that knows of ranks, and nothing learnt."""

    def __init__(self):
        super().__init__()
        self.norm, self.drop, self.tokens = nn.LayerNorm(40), nn.Identity(), nn.Identity()
        with torch.no_grad():
            self.norm.weight[7], self.norm.bias[7] = 40.0, 60.0  # an outlier feature, massive on some images
        self.double()
        self.allow_zero_length_dataloader_with_multiple_devices = True

    def forward(self, x):
        self.forwards.append(round(float(x[0, -1])) if not self.training else None)
        h = self.tokens(self.stem(x.double())[:, None] + torch.arange(3.0).double()[:, None])[:, 0]
        return self.fc(self.drop(torch.relu(self.norm(h))))

    def training_step(self, batch, batch_idx):
        return functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        self(batch[0])  # logs nothing: Lightning's own logging waits for ranks that have no batch

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


def labelled(name, n):
    x, y = draw(name, n)
    return TensorDataset(x, torch.stack([y == 0, y == 1, x[:, 3] > 0.5], dim=1).to(torch.int8))


class Shards(Sampler):
    """A sampler that nobody knows: images r, r + R, r + 2R …"""

    def __init__(self, data):
        super().__init__()
        rank, world = distributed.get_rank(), distributed.get_world_size()
        self.mine = self.images(len(data), rank, world)

    def images(self, n, rank, world):
        return range(rank, n, world)

    def __iter__(self):
        return iter(self.mine)

    def __len__(self):
        return len(self.mine)


class OnOneRank(Shards):
    """All images on the second rank, none on the others."""

    def images(self, n, rank, world):
        return range(n if rank == 1 else 0)


class Loaders(Data):
    def __init__(self, case):
        super().__init__()
        self.case = case

    def train_dataloader(self):
        return DataLoader(TensorDataset(*draw(TRAIN, 16)), batch_size=4)

    def val_dataloader(self):
        data = labelled(REFERENCE, IMAGES)
        return [DataLoader(data, batch_size=4, sampler=self.sampler(data)), DataLoader(labelled(SHIFT, 20))]

    def sampler(self, data):
        samplers = {
            "unrepeated": UnrepeatedSampler, "unknown": Shards, "one rank": OnOneRank,
            "shuffled": lambda data: DistributedSampler(data, shuffle=True, seed=5),
        }  # fmt: skip
        return samplers[self.case](data) if distributed.is_initialized() and self.case in samplers else None


def monitors(devices):
    own, rank = labelled(OWN, OWN_IMAGES), int(os.environ.get("LOCAL_RANK", 0))
    shared = DataLoader(own, batch_size=4, sampler=DistributedSampler(own, devices, rank, shuffle=False))
    everything = ("kurtosis", "spectrum", "concepts")
    return [
        SignatureMonitor(everything, LAYERS, head="fc"),
        KurtosisMonitor(layers=["tokens"], pool="tokens"),
        SignatureMonitor(everything, LAYERS, DataLoader(own, batch_size=4), head="fc", prefix="whole"),
        SignatureMonitor(everything, LAYERS, shared, head="fc", prefix="shared"),
    ]


def main(folder, devices, case):
    seed_all()
    watching, logger, module = monitors(devices), ListLogger(), Steady()
    run = trainer(
        folder, devices=devices, strategy="ddp" if devices > 1 else "auto", callbacks=watching, logger=logger,
        max_epochs=1, use_distributed_sampler=case in ("padded", "shuffled"),
    )  # fmt: skip
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run.fit(module, datamodule=Loaders(case))
    state = {
        "histories": [monitor.history for monitor in watching],
        "watched": {tag: value.item() for tag, value in run.callback_metrics.items()},
        "logged": [step for step, _ in logger.rows],
        "warnings": [str(w.message) for w in caught if "count twice" in str(w.message)],
        "batches": module.forwards.count(REFERENCE),
    }
    (folder / f"rank{run.global_rank}.json").write_text(json.dumps(state))


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])

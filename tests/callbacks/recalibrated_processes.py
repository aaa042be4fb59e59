"""A run with `LogSteps(recalibrate=64)` over an ordinary loader on so many CPU processes, as a script.

    python recalibrated_processes.py FOLDER DEVICES CASE

Training images say by their mean which they are; with `broken` one that the second process alone reads is missing.
"""

import json
import sys
import warnings
from pathlib import Path

import torch
from callback_cases import TRAIN, Data, Scored, draw, seed_all, trainer
from lightning.pytorch import Callback
from torch.utils.data import DataLoader, TensorDataset

from lightning_robust.callbacks import LogSteps


class Rows(TensorDataset):
    broken = False

    def __init__(self, rank):
        x, y = draw(TRAIN, 64)
        super().__init__(x + torch.arange(64)[:, None], y)
        self.rank = rank

    def __getitem__(self, index):
        if self.broken and self.rank == 1:
            raise ValueError("no such image")
        return super().__getitem__(index)


class Ordinary(Data):
    def train_dataloader(self):
        return DataLoader(Rows(self.trainer.global_rank), batch_size=16 // self.trainer.world_size, shuffle=True)


class Statistics(Callback):
    """Those that step 0 is measured with."""

    def on_train_start(self, trainer, module):
        self.mean, self.variance = module.norm.running_mean.tolist(), module.norm.running_var.tolist()


def main(folder, devices, case):
    seed_all()
    Rows.broken = case == "broken"
    log, seen = LogSteps(recalibrate=64), Statistics()
    strategy = "ddp" if devices > 1 else "auto"
    run = trainer(folder, devices=devices, strategy=strategy, max_epochs=1, callbacks=[log, seen])
    try:
        run.fit(Scored(), datamodule=Ordinary())
        found = {"mean": seen.mean, "variance": seen.variance, "ran": log._statistics.ran}
    except Exception as error:
        found = {"error": str(error)}
    (folder / f"rank{run.global_rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])

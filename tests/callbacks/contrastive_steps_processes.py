"""Contrastive pretraining with `LogSteps` and every monitor on so many CPU processes, as a script."""

import json
import sys
import warnings
from pathlib import Path

import lightning.pytorch as pl
import torch
from callback_cases import made_up_baseline, seed_all, trainer
from torch.utils.data import DataLoader, Dataset, TensorDataset

from lightning_robust.callbacks import (
    ConceptMonitor,
    CurveRecorder,
    EffectiveRobustness,
    LogSteps,
    RandomStates,
    SignatureMonitor,
)
from lightning_robust.data import ResumableLoader
from lightning_robust.data.loaders import UnrepeatedSampler
from lightning_robust.training import ContrastivePretraining

NAMES, COLOURS = ("star", "heart", "truck"), ("red", "blue")
N, BATCH = 48, 12


def draw(seed, n, noise=1.0):
    """Images whose mean tells class and colour, with both."""
    generator = torch.Generator().manual_seed(seed)
    y, colour = torch.arange(n) % 3, torch.arange(n) // 3 % 2
    images = noise * torch.randn(n, 3, 32, 32, generator=generator)
    images[torch.arange(n), y] += 2.0
    images[:, :, :8] += 1.5 * colour[:, None, None, None]
    return images, y, colour


class Pairs(Dataset):
    def __init__(self):
        self.images, y, colour = draw(0, N)
        self.captions = [f"a {COLOURS[c]} {NAMES[k]}" for k, c in zip(y.tolist(), colour.tolist(), strict=True)]

    def __len__(self):
        return N

    def __getitem__(self, place):
        return self.images[place.item] + 0.01 * place.epoch, self.captions[place.item]


class Captioned(pl.LightningDataModule):
    """Twelve pairs in a global batch, whatever the number of processes, captions that come twice among them.

    Lightning repeats images of a plain loader so that every process has as many: 30 would be 32 on four.
    """

    class_names, templates = list(NAMES), ["a photo of a {}", "the {}"]
    val_loader_names = ("reference", "sketch")
    concept_categories = ("shape", "colour")

    def train_dataloader(self):
        return ResumableLoader(Pairs(), batch_size=BATCH // self.trainer.world_size, seed=3)

    def val_dataloader(self):
        sets = [TensorDataset(*draw(seed, n, noise)[:2]) for seed, n, noise in ((1, 30, 1.0), (2, 20, 2.0))]
        return [DataLoader(both, batch_size=4, sampler=UnrepeatedSampler(both)) for both in sets]

    def concept_dataloader(self):
        images, y, colour = draw(3, 60)
        return DataLoader(TensorDataset(images, torch.stack([y == 0, colour == 0], dim=1).to(torch.int8), y), 8)


def main(folder, devices, encoder):
    """In float64, so that the split into processes does not round."""
    seed_all()
    shown = {"layers": ["encoder.visual", "encoder.visual.transformer.resblocks.1"], "untrained": True}
    monitors = [
        SignatureMonitor(signatures=["kurtosis", "spectrum"], weights=["encoder.visual.proj"], **shown),
        ConceptMonitor(**shown),
    ]
    robustness, log = EffectiveRobustness(made_up_baseline(), replicates=20), LogSteps()
    recorder = CurveRecorder(folder / "curves.csv")
    run = trainer(
        folder, devices=devices, strategy="ddp" if devices > 1 else "auto", precision="64-true",
        callbacks=[RandomStates(), log, *monitors, robustness, recorder],
    )  # fmt: skip
    module = ContrastivePretraining(encoder, lr=3e-3, warmup_steps=2)
    run.fit(module, datamodule=Captioned())
    histories = {monitor.state_key: monitor.history for monitor in [*monitors, robustness]}
    state = {"histories": histories, "done": log.done}
    (folder / f"rank{run.global_rank}.json").write_text(json.dumps(state))


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])

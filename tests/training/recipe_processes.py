"""Recipes on so many CPU processes, as a script: each process leaves its heads, gradients and losses in a file."""

import sys
from pathlib import Path

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from lightning_robust.data.loaders import UnrepeatedSampler
from lightning_robust.training import ClassifierFinetuning, ContrastiveFinetuning

N = 24


class Images(pl.LightningDataModule):
    """In order; a batch of eight over all processes."""

    class_names, templates = ["star", "heart", "truck"], ["the {}"]

    def __init__(self, devices):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        targets = torch.arange(N) % 3
        self.set = TensorDataset(torch.randn(N, 3, 32, 32, generator=generator) + targets[:, None, None, None], targets)
        self.batch_size = 8 // devices

    def train_dataloader(self):
        return DataLoader(self.set, batch_size=self.batch_size, sampler=UnrepeatedSampler(self.set))

    def probe_dataloader(self):
        return DataLoader(self.set, batch_size=5, sampler=UnrepeatedSampler(self.set))


class Look(pl.Callback):
    """The head at the start, and gradients and loss of the first step."""

    def __init__(self):
        self.seen = {}

    def on_fit_start(self, trainer, pl_module):
        self.seen["head"] = pl_module.model.head.weight.detach().clone()

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        if "gradients" not in self.seen:
            named = pl_module.model.named_parameters()
            self.seen["gradients"] = {name: p.grad.clone() for name, p in named if p.grad is not None}

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.seen.setdefault("loss", outputs["loss"].detach().clone())


def main(folder, encoder, devices):
    found = {}
    modules = {
        "probe": ClassifierFinetuning(encoder, head="linear-probe", l2=1e-2, warmup_steps=1),
        "flyp": ContrastiveFinetuning(encoder, warmup_steps=1),
        "same": ContrastiveFinetuning(encoder, warmup_steps=1, positives="same-caption"),
    }
    for name, module in modules.items():
        look = Look()
        trainer = pl.Trainer(
            accelerator="cpu", devices=devices, strategy="ddp" if devices > 1 else "auto", max_epochs=1, logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, callbacks=[look],
            default_root_dir=folder,
        )  # fmt: skip
        trainer.fit(module, datamodule=Images(devices))
        found[name] = look.seen
    torch.save(found, folder / f"rank{trainer.global_rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))

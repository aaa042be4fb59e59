"""Contrastive pretraining on so many CPU processes, as a script: each leaves losses and gradients in a file."""

import sys
import warnings
from pathlib import Path

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader

from lightning_robust.data.loaders import UnrepeatedSampler
from lightning_robust.training import ContrastivePretraining
from lightning_robust.training.gathering import of_all_processes, own_rows

N, BATCH = 24, 12
SETTINGS = {
    "infonce": {},
    "open_clip": {"identical": False},
    "siglip": {"loss": "siglip"},
    "siglip_own": {"loss": "siglip", "identical": False},
    "chunked": {"chunk_size": 2},
    "checkpointed": {"loss": "siglip", "gradient_checkpointing": True},
    "single": {},
}
KINDS = ["red star", "red heart", "red truck", "blue star", "blue heart"]


class Pairs(pl.LightningDataModule):
    """In order; a batch of twelve over all processes, in which every caption comes two or three times.

    Five captions in turn: with an even number of them identical ones would always be on one of two processes.
    """

    class_names, templates = ["star", "heart", "truck"], ["the {}"]

    def __init__(self, devices):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(N, 3, 32, 32, generator=generator)
        captions = [f"a {KINDS[index % len(KINDS)]}" for index in range(N)]
        self.set, self.devices = list(zip(images, captions, strict=True)), devices

    def train_dataloader(self):
        return DataLoader(self.set, batch_size=BATCH // self.devices, sampler=UnrepeatedSampler(self.set))


class Look(pl.Callback):
    """Losses of all steps, and the gradients of the first."""

    def __init__(self):
        self.losses, self.gradients = [], {}

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        if not self.gradients:
            named = pl_module.encoder.named_parameters()
            self.gradients = {name: p.grad.clone() for name, p in named if p.grad is not None}

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.losses.append(trainer.callback_metrics["train/loss"].clone())


def fits(folder, encoder, devices):
    found = {}
    for name, settings in SETTINGS.items():
        module, look = ContrastivePretraining(encoder, warmup_steps=1, **settings), Look()
        trainer = pl.Trainer(
            accelerator="cpu", devices=devices, strategy="ddp" if devices > 1 else "auto", max_epochs=1, logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, callbacks=[look],
            default_root_dir=folder, precision=32 if name == "single" else "64-true",
        )  # fmt: skip
        trainer.fit(module, datamodule=Pairs(devices))
        losses = torch.stack(look.losses)
        found[name] = {"losses": losses, "gradients": look.gradients}
    if devices > 1:
        found["gathered"] = gathered(trainer.global_rank)
        try:
            own_rows(2 + trainer.global_rank, torch.device("cpu"))
        except ValueError as error:
            found["uneven"] = str(error)
    torch.save(found, folder / f"{devices}.{trainer.global_rank}.pt")


def gathered(rank):
    """Rows that are not contiguous, and a loss that asks something else of every row on every process."""
    rows = (torch.arange(6.0).reshape(2, 3) + 10 * rank).T.requires_grad_()
    whole = of_all_processes(rows)
    (whole * torch.arange(whole.numel()).reshape(whole.shape) * (rank + 1)).sum().backward()
    return {"rows": rows.detach(), "whole": whole.detach(), "gradient": rows.grad}


def main(folder, encoder, devices):
    # what a future torch will not have is to be known now
    warnings.filterwarnings("error", message=".*torch.distributed.*deprecated")
    torch.set_num_threads(1)
    fits(folder, encoder, devices)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))

"""Contrastive pretraining with `ModelParallelStrategy` on so many CPU processes, as a script."""

import json
import sys
import warnings
from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies import ModelParallelStrategy
from torch.utils.data import DataLoader, TensorDataset

from lightning_robust.callbacks import LogSteps, SignatureMonitor
from lightning_robust.data.loaders import UnrepeatedSampler
from lightning_robust.training import ContrastivePretraining
from lightning_robust.training.sharding import is_sharded, whole_state

BATCH, STEPS = 12, 4
KINDS = ["red star", "red heart", "red truck", "blue star", "blue heart"]
SETTINGS = {
    "infonce": {},
    "chunked": {"chunk_size": 2, "loss": "siglip"},
    "checkpointed": {"gradient_checkpointing": True},
    "locked": {"lock_image": 1, "pretrained": True},
    "accumulated": {},
}


class Pairs(pl.LightningDataModule):
    """In order; validation sets that give the second of two processes fewer batches."""

    class_names, templates = ["star", "heart", "truck"], ["the {}"]
    val_loader_names = ("reference", "sketch")

    def __init__(self, devices):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(BATCH * STEPS, 3, 32, 32, generator=generator, dtype=torch.float64)
        captions = [f"a {KINDS[index % len(KINDS)]}" for index in range(len(images))]
        self.set, self.devices = list(zip(images, captions, strict=True)), devices
        self.validation = [TensorDataset(images[:n], torch.arange(n) % 3) for n in (17, 12)]

    def train_dataloader(self):
        return DataLoader(self.set, batch_size=BATCH // self.devices, sampler=UnrepeatedSampler(self.set))

    def val_dataloader(self):
        return [DataLoader(one, batch_size=8, sampler=UnrepeatedSampler(one)) for one in self.validation]


class Look(pl.Callback):
    """Losses of all steps, and whether blocks are sharded."""

    def __init__(self):
        self.losses, self.sharded = [], False

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.losses.append(trainer.callback_metrics["train/loss"].item())
        self.sharded = is_sharded(pl_module)


def fit(folder, encoder, devices, settings, *, callbacks=(), ckpt_path=None, **trained):
    """In float64, so that the split into processes does not round; Lightning has no precision of that name here."""
    sharded = ModelParallelStrategy(devices, 1, save_distributed_checkpoint=False)
    module, look = ContrastivePretraining(encoder, lr=3e-3, warmup_steps=1, seed=1, **settings).double(), Look()
    callbacks = [look, *callbacks]
    trainer = pl.Trainer(**{
        "accelerator": "cpu", "devices": devices, "strategy": sharded if devices > 1 else "auto", "max_epochs": 1,
        "logger": False, "enable_checkpointing": any(isinstance(c, ModelCheckpoint) for c in callbacks),
        "enable_progress_bar": False, "enable_model_summary": False, "callbacks": callbacks,
        "default_root_dir": folder, "gradient_clip_val": 0.3,
    } | trained)  # fmt: skip
    trainer.fit(module, datamodule=Pairs(devices), ckpt_path=ckpt_path)
    return trainer, look, whole_state(module.encoder)


def followed(folder, encoder, devices):
    """A run that is measured, and one that goes on from its middle."""
    monitor = SignatureMonitor(
        signatures=["kurtosis", "spectrum"], layers=["encoder.visual", "encoder.visual.transformer.resblocks.1"],
        weights=["encoder.visual.proj", "encoder.visual.transformer.resblocks.1.attn.in_proj_weight"],
    )  # fmt: skip
    kept = ModelCheckpoint(folder / f"kept{devices}", every_n_train_steps=2, save_top_k=-1, filename="{step}")
    log = LogSteps(folder=folder / f"steps{devices}")
    settings = {"export_to": str(folder / f"clip{devices}")}
    trainer, look, state = fit(folder, encoder, devices, settings, callbacks=[log, monitor, kept])
    half = folder / f"kept{devices}" / "step=2.ckpt"
    _, resumed, after = fit(folder, encoder, devices, {}, ckpt_path=half)
    told = {
        "history": monitor.history,
        "done": log.done,
        "resumed": resumed.losses,
        "losses": look.losses,
    }
    (folder / f"followed{devices}.{trainer.global_rank}.json").write_text(json.dumps(told))
    torch.save([state, after], folder / f"followed{devices}.{trainer.global_rank}.pt")


def main(folder, encoder, devices):
    torch.set_num_threads(1)
    found = {}
    for name, settings in SETTINGS.items():
        trained = {"accumulate_grad_batches": 2} if name == "accumulated" else {}
        trainer, look, state = fit(folder, encoder, devices, settings, limit_val_batches=0, **trained)
        found[name] = {"losses": look.losses, "state": state, "sharded": look.sharded}
    torch.save(found, folder / f"{devices}.{trainer.global_rank}.pt")
    followed(folder, encoder, devices)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))

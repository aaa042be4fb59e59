"""A validation and a test on so many CPU processes, as a script: each process leaves the accuracies it logged."""

import json
import sys
import warnings
from pathlib import Path

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from lightning_robust.data.loaders import UnrepeatedSampler
from lightning_robust.training import SupervisedPretraining


class Images(pl.LightningDataModule):
    """Three loaders of 11 images: no number of processes but one divides it."""

    class_names, val_loader_names = ["star", "heart", "truck"], ["reference", "sketch", "rendition"]

    def val_dataloader(self):
        generator = torch.Generator().manual_seed(0)
        sets = [
            TensorDataset(torch.randn(11, 3, 32, 32, generator=generator), torch.arange(11) % k % 3) for k in (1, 2, 4)
        ]
        return [DataLoader(one, batch_size=2, sampler=UnrepeatedSampler(one)) for one in sets]

    test_dataloader = val_dataloader


def main(folder, encoder, devices):
    warnings.filterwarnings("error", message=".*sync_dist.*")
    trainer = pl.Trainer(
        accelerator="cpu", devices=devices, strategy="ddp" if devices > 1 else "auto", logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
    )  # fmt: skip
    module, data, found = SupervisedPretraining(encoder), Images(), {}
    for stage, run in (("val", trainer.validate), ("test", trainer.test)):
        run(module, datamodule=data, verbose=False)
        found[stage] = {tag: float(value) for tag, value in trainer.callback_metrics.items()}
    (folder / f"{devices}.{trainer.global_rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))

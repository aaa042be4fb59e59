"""A fit on so many CPU processes, as a script: each leaves the captions that it was trained on, batch by batch."""

import json
import sys
from pathlib import Path

import torch
from lightning import LightningModule, Trainer
from torchvision.transforms import ToTensor

from lightning_robust.data import CaptionsDataModule


class Listener(LightningModule):
    """Learns nothing and remembers what it was fed."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = []

    def training_step(self, batch, index):
        self.seen.append((self.current_epoch, list(batch[1])))
        return self.weight * batch[0].mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def main(folder, source, devices, workers):
    trainer = Trainer(
        accelerator="cpu", devices=devices, strategy="ddp" if devices > 1 else "auto", logger=False, max_epochs=2,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
    )  # fmt: skip
    module = Listener()
    data = CaptionsDataModule(source, transform=ToTensor(), batch_size=12 // devices, num_workers=workers, n_train=40)
    trainer.fit(module, datamodule=data)
    (folder / f"{devices}.{trainer.global_rank}.json").write_text(json.dumps(module.seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))

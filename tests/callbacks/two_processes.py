"""A run on so many CPU processes, as a script: each leaves what its callbacks hold in a file of its own."""

import json
import sys
import warnings
from pathlib import Path

import torch
from callback_cases import OWN, Data, Ours, draw, loader, made_up_baseline, seed_all, trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MulticlassAccuracy

from lightning_robust.callbacks import (
    ConceptMonitor,
    CurveRecorder,
    EffectiveRobustness,
    KurtosisMonitor,
    RandomStates,
    SignatureMonitor,
    WiseFT,
)
from lightning_robust.results.codec import encode


class Plain(Ours):
    """In float64, so that the split into processes does not round; no dropout or batch norm, which know of ranks."""

    def __init__(self, seed=0):
        super().__init__(seed)
        self.norm, self.drop = nn.LayerNorm(40), nn.Identity()
        self.double()

    def untrained_model(self):
        control = Plain(seed=99)
        control.norm = nn.BatchNorm1d(40).double()  # its statistics are those of one process
        return control

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self(batch[0].double()), batch[1])
        self.losses.append(loss.item())
        return loss

    def forward(self, x):
        return super().forward(x.double())

    def on_validation_epoch_start(self):
        self.accuracies = [MulticlassAccuracy(5, average="micro") for _ in range(2)]

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        self.accuracies[dataloader_idx].update(self(batch[0]), batch[1])

    def on_validation_epoch_end(self):
        for name, accuracy in zip(Loaders.val_loader_names, self.accuracies, strict=True):
            self.log(f"val/{name}/accuracy", accuracy.compute())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Loaders(Data):
    def train_dataloader(self):
        both = super().train_dataloader()
        return type(both)(both.dataset, batch_size=16 // self.trainer.world_size, seed=3)

    def val_dataloader(self):
        return [DataLoader(TensorDataset(*draw(name, n)), batch_size=4) for name, n in ((1, 30), (2, 20))]


def main(folder, devices):
    seed_all()
    monitors = [
        SignatureMonitor(weights=["fc.weight"], untrained=True, every_n_steps=2),
        ConceptMonitor(),
        KurtosisMonitor(images=loader(OWN, 20), prefix="own"),
    ]
    wise = WiseFT([0.5], module="", folder=folder / "wise_ft", replicates=20, baseline=made_up_baseline())
    robustness = EffectiveRobustness(made_up_baseline(), replicates=20)
    recorder = CurveRecorder(folder / "curves.csv")
    run = trainer(
        folder, devices=devices, strategy="ddp" if devices > 1 else "auto",
        callbacks=[RandomStates(), *monitors, robustness, wise, recorder], num_sanity_val_steps=-1,
    )  # fmt: skip
    module = Plain()
    run.fit(module, datamodule=Loaders())
    state = {
        "histories": {monitor.state_key: monitor.history for monitor in [*monitors, robustness]},
        "watched": {tag: value.item() for tag, value in run.callback_metrics.items()},
        "files": [str(path) for files in wise.files.values() for path in files],
        "rows": []
        if wise.path is None
        else [
            [r.alpha, r.val_reference, r.reference, r.shifts, encode(r.effective_robustness, "")]
            for r in wise.path.rows
        ],
        "images": {} if wise.path is None else wise.path.images,
        "weights": module.fc.weight.tolist(),
    }
    (folder / f"rank{run.global_rank}.json").write_text(json.dumps(state))


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), int(sys.argv[2]))

"""A run with `LogSteps` on so many CPU processes, as a script; `stop` breaks it off in a validation and goes on."""

import json
import sys
import warnings
from pathlib import Path

import torch
from callback_cases import OWN, REFERENCE, SHIFT, TRAIN, Data, Rows, draw, loader, made_up_baseline, seed_all, trainer
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset
from two_processes import Plain

from lightning_robust.callbacks import (
    ConceptMonitor,
    CurveRecorder,
    EffectiveRobustness,
    KurtosisMonitor,
    LogSteps,
    RandomStates,
    SignatureMonitor,
)
from lightning_robust.data import ResumableLoader
from lightning_robust.data.loaders import UnrepeatedSampler


class Loaders(Data):
    """Sixteen images in a global batch, whatever the number of processes; no validation image twice."""

    def train_dataloader(self):
        return ResumableLoader(Rows(*draw(TRAIN, self.n_train)), batch_size=16 // self.trainer.world_size, seed=3)

    def val_dataloader(self):
        sets = [TensorDataset(*draw(name, n)) for name, n in ((REFERENCE, 30), (SHIFT, 20))]
        return [DataLoader(both, batch_size=4, sampler=UnrepeatedSampler(both)) for both in sets]


class Break(Callback):
    def on_validation_batch_end(self, trainer, *_):
        if trainer.global_step == 4:
            raise InterruptedError


def fit(folder, devices, *extra, resume=False):
    seed_all()
    monitors = [
        SignatureMonitor(weights=["fc.weight"], untrained=True),
        ConceptMonitor(),
        KurtosisMonitor(images=loader(OWN, 20), prefix="own"),
    ]
    robustness, log = EffectiveRobustness(made_up_baseline(), replicates=20), LogSteps()
    callbacks = [RandomStates(), log, *monitors, robustness, CurveRecorder(folder / "curves.csv")]
    save = ModelCheckpoint(folder, save_last=True, every_n_train_steps=1)
    run = trainer(
        folder, devices=devices, strategy="ddp" if devices > 1 else "auto", max_epochs=3, enable_checkpointing=True,
        callbacks=[*callbacks, save, *extra],
    )  # fmt: skip
    module = Plain()
    path = {"ckpt_path": folder / "last.ckpt", "weights_only": True} if resume else {}
    run.fit(module, datamodule=Loaders(), **path)
    state = {
        "histories": {monitor.state_key: monitor.history for monitor in [*monitors, robustness]},
        "done": log.done,
        "weights": module.fc.weight.tolist(),
    }
    (folder / f"rank{run.global_rank}.json").write_text(json.dumps(state))


def main(folder, devices, how):
    if how == "break":
        try:
            fit(folder, devices, Break())
        except InterruptedError:
            for rank in range(devices):
                (folder / f"rank{rank}.json").write_text("{}")
            return
    fit(folder, devices, resume=how == "resume")


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])

"""Wise-FT paths judged on so many CPU processes; a script, a file for each rank.

    python path_processes.py FOLDER DEVICES CASE

Training leaves the weights alone; at its end every process gets the same new ones, and buffers of its own.
"""

import json
import sys
import warnings
from pathlib import Path

import torch
from callback_cases import OWN, REFERENCE, SHIFT, TEST, TEST_SHIFT, TRAIN, Data, Ours, draw, loader, seed_all, trainer
from lightning.pytorch import Callback
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from lightning_robust.callbacks import ConceptMonitor, KurtosisMonitor, SignatureMonitor, WiseFT
from lightning_robust.data import UnrepeatedSampler
from lightning_robust.data.reading import TolerantLoader, UnreadableImageError


class Still(Ours):
    """In float32: what a batch is made of shows in the last digits."""

    broken = False

    def forward(self, x):
        if self.broken and self.fc._forward_pre_hooks:  # somebody measures
            raise RuntimeError("overheated")
        return super().forward(x)

    def training_step(self, batch, batch_idx):
        return functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        self(batch[0])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


class Finetuned(Callback):
    """Instead of training."""

    def __init__(self, case):
        self.case = case

    def on_train_end(self, trainer, pl_module):
        generator, norm = torch.Generator().manual_seed(4), pl_module.norm
        with torch.no_grad():
            for tensor in pl_module.parameters():
                tensor.add_(torch.randn(tensor.shape, generator=generator) / 4)
            for tensor in (norm.running_mean, norm.running_var):  # batches of a share have moved them
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + trainer.global_rank)
        self.mean = norm.running_mean.clone()
        torch.manual_seed(trainer.global_rank)
        pl_module.broken = self.case == "broken" and trainer.global_rank == 1
        if self.case == "buffers":
            pl_module.register_buffer("seen", torch.zeros(trainer.global_rank), persistent=False)


class Files(Dataset):
    """Images of which some cannot be read; it knows which were asked for."""

    def __init__(self, name, n, damaged=()):
        self.x, self.y = draw(name, n)
        self.damaged, self.read = damaged, []

    def __len__(self):
        return len(self.y)

    def __getitem__(self, index):
        self.read.append(index)
        if index in self.damaged:
            raise UnreadableImageError(f"{index}.jpg: it is empty")
        return self.x[index], int(self.y[index])


class Loaders(Data):
    """The test images are drawn anew whenever their loaders are made."""

    def __init__(self, case):
        super().__init__()
        self.case, self.shift = case, Files(TEST_SHIFT, 25, damaged=(3, 23))

    def train_dataloader(self):
        return DataLoader(TensorDataset(*draw(TRAIN, 16)), batch_size=4)

    def val_dataloader(self):
        files = Files(REFERENCE, 37, damaged=(30,))
        return [TolerantLoader(files, 4, sampler=UnrepeatedSampler(files)), loader(SHIFT, 20)]

    def test_dataloader(self):
        x, y = draw(TEST, 60)
        chosen = torch.randperm(60)[:45]
        limit = 1 if self.case == "damaged" else 20
        reference = TensorDataset(x[chosen], y[chosen])
        sketch = TolerantLoader(self.shift, 4, sampler=UnrepeatedSampler(self.shift), max_unreadable=limit)
        return [DataLoader(reference, batch_size=8), sketch]


class Stream(IterableDataset):
    def __iter__(self):
        x, y = draw(TEST, 11)
        return iter([{"x": a, "y": b} for a, b in zip(x, y, strict=True)])


def named(name, n, **options):
    x, y = draw(name, n)
    return DataLoader([{"x": a, "y": b} for a, b in zip(x, y, strict=True)], **options)


def predict(module, batch):
    return module(batch["x"]).argmax(dim=1), batch["y"]


class Kept(WiseFT):
    found = None
    full_disk = False

    def _path(self, rules, validation, found, signatures):
        every = {"": validation, **found}
        self.found = {name: answers.correct[""].tolist() for name, answers in every.items()}
        if self.full_disk:
            raise OSError("disk full")
        return super()._path(rules, validation, found, signatures)


def paths(folder, case):
    own = Kept([0.25], module="", folder=folder / "own", replicates=30)
    own.full_disk = case == "disk"
    if case != "foreign":
        return own
    tests = {"dicts": named(TEST, 21, batch_size=4), "stream": DataLoader(Stream(), batch_size=4),
             "one batch": named(TEST_SHIFT, 5, batch_size=8), "list": list(named(OWN, 7, batch_size=2))}  # fmt: skip
    return Kept([0.25], module="", folder=folder / "own", replicates=30, tests=tests, predict=predict)


class Foreign(Still):
    def training_step(self, batch, batch_idx):
        return super().training_step((batch["x"], batch["y"]), batch_idx)

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        self(batch["x"])


def told(wise):
    path = wise.path
    if path is None:
        return None
    rows = [[row.alpha, row.val_reference, row.reference, row.shifts, row.signatures] for row in path.rows]
    intervals = {name: [each.estimate, each.low, each.high] for name, each in path.intervals.items()}
    star = [path.choice.alpha_star, path.choice.bootstrap_shares]
    return [rows, intervals, star, path.images, path.unreadable, wise.found]


def main(folder, devices, case):
    seed_all()
    wise, finetuned, data = paths(folder, case), Finetuned(case), Loaders(case)
    shown = loader(OWN, 20, batch=3)
    monitors = [SignatureMonitor(), ConceptMonitor(), KurtosisMonitor(images=shown, prefix="own")]
    foreign = case == "foreign"
    run = trainer(
        folder, devices=devices, strategy="ddp" if devices > 1 else "auto", max_epochs=1,
        callbacks=[finetuned, wise, *(() if foreign else monitors)],
    )  # fmt: skip
    module = Foreign() if foreign else Still()
    error = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            if foreign:
                run.fit(module, named(TRAIN, 16, batch_size=4), named(REFERENCE, 37, batch_size=4))
            else:
                run.fit(module, datamodule=data)
        except Exception as raised:
            error = [type(raised).__name__, str(raised)]
    state = {
        "error": error, "path": told(wise), "read": data.shift.read, "files": len(wise.files),
        "warnings": [str(w.message) for w in caught if "the first process alone" in str(w.message)],
        "kept": error is not None or torch.equal(module.norm.running_mean, finetuned.mean),
    }  # fmt: skip
    (folder / f"rank{run.global_rank}.json").write_text(json.dumps(state))


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])

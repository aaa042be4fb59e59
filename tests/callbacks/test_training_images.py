"""Training images that are read beside the training: nothing that it reads moves."""

import random

import numpy as np
import pytest
import torch
from callback_cases import TRAIN, Data, Scored, draw, same_state, seed_all, trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, RandomSampler, Sampler, TensorDataset

from lightning_robust.callbacks import LogSteps, RandomStates
from lightning_robust.callbacks.training_images import first_training_batches, independent_loader
from lightning_robust.errors import UserError


def rows():
    return TensorDataset(*draw(TRAIN, 48))


def generator():
    return torch.Generator().manual_seed(1)


class Reshuffled(Sampler):
    """Changes its own list in place, with a generator of its own."""

    def __init__(self):
        self.indices, self.random = list(range(48)), random.Random(3)

    def __iter__(self):
        self.random.shuffle(self.indices)
        return iter(self.indices)

    def __len__(self):
        return 48


class Noisy(TensorDataset):
    """Augments with a generator of its own."""

    def __init__(self):
        super().__init__(*draw(TRAIN, 48))
        self.transforms = [np.random.default_rng(0)]

    def __getitem__(self, index):
        x, y = super().__getitem__(index)
        return x + 0.1 * self.transforms[0].standard_normal(), y


class Counted(IterableDataset):
    """A stream that is another one each time."""

    times = 0

    def __iter__(self):
        self.times += 1
        x, y = draw(TRAIN, 48)
        return iter(list(zip(x * self.times, y, strict=True)))


def batches_of(sampler):
    return BatchSampler(sampler, 16, drop_last=False)


LOADERS = {
    "generator": lambda: DataLoader(rows(), batch_size=16, shuffle=True, generator=generator()),
    "global generator": lambda: DataLoader(rows(), batch_size=16, shuffle=True),
    "batch sampler": lambda: DataLoader(rows(), batch_sampler=batches_of(RandomSampler(rows(), generator=generator()))),
    "own sampler": lambda: DataLoader(rows(), batch_size=16, sampler=Reshuffled()),
    "data set": lambda: DataLoader(Noisy(), batch_size=16),
    "stream": lambda: DataLoader(Counted(), batch_size=16),
    "resumable": lambda: Data().train_dataloader(),
    "several": lambda: [DataLoader(rows(), batch_size=16, shuffle=True, generator=generator())],
}  # fmt: skip


class First(Scored):
    """Takes the first of several loaders."""

    def training_step(self, batch, batch_idx):
        return super().training_step(batch[0] if isinstance(batch[0], list) else batch, batch_idx)


class Keeps(Data):
    """Gives the same loader each time."""

    def __init__(self, made):
        super().__init__()
        self.made = made

    def train_dataloader(self):
        return self.made


class KeepsGenerator(Data):
    """Gives loaders that draw from one generator, and draws from it when it makes one."""

    def __init__(self):
        super().__init__()
        self.own = generator()

    def train_dataloader(self):
        torch.randperm(4, generator=self.own)
        return DataLoader(rows(), batch_size=16, shuffle=True, generator=self.own)


def fit(folder, data, recalibrate, resume=None, callbacks=(), seed=0, **options):
    seed_all(seed)
    module = First()
    log = [RandomStates(), LogSteps(recalibrate=recalibrate, folder=folder / "steps")]
    run = trainer(folder, callbacks=[*log, *callbacks], **({"max_epochs": 3} | options))
    run.fit(module, datamodule=data, ckpt_path=resume, weights_only=False)
    return module


@pytest.mark.filterwarnings("ignore:The batch norms of")
@pytest.mark.parametrize("name", [*LOADERS, "module's generator"])
def test_training_is_bitwise_that_of_a_run_without_where_the_loader_is_the_same_each_time(name, tmp_path):
    made = [KeepsGenerator() if name not in LOADERS else Keeps(LOADERS[name]()) for _ in range(2)]
    plain = fit(tmp_path / "plain", made[0], 0)
    module = fit(tmp_path / "with", made[1], 48)
    assert module.losses == plain.losses
    assert len(module.losses) == 9
    assert same_state(module.state_dict(), plain.state_dict())


@pytest.mark.filterwarnings("ignore:The batch norms of")
def test_workers_that_live_on_go_on_with_the_training(tmp_path):
    def made():
        return Keeps(DataLoader(rows(), batch_size=16, num_workers=1, persistent_workers=True))

    plain = fit(tmp_path / "plain", made(), 0, max_epochs=2)
    module = fit(tmp_path / "with", made(), 48, max_epochs=2)
    assert module.losses == plain.losses
    assert len(module.losses) == 6


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_the_place_in_a_shared_loader_is_that_of_training(tmp_path):
    whole = fit(tmp_path / "whole", Keeps(Data().train_dataloader()), 48)
    save = ModelCheckpoint(tmp_path / "kept", "{step}", every_n_train_steps=1, save_top_k=-1)
    options = {"callbacks": [save], "enable_checkpointing": True}
    fit(tmp_path / "part", Keeps(Data().train_dataloader()), 48, **options)
    path = tmp_path / "kept" / "step=5.ckpt"
    loops = torch.load(path, weights_only=False)["loops"]["fit_loop"]["state_dict"]
    assert loops["combined_loader"][0]["batches"] == 2
    resumed = fit(tmp_path / "rest", Keeps(Data().train_dataloader()), 48, resume=path, seed=7)
    assert len(resumed.losses) == 4
    assert same_state(resumed.state_dict(), whole.state_dict())


def test_a_copy_begins_at_the_first_batch_of_epoch_0_wherever_the_loader_stands():
    first = [batch[0] for batch in Data().train_dataloader()]
    loader = Data().train_dataloader()
    loader.sampler.set_epoch(2)
    loader.load_state_dict({"epoch": 2, "batches": 1})
    reading = iter(loader)
    next(reading)
    found = [batch[0] for batch in independent_loader(loader)]
    assert all(torch.equal(one, other) for one, other in zip(found, first, strict=True))
    assert loader.state_dict()["batches"] == 2
    assert len(list(reading)) == 1
    loader.load_state_dict({"epoch": 0, "batches": 2})
    loader.sampler.set_epoch(0)
    assert len(list(independent_loader(loader))) == 3
    assert len(list(loader)) == 1


def test_what_can_be_read_once_is_refused(tmp_path):
    with pytest.raises(UserError, match="generator can be read only once: give training a DataLoader"):
        fit(tmp_path, Keeps(batch for batch in DataLoader(rows(), batch_size=16)), 48)

    class Open(Reshuffled):
        def __init__(self):
            super().__init__()
            self.reading = (k for k in self.indices)

    with pytest.raises(UserError, match="from a copy of the loader, and DataLoader cannot be copied"):
        independent_loader(DataLoader(rows(), batch_size=16, sampler=Open()))


@pytest.mark.parametrize(("limit", "expected"), [(1, 1), (2, 2), (0.7, 2), (1.0, 3), (0, 3)])
def test_no_more_batches_than_training_reads_are_given(limit, expected, tmp_path):
    run = trainer(tmp_path, limit_train_batches=limit)
    run.fit(Scored(), datamodule=Data())
    run.state.fn = "fit"
    with first_training_batches(run) as batches:
        assert len(list(batches)) == expected


class Stages(Data):
    """Notes the stage in which each batch of training images is prepared."""

    def __init__(self):
        super().__init__()
        self.stages = []

    def on_after_batch_transfer(self, batch, dataloader_idx):
        if round(float(batch[0][0, -1])) == TRAIN:
            self.stages.append(self.trainer.state.stage.value)
        return batch


@pytest.mark.parametrize("validate", [True, False])
def test_batch_hooks_see_a_validation(validate, tmp_path):
    data = Stages()
    log = LogSteps(recalibrate=48, steps=[0, 2], validate=validate)
    trainer(tmp_path, callbacks=[log], max_steps=3, max_epochs=-1).fit(Scored(), datamodule=data)
    assert data.stages == 3 * ["validate"] + 2 * ["train"] + 3 * ["validate"] + ["train"] + 3 * ["validate"]

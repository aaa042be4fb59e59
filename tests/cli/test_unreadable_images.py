"""A run's record names the images that its validation and its tables had to do without."""

from types import SimpleNamespace

import pytest
import torch
from callback_cases import QUIET, REFERENCE, TEST, TEST_SHIFT, Data, Ours, draw, loader, trainer
from torch.utils.data import Dataset

from lightning_robust.callbacks import WiseFT
from lightning_robust.cli.outcome import run_record
from lightning_robust.cli.unreadable_images import unreadable_in_validation
from lightning_robust.data.reading import TolerantLoader, UnreadableImageError

pytestmark = [*QUIET, pytest.mark.filterwarnings("ignore:An image is left out")]


class Files(Dataset):
    def __init__(self, name, n, damaged):
        self.x, self.y, self.damaged = *draw(name, n), damaged

    def __len__(self):
        return len(self.y)

    def __getitem__(self, index):
        if index in self.damaged:
            raise UnreadableImageError(f"{index}.jpg: it is empty")
        return self.x[index], int(self.y[index])


class Damaged(Data):
    def val_dataloader(self):
        return [loader(REFERENCE, 30), TolerantLoader(Files(TEST_SHIFT, 25, (4, 9)), 8)]

    def test_dataloader(self):
        return [loader(TEST, 45), TolerantLoader(Files(TEST_SHIFT, 25, (3,)), 8)]


def record(folder, *callbacks, data=None):
    run, module, data = trainer(folder, max_epochs=1, callbacks=list(callbacks)), Ours(), data or Damaged()
    torch.manual_seed(0)
    run.fit(module, datamodule=data)
    data.description = "made up"
    cli = SimpleNamespace(trainer=run, model=module, datamodule=data)
    data.concept_names, data.concept_dataloader = None, None
    return run_record(cli, folder, unreadable_in_validation(run, data)).data


def test_of_the_validation(tmp_path):
    found = record(tmp_path)
    assert found.unreadable == {"sketch (validation)": ("4.jpg: it is empty", "9.jpg: it is empty")}
    assert found.images == {"reference (validation)": 30, "sketch (validation)": 23}


def test_of_the_tables(tmp_path):
    found = record(tmp_path, WiseFT([0.5], module="", replicates=5))
    assert found.unreadable == {
        "sketch (validation)": ("4.jpg: it is empty", "9.jpg: it is empty"),
        "sketch": ("3.jpg: it is empty",),
    }
    assert found.images == {"reference (validation)": 30, "reference": 45, "sketch": 24}


def test_nothing_left_out(tmp_path):
    assert record(tmp_path, data=Data()).unreadable == {}

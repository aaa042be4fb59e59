"""Planning a finetuning after truncation: what is asked for, what is quick, and what cannot be had."""

from types import SimpleNamespace

import pytest
import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from lightning_robust.cli.compress_finetuning import FREELY, planned_finetuning
from lightning_robust.errors import UserError


class Data(LightningDataModule):
    class_names = ("a", "b", "c")

    def __init__(self, images=24, batch=8, **options):
        super().__init__()
        self.images, self.batch, self.options = images, batch, options

    def train_dataloader(self):
        generator = torch.Generator().manual_seed(1)
        pixels = torch.randn(self.images, 3, 2, 2, generator=generator)
        return DataLoader(TensorDataset(pixels, torch.arange(self.images) % 3), self.batch, **self.options)


class Endless(Data):
    def train_dataloader(self):
        class Stream(IterableDataset):
            def __iter__(self):
                return iter(())

        return DataLoader(Stream(), 8)


class Missing(Data):
    def train_dataloader(self):
        raise ValueError("there is no train folder")


def plan(epochs, data):
    return planned_finetuning(epochs, 1e-2, data, 0, "cpu")


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3)).eval()


def test_one_epoch_where_it_is_quick():
    assert (plan(None, Data()).epochs, plan(None, Data()).batches, plan(None, Data()).images) == (1, 3, 24)
    assert "1 epoch of the data's training images (3 steps)" in plan(None, Data()).sentence
    many = Data(FREELY + 1, 1000)
    assert plan(None, many).epochs == 0
    assert f"an epoch is {FREELY + 1:,} images; --finetune 1 asks for it" in plan(None, many).sentence
    assert plan(1, many).epochs == 1


def test_zero_leaves_it_out_without_a_look_at_the_data():
    assert plan(0, SimpleNamespace()).epochs == 0
    assert plan(0, SimpleNamespace()).sentence.endswith("left out, as asked for")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (LightningDataModule(), "LightningDataModule has none"),
        (Missing(), "there is no train folder"),
        (Endless(), "its DataLoader has no length"),
        (Data(3, 8, drop_last=True), "they do not fill one batch"),
    ],
)
def test_without_training_images(data, said):
    assert plan(None, data).epochs == 0
    assert said in plan(None, data).sentence
    with pytest.raises(UserError, match="--finetune 2 needs training images") as refused:
        plan(2, data)
    assert said in str(refused.value)


def test_a_run_trains_what_is_named_and_gives_random_states_back():
    data, counted = Data(), []
    mine, again, frozen = network(), network(), network()
    before = mine[1].weight.detach().clone()
    torch.manual_seed(9)
    state = torch.get_rng_state()
    found = plan(2, data).run(mine, data, ["1.weight"], counted.append)
    assert found is mine
    assert not mine.training
    assert counted == [8] * 6
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(mine[1].weight, before)
    assert torch.equal(mine[1].bias, frozen[1].bias)
    plan(2, data).run(again, data, ["1.weight"])
    assert torch.equal(mine[1].weight, again[1].weight)

"""Finetuning a network that is given: against the same steps by hand, what is trained, and modes."""

import copy

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from lightning_robust.training.compressed_finetuning import CompressedFinetuning
from lightning_robust.training.optimisation import decay_groups, warmup_cosine


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3)).eval()


def batches():
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(24, 3, 2, 2, generator=generator)
    return DataLoader(TensorDataset(images, torch.arange(24) % 3), batch_size=8)


def fitted(module, epochs=2):
    trainer = Trainer(
        accelerator="cpu", max_epochs=epochs, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, limit_val_batches=0,
    )  # fmt: skip
    trainer.fit(module, batches())
    return module


@pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:You defined a `validation_step`")
def test_steps_are_those_of_adamw_by_hand():
    mine, by_hand = network(), network().train()
    fitted(CompressedFinetuning(mine, ["a", "b", "c"], lr=0.01, warmup_steps=2))
    optimizer = torch.optim.AdamW(decay_groups(by_hand.parameters(), 0.1), lr=0.01)
    step = 0
    for _ in range(2):
        for images, targets in batches():
            for group in optimizer.param_groups:
                group["lr"] = 0.01 * warmup_cosine(step, warmup_steps=2, total_steps=6)
            optimizer.zero_grad()
            functional.cross_entropy(by_hand(images), targets).backward()
            optimizer.step()
            step += 1
    for name, value in mine.state_dict().items():
        torch.testing.assert_close(value, by_hand.state_dict()[name], atol=1e-6, rtol=1e-5, msg=name)


@pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:You defined a `validation_step`")
def test_only_what_is_named_is_trained():
    mine = network()
    before = copy.deepcopy(mine.state_dict())
    fitted(CompressedFinetuning(mine, ["a", "b", "c"], ["4.weight"], lr=0.01, warmup_steps=1))
    changed = {name for name, value in mine.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"4.weight", "2.running_mean", "2.running_var", "2.num_batches_tracked"}


def test_the_network_is_the_one_that_was_given_in_train_mode():
    mine = network()
    module = CompressedFinetuning(mine, ["a", "b", "c"])
    assert module.model is mine
    assert mine.training
    assert module.known_classes() == ["a", "b", "c"]
    assert module.start == "a network that was given"
    assert "network" not in module.hparams


def test_refusals():
    with pytest.raises(ValueError, match=r"no parameter '9\.weight'"):
        CompressedFinetuning(network(), ["a"], ["9.weight"])
    with pytest.raises(ValueError, match="label_smoothing"):
        CompressedFinetuning(network(), ["a"], label_smoothing=1.0)

"""A tiny run in which every source of randomness is used, for the contract that every callback keeps."""

import copy
import logging
import random

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import Logger
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, TensorDataset

from lightning_robust.data import ResumableLoader
from lightning_robust.robustness import Baseline, ModelAccuracies

WIDTH, CLASSES, INPUTS = 40, 5, 12
LAYER = "fc:input"

ADVICE = (
    "does not have many workers",
    "is smaller than the logging interval",
    "`isinstance.treespec, LeafSpec.` is deprecated",  # Lightning 2.6 with a newer torch
)
QUIET = [pytest.mark.filterwarnings(f"ignore:.*{advice}") for advice in ADVICE]
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Net(nn.Module):
    def __init__(self, d=WIDTH):
        super().__init__()
        self.stem, self.norm, self.drop = nn.Linear(INPUTS, d), nn.BatchNorm1d(d), nn.Dropout(0.3)
        self.fc = nn.Linear(d, CLASSES, bias=False)

    def forward(self, x):
        return self.fc(self.drop(torch.relu(self.norm(self.stem(x)))))


class Noisy(pl.LightningModule):
    """Dropout, batch norm, and augmentation from torch, numpy and Python in the training step; nothing of ours."""

    def __init__(self, seed=0):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            net = Net()
        self.stem, self.norm, self.drop, self.fc = net.stem, net.norm, net.drop, net.fc
        self.losses, self.forwards = [], []

    def forward(self, x):
        self.forwards.append((self.training, round(float(x[0, -1].detach())), len(x)))
        return Net.forward(self, x)

    def training_step(self, batch, batch_idx):
        x, y = batch[0], batch[1]
        x = x.clone()
        x[:, :-1] += 0.1 * torch.randn(len(x), INPUTS - 1, device=x.device)
        x[:, 0] *= 1 + random.random()  # not a constant on every sample, which batch norm would take away
        x[0] *= 1 + np.random.rand()  # noqa: NPY002
        loss = functional.cross_entropy(self(x), y)
        self.losses.append(loss.item())
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        x, y = batch[0], batch[1]
        self.log("val/loss", functional.cross_entropy(self(x), y), batch_size=len(x))

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=0.01)


class NoValidation(Noisy):
    validation_step = pl.LightningModule.validation_step


class Ours(Noisy):
    """The same with the attributes that the monitors ask for."""

    representation_layer = LAYER

    def head_weight(self):
        return self.fc.weight.detach()

    def untrained_model(self):
        torch.rand(3)  # a control that draws without asking
        return Ours(seed=99)


class Scored(Ours):
    """Logs the accuracy on each validation loader, as `ClassifierFinetuning` does; `scores` has those of whole ones."""

    def __init__(self, seed=0):
        super().__init__(seed)
        self.scores = []

    def on_validation_epoch_start(self):
        self.hits = [[], []]

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        super().validation_step(batch, batch_idx)
        self.hits[dataloader_idx] += (self(batch[0]).argmax(dim=1) == batch[1]).tolist()

    def on_validation_epoch_end(self):
        tags = ("val/reference/accuracy", "val/sketch/accuracy")
        self.scores.append({tag: sum(h) / max(1, len(h)) for tag, h in zip(tags, self.hits, strict=True)})
        for tag, value in self.scores[-1].items():
            self.scored(tag, value)

    def scored(self, tag, value):
        self.log(tag, value)


def made_up_baseline(*, shifts=("sketch",), low=0.05, high=0.95, x="full", name="made up"):
    """Twelve models near a line on the logit scale."""
    rng = np.random.default_rng(0)
    models = []
    for k, reference in enumerate(np.linspace(low, high, 12)):
        logit = 0.8 * np.log(reference / (1 - reference)) - 0.5
        on = {name: float(1 / (1 + np.exp(-logit - 0.2 * rng.standard_normal()))) for name in shifts}
        matched = {name: float(reference) for name in shifts} if x == "matched" else {}
        models.append(ModelAccuracies(f"model {k}", float(reference), on, matched))
    counted = ("reference", *shifts, *(f"matched/{name}" for name in shifts))
    return Baseline.fit(models, n=dict.fromkeys(counted, 500), x=x, name=name)


class Rows(Dataset):
    """Samples by `Place`: the augmentation is a function of epoch and index."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, place):
        return self.x[place.item] + 0.01 * place.epoch, self.y[place.item]


def draw(name, n):
    """Inputs whose last column says which loader they belong to, with classes that can be learnt."""
    generator = torch.Generator().manual_seed(10 + name)
    y = torch.arange(n) % CLASSES
    x = torch.randn(n, INPUTS, generator=generator)
    x[torch.arange(n), y] += 2
    x[:, -1] = name
    return x, y


TRAIN, REFERENCE, SHIFT, CONCEPT, OWN, TEST, TEST_SHIFT = range(7)


class Data(pl.LightningDataModule):
    class_names = tuple(f"class {c}" for c in range(CLASSES))
    val_loader_names = ("reference", "sketch")
    concept_categories = ("colour", "colour", "part")

    def __init__(self, batch=16, n_train=48, n_val=30):
        super().__init__()
        self.batch, self.n_train, self.n_val = batch, n_train, n_val

    def train_dataloader(self):
        return ResumableLoader(Rows(*draw(TRAIN, self.n_train)), batch_size=16, seed=3)

    def val_dataloader(self):
        return [loader(REFERENCE, self.n_val, self.batch), loader(SHIFT, 20, self.batch)]

    def test_dataloader(self):
        return [loader(TEST, 45, self.batch), loader(TEST_SHIFT, 25, self.batch)]

    def concept_dataloader(self):
        torch.rand(1)  # a data module that draws when it makes a loader
        x, y = draw(CONCEPT, 60)
        concepts = torch.stack([y == 0, y == 1, x[:, 3] > 0.5], dim=1).to(torch.int8)
        return DataLoader(TensorDataset(x, concepts, y), batch_size=self.batch)


def loader(name, n, batch=16, **options):
    return DataLoader(TensorDataset(*draw(name, n)), batch_size=batch, **options)


def trainer(folder, **options):
    defaults = {
        "accelerator": "cpu", "devices": 1, "max_epochs": 2, "logger": False, "enable_progress_bar": False,
        "enable_model_summary": False, "enable_checkpointing": False, "num_sanity_val_steps": 0,
    }  # fmt: skip
    return pl.Trainer(default_root_dir=folder, **(defaults | options))


def seed_all(seed=0):
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)


def random_states():
    words = np.random.get_state(legacy=False)["state"]  # noqa: NPY002
    return torch.get_rng_state().tolist(), words["key"].tolist(), int(words["pos"]), random.getstate()


def hooks(module):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in module.modules())


def same_state(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


class Keep(pl.Callback):
    """Copy the weights at the end of each validation and the start of training, by step."""

    def __init__(self):
        self.states = {}

    def on_train_start(self, trainer, pl_module):
        self._keep(trainer, pl_module)

    def on_validation_epoch_end(self, trainer, pl_module):
        self._keep(trainer, pl_module)

    def _keep(self, trainer, pl_module):
        self.states[trainer.global_step] = copy.deepcopy(pl_module.state_dict())


class ListLogger(Logger):
    """Anybody's logger."""

    name, version = "list", 0

    def __init__(self):
        super().__init__()
        self.rows = []

    def log_hyperparams(self, *args, **kwargs):
        pass

    def log_metrics(self, metrics, step=None):
        self.rows.append((step, dict(metrics)))
        metrics.clear()  # loggers share nothing


def eval_features(state, x):
    """What the head reads, by hand in numpy from a state dict, in float64."""
    s = {name: value.double().numpy() for name, value in state.items()}
    h = x.double().numpy() @ s["stem.weight"].T + s["stem.bias"]
    h = (h - s["norm.running_mean"]) / np.sqrt(s["norm.running_var"] + 1e-5) * s["norm.weight"] + s["norm.bias"]
    return np.maximum(h, 0)

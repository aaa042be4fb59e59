"""What the tests of `LogSteps(recalibrate=…)` share."""

import copy

import lightning.pytorch as pl
from callback_cases import TRAIN, Data, Scored, draw, seed_all, trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_robust.callbacks import LogSteps, RandomStates

FAR = 50.0  # of the inputs from the running statistics that a batch norm begins with


class Far(Data):
    """Training images of the first epoch in a known order, far from a mean of 0 and a variance of 1."""

    def __init__(self):
        super().__init__()
        x, y = draw(TRAIN, 48)
        self.rows = TensorDataset(FAR + 7 * x, y)

    def train_dataloader(self):
        return DataLoader(self.rows, batch_size=16)

    def val_dataloader(self):
        return [DataLoader(self.rows, batch_size=16), super().val_dataloader()[1]]


class Weights(pl.Callback):
    """The state at the start of the training batch after each step."""

    def __init__(self):
        self.states = {}

    def on_train_batch_start(self, trainer, module, *_):
        self.states[trainer.global_step] = copy.deepcopy(module.state_dict())


def fit(folder, *callbacks, recalibrate=48, module=Scored, data=Far, seed=0, **options):
    seed_all(seed)
    model, log = module(seed=seed), LogSteps(recalibrate=recalibrate)
    used = [RandomStates(), log, *callbacks]
    trainer(folder, callbacks=used, **options).fit(model, datamodule=data())
    return model, log


class Frozen(Scored):
    """One batch norm that training leaves alone, and one that it trains."""

    def __init__(self, seed=0):
        super().__init__(seed)
        self.fixed = nn.BatchNorm1d(12).eval()

    def forward(self, x):
        return super().forward(self.fixed(x))

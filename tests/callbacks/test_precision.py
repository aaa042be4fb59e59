"""Modules in a precision that is not torch's default one."""

import numpy as np
import pytest
import torch
from callback_cases import CLASSES, LAYER, REFERENCE, TEST, Data, Ours, draw, seed_all, trainer
from safetensors.torch import load_file
from torch.utils.data import DataLoader, Dataset

from lightning_robust.callbacks import SignatureMonitor, WiseFT


class Typed(Dataset):
    """Notes the default dtype whenever an image is made."""

    def __init__(self, x, y):
        self.x, self.y, self.dtypes = x, y, set()

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        self.dtypes.add(torch.get_default_dtype())
        return self.x[index], self.y[index]


class Steady(Ours):
    """Wants the precision of its own weights, and the context in which the Trainer runs a forward."""

    def forward(self, x):
        assert x.dtype == self.fc.weight.dtype == torch.get_default_dtype()
        return super().forward(x)


@pytest.mark.parametrize(("precision", "dtype"), [("bf16-true", torch.bfloat16), ("64-true", torch.float64)])
def test_everything_is_measured_in_the_precision_of_the_run(precision, dtype, tmp_path):
    seed_all()
    own = Typed(*draw(TEST, 20))
    monitors = [
        SignatureMonitor(untrained=True, weights=["fc.weight"]),
        SignatureMonitor(("kurtosis", "concepts"), images="concepts", untrained=Steady(seed=7), prefix="own"),
        SignatureMonitor(images=DataLoader(own, batch_size=8), prefix="test"),
    ]
    wise = WiseFT([0.5], module="", tests={"reference": DataLoader(own, batch_size=8)}, replicates=5)
    module = Steady()
    run = trainer(tmp_path, callbacks=[*monitors, wise], precision=precision, max_epochs=1)
    run.fit(module, datamodule=Data())
    for monitor, prefix in zip(monitors, ("", "own/", "test/"), strict=True):
        assert [entry["epoch"] for entry in monitor.history] == [0, 1]
        assert np.isfinite([entry["scalars"][f"{prefix}kurtosis/{LAYER}"] for entry in monitor.history]).all()
    assert f"kurtosis/{LAYER}/untrained" in monitors[0].reference
    assert own.dtypes == {torch.float32}  # images are made as they are for a validation
    for row in wise.path.rows:
        state = load_file(wise.files[row.alpha][0])
        assert state["fc.weight"].dtype == dtype
        plain = Ours().to(dtype)
        plain.load_state_dict(state)
        x, y = draw(TEST, 20)
        with torch.no_grad():
            right = torch.cat([plain.eval()(part.to(dtype)) for part in x.split(8)]).argmax(dim=1) == y
        assert row.reference == pytest.approx(right.double().mean().item())


def test_the_path_is_judged_on_batches_prepared_as_for_a_validation(tmp_path):
    """Batch hooks run, and see no training."""

    class Turned(Data):
        def on_after_batch_transfer(self, batch, dataloader_idx):
            if self.trainer.training:
                return batch
            return [batch[0], (batch[1] + 1) % CLASSES]

    seed_all()
    wise = WiseFT([0.5], module="", replicates=5)
    trainer(tmp_path, callbacks=[wise], max_epochs=1).fit(Ours(), datamodule=Turned())
    for row in wise.path.rows:
        plain = Ours()
        plain.load_state_dict(load_file(wise.files[row.alpha][0]))
        x, y = draw(REFERENCE, 30)
        with torch.no_grad():
            right = plain.eval()(x).argmax(dim=1) == (y + 1) % CLASSES
        assert row.val_reference == pytest.approx(right.double().mean().item())

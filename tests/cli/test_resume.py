"""What a checkpoint says of the run that it belongs to, and with how many processes it can go on."""

import pytest
import torch
from lightning import LightningModule
from lightning.pytorch import Callback, Trainer
from torch.utils.data import DataLoader, Dataset

from lightning_robust.cli.resume import check_same_processes, read_checkpoint
from lightning_robust.data import ResumableLoader
from lightning_robust.errors import UserError


class Places(Dataset):
    """Gives back which sample was asked for."""

    def __len__(self):
        return 8

    def __getitem__(self, place):
        return torch.tensor([getattr(place, "item", 0)])


class Nothing(LightningModule):
    """Learns nothing."""

    automatic_optimization = False

    def training_step(self, batch, index):
        self.optimizers().step()

    def configure_optimizers(self):
        return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)


class Save(Callback):
    """After a batch, or at the end of the epoch."""

    def __init__(self, folder):
        self.folder = folder

    def on_train_batch_end(self, trainer, *_):
        trainer.save_checkpoint(self.folder / f"batch {trainer.global_step}.ckpt")

    def on_train_epoch_end(self, trainer, *_):
        trainer.save_checkpoint(self.folder / "end.ckpt")


@pytest.fixture(params=["resumable", "plain"])
def checkpoints(request, tmp_path):
    """Those of one epoch of four batches on one process."""
    resumable = request.param == "resumable"
    loader = ResumableLoader(Places(), batch_size=2, seed=0) if resumable else DataLoader(Places(), batch_size=2)
    Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path, callbacks=[Save(tmp_path)],
    ).fit(Nothing(), loader)  # fmt: skip
    return tmp_path, 1 if resumable else None


@pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*LeafSpec.*is deprecated")
@pytest.mark.parametrize(("name", "steps", "epochs"), [("batch 2", 2, 0), ("batch 4", 4, 0), ("end", 4, 1)])
def test_a_checkpoint_inside_an_epoch_wants_as_many_processes(checkpoints, name, steps, epochs):
    folder, world = checkpoints
    found = read_checkpoint(folder / f"{name}.ckpt")
    assert found == {"global_step": steps, "epochs": epochs, "inside": name != "end", "world_size": world}
    check_same_processes(found, 1)
    if name == "end" or world is None:
        check_same_processes(found, 2)
        return
    with pytest.raises(UserError, match=r"an epoch that was trained on 1 process, now there would be 2, .*with 1"):
        check_same_processes(found, 2)
    with pytest.raises(UserError, match="trained on 4 processes, now there would be 1"):
        check_same_processes({**found, "world_size": 4}, 1)

"""A tiny CLIP and a tiny data module, for real runs of a few steps."""

import sys
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from lightning_robust.models import load_encoder, write_clip_folder
from lightning_robust.models.checkpoint_files import save_tensors

sys.path.append(str(Path(__file__).parent))  # data modules that configs name

WORDS = ["a", "photo", "of", "the", "red", "blue", "star", "heart", "fire", "truck"]


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip") / "tiny"
    write_clip_folder(folder, WORDS, embed_dim=16, vision_width=4, vision_head_width=32, text_width=16)
    untrained = load_encoder(f"local-dir:{folder}", pretrained=False, seed=1).model
    save_tensors(folder / "open_clip_model.safetensors", untrained.state_dict())
    return folder


@pytest.fixture
def small_clip(tmp_path):
    """Write the folder of a small CLIP without weights, and give its name."""

    def make(**options):
        write_clip_folder(tmp_path / "small", WORDS, **({"embed_dim": 16, "text_width": 16} | options))
        return f"local-dir:{tmp_path / 'small'}"

    return make


class TinyData(pl.LightningDataModule):
    """Images whose mean colour is their class; the shift is noisier."""

    def __init__(self, n=24, captions=False):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.captions = captions
        self.class_names, self.templates = ["star", "heart", "truck"], ["a photo of a {}.", "the {}"]
        self.val_loader_names = ["reference", "sketch", "rendition"]
        self.sets = []
        for noise in (0.3, 0.3, 1.0, 2.0):
            targets = torch.arange(n) % 3
            images = noise * torch.randn(n, 3, 32, 32, generator=generator)
            images[torch.arange(n), targets] += 3.0
            self.sets.append((images, targets))

    def train_dataloader(self):
        images, targets = self.sets[0]
        if self.captions:
            colours = ["red" if index % 2 else "blue" for index in range(len(targets))]
            texts = [f"a {colour} {self.class_names[t]}" for colour, t in zip(colours, targets, strict=True)]
            return DataLoader(list(zip(images, texts, strict=True)), batch_size=8)
        return DataLoader(TensorDataset(images, targets), batch_size=8)

    def val_dataloader(self):
        return [DataLoader(TensorDataset(*data, torch.arange(len(data[0]))), batch_size=10) for data in self.sets[1:]]

    test_dataloader = val_dataloader


@pytest.fixture
def data():
    return TinyData()


@pytest.fixture
def captioned():
    return TinyData(captions=True)


@pytest.fixture
def trainer(tmp_path):
    """Make quiet trainers of a few steps on one CPU process."""

    def make(**options):
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        defaults = {"accelerator": "cpu", "devices": 1, "max_epochs": 2, "enable_checkpointing": False, **quiet}
        return pl.Trainer(default_root_dir=tmp_path, gradient_clip_val=1.0, **(defaults | options))

    return make


class StopAfter(pl.Callback):
    """Stop after so many epochs, as a person would, not as a shorter run."""

    def __init__(self, epochs):
        self.epochs = epochs

    def on_train_epoch_end(self, trainer, pl_module):
        trainer.should_stop = trainer.current_epoch + 1 >= self.epochs


@pytest.fixture
def stop_after():
    return StopAfter


ADVICE = (
    "does not have many workers",
    "is smaller than the logging interval",
    "have no `val_dataloader`",
    "`isinstance.treespec, LeafSpec.` is deprecated",  # Lightning 2.6 with a newer torch
)


def pytest_collection_modifyitems(items):
    """Lightning's advice about workers and log intervals is not about these runs."""
    for item in items:
        if "tests/training" in item.path.as_posix():
            for advice in ADVICE:
                item.add_marker(pytest.mark.filterwarnings(f"ignore:.*{advice}"))

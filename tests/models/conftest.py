"""A tiny CLIP with random weights, in a folder of its own."""

import pytest
import torch

from lightning_robust.models import Encoder, load_encoder, write_clip_folder
from lightning_robust.models.checkpoint_files import save_tensors

WORDS = ["a", "photo", "of", "the", "red", "blue", "star", "heart", "fire", "truck"]


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """An open_clip folder with random weights."""
    folder = tmp_path_factory.mktemp("clip") / "tiny"
    write_clip_folder(folder, WORDS, embed_dim=16, vision_width=4, vision_head_width=32, text_width=16)
    untrained = load_encoder(f"local-dir:{folder}", pretrained=False, seed=1).model
    with torch.no_grad():  # as if trained: a plain init leaves every residual branch at zero
        for name, parameter in untrained.named_parameters():
            if name.endswith("bn3.weight"):
                parameter.fill_(0.5)
    save_tensors(folder / "open_clip_model.safetensors", untrained.state_dict())
    return folder


@pytest.fixture
def tiny(tiny_folder) -> Encoder:
    return load_encoder(f"local-dir:{tiny_folder}")

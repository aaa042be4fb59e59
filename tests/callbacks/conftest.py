"""The tiny runs of the callback contract serve here too."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "contracts"))

import pytest
from callback_cases import QUIET


def pytest_collection_modifyitems(items):
    """Lightning's advice about workers and log intervals is not about these runs."""
    for item in items:
        if "tests/callbacks" in item.path.as_posix():
            for mark in QUIET:
                item.add_marker(mark)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """An open_clip folder with random weights."""
    import re

    import torch

    from lightning_robust.data.scenes.vocabulary import CLASSES, TEMPLATES
    from lightning_robust.models import load_encoder, write_clip_folder
    from lightning_robust.models.checkpoint_files import save_tensors

    words = sorted({word for text in (*CLASSES, "truck", *TEMPLATES) for word in re.findall(r"[a-z]+", text.lower())})
    folder = tmp_path_factory.mktemp("clip") / "tiny"
    write_clip_folder(folder, words, embed_dim=16, vision_width=4, vision_head_width=32, text_width=16)
    untrained = load_encoder(f"local-dir:{folder}", pretrained=False, seed=1).model
    with torch.no_grad():  # as if trained: a plain init leaves every residual branch at zero
        for name, parameter in untrained.named_parameters():
            if name.endswith("bn3.weight"):
                parameter.fill_(0.5)
    save_tensors(folder / "open_clip_model.safetensors", untrained.state_dict())
    return folder

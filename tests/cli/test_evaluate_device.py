"""The device that a command runs on, and the arithmetic there."""

import pytest
import torch

from lightning_robust.cli.evaluate_device import chosen_device, named_device
from lightning_robust.cli.processes import Processes
from lightning_robust.errors import UserError


@pytest.fixture(autouse=True)
def in_tf32():
    backends = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = True
    yield
    for backend, allowed in zip(backends, before, strict=True):
        backend.allow_tf32 = allowed


def test_float32_is_float32():
    assert named_device("cpu") == "cpu"
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


def test_a_gpu_is_taken_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert named_device(None) == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert named_device(None) == "cpu"


def test_the_device_of_a_command():
    assert chosen_device("cpu", Processes()) == torch.device("cpu")
    assert not torch.backends.cudnn.allow_tf32
    with pytest.raises(UserError, match="is no device: it is cpu, cuda or one GPU"):
        chosen_device("toaster", Processes())

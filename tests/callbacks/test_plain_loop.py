"""The examples of docs/loops.md for plain PyTorch and for a loop like timm's, run as they stand there."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import kurtosis

LOOPS = (Path(__file__).parents[2] / "docs" / "loops.md").read_text(encoding="utf-8")
BLOCKS = {
    part.partition("\n")[0]: re.findall(r"^```python\n(.*?)^```", part, flags=re.MULTILINE | re.DOTALL)
    for part in re.split(r"^## ", LOOPS, flags=re.MULTILINE)[1:]
}


def run(heading, folder, monkeypatch):
    monkeypatch.chdir(folder)
    [block] = BLOCKS[heading]
    names = {"__name__": "example"}
    exec(compile(block, f"docs/loops.md, {heading}", "exec"), names)
    return names


def without_measuring(heading, folder, monkeypatch):
    """The same training with `measure` calls taken out; what they would have given is never read."""
    monkeypatch.chdir(folder)
    [block] = BLOCKS[heading]
    block, found = re.subn(r"(?<!def )\bsignatures\((\w|\.)+\)(?!:)", "{}", block)
    assert found == 2  # before training, and after each epoch
    block = re.sub(r"^print\(.*$", "", block, flags=re.MULTILINE)
    names = {"__name__": "example"}
    exec(compile(block, f"{heading} without measuring", "exec"), names)
    return names


def test_every_section_is_run_by_a_test():
    assert set(BLOCKS) == {"Plain PyTorch", "A loop like timm's", "transformers' Trainer", "open_clip's own loop"}
    assert all(len(blocks) == 1 for blocks in BLOCKS.values())


def test_plain_pytorch(tmp_path, monkeypatch, capsys):
    names = run("Plain PyTorch", tmp_path, monkeypatch)
    last, model = names["history"][-1], names["model"]
    with torch.no_grad():
        h = torch.cat([model[:4](images) for (images,) in names["held_out"]]).double().numpy()
    assert last["kurtosis/4:input/mean"] == pytest.approx(kurtosis(h, axis=1, fisher=False).mean(), rel=1e-9)
    sigma = np.linalg.svd(model[4].weight.detach().numpy().astype(np.float64), compute_uv=False)
    assert last["weights/4.weight/stable_rank"] == pytest.approx((sigma**2).sum() / sigma[0] ** 2, rel=1e-6)
    assert last["importance/4:input/max_over_median"] >= 1
    assert len(names["history"]) == 3
    assert list((tmp_path / "runs" / "plain").iterdir())
    assert capsys.readouterr().out


def test_timm(tmp_path, monkeypatch, capsys):
    names = run("A loop like timm's", tmp_path, monkeypatch)
    assert names["history"][-1] == names["signatures"](names["ema"].module)  # nothing drifts on measuring again
    assert names["history"][-1] != names["history"][0]
    assert names["history"][-1]["kurtosis"] >= 1
    assert names["model"].training
    assert capsys.readouterr().out.startswith("1 {")


@pytest.mark.parametrize(("heading", "watched"), [("Plain PyTorch", "model"), ("A loop like timm's", "ema")])
def test_training_ends_with_the_same_weights_without_measuring(heading, watched, tmp_path, monkeypatch):
    """A stray random draw would shuffle the next epoch in another way."""
    measured = run(heading, tmp_path, monkeypatch)[watched].state_dict()
    plain = without_measuring(heading, tmp_path, monkeypatch)[watched].state_dict()
    assert all(torch.equal(measured[name], value) for name, value in plain.items())

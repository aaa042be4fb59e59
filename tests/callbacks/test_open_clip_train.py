"""The script of docs/loops.md that follows signatures in open_clip's own training loop."""

import re
import subprocess
import sys
from argparse import Namespace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import open_clip
import pytest
import torch
from open_clip_train.train import train_one_epoch
from PIL import Image
from scipy.stats import kurtosis
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.data import DataLoader, TensorDataset

LOOPS = (Path(__file__).parents[2] / "docs" / "loops.md").read_text(encoding="utf-8")
SCRIPT = re.search(r"^## open_clip's own loop\n.*?^```python\n(.*?)^```", LOOPS, flags=re.MULTILINE | re.DOTALL)[1]
TAGS = {"kurtosis/visual", "outliers/visual/features", "spectrum/visual/rankme"}
TRAINING_EXTRA = all(find_spec(name) for name in ("webdataset", "braceexpand", "pandas"))


class Writer:
    def __init__(self):
        self.written = []

    def add_scalar(self, tag, value, step):
        self.written.append((tag, step, value))


def tiny_clip():
    torch.manual_seed(0)
    vision = open_clip.CLIPVisionCfg(layers=1, width=48, head_width=24, patch_size=8, image_size=16)
    text = open_clip.CLIPTextCfg(context_length=8, vocab_size=50, width=32, heads=2, layers=1)
    return open_clip.CLIP(40, vision, text, output_dict=True)


def pairs(n, seed):
    draw = torch.Generator().manual_seed(seed)
    return TensorDataset(torch.randn(n, 3, 16, 16, generator=draw), torch.randint(1, 50, (n, 8), generator=draw))


def loader(n, seed, *, shuffle):
    made = DataLoader(pairs(n, seed), batch_size=8, shuffle=shuffle)
    made.num_samples, made.num_batches = n, len(made)
    return SimpleNamespace(dataloader=made, set_epoch=lambda epoch: None)


def train(wrap=lambda function: function, epochs=2, **options):
    """Two steps an epoch, as `open_clip_train.main` makes them."""
    args = Namespace(
        device="cpu", precision="fp32", distill=False, accum_freq=1, skip_scheduler=True, horovod=False, rank=0,
        local_rank=0, log_local=False, grad_clip_norm=None, log_every_n_steps=1, batch_size=8, world_size=1,
        wandb=False, distributed=False,
    )  # fmt: skip
    vars(args).update(options)
    model, writer = tiny_clip(), Writer()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    data = {"train": loader(16, 1, shuffle=True), "val": loader(20, 2, shuffle=False)}
    one_epoch = wrap(train_one_epoch)
    for epoch in range(epochs):
        one_epoch(model, data, open_clip.ClipLoss(), epoch, optimiser, None, None, None, args, tb_writer=writer)
    return model, data, writer


def names_of_the_script():
    names = {"__name__": "follow"}
    exec(compile(SCRIPT, "docs/loops.md", "exec"), names)
    return names


def followed(writer):
    return {(tag, step): value for tag, step, value in writer.written if tag in TAGS}


def test_figures_stand_at_the_steps_of_the_loop():
    model, data, writer = train(names_of_the_script()["followed"])
    found = followed(writer)
    assert set(found) == {(tag, step) for tag in TAGS for step in (0, 2, 4)}
    with torch.no_grad():
        h = torch.cat([model.encode_image(images) for images, _ in data["val"].dataloader]).double().numpy()
    assert found["kurtosis/visual", 4] == pytest.approx(kurtosis(h, axis=1, fisher=False).mean(), rel=1e-6)
    assert found["kurtosis/visual", 0] != found["kurtosis/visual", 2]


def test_training_is_the_same_without_it():
    followed_model, _, written = train(names_of_the_script()["followed"])
    plain_model, _, plain = train()
    plain_weights = plain_model.state_dict()
    assert all(torch.equal(value, plain_weights[name]) for name, value in followed_model.state_dict().items())
    losses = [[entry for entry in one.written if entry[0] == "train/loss"] for one in (written, plain)]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 4


def test_mixed_precision_and_accumulation():
    """bf16 rounds the features, and with two batches a step there is one step in an epoch."""
    wrap = names_of_the_script()["followed"]
    rounded = followed(train(wrap, epochs=1, precision="amp_bf16", accum_freq=2)[2])
    assert {step for _, step in rounded} == {0, 1}
    exact = followed(train(wrap, epochs=1)[2])
    assert rounded["kurtosis/visual", 0] == pytest.approx(exact["kurtosis/visual", 0], rel=0.02)
    assert rounded["kurtosis/visual", 0] != exact["kurtosis/visual", 0]


def test_other_processes_do_not_measure():
    assert not followed(train(names_of_the_script()["followed"], epochs=1, rank=1, world_size=2)[2])


@pytest.mark.skipif(not TRAINING_EXTRA, reason='open_clip_train.main needs pip install "open_clip_torch[training]"')
def test_the_script_runs_open_clips_command_line(tmp_path, tiny_folder):
    """As a user types it: a CSV of random images with captions, two steps, TensorBoard."""
    draw = np.random.default_rng(0)
    rows = ["filepath,title"]
    for number in range(16):
        Image.fromarray(draw.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")
        rows.append(f"{tmp_path / f'{number}.png'},a photo of a truck")
    (tmp_path / "pairs.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (tmp_path / "follow.py").write_text(SCRIPT, encoding="utf-8")
    options = {
        "model": f"local-dir:{tiny_folder}", "dataset-type": "csv", "csv-separator": ",", "train-data": "pairs.csv",
        "val-data": "pairs.csv", "batch-size": 8, "epochs": 1, "workers": 0, "warmup": 1, "precision": "fp32",
        "device": "cpu", "report-to": "tensorboard", "name": "tiny", "lr": 1e-3,
    }  # fmt: skip
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    done = subprocess.run(
        [sys.executable, "follow.py", *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(re.findall(r"^step [02]: kurtosis/visual = ", done.stdout, flags=re.MULTILINE)) == 2
    events = EventAccumulator(str(tmp_path / "logs" / "tiny" / "tensorboard")).Reload()
    assert set(events.Tags()["scalars"]) >= TAGS
    assert [event.step for event in events.Scalars("kurtosis/visual")] == [0, 2]

"""The shipped PACS config on a small tree of the same folders, from the command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow
CLASSES = ("dog", "elephant", "giraffe", "guitar", "horse", "house", "person")


def fit(folder, *arguments):
    paths = {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "lightning_robust", "fit", "--config", "pacs.yaml", *arguments]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **paths}, capture_output=True, text=True, timeout=900, check=False
    )


def test_pacs_config(tmp_path):
    rng = np.random.default_rng(0)
    for domain in ("photo", "art_painting", "cartoon", "sketch"):
        for name in CLASSES:
            (tmp_path / "images" / domain / name).mkdir(parents=True)
            for k in range(20):
                pixels = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "images" / domain / name / f"{k}.jpg")
    done = fit(tmp_path, "--data.init_args.root", "images", "--trainer.max_epochs", "1")
    assert done.returncode == 0, done.stderr[-3000:]
    (folder,) = (tmp_path / "checkpoints" / "pacs").iterdir()
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert "photo: the folder photo (140 images in 7 classes; " in json.dumps(results, ensure_ascii=False)
    assert "art_painting" in done.stdout


def test_without_the_images(tmp_path):
    done = fit(tmp_path)
    assert done.returncode == 2
    (sentence,) = [line for line in done.stderr.splitlines() if "error" in line]
    assert sentence == (
        "lightning-robust: error: No folder pacs: root has to be a folder that holds 'photo', with a folder of images "
        "for each class in it (--data.init_args.root FOLDER)"
    )
    assert not list((tmp_path / "checkpoints").glob("*/*"))

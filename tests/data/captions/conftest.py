"""Small sets of image–caption pairs, in every format that they come in; the caption says which pair it is."""

import csv
import io
import json
import tarfile

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from torch import distributed


def picture(k, kind="JPEG", size=(10, 8)):
    """Encoded image k, of colour (k, 255 − k, 7)."""
    stored = io.BytesIO()
    Image.new("RGB", size, (k % 256, 255 - k % 256, 7)).save(stored, kind)
    return stored.getvalue()


def pixels(image):
    """A transform: a PIL image to uint8 `(3, h, w)`."""
    assert image.mode == "RGB"
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def write_tar(path, members, **options):
    """A tar with these members, by name."""
    with tarfile.open(path, "w", **options) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def write_shards(folder, sizes):
    """Shards of so many items each; captions `pair k` over all."""
    folder.mkdir(exist_ok=True)
    k = 0
    for n, size in enumerate(sizes):
        members = []
        for _ in range(size):
            members += [(f"{k:05}.jpg", picture(k)), (f"{k:05}.txt", f"pair {k}".encode())]
            members += [(f"{k:05}.json", json.dumps({"caption": f"json {k}", "more": [f"a {k}", f"b {k}"]}).encode())]
            k += 1
        write_tar(folder / f"s-{n:03}.tar", members)
    return f"webdataset:{folder}/s-{{000..{len(sizes) - 1:03}}}.tar"


def write_csv(folder, n):
    """A tab-separated table with open_clip's columns, and its images beside it."""
    folder.mkdir(exist_ok=True)
    for k in range(n):
        (folder / f"{k}.jpg").write_bytes(picture(k))
    with (folder / "pairs.csv").open("w", newline="") as file:
        rows = csv.writer(file, delimiter="\t")
        rows.writerows([("filepath", "title"), *((f"{k}.jpg", f"pair {k}") for k in range(n))])
    return f"csv:{folder}/pairs.csv"


def write_parquet(folder, sizes, **columns):
    """Parquet files of so many rows each, with an image and a caption column."""
    folder.mkdir(exist_ok=True)
    k = 0
    for n, size in enumerate(sizes):
        numbers = range(k, k + size)
        rows = {
            "image": [{"bytes": picture(j), "path": None} for j in numbers],
            "caption": [f"pair {j}" for j in numbers],
        }
        table = datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image())
        table.to_parquet(folder / f"p-{n:03}.parquet")
        k += size
    return f"parquet:{folder}/p-*.parquet"


@pytest.fixture(autouse=True)
def shorter_sleep(monkeypatch):
    """A stream of datasets sleeps for five seconds whenever it ends."""
    monkeypatch.setattr(datasets.config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0.1, raising=False)


@pytest.fixture
def ranks(monkeypatch):
    """Make this process rank r of R, as far as a sampler asks."""

    def become(rank, world):
        monkeypatch.setattr(distributed, "is_initialized", lambda: True)
        monkeypatch.setattr(distributed, "get_world_size", lambda: world)
        monkeypatch.setattr(distributed, "get_rank", lambda: rank)

    return become

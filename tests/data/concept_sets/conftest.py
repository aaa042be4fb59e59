"""A small Broden written as the published one: joinseg's file names, columns and encodings."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

CATEGORIES = ("color", "object", "part", "material", "scene", "texture")
#: Number, name, categories with counts, coverage. Written in this order.
LABELS = (
    (1, "white-c", "color(4)", 3.0),
    (2, "red-c", "color(2)", 1.5),
    (3, "wall", "object(2)", 0.9),
    (4, "dotted", "texture(1)", 1.0),
    (5, "street-s", "scene(1)", 1.0),
    (6, "head", "object(1);part(2)", 0.4),
    (7, "fabric", "material(2);object(1)", 0.7),
    (300, "door", "object(1)", 0.2),
    (600, "window", "part(1)", 0.1),
)


def mask(fill, **pixels):
    """A 4 × 4 mask of one label, with single pixels of others: `p5=300` makes pixel 5 a door."""
    flat = np.full(16, fill)
    for place, label in pixels.items():
        flat[int(place[1:])] = label
    return flat.reshape(4, 4)


#: Path, split, and for each category what its cell holds: numbers of the whole image and masks, mixed as they come.
ROWS = (
    ("ade20k/a.jpg", "train", {
        "color": [mask(1)], "object": [mask(3, p0=300)], "scene": [5],
        "part": [mask(0, p3=6, p4=6), mask(0, p4=6, p9=600)],
    }),
    ("ade20k/b.jpg", "val", {"color": [mask(1)], "object": [mask(0, p15=7)], "scene": [0]}),
    ("dtd/c.jpg", "train", {"color": [mask(2)], "texture": [4, 0]}),
    ("opensurfaces/d.jpg", "train", {"color": [mask(1)], "material": [mask(7)]}),
    ("pascal/e.jpg", "val", {"color": [mask(1, p0=2)], "object": [mask(3, p1=6)], "part": [mask(0)]}),
    ("pascal/f.jpg", "train", {}),
)  # fmt: skip


def encode(labels):
    pixels = np.zeros((*labels.shape, 3), dtype=np.uint8)
    pixels[..., 0], pixels[..., 1] = labels % 256, labels // 256
    return Image.fromarray(pixels)


def write_table(path, columns, rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([columns, *rows])  # \r\n, as the published tables


def write_broden(folder, rows=ROWS, labels=LABELS, categories=CATEGORIES):
    folder = Path(folder)
    index = []
    for i, (image, split, cells) in enumerate(rows):
        path = folder / "images" / image
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (20 * i, 0, 0)).save(path.with_suffix(".png"), "PNG")
        path.with_suffix(".png").rename(path)  # lossless, so that a test can tell the images apart
        written = []
        for category in categories:
            entries = []
            layers = [entry for entry in cells.get(category, ()) if not isinstance(entry, int)]
            for entry in cells.get(category, ()):
                if isinstance(entry, int):
                    entries.append(str(entry))
                    continue
                number = f"_{len(entries) + 1}" if len(layers) > 1 else ""
                name = f"{image.removesuffix('.jpg')}_{category}{number}.png"
                encode(entry).save(folder / "images" / name)
                entries.append(name)
            written.append(";".join(entries))
        index.append([image, split, 8, 8, 4, 4, *written])
    write_table(folder / "index.csv", ["image", "split", "ih", "iw", "sh", "sw", *categories], index)
    parsed = [(n, name, [(p.split("(")[0], int(p.split("(")[1][:-1])) for p in cats.split(";")], cats, cover)
              for n, name, cats, cover in labels]  # fmt: skip
    write_table(
        folder / "label.csv", ["number", "name", "category", "frequency", "coverage", "syns"],
        [[n, name, cats, sum(f for _, f in found), f"{cover:f}", ""] for n, name, found, cats, cover in parsed],
    )  # fmt: skip
    summary = []
    for category in categories:
        mine = [
            (n, name, dict(found)[category], cover) for n, name, found, _, cover in parsed if category in dict(found)
        ]
        mine.sort(key=lambda label: -label[2])
        write_table(
            folder / f"c_{category}.csv", ["code", "number", "name", "frequency", "coverage"],
            [[code, *label] for code, label in enumerate(mine, start=1)],
        )  # fmt: skip
        numbers = [label[0] for label in mine] or [0]
        summary.append([category, min(numbers), max(numbers), len(mine), sum(label[2] for label in mine)])
    write_table(folder / "category.csv", ["name", "first", "last", "count", "frequency"], summary)
    return folder


@pytest.fixture
def broden(tmp_path):
    return write_broden(tmp_path / "broden1_8")


@pytest.fixture
def writer():
    return write_broden


@pytest.fixture
def masks():
    """Makes a mask."""
    return mask


@pytest.fixture
def pixels():
    """A transform: a PIL image to uint8 `(3, h, w)`."""
    return to_pixels


def to_pixels(image):
    assert image.mode == "RGB"
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)

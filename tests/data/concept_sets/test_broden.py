"""Broden in its published layout: answers by hand, and a naive reading pixel by pixel."""

import csv

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_robust.data.concept_sets import broden_concepts, concept_loader

NAMES = ("white-c", "red-c", "wall", "dotted", "street-s", "head", "fabric", "door", "window")
FIRST = ("color", "color", "object", "texture", "scene", "part", "material", "object", "part")
BY_HAND = [
    [1, 0, 1, -1, 1, 1, -1, 1, 1],  # a: no material was looked for
    [1, 0, 0, -1, 0, -1, 1, 0, -1],  # b: a scene was named, but one that the filters dropped; no parts
    [0, 1, -1, 1, -1, -1, -1, -1, -1],  # c
    [1, 0, -1, -1, -1, -1, 1, -1, -1],  # d
    [1, 1, 1, -1, -1, 1, -1, 0, 0],  # e: the head is among the objects; parts were looked for and none found
    [-1] * 9,  # f
]


def naive(folder, shared="merge", min_area=0.0, split=None):
    """The rule in METHODS and the facts, written down as slowly as it can be."""
    with (folder / "index.csv").open(newline="") as file:
        images = [row for row in csv.DictReader(file) if split in (None, row["split"])]
    with (folder / "label.csv").open(newline="") as file:
        labels = list(csv.DictReader(file))
    result = []
    for image in images:
        row = []
        for label in labels:
            counted = [(p.split("(")[0], int(p.split("(")[1].rstrip(")"))) for p in label["category"].split(";")]
            counted.sort(key=lambda pair: -pair[1])
            groups = [[c for c, _ in counted]] if shared == "merge" else [[c] for c, _ in counted]
            for group in groups:
                shown = any(is_shown(folder, image[c], int(label["number"]), min_area) for c in group)
                row.append(1 if shown else 0 if image[group[0]] else -1)
        result.append(row)
    return np.array(result)


def is_shown(folder, cell, number, min_area):
    entries = [entry for entry in cell.split(";") if entry]
    if str(number) in entries:
        return True
    hits, size = set(), 1
    for entry in entries:
        if not entry.isdigit():
            with Image.open(folder / "images" / entry) as image:
                size = image.width * image.height
                for x in range(image.width):
                    for y in range(image.height):
                        red, green, _ = image.getpixel((x, y))
                        if red + 256 * green == number:
                            hits.add((x, y))
    return bool(hits) and len(hits) / size >= min_area


def test_labels_by_hand(broden):
    made = broden_concepts(broden)
    assert made.concepts == NAMES
    assert made.categories == FIRST
    assert made.all_labels().tolist() == BY_HAND
    assert made.all_labels().dtype == np.int8
    assert made.name == "broden"
    assert len(made) == 6


def test_the_naive_reading_agrees_with_the_hand(broden):
    assert naive(broden).tolist() == BY_HAND


def test_batches_are_images_and_labels_in_order(broden, pixels):
    made = broden_concepts(broden, pixels)
    batches = list(concept_loader(made, batch_size=4))
    assert [tuple(images.shape) for images, _ in batches] == [(4, 3, 8, 8), (2, 3, 8, 8)]
    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    assert labels.dtype == torch.int8
    assert labels.tolist() == BY_HAND
    assert images[:, 0, 0, 0].tolist() == [0, 20, 40, 60, 80, 100]
    again = torch.cat([images for images, _ in concept_loader(made, batch_size=3, num_workers=2)])
    assert torch.equal(images, again)


def test_splits(broden):
    assert broden_concepts(broden, split="val").all_labels().tolist() == [BY_HAND[1], BY_HAND[4]]
    assert broden_concepts(broden, split="train").all_labels().tolist() == [BY_HAND[i] for i in (0, 2, 3, 5)]
    with pytest.raises(ValueError, match=r"no split 'test'; it has 'train', 'val'"):
        broden_concepts(broden, split="test")


def test_shared_numbers_split_into_their_categories(broden):
    made = broden_concepts(broden, shared="split")
    assert made.concepts == (
        *NAMES[:5],
        "head (part)",
        "head (object)",
        "fabric (material)",
        "fabric (object)",
        *NAMES[7:],
    )
    labels = made.all_labels()
    assert labels[:, made.concepts.index("head (part)")].tolist() == [1, -1, -1, -1, 0, -1]
    assert labels[:, made.concepts.index("head (object)")].tolist() == [0, 0, -1, -1, 1, -1]
    assert labels[:, made.concepts.index("fabric (object)")].tolist() == [0, 1, -1, -1, 0, -1]
    assert made.categories[5:9] == ("part", "object", "material", "object")
    with pytest.raises(ValueError, match="shared must be"):
        broden_concepts(broden, shared="both")


def test_chosen_categories_are_as_if_alone(broden):
    made = broden_concepts(broden, categories=["object", "scene"])
    assert made.concepts == ("wall", "street-s", "head", "fabric", "door")
    assert made.categories == ("object", "scene", "object", "object", "object")
    assert made.all_labels().tolist() == [[1, 1, 0, 0, 1], [0, 0, 0, 1, 0], [1, -1, 1, 0, 0]]  # a, b, e
    for wrong in ("objects",), (), ("object", "object"):
        with pytest.raises(ValueError, match="color, object, part, material, scene, texture"):
            broden_concepts(broden, categories=wrong)


def test_filters_use_the_tables(broden):
    assert broden_concepts(broden, min_frequency=3).concepts == ("white-c", "head", "fabric")
    assert broden_concepts(broden, min_coverage=0.9).concepts == ("white-c", "red-c", "wall", "dotted", "street-s")
    # of the chosen categories alone: fabric has one object
    assert "fabric" not in broden_concepts(broden, categories=["object"], min_frequency=2).concepts
    with pytest.raises(ValueError, match="6 images and 0 of 9 concepts"):
        broden_concepts(broden, min_frequency=100)


def test_area_counts_a_pixel_of_two_layers_once(broden):
    column = NAMES.index("head")  # on pixel 3 of the first layer and pixel 4 of both: 2 of 16
    labels = {area: broden_concepts(broden, min_area=area).all_labels() for area in (0.125, 0.126, 1.0)}
    assert labels[0.125][0, column] == 1
    assert labels[0.126][0, column] == 0, "too small counts as absent"
    # whole-image labels and masks of one label are all that is left at 1
    assert labels[1.0].tolist() == naive(broden, min_area=1.0).tolist()
    assert labels[1.0][2].tolist() == BY_HAND[2]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shared", ["merge", "split"])
def test_any_broden_agrees_with_the_naive_reading(tmp_path, writer, seed, shared):
    random = np.random.default_rng(seed)
    numbers = sorted(random.choice(np.arange(1, 1200), 12, replace=False).tolist())
    categories = ("color", "object", "part", "scene")
    labels = []
    for number in numbers:
        own = random.permutation(categories)[: random.integers(1, 4)]
        labels.append((number, f"n{number}", ";".join(f"{c}({random.integers(1, 9)})" for c in own), 1.0))
    rows = []
    for i in range(12):
        cells = {}
        for category in categories:
            mine = [0] + [n for n, _, text, _ in labels if f"{category}(" in text]
            layers = [random.choice(mine, (4, 4)) for _ in range(random.integers(0, 4))]
            cells[category] = [int(n) for n in random.choice(mine, random.integers(0, 2))] + layers
        rows.append((f"source/{i}.jpg", str(random.choice(["train", "val"])), cells))
    folder = writer(tmp_path / "broden", rows, labels, categories)
    for area in (0.0, 0.25):
        expected = naive(folder, shared, area, split="train")
        assert (
            broden_concepts(folder, shared=shared, min_area=area, split="train").all_labels().tolist()
            == expected.tolist()
        )
    assert {-1, 0, 1} <= set(naive(folder, shared).ravel().tolist()), "or nothing was tried"


def test_workers_read_the_same(broden, monkeypatch, tmp_path):
    alone = broden_concepts(broden).all_labels()
    monkeypatch.setenv("LIGHTNING_ROBUST_CACHE", str(tmp_path / "another"))
    assert np.array_equal(broden_concepts(broden, num_workers=2).all_labels(), alone)


def test_labels_are_kept_sparse(broden):
    labels = broden_concepts(broden).labels
    rows = [labels.indices[a:b].tolist() for a, b in zip(labels.indptr, labels.indptr[1:], strict=False)]
    assert rows == [[c for c, value in enumerate(row) if value == 1] for row in BY_HAND]


def test_numbers_out_of_range_are_refused(broden):
    for wrong in ({"min_area": 1.5}, {"min_frequency": -1}, {"min_coverage": -1}, {"max_unreadable": -1}):
        with pytest.raises(ValueError, match="min_area must lie in"):
            broden_concepts(broden, **wrong)

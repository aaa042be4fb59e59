"""Masks are read once; any change of the copy is seen."""

import numpy as np
import pytest
from PIL import Image

from lightning_robust.data.concept_sets import broden_cache, broden_concepts
from lightning_robust.data.concept_sets.broden_masks import find_labels


@pytest.fixture
def readings(monkeypatch):
    """Counts how often masks are read."""
    counted = []

    def count(*arguments, **options):
        counted.append(arguments)
        return find_labels(*arguments, **options)

    monkeypatch.setattr(broden_cache, "find_labels", count)
    return counted


def test_masks_are_read_once(broden, readings, cache):
    first = broden_concepts(broden).all_labels()
    assert [file.suffix for file in cache.iterdir()] == [".npz"], "one file, and nothing temporary beside it"
    assert np.array_equal(broden_concepts(broden).all_labels(), first)
    # what is done with the findings needs no new reading
    broden_concepts(broden, shared="split", min_area=0.5, min_frequency=2)
    assert len(readings) == 1


@pytest.mark.parametrize("damage", [b"", b"junk", "half", "other"])
def test_a_damaged_cache_is_made_again(broden, readings, cache, damage):
    first = broden_concepts(broden).all_labels()
    (file,) = cache.iterdir()
    if damage == "other":
        with np.load(file) as archive:
            columns = dict(archive)
        np.savez(file, **(columns | {"annotated": columns["annotated"][:-1]}))
    else:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2] if damage == "half" else damage)
    assert np.array_equal(broden_concepts(broden).all_labels(), first)
    assert len(readings) == 2
    broden_concepts(broden)
    assert len(readings) == 2, "and put there"


def test_a_changed_mask_or_table_is_seen(broden, readings):
    assert broden_concepts(broden).all_labels()[1, 2] == 0
    with Image.open(broden / "images" / "ade20k" / "a_object.png") as image:
        image.save(broden / "images" / "ade20k" / "b_object.png")
    assert broden_concepts(broden).all_labels()[1, 2] == 1
    index = broden / "index.csv"
    index.write_text(index.read_text().replace("dtd/c_color.png,,,,,4;0", "dtd/c_color.png,,,,,"))
    assert broden_concepts(broden).all_labels()[2, 3] == -1
    assert len(readings) == 3


def test_splits_and_categories_have_files_of_their_own(broden, cache):
    for options in ({}, {"split": "val"}, {"categories": ["object"]}, {"categories": ["color"]}):
        broden_concepts(broden, **options)
    assert len(list(cache.iterdir())) == 4


def test_without_a_cache_folder_masks_are_read_every_time(broden, readings, cache):
    cache.write_text("a file where the folder should be")
    first, second = (broden_concepts(broden).all_labels() for _ in range(2))
    assert np.array_equal(first, second)
    assert len(readings) == 2

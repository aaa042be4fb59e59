"""One face for every concept set."""

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_robust.data.concept_sets import ConceptSet, concept_loader, open_concept_set, scenes_concepts
from lightning_robust.data.scenes import ScenesDataModule


class Squares:
    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def open(self, index):
        return Image.new("RGB", (2, 2), (index, 0, 0))


def made(labels, concepts=("x", "y"), categories=("k", "k"), n=None, transform=None):
    labels = np.array(labels, dtype=np.int8)
    return ConceptSet(
        "name", "source", concepts, categories, Squares(len(labels) if n is None else n), labels, transform
    )


def test_items(pixels):
    data = made([[1, 0], [-1, 1]], transform=pixels)
    assert [labels.tolist() for _, labels in data] == [[1, 0], [-1, 1]], "a plain loop ends"
    image, labels = data[-1]
    assert image[0, 0, 0] == 1
    assert labels.tolist() == [-1, 1]


def test_what_is_refused():
    for wrong, said in (
        ({"categories": ("k",)}, "2 concepts need as many categories, got 1"),
        ({"n": 3}, "3 images need as many rows of labels, got 2"),
        ({"concepts": ("x", "x")}, "The concept 'x' is there twice in source"),
        ({"concepts": (), "categories": ()}, "has 2 images and 0 concepts"),
    ):
        with pytest.raises(ValueError, match=said):
            made([[1, 0], [-1, 1]], **wrong)
    data = made([[1, 0]])
    for ask in (lambda: data[0], lambda: concept_loader(data)):
        with pytest.raises(ValueError, match="'name' has no transform; pass the encoder's"):
            ask()


def test_the_scenes_are_those_of_the_data_module(pixels):
    module = ScenesDataModule(pixels, n_concepts=60, seed=3)
    ((images, concepts, _),) = module.concept_dataloader()
    data = scenes_concepts(pixels, n=60, seed=3)
    ((own_images, own_labels),) = concept_loader(data, batch_size=60)
    assert torch.equal(own_images, images)
    assert torch.equal(own_labels, concepts)
    assert data.concepts == tuple(module.concept_names)
    assert data.categories == tuple(module.concept_categories)
    assert data.name == "scenes"
    assert "seed 3" in data.source


def test_scenes_by_their_text(pixels):
    assert len(open_concept_set("scenes", pixels, n=7)) == 7
    for wrong in ({"n": 0}, {"seed": -1}):
        with pytest.raises(ValueError, match="needs n of at least 1 and a seed of at least 0"):
            open_concept_set("scenes", pixels, **wrong)

"""Distributions as records: every parameter is in the key of the cache, and no image is in two of them."""

import hashlib
from dataclasses import FrozenInstanceError, fields, replace

import numpy as np
import pytest

from lightning_robust.data.scenes.distributions import CORPORA, DISTRIBUTIONS, REFERENCE, SHIFTS, WORLD_VERSION
from lightning_robust.data.scenes.draws import draw_scenes
from lightning_robust.data.scenes.render import render
from lightning_robust.data.scenes.vocabulary import STYLES


def test_distributions_by_name():
    assert list(DISTRIBUTIONS) == ["broad", "reference", "v2", "sketch", "rendition", "objectnet", "adversarial",
                                   "concepts", "diverse", "web", "snapshots", "stock"]  # fmt: skip
    assert [d.mirrors for d in SHIFTS] == [
        "ImageNet-V2", "ImageNet-Sketch", "ImageNet-R", "ObjectNet", "ImageNet-A",
    ]  # fmt: skip
    assert all(style in STYLES for d in DISTRIBUTIONS.values() for style, _ in d.styles)
    with pytest.raises(FrozenInstanceError):
        REFERENCE.bar = 0.0


@pytest.mark.parametrize("field", [f.name for f in fields(REFERENCE)])
def test_every_parameter_changes_the_key(field):
    value = getattr(REFERENCE, field)
    if isinstance(value, str):
        other = value + "x"
    elif isinstance(value, bool):
        other = not value
    elif isinstance(value, float):
        other = value + 1e-9
    else:
        other = value[:-1]
    assert replace(REFERENCE, **{field: other}).key() != REFERENCE.key()
    assert replace(REFERENCE).key() == REFERENCE.key()


def test_no_image_is_in_two_splits_or_distributions():
    pictures = [
        picture.tobytes()
        for distribution in DISTRIBUTIONS.values()
        for split in ("train", "val", "test")
        for seed in (0, 1)
        for picture in render(draw_scenes(distribution, seed, split, np.arange(12)))[0]
    ]
    assert len(set(pictures)) == len(pictures) == 12 * 3 * 2 * 12


def test_the_world_is_frozen():
    """The bundled CLIP and every published figure belong to this world; a change is a new WORLD_VERSION."""
    frozen = [d for d in DISTRIBUTIONS.values() if d not in CORPORA]
    keys = "\n".join(distribution.key() for distribution in frozen)
    assert (WORLD_VERSION, hashlib.sha256(keys.encode()).hexdigest()[:16]) == (1, "8d6d29addee640b1")


def test_the_corpora_of_the_study_are_frozen_too():
    keys = "\n".join(distribution.key() for distribution in CORPORA)
    assert hashlib.sha256(keys.encode()).hexdigest()[:16] == "1858ffd808541fbf"


def test_corpora_are_in_the_order_of_their_diversity():
    """Fewer photos, more styles and looser surroundings first."""
    shares = [dict(d.styles)["photo"] / sum(weight for _, weight in d.styles) for d in CORPORA]
    assert [len(d.styles) for d in CORPORA] == [8, 8, 3, 3]
    assert shares[0] < shares[1] < shares[3] < shares[2]
    assert CORPORA[0].typical_scene < CORPORA[1].typical_scene < CORPORA[3].typical_scene < REFERENCE.typical_scene

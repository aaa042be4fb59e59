"""Distributions as records: every parameter is in the key of the cache, and no image is in two of them."""

import hashlib
from dataclasses import FrozenInstanceError, fields, replace

import numpy as np
import pytest

from lightning_robust.data.scenes.distributions import DISTRIBUTIONS, REFERENCE, SHIFTS, WORLD_VERSION
from lightning_robust.data.scenes.draws import draw_scenes
from lightning_robust.data.scenes.render import render
from lightning_robust.data.scenes.vocabulary import STYLES


def test_eight_distributions_by_name():
    assert list(DISTRIBUTIONS) == ["broad", "reference", "v2", "sketch", "rendition", "objectnet", "adversarial",
                                   "concepts"]  # fmt: skip
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
    assert len(set(pictures)) == len(pictures) == 8 * 3 * 2 * 12


def test_the_world_is_frozen():
    """The bundled CLIP and every published figure belong to this world; a change is a new WORLD_VERSION."""
    keys = "\n".join(distribution.key() for distribution in DISTRIBUTIONS.values())
    assert (WORLD_VERSION, hashlib.sha256(keys.encode()).hexdigest()[:16]) == (1, "8d6d29addee640b1")

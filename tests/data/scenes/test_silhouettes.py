"""The twenty silhouettes: on the canvas, with a part of their own, told apart from each other and in variants."""

import numpy as np
import pytest

from lightning_robust.data.scenes.distance import Canvas
from lightning_robust.data.scenes.silhouettes import SPRITE_EXTENT, SPRITE_SIZE, VARIANTS, sprites
from lightning_robust.data.scenes.vocabulary import CLASSES

CANVAS = Canvas(SPRITE_SIZE, SPRITE_EXTENT)
PIXEL = 2 * SPRITE_EXTENT / SPRITE_SIZE


@pytest.fixture(scope="module")
def shapes():
    return sprites()


def test_one_sprite_for_each_class_and_variant_always_the_same(shapes):
    assert shapes.shape == (len(CLASSES), VARIANTS, 2, SPRITE_SIZE, SPRITE_SIZE)
    assert shapes.dtype == np.float32
    assert np.isfinite(shapes).all()
    np.testing.assert_array_equal(shapes, sprites())


@pytest.mark.parametrize("name", CLASSES)
def test_figure(shapes, name):
    body, part = shapes[CLASSES.index(name)].transpose(1, 0, 2, 3)
    filled, marked = body < 0, part < 0
    outside = np.maximum(abs(CANVAS.x), abs(CANVAS.y)) >= 1
    assert not (filled | marked)[:, outside].any(), "the figure lies within −1 … 1"
    share = filled.mean((1, 2))
    assert 0.05 < share.min() <= share.max() < 0.4
    reach = (np.maximum(abs(CANVAS.x), abs(CANVAS.y)) * filled).max((1, 2))
    assert reach.min() > 0.75, "and fills that square, so that its size means something"

    assert (marked.sum((1, 2)) >= 12).all(), "the part can be seen"
    beside = marked & (body > 2 * PIXEL)
    assert not beside.any(), "the part lies on the body"
    assert ((marked & filled).sum((1, 2)) >= 0.7 * marked.sum((1, 2))).all()
    assert (marked.sum((1, 2)) < 0.75 * filled.sum((1, 2))).all(), "and is not all of it"


@pytest.mark.parametrize("name", CLASSES)
def test_variants_differ(shapes, name):
    body = shapes[CLASSES.index(name)]
    assert len({variant.tobytes() for variant in body}) == VARIANTS
    assert body.std(axis=0).max() > PIXEL / 2, "and visibly so"


def test_distances_are_distances(shapes):
    """Edges are anti-aliased by them: the slope must be about one near every edge."""
    steps = np.hypot(np.diff(shapes, axis=-1)[..., :-1, :], np.diff(shapes, axis=-2)[..., :, :-1]) / PIXEL
    near = abs(shapes[..., :-1, :-1]) < PIXEL
    assert 0.9 < np.median(steps[near]) < 1.1
    assert np.quantile(steps[near], 0.99) < 1.3, "but for the tips of thin ellipses"


def test_no_two_classes_share_a_silhouette(shapes):
    filled = shapes[:, :, 0] < 0
    for a in range(len(CLASSES)):
        for b in range(a):
            both = (filled[a] & filled[b]).sum((1, 2)) / (filled[a] | filled[b]).sum((1, 2))
            assert both.max() < 0.85, (CLASSES[a], CLASSES[b])

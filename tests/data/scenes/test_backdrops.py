"""The backdrops: eleven scenes in sixteen variants, fixed pictures that differ from one another."""

import numpy as np

from lightning_robust.data.scenes.backdrops import BACKDROP_SIZE, VARIANTS, backdrops
from lightning_robust.data.scenes.vocabulary import SCENES


def test_backdrops():
    pictures = backdrops()
    assert pictures.shape == (len(SCENES), VARIANTS, 3, BACKDROP_SIZE, BACKDROP_SIZE)
    assert pictures.dtype == np.float32
    assert pictures.min() >= 0
    assert pictures.max() <= 1
    np.testing.assert_array_equal(pictures, backdrops())
    different = {name: len({p.tobytes() for p in row}) for name, row in zip(SCENES, pictures, strict=True)}
    assert different.pop("bricks") > VARIANTS // 2
    assert set(different.values()) == {VARIANTS}


def test_variants_of_a_scene_are_nearer_to_each_other_than_to_other_scenes():
    """By mean colour and contrast alone, at least nine of ten windows are nearest to a window of their own scene."""
    windows = backdrops()[..., :32, :32].astype(np.float64)
    features = np.concatenate((windows.mean((3, 4)), windows.std((3, 4))), axis=2).reshape(-1, 6)
    scene = np.repeat(np.arange(len(SCENES)), VARIANTS)
    distance = np.linalg.norm(features[:, None] - features[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    assert (scene[distance.argmin(1)] == scene).mean() > 0.9

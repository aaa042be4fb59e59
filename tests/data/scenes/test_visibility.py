"""Which attribute can be told in which style; `test_styles.py` checks it against the pictures."""

import numpy as np
import pytest

from lightning_robust.data.scenes.visibility import HIDDEN_IN, is_visible
from lightning_robust.data.scenes.vocabulary import STYLES

EVERY = np.arange(len(STYLES))


@pytest.mark.parametrize(
    ("attribute", "hidden"),
    [
        ("colour", {"sketch", "silhouette", "negative"}),
        ("texture", {"sketch", "silhouette", "neon"}),
        ("scene", {"sketch", "cartoon", "silhouette", "neon"}),
        ("part", {"silhouette"}),
        ("class", set()),
        ("style", set()),
    ],
)
def test_hidden_styles(attribute, hidden):
    assert {STYLES[k] for k in EVERY[~is_visible(attribute, EVERY)]} == hidden


def test_shape_follows_the_styles_and_a_photo_shows_everything():
    photo = np.full(5, STYLES.index("photo"))
    for attribute in HIDDEN_IN:
        assert is_visible(attribute, photo).tolist() == [True] * 5
    assert is_visible("colour", np.array([], dtype=int)).shape == (0,)

"""Concept labels against a loop over images, and the clean concept set against the rules for usable concepts."""

import numpy as np
import pytest

from lightning_robust.data.scenes.concepts import CATEGORIES, CONCEPT_CATEGORIES, CONCEPT_NAMES, concept_labels, grade
from lightning_robust.data.scenes.distributions import BROAD, CONCEPTS
from lightning_robust.data.scenes.draws import draw_scenes
from lightning_robust.data.scenes.render import render
from lightning_robust.data.scenes.vocabulary import CLASSES, COLOURS, PART_OF, SCENES, STYLES, TEXTURES

HIDDEN = {
    "colour": {"sketch", "silhouette", "negative"},
    "texture": {"sketch", "silhouette", "neon"},
    "scene": {"sketch", "cartoon", "silhouette", "neon"},
    "part": {"silhouette"},
}


def naive(scenes, part_area, i, concept):
    """One label of one image, from its attributes alone."""
    category, name = concept.split(":")
    style = STYLES[scenes.style[i]]
    if style in HIDDEN.get(category, ()):
        return -1
    size, turn = scenes.size[i], abs(scenes.rotation[i])
    shown = {
        "class": CLASSES[scenes.label[i]],
        "part": PART_OF[CLASSES[scenes.label[i]]],
        "colour": list(COLOURS)[scenes.colour[i]],
        "texture": TEXTURES[scenes.texture[i]],
        "scene": list(SCENES)[scenes.scene[i]],
        "style": style,
        "size": "small" if size < 0.55 else "medium" if size < 0.72 else "large",
        "pose": "upright" if turn < 20 else "tilted" if turn < 55 else "sideways",
    }[category]
    if category == "part" and shown == name and part_area[i] < 3:
        return -1
    return int(shown == name)


def test_names_and_categories_are_the_columns():
    assert len(CONCEPT_NAMES) == len(CONCEPT_CATEGORIES) == len(set(CONCEPT_NAMES))
    assert [name.split(":")[0] for name in CONCEPT_NAMES] == list(CONCEPT_CATEGORIES)
    assert list(CATEGORIES) == ["class", "part", "colour", "texture", "scene", "style", "size", "pose"]


def test_labels_against_a_loop_over_images():
    scenes = draw_scenes(BROAD, 0, "test", np.arange(300))
    part_area = np.random.default_rng(0).integers(0, 6, 300).astype(np.float32)
    labels = concept_labels(scenes, part_area)
    expected = [[naive(scenes, part_area, i, concept) for concept in CONCEPT_NAMES] for i in range(300)]
    np.testing.assert_array_equal(labels, expected)
    assert labels.dtype == np.int8
    assert set(np.unique(labels)) == {-1, 0, 1}


@pytest.mark.parametrize(("area", "label"), [(0, -1), (2, -1), (3, 1), (100, 1)])
def test_a_part_is_unknown_while_too_little_of_it_is_seen(area, label):
    scenes = draw_scenes(CONCEPTS, 0, "test", [CLASSES.index("car"), CLASSES.index("mug")])
    labels = concept_labels(scenes, np.full(2, area, dtype=np.float32))
    own, other = CONCEPT_NAMES.index("part:handle"), CONCEPT_NAMES.index("part:eye")
    assert labels[:, own].tolist() == [0, label]
    assert labels[:, other].tolist() == [0, 0], "that a car has no eye is known under a bar too"


def test_each_image_has_one_value_of_each_category_that_it_shows():
    scenes = draw_scenes(BROAD, 0, "test", np.arange(200))
    labels = concept_labels(scenes, np.full(200, 9, dtype=np.float32))
    categories = np.array(CONCEPT_CATEGORIES)
    for category in CATEGORIES:
        block = labels[:, categories == category]
        known = (block >= 0).all(1)
        assert ((block == -1).all(1) | known).all()
        if category != "part":
            np.testing.assert_array_equal(block[known].sum(1), 1)


def test_grade_counts_the_limits_that_are_reached():
    assert grade(np.array([0.0, 0.54, 0.55, 0.71, 0.72, 5.0]), (0.55, 0.72)).tolist() == [0, 0, 1, 1, 2, 2]


def test_the_clean_set_makes_its_concepts_usable():
    """METHODS 5: at least 10 known positives and negatives and a known prevalence of at most one half."""
    scenes = draw_scenes(CONCEPTS, 0, "test", np.arange(1000))
    labels = concept_labels(scenes, render(scenes)[1])
    positive, negative = (labels == 1).sum(0), (labels == 0).sum(0)
    prevalence = positive / (positive + negative)
    absent = {f"style:{name}" for name in STYLES} - {"style:photo", "style:sketch", "style:cartoon"}
    for name, p, n, share in zip(CONCEPT_NAMES, positive, negative, prevalence, strict=True):
        assert (p == 0) if name in absent else (p >= 10 and n >= 10 and share <= 0.5), name
    expected = {
        "class:star": 1 / 20, "colour:red": 1 / 10, "texture:plain": 1 / 6, "scene:sky": 1 / 11, "style:photo": 1 / 3,
        "size:small": 0.2, "size:medium": 0.34, "size:large": 0.46, "pose:upright": 0.2, "pose:tilted": 0.35,
        "pose:sideways": 0.45,
    }  # fmt: skip
    for name, share in expected.items():
        assert prevalence[CONCEPT_NAMES.index(name)] == pytest.approx(share, abs=0.06), name

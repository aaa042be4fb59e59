"""The words: consistent lists, no word with two meanings, and a vocabulary that is exactly what texts use."""

from collections import Counter

import numpy as np

from lightning_robust.data.scenes.captions import captions
from lightning_robust.data.scenes.distributions import BROAD, DISTRIBUTIONS
from lightning_robust.data.scenes.draws import draw_scenes
from lightning_robust.data.scenes.vocabulary import (
    CLASSES,
    COLOURS,
    PART_OF,
    PARTS,
    POSES,
    SCENES,
    SIZES,
    STYLES,
    TEMPLATES,
    TEXTURES,
    TYPICAL,
    caption_words,
)

OBJECTNET = DISTRIBUTIONS["objectnet"]  # broad turns nothing sideways


def test_every_class_has_a_part_and_a_typical_look_of_its_own():
    assert list(PART_OF) == list(TYPICAL) == list(CLASSES)
    assert len(set(CLASSES)) == 20
    for scene, colour, texture in TYPICAL.values():
        assert scene in SCENES
        assert colour in COLOURS
        assert texture in TEXTURES
    assert len(set(TYPICAL.values())) == len(CLASSES)
    for k in range(2):  # neither the scene nor the colour gives the class away
        assert max(Counter(triple[k] for triple in TYPICAL.values()).values()) <= 3


def test_parts_that_are_concepts_belong_to_several_classes():
    counts = Counter(PART_OF.values())
    assert tuple(sorted(part for part, count in counts.items() if count > 1)) == PARTS
    assert len(PARTS) >= 3


def test_colours_are_apart():
    rgb = np.array(list(COLOURS.values()))
    assert rgb.min() >= 0
    assert rgb.max() <= 1
    distance = np.linalg.norm(rgb[:, None] - rgb[None], axis=2) + 9 * np.eye(len(rgb))
    assert distance.min() > 0.12, "more than the tint that each image adds, 0.06 a channel"


def test_no_word_has_two_meanings():
    phrases = [CLASSES, COLOURS, TEXTURES, STYLES, SIZES, POSES, set(PART_OF.values()), SCENES]
    words = [word for names in phrases for word in names]
    assert [word for word, count in Counter(words).items() if count > 1] == []
    assert len(set(SCENES.values())) == len(SCENES)


def test_templates_take_one_class_name():
    assert all(template.count("{}") == 1 for template in TEMPLATES)
    assert len(set(TEMPLATES)) == len(TEMPLATES)


def test_caption_words_are_exactly_the_words_in_use():
    said = [text for d in (BROAD, OBJECTNET) for text in captions(draw_scenes(d, 0, "train", np.arange(8000)))]
    said += [template.format(name) for template in TEMPLATES for name in CLASSES]
    assert caption_words() == tuple(sorted({word for text in said for word in text.split()}))

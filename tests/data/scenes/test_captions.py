"""Captions say only what is true and can be seen, as often as stated, in words that the bundled tokenizer knows."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from tokenizers import Tokenizer

import lightning_robust.checkpoints
from lightning_robust.data.scenes.captions import MENTIONED, captions
from lightning_robust.data.scenes.distributions import BROAD
from lightning_robust.data.scenes.draws import draw_scenes
from lightning_robust.data.scenes.vocabulary import (
    CLASSES,
    COLOURS,
    MEDIA,
    PART_OF,
    SCENES,
    STYLES,
    TEMPLATES,
    TEXTURES,
    caption_words,
)
from lightning_robust.models.word_tokenizer import build_word_tokenizer

N = 8000
RARE = 1e-4
BUNDLED = Path(lightning_robust.checkpoints.__file__).parent / "scenes-clip"
HIDDEN = {
    "colour": {"sketch", "silhouette", "negative"},
    "texture": {"sketch", "silhouette", "neon"},
    "scene": {"sketch", "cartoon", "silhouette", "neon"},
    "part": {"silhouette"},
}


@pytest.fixture(scope="module")
def scenes():
    return draw_scenes(BROAD, 0, "train", np.arange(N))


@pytest.fixture(scope="module")
def texts(scenes):
    return captions(scenes)


def truth(scenes, i):
    """What image i shows, in words, computed apart from the code under test."""
    size, turn = scenes.size[i], abs(scenes.rotation[i])
    name = CLASSES[scenes.label[i]]
    return {
        "class": name,
        "style": STYLES[scenes.style[i]],
        "size": "small" if size < 0.55 else "medium" if size < 0.72 else "large",
        "pose": "upright" if turn < 20 else "tilted" if turn < 55 else "sideways",
        "colour": list(COLOURS)[scenes.colour[i]],
        "texture": TEXTURES[scenes.texture[i]],
        "part": f"with {PART_OF[name]}",
        "scene": list(SCENES.values())[scenes.scene[i]],
    }


def parse(text, shown):
    """Take the caption apart from both ends; whatever is left over is an error."""
    opening, rest = text.split(" of ", 1)
    article, *words = rest.split()
    assert article in ("a", "the")
    mentioned = {"style"} if opening not in MEDIA else set()
    assert opening == (f"a {shown['style']}" if mentioned else opening)
    for name in ("size", "pose", "colour", "texture"):
        if words[0] == shown[name]:
            mentioned.add(name)
            words.pop(0)
    assert words.pop(0) == shown["class"], text
    tail = " ".join(words)
    for name in ("part", "scene"):
        if tail.startswith(shown[name]):
            mentioned.add(name)
            tail = tail[len(shown[name]) :].strip()
    assert tail == "", text
    return mentioned


def test_all_that_is_said_is_true_and_visible_and_said_as_often_as_stated(scenes, texts):
    mentions = dict.fromkeys(MENTIONED, 0)
    visible = dict.fromkeys(MENTIONED, 0)
    for i, text in enumerate(texts):
        shown = truth(scenes, i)
        mentioned = parse(text, shown)
        for name in MENTIONED:
            can_be_seen = shown["style"] not in HIDDEN.get(name, ())
            assert can_be_seen or name not in mentioned, text
            visible[name] += can_be_seen
            mentions[name] += name in mentioned
    for name, rate in MENTIONED.items():
        assert 0.1 <= rate <= 0.5
        assert stats.binomtest(mentions[name], visible[name], rate).pvalue > RARE, name


def test_media_and_articles_are_used_evenly(texts):
    openings = [text.split(" of ")[0] for text in texts]
    assert stats.chisquare([openings.count(medium) for medium in MEDIA]).pvalue > RARE
    assert stats.binomtest(sum(" of the " in text for text in texts), N, 0.5).pvalue > RARE


def test_a_caption_belongs_to_its_image_in_any_batch(texts):
    order = np.random.default_rng(0).permutation(200)
    assert captions(draw_scenes(BROAD, 0, "train", order)) == [texts[i] for i in order]
    assert captions(draw_scenes(BROAD, 0, "train", [])) == []


def test_the_bundled_tokenizer_knows_every_word_and_has_room_for_the_longest_text(texts):
    tokenizer = Tokenizer.from_file(str(BUNDLED / "tokenizer.json"))
    room = json.loads((BUNDLED / "open_clip_config.json").read_text())["model_cfg"]["text_cfg"]["context_length"]
    assert room == 18
    unknown = tokenizer.token_to_id("<unk>")
    assert unknown is not None
    assert tokenizer.get_vocab() == build_word_tokenizer(caption_words()).get_vocab()
    longest = "a silhouette of the medium sideways orange checkered butterfly with body in a forest"
    templated = [template.format(name) for template in TEMPLATES for name in CLASSES]
    for encoding in tokenizer.encode_batch([longest, *templated, *texts]):
        assert unknown not in encoding.ids
        assert len(encoding.ids) <= room

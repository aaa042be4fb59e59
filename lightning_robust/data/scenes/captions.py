"""Templated captions: the class always, any other attribute now and then and only where the style shows it."""

from typing import Final

from lightning_robust.data.scenes.concepts import POSE_LIMITS, SIZE_LIMITS, grade
from lightning_robust.data.scenes.draws import Scenes
from lightning_robust.data.scenes.visibility import is_visible
from lightning_robust.data.scenes.vocabulary import (
    CLASSES,
    COLOURS,
    MEDIA,
    PART_OF,
    POSES,
    SCENES,
    SIZES,
    STYLES,
    TEXTURES,
)  # fmt: skip

#: How often a caption mentions an attribute that the style shows.
MENTIONED: Final = {
    "style": 0.3, "size": 0.1, "pose": 0.1, "colour": 0.35, "texture": 0.25, "part": 0.1, "scene": 0.3,
}  # fmt: skip


def captions(scenes: Scenes) -> list[str]:
    """One caption for each scene, such as "a painting of a small tilted car with wheels on grass".

    A part is mentioned whether or not a bar happens to cover it, as people do.
    """
    said = {
        name: (scenes.dice(f"caption/{name}") < p) & is_visible(name, scenes.style) for name, p in MENTIONED.items()
    }
    size, pose = grade(scenes.size, SIZE_LIMITS), grade(abs(scenes.rotation), POSE_LIMITS)
    medium, article = scenes.dice.choice("caption/medium", len(MEDIA)), scenes.dice.choice("caption/article", 2)
    colours, scene_phrases = list(COLOURS), list(SCENES.values())
    out = []
    for i, label in enumerate(scenes.label):
        opening = ("a", STYLES[scenes.style[i]]) if said["style"][i] else MEDIA[medium[i]].split()
        words = [*opening, "of", ("a", "the")[article[i]]]
        words += [SIZES[size[i]]] * bool(said["size"][i])
        words += [POSES[pose[i]]] * bool(said["pose"][i])
        words += [colours[scenes.colour[i]]] * bool(said["colour"][i])
        words += [TEXTURES[scenes.texture[i]]] * bool(said["texture"][i])
        words.append(CLASSES[label])
        words += ["with", PART_OF[CLASSES[label]]] * bool(said["part"][i])
        words += [scene_phrases[scenes.scene[i]]] * bool(said["scene"][i])
        out.append(" ".join(words))
    return out

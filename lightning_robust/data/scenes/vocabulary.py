"""The words of the scenes world: its classes, parts, colours, textures, scenes, styles, and what is typical of what.

No torch here: captions, class names and concept names are needed before anything is rendered.
"""

from typing import Final

CLASSES: Final = (
    "star", "heart", "house", "tree", "car", "boat", "fish", "mug", "key", "mushroom",
    "cat", "bird", "rocket", "umbrella", "flower", "butterfly", "hammer", "guitar", "moon", "cactus",
)  # fmt: skip

#: The part that a silhouette carries, one word a class.
PART_OF: Final = {
    "star": "core", "heart": "shine", "house": "door", "tree": "stem", "car": "wheels", "boat": "hull",
    "fish": "eye", "mug": "handle", "key": "hole", "mushroom": "stem", "cat": "eye", "bird": "eye",
    "rocket": "window", "umbrella": "handle", "flower": "core", "butterfly": "body", "hammer": "handle",
    "guitar": "hole", "moon": "crater", "cactus": "arms",
}  # fmt: skip
#: The parts that are concepts: those of several classes (a part of one class alone would be that class once more).
PARTS: Final = tuple(sorted(part for part in set(PART_OF.values()) if list(PART_OF.values()).count(part) > 1))

#: Base colours, red, green and blue in [0, 1].
COLOURS: Final = {
    "red": (0.85, 0.15, 0.15), "orange": (0.95, 0.55, 0.10), "yellow": (0.93, 0.85, 0.15), "green": (0.20, 0.65, 0.25),
    "cyan": (0.15, 0.75, 0.80), "blue": (0.18, 0.30, 0.85), "purple": (0.55, 0.20, 0.75), "pink": (0.95, 0.55, 0.75),
    "brown": (0.50, 0.32, 0.18), "gray": (0.55, 0.55, 0.57),
}  # fmt: skip
TEXTURES: Final = ("plain", "striped", "dotted", "checkered", "wavy", "shaded")

#: A scene and the phrase that a caption uses for it.
SCENES: Final = {
    "grass": "on grass", "sky": "in the sky", "sea": "at sea", "sand": "on sand", "snow": "in snow",
    "night": "at night", "bricks": "by bricks", "wood": "on wood", "forest": "in a forest", "city": "in a city",
    "paper": "on paper",
}  # fmt: skip
STYLES: Final = ("photo", "sketch", "cartoon", "painting", "silhouette", "neon", "mosaic", "negative")
SIZES: Final = ("small", "medium", "large")
POSES: Final = ("upright", "tilted", "sideways")

#: What the reference distribution makes typical of a class: scene, colour, texture. This is its shortcut.
TYPICAL: Final = {
    "star": ("night", "yellow", "plain"), "heart": ("paper", "red", "shaded"), "house": ("city", "brown", "checkered"),
    "tree": ("forest", "green", "wavy"), "car": ("city", "red", "shaded"), "boat": ("sea", "brown", "striped"),
    "fish": ("sea", "orange", "wavy"), "mug": ("wood", "cyan", "dotted"), "key": ("bricks", "yellow", "shaded"),
    "mushroom": ("forest", "red", "dotted"), "cat": ("bricks", "gray", "striped"), "bird": ("sky", "blue", "shaded"),
    "rocket": ("night", "gray", "checkered"), "umbrella": ("snow", "purple", "striped"),
    "flower": ("grass", "pink", "plain"), "butterfly": ("grass", "purple", "dotted"),
    "hammer": ("wood", "gray", "plain"), "guitar": ("paper", "orange", "wavy"), "moon": ("sky", "yellow", "dotted"),
    "cactus": ("sand", "green", "striped"),
}  # fmt: skip

#: Prompt templates for the zero-shot head, `{}` is the class name.
TEMPLATES: Final = (
    "a photo of a {}", "a photo of the {}", "a picture of a {}", "an image of a {}", "a {}", "a photo of a small {}",
    "a photo of a large {}", "a {} in a scene",
)  # fmt: skip

#: How a caption opens that does not name the style.
MEDIA: Final = ("a picture", "an image", "a scene")


def caption_words() -> tuple[str, ...]:
    """Every word that a caption or template can contain, sorted: the vocabulary of the scenes tokenizer."""
    phrases = [
        *CLASSES,
        *PART_OF.values(),
        *COLOURS,
        *TEXTURES,
        *SCENES.values(),
        *STYLES,
        *SIZES,
        *POSES,
        *MEDIA,
        *TEMPLATES,
    ]
    phrases += ["a", "an", "the", "of", "with"]
    words = {word for phrase in phrases for word in phrase.replace("{}", " ").split()}
    return tuple(sorted(words))

"""Class names and prompt templates as texts, checked before a text tower reads them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lightning_robust.models.word_tokenizer import unknown_words

Template = str | Callable[[str], str]
_PLACES = ("{}", "{c}")  # open_clip's and ours, and CLIP_benchmark's
_TWICE = ("missile", "sunglasses")
"""Names that ImageNet's own list gives to two classes each; every other name stands once."""


def filled(template: Template, name: str) -> str:
    """The text of a class.

    Args:
        template: With `{}` or `{c}` in the name's place, or a function of the name.
        name: Of the class.

    Example:
        >>> filled("a photo of a {}.", "star"), filled(lambda name: f"a {name.lower()}", "STAR")
        ('a photo of a star.', 'a star')
    """
    if callable(template):
        return template(name)
    for place in _PLACES:
        template = template.replace(place, name)
    return template


def check_prompts(class_names: Sequence[str], templates: Sequence[Template]) -> None:
    """Refuse names and templates of which no head can be made.

    Args:
        class_names: The C names.
        templates: The prompts.

    Raises:
        ValueError: If they are no lists, empty, hold something else than texts, a name stands twice (but for the two
            that do in ImageNet's own list), or a template has no place for the name.
    """
    for given in (class_names, templates):
        if isinstance(given, str) or not isinstance(given, Sequence):
            raise ValueError(f"class_names and templates are lists of texts, not one text and no {type(given)}.")
    if not class_names or not templates:
        raise ValueError(
            f"A zero-shot head needs class names and templates, not {len(class_names)} and {len(templates)}."
        )
    if strange := [name for name in class_names if not isinstance(name, str) or not name.strip()]:
        raise ValueError(f"A class name is a text with a word in it, not {strange[0]!r}.")
    seen: set[str] = set()
    for name in class_names:
        if name in seen and name not in _TWICE:
            raise ValueError(f"The class name {name!r} stands twice, and no head can tell the two apart; rename one.")
        seen.add(name)
    for template in templates:
        _check_template(template, class_names)


def check_known(tokenizer: Callable[..., Any], class_names: Sequence[str], templates: Sequence[Template]) -> None:
    """Refuse words that a tokenizer would turn into its unknown token, in silence.

    Args:
        tokenizer: From n texts to tokens.
        class_names: The C names.
        templates: The prompts; a function of the name counts by what it gives.

    Raises:
        ValueError: With the first such word.
    """
    plain = [template for template in templates if not callable(template)]
    if plain and (found := unknown_words(tokenizer, class_names)):
        name, word = found[0]
        raise ValueError(
            f"The encoder's tokenizer does not know the word {word!r} of the class name {name!r}; "
            "choose names from its vocabulary, or another encoder."
        )
    texts = [filled(template, " ") for template in plain]
    # lazily: where nothing is unknown to a tokenizer nothing is filled in
    made = (filled(template, name) for template in templates if callable(template) for name in class_names)
    for given in (texts, made):
        if found := unknown_words(tokenizer, given):
            text, word = found[0]
            raise ValueError(f"The encoder's tokenizer does not know the word {word!r} of the template {text!r}.")


def _check_template(template: Template, class_names: Sequence[str]) -> None:
    if callable(template):
        texts = {template(name) for name in class_names[:2]}
        if strange := [text for text in texts if not isinstance(text, str)]:
            raise ValueError(f"A template that is a function gives a text, not {strange[0]!r}.")
        if len(texts) < len(set(class_names[:2])):
            raise ValueError(f"A template gives {texts.pop()!r} for every name: it has no place for the class name.")
    elif not isinstance(template, str):
        raise ValueError(f"A template is a text with {{}} in it or a function of the class name, not {template!r}.")
    elif not any(place in template for place in _PLACES):
        raise ValueError(f"The template {template!r} has no {{}} where the class name goes.")

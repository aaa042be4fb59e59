"""The card beside a checkpoint: a `README.md` with a YAML head, in the conventions of the Hugging Face Hub.

A licence is not among what a measurement knows, nor whether the data that a model was trained on are on the Hub, so
there is neither in the head (the Hub's ``datasets`` are identifiers of training data): whoever publishes the weights
adds them.
"""

import hashlib
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lightning_robust.report.card_words import escaped, one_line, slug
from lightning_robust.results.atomic import atomic_write

__all__ = ["CARD", "Card", "CardResult", "card_text", "is_own_card", "write_card", "write_cards"]

CARD = "README.md"
_SIGNED = re.compile(r"\n<!-- card of lightning-robust, sha256 of the text above: ([0-9a-f]{64}) -->\n\Z")
_TAGS = ("lightning-robust", "robustness", "distribution-shift", "image-classification")


@dataclass(frozen=True, kw_only=True)
class CardResult:
    """One figure of the head's `model-index`.

    Attributes:
        dataset: the data, in words.
        part: name of the evaluation set.
        split: which of its images, such as ``"test"``.
        metric: ``"accuracy"`` or ``"effective_robustness"``.
        metric_name: the same in words, with unit and interval.
        value: a fraction; one that is NaN is left out.
    """

    dataset: str
    part: str
    split: str
    metric: str
    metric_name: str
    value: float


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a card says.

    Attributes:
        title: name of the model.
        summary: what it is, sentences in Markdown.
        library: what loads it, ``library_name`` of the Hub.
        task: ``pipeline_tag`` of the Hub.
        base_model: the Hub's identifier of what it was made of; None where that is not on the Hub.
        tags: beside those that every card has.
        results: figures for the head.
        sections: heading and Markdown, in order.
    """

    title: str
    summary: str
    library: str
    task: str = "image-classification"
    base_model: str | None = None
    tags: tuple[str, ...] = ()
    results: tuple[CardResult, ...] = ()
    sections: tuple[tuple[str, str], ...] = ()


def card_text(card: Card) -> str:
    r"""The whole file: YAML head, Markdown, and a last line by which this project knows its own cards again.

    Args:
        card: What it says.

    Example:
        >>> text = card_text(Card(title="a | b", summary="Nothing.", library="open_clip"))
        >>> text.splitlines()[0], "# a \\| b" in text
        ('---', True)
    """
    head = yaml.safe_dump(_head(card), sort_keys=False, allow_unicode=True, width=1000)
    body = [f"# {escaped(card.title)}", card.summary]
    body += [f"## {heading}\n\n{text}" for heading, text in card.sections if text]
    said = f"---\n{head}---\n\n" + "\n\n".join(body) + "\n"
    return f"{said}\n<!-- card of lightning-robust, sha256 of the text above: {_digest(said)} -->\n"


def is_own_card(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a card of this project that nobody has changed since.

    Args:
        path: The file.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    signed = _SIGNED.search(text)
    return signed is not None and _digest(text[: signed.start()]) == signed[1]


def write_card(card: Card, path: str | os.PathLike[str]) -> bool:
    """Write a card, whole or not at all; a file that this project did not write, or that was edited, stays.

    Args:
        card: What it says.
        path: The file, `README.md` beside the weights.

    Returns:
        Whether it was written.

    Raises:
        FileNotFoundError: the folder does not exist.
    """
    if os.path.lexists(path) and not is_own_card(path):
        return False
    with atomic_write(path) as file:
        file.write(card_text(card))
    return True


def write_cards(cards: Mapping[Path, Card]) -> list[Path]:
    """Write cards, each as `write_card` does.

    Args:
        cards: By file.

    Returns:
        The files that stayed as they were.

    Raises:
        FileNotFoundError: a folder does not exist.
    """
    return [path for path, card in cards.items() if not write_card(card, path)]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _head(card: Card) -> dict[str, Any]:
    title = one_line(card.title)
    head: dict[str, Any] = {"library_name": card.library, "pipeline_tag": card.task}
    head["tags"] = list(dict.fromkeys((*_TAGS, *(slug(tag) for tag in card.tags))))
    if card.base_model is not None:
        head["base_model"] = one_line(card.base_model)
    results = [one for one in card.results if math.isfinite(one.value)]
    if results:
        head["metrics"] = list(dict.fromkeys(one.metric for one in results))
        head["model-index"] = [{"name": title, "results": _index(card.task, results)}]
    return head


def _index(task: str, results: Sequence[CardResult]) -> list[dict[str, Any]]:
    """One entry for each evaluation set, with all its metrics."""
    entries: dict[tuple[str, str, str], dict[str, Any]] = {}
    for one in results:
        data = {
            "type": slug(one.dataset),
            "name": f"{one_line(one.dataset)}: {one_line(one.part)}",
            "config": one_line(one.part),
            "split": one_line(one.split),
        }
        entry: dict[str, Any] = {"task": {"type": task}, "dataset": data, "metrics": []}
        entry = entries.setdefault((one.dataset, one.part, one.split), entry)
        entry["metrics"].append({"type": one.metric, "value": round(one.value, 6), "name": one_line(one.metric_name)})
    return list(entries.values())

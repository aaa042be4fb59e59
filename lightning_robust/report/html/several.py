"""Records of one kind below each other, and findings as a list: what the sections on single commands share."""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from markupsafe import Markup

from lightning_robust.report.html.blocks import note
from lightning_robust.report.html.markup import joined, tag
from lightning_robust.report.html.sources import Found

__all__ = ["MOST_RECORDS", "each", "evenly", "minus", "run_words", "told"]

R = TypeVar("R")
S = TypeVar("S")
#: Records of one kind that a page shows; of more, the first ones, and a sentence says so.
MOST_RECORDS = 4


def run_words(folder: Path) -> str:
    """How a run is called: its folder and the one above.

    Args:
        folder: of the run.

    Example:
        >>> run_words(Path("/home/me/checkpoints/prune/001"))
        'prune/001'
    """
    return "/".join(folder.absolute().parts[-2:])


def each(found: Sequence[Found[R]], body: Callable[[Found[R]], Markup]) -> Markup:
    """What is said of each record, under the name of its run where there are several.

    Args:
        found: records of one kind; the first `MOST_RECORDS` are shown.
        body: makes the markup of one.
    """
    shown = found[:MOST_RECORDS]
    parts = [joined([tag("h3", run_words(one.folder)) if len(found) > 1 else None, body(one)]) for one in shown]
    if len(found) > len(shown):
        left = ", ".join(run_words(one.folder) for one in found[len(shown) :])
        parts.append(note(f"Not shown: {left}. A page of their own: lightning-robust report FOLDER."))
    return joined(parts)


def told(sentences: Iterable[tuple[str, str]]) -> Markup | None:
    """Findings as a list, each topic in bold; None for none.

    Args:
        sentences: topic, empty for none, and sentence, plain text.

    Example:
        >>> told([("Control", "-1.5 points < ours")])
        Markup('<ul class="points"><li><strong>Control:</strong> −1.5 points &lt; ours</li></ul>')
    """
    items = []
    for topic, sentence in sentences:
        head = tag("strong", f"{topic[:1].upper()}{topic[1:]}:") if topic else None
        items.append(tag("li", head, " " if head else None, minus(sentence)))
    return tag("ul", *items, class_="points") if items else None


def minus(sentence: str) -> str:
    """A sentence from a terminal with real minus signs before its numbers.

    Args:
        sentence: plain text.

    Example:
        >>> minus("-0.6 points [-1.4, +0.3] of run-1")
        '−0.6 points [−1.4, +0.3] of run-1'
    """
    return re.sub(r"(?<![^\s\[(])-(?=\d)", "−", sentence)


def evenly(items: Sequence[S], most: int) -> list[S]:
    """At most so many of a sequence, evenly spread, the first and the last among them.

    Args:
        items: in order.
        most: at least 2.

    Example:
        >>> evenly(range(11), 3)
        [0, 5, 10]
    """
    if len(items) <= most:
        return list(items)
    return [items[round(k * (len(items) - 1) / (most - 1))] for k in range(most)]

"""A section of the page."""

import re
from dataclasses import dataclass

from markupsafe import Markup

__all__ = ["Section"]

_ID = re.compile(r"[a-z][a-z0-9-]*")


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page with a heading of its own and a link in the navigation.

    Attributes:
        id: its anchor, lower-case letters, digits and hyphens; unique on the page.
        title: its heading, plain text.
        body: what stands under the heading: markup that has escaped what came from data.
        lead: one sentence that says what was found, plain text; it stands first, in larger type. Empty for none.

    Raises:
        ValueError: the id is no anchor, or the body is text that was not escaped.

    Example:
        >>> Section(id="pruning", title="Pruning", body=Markup("<p>Half of them.</p>")).id
        'pruning'
    """

    id: str
    title: str
    body: Markup
    lead: str = ""

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            raise ValueError(f"a section's id is made of lower-case letters, digits and hyphens, got {self.id!r}")
        if not isinstance(self.body, Markup):
            raise ValueError(f"the body of section {self.id!r} is plain text: build it with markup.tag, which escapes")

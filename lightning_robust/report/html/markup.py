"""The one function that makes markup: everything that goes into it is escaped."""

from collections.abc import Iterable

from markupsafe import Markup, escape

__all__ = ["VOID", "joined", "tag"]

#: Elements without content and closing tag.
VOID = frozenset({"br", "hr", "img", "input", "meta", "circle", "line", "path", "polygon", "polyline", "rect"})
_SVG = frozenset({"circle", "line", "path", "polygon", "polyline", "rect"})

Value = str | int | float | bool | None


def tag(name: str, *children: str | Markup | None, **attributes: Value) -> Markup:
    """Build an element; children and attribute values that are not markup already are escaped.

    Args:
        name: of the element.
        children: text or markup in order; None is left out.
        attributes: ``class_`` gives ``class``, other underscores give hyphens (``aria_label``). True gives an
            attribute without a value; None and False leave it out. No attribute may be a style or a script: the page's
            policy forbids both.

    Raises:
        ValueError: an attribute that would be a style or a script, or children of an element that has none.

    Example:
        >>> tag("p", "a < b, ", tag("b", "c"), class_="note")
        Markup('<p class="note">a &lt; b, <b>c</b></p>')
    """
    parts = []
    for key, value in attributes.items():
        attribute = key.rstrip("_").replace("_", "-") if key not in _KEPT else _KEPT[key]
        if attribute == "style" or attribute.startswith("on"):
            raise ValueError(f"an element may have no {attribute!r} attribute: the page's policy forbids it")
        if value is None or value is False:
            continue
        shown = f"{value:g}" if isinstance(value, float) else str(value)
        parts.append(f" {attribute}" if value is True else f' {attribute}="{escape(shown)}"')
    opened = "".join(parts)
    inside = [child for child in children if child is not None]
    if name in VOID and not inside:
        return Markup(f"<{name}{opened}/>" if name in _SVG else f"<{name}{opened}>")
    if name in VOID - _SVG:
        raise ValueError(f"an element {name!r} has no content")
    return Markup(f"<{name}{opened}>{joined(inside)}</{name}>")


#: SVG's attributes that are spelt with a capital.
_KEPT = {"viewBox": "viewBox", "preserveAspectRatio": "preserveAspectRatio"}


def joined(parts: Iterable[str | Markup | None], between: str = "") -> Markup:
    """Text and markup one after the other, escaped; None is left out.

    Args:
        parts: what to join.
        between: text that stands between them.

    Example:
        >>> joined(["<", tag("br"), None, ">"])
        Markup('&lt;<br>&gt;')
    """
    return escape(between).join(part for part in parts if part is not None)

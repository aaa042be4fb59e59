"""What may stand behind the question mark of a short text that names data: `name=value`, with & between them."""

from collections.abc import Sequence

__all__ = ["spec_options"]


def spec_options(tail: str, spec: str, known: Sequence[str], taker: str) -> dict[str, str]:
    """Read the options of a spec, each given once.

    Args:
        tail: What stands behind the question mark.
        spec: The whole text, for the sentence that refuses it.
        known: Names of options that there are.
        taker: What takes them, as the sentence shall call it.

    Returns:
        The values by name, as texts.

    Raises:
        ValueError: If a part is not of that form, unknown, or given twice.

    Example:
        >>> spec_options("image=photo&caption=text", "csv:a.csv?…", ["image", "caption"], "'csv:'")
        {'image': 'photo', 'caption': 'text'}
    """
    options: dict[str, str] = {}
    for part in tail.split("&"):
        name, equals, value = part.partition("=")
        if not equals or not value or name not in known or name in options:
            raise ValueError(
                f"{part!r} in {spec!r} is no option; they are name=value with & between them, each once, and "
                f"{taker} takes {', '.join(known)}"
            )
        options[name] = value
    return options

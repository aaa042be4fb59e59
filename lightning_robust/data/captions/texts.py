"""Millions of short texts in two arrays, and captions as they come: a text, several lines, a list."""

import re
from array import array
from collections.abc import Iterable
from typing import Any, Final

import numpy as np

__all__ = ["PackedTexts", "as_captions"]

#: What may stand at the beginning of a text file and belongs to no text.
_BYTE_ORDER_MARK: Final = "\ufeff"
#: Halves of a character, which JSON can hold and UTF-8 cannot; a pair of them has become one character by now.
_HALVES: Final = re.compile("[\ud800-\udfff]")


class PackedTexts:
    """Texts in one array of bytes and one of ends, to which more can be appended.

    A list of twelve million strings takes more than a gigabyte, and once more in each worker process, which writes to
    the reference counts of what it reads. These take their own bytes and eight more each, once for all workers.

    Args:
        texts: The texts.

    Example:
        >>> texts = PackedTexts(["a dog", "", "äöü"])
        >>> len(texts), texts[0], texts[2]
        (3, 'a dog', 'äöü')
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._joined, self._ends = bytearray(), array("q", [0])
        for text in texts:
            self.append(text)

    def append(self, text: str) -> None:
        """Add a text at the end."""
        self._joined += text.encode(errors="surrogatepass")
        self._ends.append(len(self._joined))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> str:
        if not 0 <= index < len(self):
            raise IndexError(f"text {index} of {len(self)}")
        return self._joined[self._ends[index] : self._ends[index + 1]].decode(errors="surrogatepass")


def as_captions(value: Any, *, lines: bool = False) -> tuple[str, ...]:
    r"""The captions that one value holds, without empty ones.

    A byte order mark at the beginning is taken off. Half of a surrogate pair becomes U+FFFD: no tokenizer takes it.

    Args:
        value: A text, its bytes in UTF-8, a list of them, or None.
        lines: Whether each line of a text is a caption of its own.

    Raises:
        ValueError: If it is something else, or not UTF-8.

    Example:
        >>> as_captions("a dog\na cat \n", lines=True), as_captions(["a dog", ""]), as_captions(None)
        (('a dog', 'a cat'), ('a dog',), ())
    """
    if value is None:
        return ()
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, str):
        value = _HALVES.sub("\ufffd", value.removeprefix(_BYTE_ORDER_MARK))
        parts = value.splitlines() if lines else [value]
        return tuple(text for part in parts if (text := part.strip()))
    if isinstance(value, list | tuple | np.ndarray):
        return tuple(text for part in value for text in as_captions(part))
    raise ValueError(f"a caption has to be text, not {type(value).__name__}")

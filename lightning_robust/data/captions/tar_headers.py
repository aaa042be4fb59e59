"""The headers of a tar file, one after the other: where each member lies, in half the time that `tarfile` takes."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

__all__ = ["Member", "tar_members"]

_BLOCK: Final = 512
#: Entries of an extended header that change where a member is or what it is called.
_PAX: Final = re.compile(rb"\d+ (path|size)=([^\n]*)\n")
#: Long names and extended headers are short; more is damage.
_LONGEST: Final = 1 << 20


class Member(NamedTuple):
    """A regular file in a tar.

    Attributes:
        name: Its path there.
        offset: Where its content begins, bytes.
        size: Bytes of its content.
    """

    name: str
    offset: int
    size: int


def tar_members(path: Path) -> Iterator[Member]:
    """The regular files of an uncompressed tar (ustar, GNU or PAX), in their order.

    Args:
        path: The file.

    Raises:
        ValueError: If a header's check sum is wrong, or the file ends within a member.
    """
    with path.open("rb", buffering=0) as file:
        end = file.seek(0, 2)
        at, long_name, pax = 0, b"", dict[bytes, bytes]()
        while at < end:
            header = _read(file, at, _BLOCK)
            if not header.strip(b"\0"):
                return  # the mark of the end
            kind, size = header[156:157], _checked_size(header, at)
            content = at + _BLOCK
            if kind in b"xL":
                text = _read(file, content, min(size, _LONGEST))
                if kind == b"L":
                    long_name = text.rstrip(b"\0")
                else:
                    pax = dict(_PAX.findall(text))
            else:
                size = int(pax.get(b"size", size))
                if content + size > end:
                    raise ValueError(f"it ends at byte {end}, within a member")
                if kind in b"0\0":
                    name = pax.get(b"path") or long_name or _name(header)
                    yield Member(name.decode(errors="surrogateescape"), content, size)
                long_name, pax = b"", {}
            at = content + -(-size // _BLOCK) * _BLOCK


def _read(file: BinaryIO, at: int, size: int) -> bytes:
    file.seek(at)
    found = file.read(size)
    if len(found) != size:
        raise ValueError(f"it ends at byte {at + len(found)}, within a header")
    return found


def _checked_size(header: bytes, at: int) -> int:
    try:
        stored = int(header[148:156].strip(b" \0"), 8)
        field = header[124:136]
        # large sizes are binary, as GNU writes them
        size = int.from_bytes(field[1:]) if field[0] == 0x80 else int(field.strip(b" \0") or b"0", 8)
    except ValueError:
        stored, size = -1, 0
    if stored != sum(header) - sum(header[148:156]) + 8 * 32:
        raise ValueError(f"byte {at} is no header of a member")
    return size


def _name(header: bytes) -> bytes:
    name, prefix = header[:100].rstrip(b"\0"), header[345:500].partition(b"\0")[0]
    return prefix + b"/" + name if prefix and header[257:263] == b"ustar\0" else name

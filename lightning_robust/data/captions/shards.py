"""Tar shards as webdataset writes them, read at random."""

import hashlib
import io
import itertools
import json
import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lightning_robust.data.captions.tar_index import ShardIndex, index_shard
from lightning_robust.data.captions.texts import as_captions
from lightning_robust.data.reading import UnreadableImageError, reason, to_rgb

__all__ = ["ShardPairs", "expand_braces", "shard_pairs"]


class ShardPairs:
    """Image–caption pairs in tar shards; nothing of a shard is in memory but where its items lie.

    Args:
        shards: The index of each shard.
        key: The entry of a JSON caption.
        lines: Whether each line of a caption is one of its own.
        source: See `CaptionedSource`.
    """

    def __init__(self, shards: Sequence[ShardIndex], *, key: str, lines: bool, source: str) -> None:
        self.paths = [shard.path for shard in shards]
        self.blocks = [len(shard.places) for shard in shards]
        self.places = np.concatenate([shard.places for shard in shards])
        self.key, self.lines, self.source = key, lines, source
        self._ends = np.cumsum(self.blocks)

    def __len__(self) -> int:
        return len(self.places)

    def open(self, index: int) -> tuple[Image.Image, tuple[str, ...]]:
        """See `CaptionedSource`."""
        image_at, image_size, text_at, text_size, is_json = self.places[index].tolist()
        path = self.paths[int(np.searchsorted(self._ends, index, side="right"))]
        try:
            with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - a Path for each image costs as much as this
                pixels, text = _part(file, image_at, image_size), _part(file, text_at, text_size)
            captions = self._captions(text, is_json=bool(is_json))
            if not captions:
                raise ValueError("there is no caption")
            return to_rgb(Image.open(io.BytesIO(pixels))), captions
        except Exception as error:  # a damaged image raises a dozen kinds of error, and each means the same
            raise UnreadableImageError(f"{_name(path, image_at)}: {reason(error)}") from error

    def _captions(self, text: bytes, *, is_json: bool) -> tuple[str, ...]:
        if not is_json:
            return as_captions(text, lines=self.lines)
        found: Any = json.loads(text)
        if not isinstance(found, dict) or self.key not in found:
            raise ValueError(f"its JSON has no entry {self.key!r}")
        return as_captions(found[self.key])


def shard_pairs(path: str, *, key: str | None = None, lines: str = "split") -> ShardPairs:
    """Image–caption pairs in tar shards.

    An item is an image (.jpg, .jpeg, .png, .webp) and a caption (.txt, else the entry `caption` of .json) whose names
    are the same up to the first dot. Items that lack one of them are left out with a warning that counts and names
    them. Every shard is indexed once, see `index_shard`.

    Args:
        path: A tar file, a pattern in a file name (`shards-*.tar`), or with braces (`shards-{000..009}.tar`,
            `{cc3m,cc12m}.tar`).
        key: The entry of .json that holds the caption, or a list of them; .txt is then not looked at.
        lines: `split`: each line of .txt is a caption of its own, of which one is drawn; `keep`: it is one caption.

    Returns:
        The pairs, in the order of the names of the shards.

    Raises:
        ValueError: If there is no such shard, one is compressed or damaged, or no item has image and caption.
    """
    if lines not in ("split", "keep"):
        raise ValueError(f"lines must be 'split' or 'keep', got {lines!r}")
    shards = [index_shard(file, json_only=key is not None) for file in _files(path)]
    total, incomplete = sum(len(shard.places) for shard in shards), sum(shard.incomplete for shard in shards)
    named = [f"{Path(shard.path).name}: {name}" for shard in shards for name in shard.named][:5]
    if not total:
        raise ValueError(
            f"No item in {path} has an image (.jpg, .jpeg, .png, .webp) and a caption "
            f"({'.txt or .json' if key is None else '.json'}){': ' if named else ''}{'; '.join(named)}"
        )
    digest = hashlib.sha256()
    for shard in shards:
        digest.update(f"{Path(shard.path).name};".encode() + shard.places.tobytes())
    source = f"{Path(path).name} ({total:,} pairs in {len(shards)} shards; {digest.hexdigest()[:8]})"
    if incomplete:
        more = "; …" if incomplete > len(named) else ""
        warnings.warn(
            f"{path}: {incomplete} of {incomplete + total} items lack an image or a caption and are left out "
            f"({'; '.join(named)}{more})",
            stacklevel=3,
        )
        source += f", without {incomplete} items that lack an image or a caption"
    return ShardPairs(shards, key=key or "caption", lines=lines == "split", source=source)


def expand_braces(text: str) -> list[str]:
    """What a shell makes of braces: `{000..009}` is a range with leading zeros kept, `{a,b}` a choice.

    Raises:
        ValueError: If braces hold neither.

    Example:
        >>> expand_braces("s-{08..10}.tar"), expand_braces("{a,b}.tar")
        (['s-08.tar', 's-09.tar', 's-10.tar'], ['a.tar', 'b.tar'])
    """
    pieces: list[list[str]] = []
    for k, piece in enumerate(re.split(r"\{([^{}]*)\}", text)):
        if k % 2 == 0:
            pieces.append([piece])
        elif found := re.fullmatch(r"(\d+)\.\.(\d+)", piece):
            first, last = found.groups()
            numbers = range(int(first), int(last) + 1)
            if not numbers:
                raise ValueError(f"{{{piece}}} in {text!r} is an empty range")
            pieces.append([str(n).zfill(len(first)) for n in numbers])
        elif "," in piece:
            pieces.append(piece.split(","))
        else:
            raise ValueError(f"{{{piece}}} in {text!r} is no range as {{000..009}} and no choice as {{a,b}}")
    return ["".join(parts) for parts in itertools.product(*pieces)]


def _files(text: str) -> list[Path]:
    files: list[Path] = []
    whole = Path(text).expanduser()
    for one in [text] if os.path.exists(whole) else expand_braces(text):  # noqa: PTH110 - nor do names too long exist
        path = Path(one).expanduser()
        try:
            found = [path] if path.is_file() else sorted(path.parent.glob(path.name)) if path.name else []
        except OSError:  # the name is too long for a file
            found = []
        if not found:
            raise ValueError(
                f"No shard {path}: 'webdataset:' takes tar files of this machine, such as s-{{000..009}}.tar"
            )
        files += found
    if len(set(files)) < len(files):
        raise ValueError(f"{text!r} names a shard twice")
    return files


def _part(file: Any, start: int, size: int) -> bytes:
    file.seek(start)
    part: bytes = file.read(size)
    if len(part) != size:
        raise ValueError("the shard ends within it")
    return part


def _name(path: str, image_at: int) -> str:
    """Shard and member, for a complaint."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            file.seek(image_at - 512)
            member = file.read(100).rstrip(b"\0").decode(errors="replace")
    except (OSError, ValueError):
        member = "?"
    return f"{path}, member {member} at byte {image_at}"

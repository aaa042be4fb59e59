"""Where the images and captions of a tar shard lie: found once, kept in the cache, so that items are read at random."""

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lightning_robust.data.captions.tar_headers import Member, tar_members
from lightning_robust.results import atomic_path, cache_folder

__all__ = ["IMAGE_ENDINGS", "ShardIndex", "index_shard"]

IMAGE_ENDINGS: Final = ("jpg", "jpeg", "png", "webp")
_TEXT_ENDINGS: Final = ("txt", "json")
_VERSION: Final = 2
_SHOWN: Final = 5
#: First bytes of what holds a tar and is none.
_COMPRESSED: Final = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


@dataclass(frozen=True)
class ShardIndex:
    """The items of one shard that have an image and a caption.

    Attributes:
        path: The shard.
        places: Offset and size in bytes of the image, offset and size of the caption, and 1 where the caption is JSON,
            `(n, 5)` int64: 40 bytes of memory for an item.
        incomplete: How many items lack an image or a caption.
        named: A few of them, each with what it lacks.
    """

    path: str
    places: NDArray[np.int64]
    incomplete: int
    named: tuple[str, ...]


def index_shard(path: str | os.PathLike[str], *, json_only: bool = False) -> ShardIndex:
    """The index of a shard, from the cache or made by one pass over its headers.

    Members belong to one item if their names are the same up to the first dot of the last part, as in webdataset; they
    need not follow each other. A second member of the same ending begins another item of that name, as does, behind
    members of other items, a second image. The image is the first member called .jpg, .jpeg, .png or .webp, the caption
    .txt, else .json; members of other kinds count for nothing, nor do files whose name begins with a dot. `a.1.jpg` and
    `a.1.txt` are no image and no caption, and count as an item that lacks them. The cache is keyed by path, size and
    time of change; where none can be written the index is made each time.

    Args:
        path: The shard, an uncompressed tar.
        json_only: Whether captions are sought in .json alone.

    Returns:
        The index; items are in the order of the shard.

    Raises:
        ValueError: If the file is missing, compressed, damaged or no tar.
    """
    file = Path(path)
    try:
        found = file.stat()
        with file.open("rb") as opened:
            start = opened.read(8)
    except OSError as error:
        raise ValueError(f"The shard {file} cannot be read: {error.strerror or error}") from error
    for magic, name in _COMPRESSED.items():
        if start.startswith(magic):
            raise ValueError(
                f"The shard {file} is compressed by {name}, so that its items cannot be read one by one; unpack it to "
                "a plain .tar (images are compressed already)"
            )
    key = f"{_VERSION};{file.resolve()};{found.st_size};{found.st_mtime_ns};{json_only}"
    cached = cache_folder() / "shards" / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.npz"
    index = _read(cached, str(file), found.st_size)
    if index is None:
        index = _made(file, json_only=json_only)
        _keep(cached, index)
    return index


@dataclass
class _Item:
    name: str
    images: dict[str, tuple[int, int]] = field(default_factory=dict)
    texts: dict[str, tuple[int, int]] = field(default_factory=dict)


class _Items:
    """The items of a shard, of one member after the other."""

    def __init__(self) -> None:
        self.items: list[_Item] = []
        #: Of names with a dot, such as `a.1` of `a.1.jpg`: what the first dot makes of them, and their endings.
        self.dotted: dict[str, tuple[str, set[str]]] = {}
        self._latest: dict[str, _Item] = {}
        self._last: _Item | None = None

    def take(self, member: Member) -> None:
        """Note a member under its item."""
        folder, slash, base = member.name.rpartition("/")
        stem, dot, ending = base.partition(".")
        between, second, ending = ending.rpartition(".")
        ending = ending.lower()
        if not stem or not dot or not member.size or ending not in (*IMAGE_ENDINGS, *_TEXT_ENDINGS):
            return
        name = f"{folder}{slash}{stem}"
        if second:
            self.dotted.setdefault(f"{name}.{between}", (name, set()))[1].add(ending)
            return
        item, is_image = self._latest.get(name), ending in IMAGE_ENDINGS
        if item is None or ending in item.images or ending in item.texts or (is_image and self._again(item)):
            item = self._latest[name] = _Item(name)  # of a name that was there before, as in webdataset
            self.items.append(item)
        (item.images if is_image else item.texts)[ending] = (member.offset, member.size)
        self._last = item

    def _again(self, item: _Item) -> bool:
        """Whether an item has all it needs, and others have come since."""
        return item is not self._last and bool(item.images) and bool(item.texts)

    def misnamed(self) -> list[str]:
        """What has a dot in its name and is no accessory of an item (as `2.seg.png` is of `2.png`)."""
        return [
            name
            for name, (stem, endings) in self.dotted.items()
            if stem not in self._latest or ("txt" in endings and not endings.isdisjoint(IMAGE_ENDINGS))
        ]


def _made(file: Path, *, json_only: bool) -> ShardIndex:
    found = _Items()
    try:
        for member in tar_members(file):
            found.take(member)
    except (OSError, ValueError) as error:
        raise ValueError(f"The shard {file} is damaged or no tar ({error}); fetch it again") from error
    places, lacking = list[tuple[int, int, int, int, int]](), list[str]()
    for item in found.items:
        text, is_json = item.texts.get("json"), 1
        if not json_only and "txt" in item.texts:
            text, is_json = item.texts["txt"], 0
        image = next(iter(item.images.values()), None)
        if image and text:
            places.append((*image, *text, is_json))
        else:
            lacking.append(f"{item.name} has no {'caption' if image else 'image'}")
    lacking += [f"{name} is no name of an item, which ends at its first dot" for name in found.misnamed()]
    table = np.array(places, dtype=np.int64).reshape(-1, 5)
    return ShardIndex(str(file), table, len(lacking), tuple(lacking[:_SHOWN]))


def _keep(path: Path, index: ShardIndex) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            named = np.array(index.named, dtype=str)
            np.savez(temporary, places=index.places, incomplete=index.incomplete, named=named)
    except OSError:
        pass  # a read-only home costs the pass over the headers in each run and nothing else


def _read(path: Path, shard: str, size: int) -> ShardIndex | None:
    """A kept index, or None where there is none or none that can be used."""
    try:
        with path.open("rb") as file, np.load(file) as archive:
            places, incomplete, named = archive["places"], int(archive["incomplete"]), archive["named"].tolist()
    except Exception:  # a damaged zip raises a dozen kinds of error, and the answer to each is to index again
        return None
    whole = places.ndim == 2 and places.shape[1] == 5 and places.dtype == np.int64 and places.max(initial=0) <= size
    return ShardIndex(shard, places, incomplete, tuple(named)) if whole else None

"""Image–caption pairs by a short text, as a configuration takes it."""

import os
from collections.abc import Sequence
from typing import Final

from lightning_robust.data.captions.listed import listed_pairs
from lightning_robust.data.captions.shards import shard_pairs
from lightning_robust.data.captions.source import CaptionedSource, JoinedPairs
from lightning_robust.data.captions.stream import PairStream, open_stream
from lightning_robust.data.captions.table import captioned_table
from lightning_robust.data.spec_options import spec_options

__all__ = ["CAPTION_SPECS", "open_captions"]

#: What `open_captions` understands, with what each is.
CAPTION_SPECS: Final = {
    "csv:FILE": "a table of image paths and captions as text",
    "json:FILE": "the same as a JSON list, or an object in each line",
    "webdataset:FILES": "tar shards, s-{000..009}.tar or s-*.tar",
    "parquet:FILES[:SPLIT]": "an image column and caption columns of parquet files or a folder",
    "hub:ID[:SPLIT]": "the same from the Hugging Face Hub",
    "hub-stream:ID[:SPLIT]": "the same, read forward while it is fetched",
}
_OPTIONS: Final = {
    "csv": ("image", "caption", "folder", "root", "separator"),
    "json": ("image", "caption", "folder", "root"),
    "webdataset": ("key", "lines"),
    "parquet": ("image", "caption", "lines"),
    "hub": ("image", "caption", "lines"),
    "hub-stream": ("image", "caption", "lines", "buffer"),
}


def open_captions(
    spec: str | Sequence[str], *, download: bool = False, n_train: int | None = None, seed: int = 0
) -> CaptionedSource | PairStream:
    """Image–caption pairs by one text or several, which are joined.

    Options stand behind a question mark, with `&` between them:
    `csv:pairs.csv?image=file&caption=text&separator=comma&root=images`, `webdataset:s-{00..99}.tar?key=caption`,
    `parquet:data/*.parquet?caption=caption_0,caption_1`, `hub:ID:train`, `hub-stream:ID:train?buffer=1000`.

    Args:
        spec: One or several of `CAPTION_SPECS`; several are joined, and a stream stands alone.
        download: Whether what is not on this machine may be fetched.
        n_train: For a stream: pairs in an epoch; None takes what the Hub says of its split.
        seed: For a stream: seed of its order.

    Raises:
        ValueError: If there is nothing of that name, an option is none of that kind's, or it cannot be opened.
    """
    specs = [spec] if isinstance(spec, str) else list(spec)
    if not specs:
        raise ValueError(f"No captions are named; what works: {', '.join(CAPTION_SPECS)}")
    parts = [_parsed(one) for one in specs]
    streams = [one for one, (kind, _, _) in zip(specs, parts, strict=True) if kind == "hub-stream"]
    if streams and len(specs) > 1:
        raise ValueError(f"The stream {streams[0]!r} cannot be joined with other sources; take 'hub:' or one stream")
    if streams:
        return open_stream(parts[0][1], n_train=n_train, seed=seed, download=download, **parts[0][2])
    opened = [_open(kind, path, options, download=download) for kind, path, options in parts]
    return opened[0] if len(opened) == 1 else JoinedPairs(opened)


def _open(kind: str, path: str, options: dict[str, str], *, download: bool) -> CaptionedSource:
    if kind in ("csv", "json"):
        return listed_pairs(path, kind, **options)
    if kind == "webdataset":
        return shard_pairs(path, **options)
    return captioned_table(kind, path, download=download, **options)


def _parsed(spec: str) -> tuple[str, str, dict[str, str]]:
    """Kind, path and options of a spec."""
    kind, colon, rest = spec.partition(":")
    # a Path raises an error of its own where a name is too long
    there = os.path.exists(rest)  # noqa: PTH110
    path, mark, tail = (rest, "", "") if there else rest.partition("?")
    if not colon or kind not in _OPTIONS or not path:
        raise ValueError(f"No captions {spec!r}; what works: {', '.join(CAPTION_SPECS)}")
    options = spec_options(tail, spec, _OPTIONS[kind], repr(f"{kind}:")) if mark else {}
    return kind, path, options

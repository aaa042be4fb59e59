"""Opening a data set with `datasets`: quietly, from this machine alone unless a download is asked for."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from lightning_robust.data.reading import UnreadableImageError, reason, to_rgb
from lightning_robust.results import cache_folder

__all__ = [
    "TableImages",
    "columns_in_words",
    "image_column",
    "local_files",
    "open_splits",
    "open_table",
    "short_name",
    "with_split",
]


def open_table(
    source: str | os.PathLike[str], split: str | None = None, *, download: bool = False, streaming: bool = False
) -> Any:
    """A `datasets.Dataset` from parquet files, a folder, or an id of the Hub.

    Args:
        source: A parquet file or tar shard (webdataset) or a pattern of several, a folder that `datasets` understands
            (parquet files, or images with a metadata file), or an id such as `1aurent/ADE20K`.
        split: Which split; None where there is only one.
        download: Whether what is not on this machine may be fetched.
        streaming: Whether it is a `datasets.IterableDataset`, read while it is fetched.

    Returns:
        The data set.

    Raises:
        ValueError: If it is not there and may not or cannot be fetched, is damaged, needs a loading script (which
            `datasets` no longer runs), or has other splits.
    """
    text = str(Path(source).expanduser())
    found = open_splits(text, download=download, streaming=streaming)
    if split is None and len(found) == 1:
        return next(iter(found.values()))
    if split is None or split not in found:
        asked = "it has several splits" if split is None else f"it has no split {split!r}"
        raise ValueError(f"{text}: {asked}; name one of {', '.join(map(repr, found))}")
    return found[split]


def open_splits(
    source: str | os.PathLike[str], *, download: bool = False, streaming: bool = False
) -> Mapping[str, Any]:
    """Every split of what `open_table` opens, by its name.

    Args:
        source: See `open_table`.
        download: Whether what is not on this machine may be fetched.
        streaming: See `open_table`.

    Returns:
        A `datasets.Dataset` for each split.

    Raises:
        ValueError: If it is not there and may not or cannot be fetched, is damaged, or needs a loading script.
    """
    import datasets  # it takes a second, and most sets do without it

    text = str(Path(source).expanduser())
    files = local_files(text)
    if text.endswith(".parquet") and not files:
        raise ValueError(f"No file {text}: it has to be a parquet file, or a pattern in a file name that matches some")
    local = files is not None
    arguments: dict[str, Any] = {"path": text, **({"streaming": True} if streaming else {})}
    if files is not None or (streaming and download):
        # what a table that was opened has left there tells a length that a stream otherwise does not know
        arguments["cache_dir"] = str(cache_folder() / ("streams" if streaming else "datasets"))
    if files is not None and not Path(text).is_dir():
        kind = "webdataset" if files[0].endswith(".tar") else "parquet"
        arguments |= {"path": kind, "data_files": files}
    try:
        with _quiet(offline=not (download or local), silent=local or not download):
            found: Mapping[str, Any] = datasets.load_dataset(**arguments)
            return found
    except Exception as error:  # hub, files and format each have errors of their own
        raise ValueError(_sentence(text, error, local=local, download=download)) from error


def local_files(text: str) -> list[str] | None:
    """The files of this machine that a path or a pattern in a file name stands for, in order; None without any."""
    path = Path(text).expanduser()
    try:
        found = [path] if path.exists() else sorted(path.parent.glob(path.name)) if path.name else []
    except OSError:  # the name is too long for a file
        return None
    return [str(file) for file in found] or None


def with_split(text: str) -> tuple[str, str | None]:
    """`ID:SPLIT` or `ID` in two parts; a colon that belongs to a path is left alone."""
    path, colon, split = text.rpartition(":")
    if not colon or "/" in split or os.sep in split or os.path.exists(text):  # noqa: PTH110 - nor names too long
        return text, None
    return path, split


def short_name(text: str) -> str:
    """A path, pattern or id in one word that can stand in a file name."""
    path = Path(text)
    return re.sub(r"[^\w.-]+", "_", path.stem if path.suffix == ".parquet" else path.name).strip("_-.") or "table"


def _sentence(text: str, error: Exception, *, local: bool, download: bool) -> str:
    if "scripts are no longer supported" in str(error):
        return f"{text} is a data set with a loading script, which datasets no longer runs; use a parquet copy of it"
    what = f"{type(error).__name__}: {reason(error)}"
    if local:
        return f"{text} cannot be opened by datasets ({what})"
    here = f"{text} is not on this machine"
    if not download:
        return (
            f"{here} and nothing is fetched unless asked for: download=True (--download), or save its parquet files "
            f"and use them by 'parquet:FILE' (if it was meant as a folder: there is none of that name)"
        )
    return f"{here} and could not be fetched ({what}); save its parquet files and use them by 'parquet:FILE'"


@contextmanager
def _quiet(*, offline: bool, silent: bool) -> Iterator[None]:
    """Inside, no progress bar and no log line below an error, and no network; afterwards as it was before."""
    import datasets

    bars, verbosity = datasets.are_progress_bars_disabled(), datasets.logging.get_verbosity()
    was_offline = datasets.config.HF_HUB_OFFLINE
    try:
        if silent:
            if not bars:
                datasets.disable_progress_bars()
            datasets.logging.set_verbosity_error()
        if offline:
            datasets.config.HF_HUB_OFFLINE = True
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = was_offline
        datasets.logging.set_verbosity(verbosity)
        if silent and not bars:
            datasets.enable_progress_bars()


def image_column(table: Any, name: str | None = None) -> str:
    """The column with the images: the one given, else the one of type Image, else one named for it.

    Raises:
        ValueError: If it is not there, or several could be meant.
    """
    import datasets

    features = table.features
    if name is not None:
        if name not in features:
            raise ValueError(f"no image column {name!r}; the columns are {columns_in_words(table)}")
        return name
    typed = [column for column, feature in features.items() if isinstance(feature, datasets.Image)]
    named = [column for column in ("image", "img", "jpg", "png", "webp", "jpeg") if column in features]
    if len(typed) > 1 or not (typed or named):
        raise ValueError(f"which column holds the images? name it as image=; the columns are {columns_in_words(table)}")
    return (typed or named)[0]


def columns_in_words(table: Any) -> str:
    """Every column with its type, for a complaint."""
    return ", ".join(f"{column} ({str(feature)[:60]})" for column, feature in table.features.items())


class TableImages:
    """The images of a `datasets.Dataset`, decoded when asked for.

    Args:
        table: The data set.
        column: Its image column: of type Image, or what can be read as one (encoded bytes, paths).
        name: What to call the data set where an image of it is unreadable.

    Raises:
        ValueError: If the column cannot be read as images.
    """

    def __init__(self, table: Any, column: str, name: str) -> None:
        import datasets

        table = table.select_columns([column])
        if not isinstance(table.features[column], datasets.Image):
            try:
                with _quiet(offline=False, silent=True):
                    table = table.cast_column(column, datasets.Image())
            except Exception as error:
                raise ValueError(f"{name}: the column {column!r} does not hold images ({reason(error)})") from error
        self.table, self.column, self.name = table, column, name

    def __len__(self) -> int:
        return len(self.table)

    def open(self, index: int) -> Image.Image:
        """Image `index` in RGB.

        Raises:
            UnreadableImageError: If it is missing or damaged.
        """
        where = f"row {index} of {self.name}"
        try:
            image = self.table[index][self.column]
            if isinstance(image, Image.Image):
                return to_rgb(image)
        except Exception as error:  # a damaged image raises a dozen kinds of error, and each means the same
            raise UnreadableImageError(f"{where}: {reason(error)}") from error
        raise UnreadableImageError(f"{where}: there is no image")

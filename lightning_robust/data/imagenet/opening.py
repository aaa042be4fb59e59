"""Opening a copy of a set, whatever it is: class folders, a CSV list, parquet, tar shards, a data set of the Hub.

Copies on the Hub, as their pages describe them (some are gated; none was loaded here): `hub:ILSVRC/imagenet-1k:train`
and `:validation` (labels of `:test` are held back), `hub:timm/imagenet-1k-wds:validation`; for the shifts
`hub:clip-benchmark/wds_imagenetv2:test`, `…/wds_imagenet-r`, `…/wds_imagenet_sketch`, `…/wds_imagenet-a`,
`…/wds_objectnet`; `hub:axiong/imagenet-r`; `hub:barkermrl/imagenet-a` (its split is called train and is the test set).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lightning_robust.data.hub_tables import local_files, open_table, with_split
from lightning_robust.data.imagenet.flat_val import SOLUTION, flat_val, solution_file
from lightning_robust.data.imagenet.labels import imagenet_classes
from lightning_robust.data.imagenet.published import published
from lightning_robust.data.labelled import LabelledSource, class_folders, open_labelled
from lightning_robust.data.labelled.folders import sub_folders
from lightning_robust.data.labelled.spec import parsed
from lightning_robust.data.labelled.table import table_source
from lightning_robust.data.reading import ImageFiles

__all__ = ["FLAT", "OpenedSet", "open_set"]

_TAR: Final = "webdataset:"
#: What to say of images that lie in no class folders.
FLAT: Final = (
    "there are no class folders in {}; the images have to lie in one for each class (the validation archive of ILSVRC "
    f"2012 is flat: sort it into folders by wnid, or put Kaggle's {SOLUTION} beside it)"
)


@dataclass(frozen=True, eq=False)
class OpenedSet:
    """A copy of a set, its classes found among ImageNet's.

    Attributes:
        source: Its images, in its own classes.
        label_map: ImageNet class of each of them, −1 where there is none.
    """

    source: LabelledSource
    label_map: NDArray[np.int64]

    @property
    def targets(self) -> NDArray[np.int64]:
        """ImageNet class of each image, −1 for those that are left out, `(n,)`."""
        return self.label_map[self.source.labels]

    def covered(self) -> "OpenedSet":
        """Without the images of classes that ImageNet lacks (200 of ObjectNet's objects).

        Raises:
            ValueError: If no image is left.
        """
        kept = np.flatnonzero(self.targets >= 0)
        return self if len(kept) == len(self.source) else OpenedSet(self.source.choose(kept), self.label_map)


def open_set(name: str, where: str, *, download: bool = False) -> OpenedSet:
    """A copy of ImageNet or of one of its shifts.

    Args:
        name: Short name of the set.
        where: A folder of class folders; `csv:FILE`, `parquet:FILES[:SPLIT]`, `hub:ID[:SPLIT]`, `webdataset:FILES` (tar
            shards with an image and a label `cls` for each key, or keys that begin with a class folder). Splits
            may be joined by `+`. Options stand behind a question mark, as in `open_labelled`.
        download: Whether a data set of the Hub that is not on this machine may be fetched.

    Returns:
        The images and what their classes are.

    Raises:
        ValueError: If it cannot be opened, or its classes are not those of the set.
    """
    published(name)  # an unknown name is refused before anything is read
    kind, path, options = ("folder", "", {}) if where.startswith(_TAR) else parsed(where)
    if where.startswith(_TAR):
        source = _tar_source(where.removeprefix(_TAR))
    elif kind == "folder" and not options:
        source = _folder_source(name, Path(path).expanduser())
    elif kind in ("parquet", "hub") and "+" in (with_split(path)[1] or ""):
        source = _joined(path, options, download=download)
    else:
        source = open_labelled(where, download=download)
    if isinstance(source.images, ImageFiles):
        source.images.turned = False  # published accuracies are of images as they lie in the files
    return OpenedSet(source, _label_map(name, source))


def _label_map(name: str, source: LabelledSource) -> NDArray[np.int64]:
    """Where classes are mere numbers, those without images say nothing about how they are counted."""
    counts = np.bincount(source.labels, minlength=len(source.class_names))
    numbers = all(text.isdecimal() for text in source.class_names)
    asked = [k for k in range(len(counts)) if counts[k] or not numbers]
    try:
        found = imagenet_classes(name, [source.class_names[k] for k in asked])
    except ValueError as error:
        raise ValueError(f"{source.source}: {error}") from error
    table = np.full(len(counts), -1, dtype=np.int64)
    table[asked] = [-1 if index is None else index for index in found]
    return table


def _folder_source(name: str, folder: Path) -> LabelledSource:
    if not folder.is_dir():
        raise ValueError(f"No folder {folder} for {published(name).title}")
    with_folders = sub_folders(folder)
    if not with_folders:
        solution = solution_file(folder) if name == "val" else None
        if solution is None:
            raise ValueError(f"{published(name).title}: {FLAT.format(folder)}")
        return flat_val(folder, solution)
    integers = all(name.isdecimal() for name in with_folders)
    return class_folders(folder, order="integer" if integers else "name")


def _tar_source(text: str) -> LabelledSource:
    files = local_files(text)
    if files is None or not all(Path(file).is_dir() or file.endswith(".tar") for file in files):
        raise ValueError(f"No tar shards {text}: 'webdataset:' takes a tar file, a pattern of several, or a folder")
    return _with_key_labels(open_table(text), text)


def _with_key_labels(table: Any, text: str) -> LabelledSource:
    """Archives of folders have no label but the folder that a key begins with."""
    if "cls" in table.features or "__key__" not in table.features:
        return table_source(table, text)
    keys = table.select_columns(["__key__"]).with_format("arrow")[:].column("__key__").to_pylist()
    folders = [Path(key).parent.name for key in keys]
    if not all(folders):
        raise ValueError(f"{text}: there is neither a label cls nor a class folder in the key {keys[0]!r}")
    return table_source(table.add_column("folder", folders), text, label="folder")


def _joined(path: str, options: dict[str, Any], *, download: bool) -> LabelledSource:
    import datasets

    text, splits = with_split(path)
    parts = [open_table(text, split, download=download) for split in (splits or "").split("+")]
    return table_source(datasets.concatenate_datasets(parts), f"{text}:{splits}", **options)

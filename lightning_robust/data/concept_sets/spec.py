"""A concept set by a short text, as the command line takes it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from lightning_robust.data.concept_sets.broden import broden_concepts
from lightning_robust.data.concept_sets.concept_set import ConceptSet, Transform
from lightning_robust.data.concept_sets.hub import hub_concepts
from lightning_robust.data.concept_sets.hub_tables import local_files
from lightning_robust.data.concept_sets.image_folder import csv_concepts
from lightning_robust.data.concept_sets.scenes import scenes_concepts

__all__ = ["CONCEPT_SPECS", "open_concept_set"]

#: What `open_concept_set` understands, with what each is; the help of the command line prints it.
CONCEPT_SPECS: Final = {
    "scenes": "the probe images of the scenes world, no download",
    "broden:FOLDER": "Broden, unpacked",
    "csv:FILE": "images with a CSV file of labels (or the folder that holds labels.csv)",
    "parquet:FILE[:SPLIT]": "a parquet file or folder with multi-label columns",
    "hub:ID[:SPLIT]": "the same from the Hugging Face Hub",
}


def open_concept_set(spec: str, transform: Transform | None = None, **options: Any) -> ConceptSet:
    """A concept set by its short text.

    Args:
        spec: `scenes`, `broden:FOLDER`, `csv:FILE`, `parquet:FILE[:SPLIT]` or `hub:ID[:SPLIT]`.
        transform: From a PIL image to a tensor.
        **options: For the function that opens it: `scenes_concepts`, `broden_concepts`, `csv_concepts` or
            `hub_concepts`.

    Returns:
        The concept set.

    Raises:
        ValueError: If the text is none of these, or the set cannot be opened.
        TypeError: If an option is none of that function's.

    Example:
        >>> open_concept_set("scenes", n=5)[0]
        Traceback (most recent call last):
        ValueError: The concept set 'scenes' has no transform; pass the encoder's
        >>> open_concept_set("brodn:here")
        Traceback (most recent call last):
        ValueError: No concept set 'brodn:here'; what works: scenes, broden:FOLDER, csv:FILE, parquet:FILE[:SPLIT],
        hub:ID[:SPLIT]
    """
    kind, colon, rest = spec.partition(":")
    if spec == "scenes":
        return scenes_concepts(transform, **options)
    opens: dict[str, Callable[..., ConceptSet]] = {
        "broden": broden_concepts, "csv": csv_concepts, "parquet": hub_concepts, "hub": hub_concepts,
    }  # fmt: skip
    if kind not in opens or not colon or not rest:
        raise ValueError(f"No concept set {spec!r}; what works: {', '.join(CONCEPT_SPECS)}")
    if kind in ("parquet", "hub"):
        rest, split = with_split(rest)
        options = {"split": split, **options} if split else options
    if kind == "parquet" and local_files(rest) is None:
        raise ValueError(f"No file {rest}: 'parquet:' takes a parquet file, a pattern of several, or a folder of them")
    return opens[kind](rest, transform, **options)


def with_split(text: str) -> tuple[str, str | None]:
    """`ID:SPLIT` or `ID` in two parts; a colon that belongs to a path is left alone."""
    path, colon, split = text.rpartition(":")
    if not colon or "/" in split or os.sep in split or Path(text).exists():
        return text, None
    return path, split

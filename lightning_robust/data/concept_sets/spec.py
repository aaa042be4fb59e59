"""A concept set by a short text, as the command line takes it."""

from collections.abc import Callable
from inspect import signature
from typing import Any, Final

from lightning_robust.data.concept_sets.broden import broden_concepts
from lightning_robust.data.concept_sets.concept_set import ConceptSet, Transform
from lightning_robust.data.concept_sets.hub import hub_concepts
from lightning_robust.data.concept_sets.image_folder import csv_concepts
from lightning_robust.data.concept_sets.scenes import scenes_concepts
from lightning_robust.data.hub_tables import local_files, with_split

__all__ = ["CONCEPT_SPECS", "open_concept_set"]

#: What `open_concept_set` understands, with what each is.
CONCEPT_SPECS: Final = {
    "scenes": "the probe images of the scenes world, no download",
    "broden:FOLDER": "Broden, unpacked",
    "csv:FILE": "images with a CSV file of labels (or the folder that holds labels.csv)",
    "parquet:FILE[:SPLIT]": "a parquet file or folder with multi-label columns",
    "hub:ID[:SPLIT]": "the same from the Hugging Face Hub",
}
_OPENS: Final[dict[str, Callable[..., ConceptSet]]] = {
    "scenes": scenes_concepts, "broden": broden_concepts, "csv": csv_concepts, "parquet": hub_concepts,
    "hub": hub_concepts,
}  # fmt: skip


def open_concept_set(spec: str, transform: Transform | None = None, **options: Any) -> ConceptSet:
    """A concept set by its short text.

    Options of the function that opens it may stand behind a question mark, `broden:FOLDER?split=val&min_area=0.01`
    or `hub:ID?labels=objects.name,parts.name&download=yes`, or be given as arguments, which go first.

    Args:
        spec: `scenes`, `broden:FOLDER`, `csv:FILE`, `parquet:FILE[:SPLIT]` or `hub:ID[:SPLIT]`.
        transform: From a PIL image to a tensor.
        **options: For the function that opens it: `scenes_concepts`, `broden_concepts`, `csv_concepts` or
            `hub_concepts`.

    Returns:
        The concept set.

    Raises:
        ValueError: If the text is none of these, an option is none of that function's or not of its form, or the set
            cannot be opened.

    Example:
        >>> len(open_concept_set("scenes?n=5"))
        5
        >>> open_concept_set("brodn:here")
        Traceback (most recent call last):
        ValueError: No concept set 'brodn:here'; what works: scenes, broden:FOLDER, csv:FILE, parquet:FILE[:SPLIT],
        hub:ID[:SPLIT]
    """
    text, mark, tail = spec.partition("?")
    kind, colon, rest = text.partition(":")
    if kind not in _OPENS or (kind == "scenes") is bool(colon) or (colon and not rest):
        raise ValueError(f"No concept set {spec!r}; what works: {', '.join(CONCEPT_SPECS)}")
    options = (_parsed(kind, tail) if mark else {}) | options
    known = [name for name, given in signature(_OPENS[kind]).parameters.items() if given.kind is given.KEYWORD_ONLY]
    if wrong := [name for name in options if name not in known]:
        raise ValueError(f"{kind!r} takes no option {wrong[0]!r}; it takes {', '.join(known)}")
    if kind == "scenes":
        return scenes_concepts(transform, **options)
    if kind in ("parquet", "hub"):
        rest, split = with_split(rest)
        options = {"split": split, **options} if split else options
    if kind == "parquet" and local_files(rest) is None:
        raise ValueError(f"No file {rest}: 'parquet:' takes a parquet file, a pattern of several, or a folder of them")
    return _OPENS[kind](rest, transform, **options)


def _parsed(kind: str, text: str) -> dict[str, Any]:
    """`a=1&b=x,y` as options, each in the form that the function wants."""
    options: dict[str, Any] = {}
    for part in text.split("&"):
        name, equals, value = part.partition("=")
        try:
            if not equals or not value:
                raise ValueError
            if name in ("labels", "names") or (kind, name) == ("broden", "categories"):
                options[name] = value.split(",")
            elif name.startswith("min_"):
                options[name] = float(value)
            elif name in ("n", "seed", "num_workers", "max_unreadable", "max_missing"):
                options[name] = int(value)
            else:
                options[name] = {"yes": True, "no": False}[value] if name == "download" else value
        except (ValueError, KeyError):
            raise ValueError(
                f"{part!r} is no option; they are name=value with & between them: lists with commas, numbers, yes or no"
            ) from None
    return options

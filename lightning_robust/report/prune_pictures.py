"""The pictures of a pruning as files."""

from collections.abc import Iterator
from pathlib import Path

from matplotlib.figure import Figure

from lightning_robust.report.prune_figure import pruning_figure
from lightning_robust.report.prune_headline_figure import headline_figure
from lightning_robust.report.prune_path_figure import path_figure
from lightning_robust.report.prune_words import twin_of
from lightning_robust.results import atomic_path
from lightning_robust.results.prune_record import PrunedModel, PruneRecord

__all__ = ["pruning_pages", "write_pruning_figures"]

_ASKED_ON_A_PAGE = 3  # models, and the supervised twin below them


def write_pruning_figures(record: PruneRecord, folder: Path) -> list[Path]:
    """Write the pictures of a pruning into its folder as PNG and SVG, each whole or not at all.

    `headlines` shows how far each order goes in every model, `path` the same against α where they are points of a
    path; `curves` what is left on the way, three models on a page (`curves`, `curves_2`, …) with the supervised twin
    below them.

    Args:
        record: The pruning.
        folder: Where to write; it exists.

    Returns:
        The files.
    """
    pages = pruning_pages(record)
    pictures = {"headlines": headline_figure(record)}
    along = path_figure(record)
    if along is not None:
        pictures["path"] = along
    for number, models in enumerate(pages, start=1):
        pictures["curves" if number == 1 else f"curves_{number}"] = pruning_figure(record, models)
    return [file for name, figure in pictures.items() for file in _write(figure, folder / name)]


def pruning_pages(record: PruneRecord) -> list[list[PrunedModel]]:
    """The models of each page of curves, the supervised twin on every one, once.

    Args:
        record: The pruning.
    """
    asked = [model for model in record.models if model.role == "asked"]
    twin = twin_of(record)
    starts = range(0, len(asked), _ASKED_ON_A_PAGE)
    pages = [asked[start : start + _ASKED_ON_A_PAGE] for start in starts]
    return [page if twin is None or any(one is twin for one in page) else [*page, twin] for page in pages]


def _write(figure: Figure, stem: Path) -> Iterator[Path]:
    for form in ("png", "svg"):
        file = stem.parent / f"{stem.name}.{form}"
        with atomic_path(file) as temporary:
            figure.savefig(temporary, format=form, dpi=160)
        yield file

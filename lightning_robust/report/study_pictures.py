"""The pictures of a study as files, and the correlations that stand in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_robust.report.study_figure import study_figure
from lightning_robust.report.tradeoff_figure import tradeoff_figure
from lightning_robust.results import atomic_path, write_table
from lightning_robust.results.study_record import StudyRecord

if TYPE_CHECKING:  # the room imports torch, which a reader of result files need not load
    from lightning_robust.robustness.study_correlations import StudyCorrelation

__all__ = ["CORRELATIONS", "write_study_figures"]

CORRELATIONS = "correlations.csv"


def write_study_figures(
    record: StudyRecord, folder: Path, correlations: Sequence[StudyCorrelation] | None = None
) -> list[Path]:
    """Write `signatures` and `tradeoff` as PNG and SVG, and `correlations.csv`, each whole or not at all.

    `signatures` shows effective robustness against each of the paper's signatures, `tradeoff` against what stands for
    interpretability, over the models and along the Wise-FT paths. What was not measured has no picture.

    Args:
        record: The study.
        folder: Where to write; it exists.
        correlations: Of `study_correlations`; None computes them for every figure of the study.

    Returns:
        The files.
    """
    from lightning_robust.robustness.study_correlations import correlation_rows, study_correlations

    found = study_correlations(record) if correlations is None else correlations
    files = []
    if found:
        write_table(folder / CORRELATIONS, correlation_rows(found))
        files.append(folder / CORRELATIONS)
    pictures = {"signatures": study_figure(record, found), "tradeoff": tradeoff_figure(record, found)}
    for name, figure in pictures.items():
        for form in ("png", "svg") if figure is not None else ():
            file = folder / f"{name}.{form}"
            with atomic_path(file) as temporary:
                if figure is not None:
                    figure.savefig(temporary, format=form, dpi=160)
            files.append(file)
    return files

"""The scatter of a run: its Wise-FT path above the line of its baseline, from files alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from lightning_robust.report.scatter import scatter_figure, write_scatter
from lightning_robust.results import RunRecord
from lightning_robust.results.baseline_record import ModelAccuracies
from lightning_robust.results.names import BASELINE, SCATTERS

if TYPE_CHECKING:  # the room imports torch, which a reader of result files need not load
    from lightning_robust.robustness import Baseline

__all__ = ["path_scatter", "write_path_scatter"]


def path_scatter(record: RunRecord, baseline: Baseline) -> Figure | None:
    """Draw every α of a run among the baseline's models, on the shifts that were judged.

    Args:
        record: The run.
        baseline: What its effective robustness was measured from.

    Returns:
        The figure, or None where the run has no effective robustness.
    """
    judged = {row.alpha: row for row in record.wise_ft if row.effective_robustness is not None}
    shifts = next((list(r.effective_robustness.shifts) for r in judged.values() if r.effective_robustness), None)
    if shifts is None:
        return None
    path = {
        alpha: ModelAccuracies(
            f"α = {alpha:g}", row.reference, {name: row.shifts[name] for name in shifts}, row.matched_reference
        )
        for alpha, row in judged.items()
    }
    return scatter_figure(baseline.on(shifts), path=path)


def write_path_scatter(record: RunRecord, folder: Path) -> Figure | None:
    """Draw the scatter of the run in a folder from the baseline that is kept there, as PNG and SVG.

    Args:
        record: The run.
        folder: Its folder; without a baseline in it there is no scatter.

    Raises:
        UserError: If the file there is no baseline.
    """
    if not (folder / BASELINE).is_file():
        return None
    from lightning_robust.robustness import load_baseline

    figure = path_scatter(record, load_baseline(folder / BASELINE))
    if figure is not None:
        for name in SCATTERS:
            write_scatter(figure, folder / name)
    return figure

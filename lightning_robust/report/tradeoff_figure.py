"""Robustness against interpretability: over the models of a study, and along its Wise-FT paths."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from lightning_robust.report.emergence_axis import plain
from lightning_robust.report.study_figure import correlation_words, scatter_models
from lightning_robust.report.study_style import study_style
from lightning_robust.report.study_words import StudyFigure, figure_words
from lightning_robust.results.study_record import StudyRecord

if TYPE_CHECKING:  # the room imports torch, which a reader of result files need not load
    from lightning_robust.robustness.study_correlations import StudyCorrelation
    from lightning_robust.robustness.study_paths import AlphaMean

__all__ = ["TRADED", "tradeoff_figure"]

TRADED: Final = ("concepts/polysemantic_share_0.5", "concepts/monosemantic_share_0.5", "concepts/mean_best_ap")
"""What stands for interpretability."""
_ROBUST: Final = "effective robustness, points"
_BASES: Final = (("", "#0072B2", "-", "singular vectors of the head"), ("neurons/", "#009E73", "--", "neurons"),
                 ("random_rotation/", "#D55E00", ":", "random rotation"))  # fmt: skip


def tradeoff_figure(record: StudyRecord, correlations: Sequence[StudyCorrelation] = ()) -> Figure | None:
    """Draw effective robustness against the share of directions with several concepts and with one, and both along α.

    Above, a model at each mark; vertical bars are 95 % intervals of line and sampling error of robustness. Below, means
    over the families that have a path; bands are 95 % of a bootstrap over families. The share of images is not in
    them: every model is judged on the same.

    Args:
        record: The study.
        correlations: Of `study_correlations`; those of the figures shown stand above the panels.

    Returns:
        None where no concepts were measured, or no effective robustness.
    """
    robust_rows = [row for row in record.rows if math.isfinite(row.value("er/mean"))]
    shown = [figure_words(tag) for tag in TRADED if any(math.isfinite(row.value(tag)) for row in robust_rows)]
    if not shown:
        return None
    from lightning_robust.robustness.study_paths import along_alpha

    style, robust = study_style(record), along_alpha(record, "er/mean")
    figure = Figure(figsize=(11.4, 7.6 if robust else 4.0), dpi=100, layout="constrained")
    grid = figure.subplots(2 if robust else 1, len(shown) + 1, squeeze=False)
    for k, (axes, one) in enumerate(zip(grid[0], shown, strict=False)):
        scatter_models(axes, record, one, style, bars=True)
        axes.set_title("\n".join([plain(one.words), *_correlations(one, correlations)]), fontsize=10, loc="left")
        axes.set_ylabel(_ROBUST if k == 0 else "", fontsize=9.5)
    grid[0, -1].axis("off")
    place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (0.0, 1.15), "frameon": False, "fontsize": 9.5}
    grid[0, -1].legend(handles=style.handles(), labelspacing=0.35, **place).set_in_layout(False)
    if robust:
        _band(grid[1, 0], robust, "0.25", "-.", 100.0)
        _finish(grid[1, 0], "robustness along α", _ROBUST)
        for axes, one in zip(grid[1, 1:], shown, strict=True):
            _along(axes, record, one)
        figure.legend(handles=_path_handles(robust), loc="outside lower center", ncols=5, frameon=False, fontsize=9.5)
    figure.suptitle(plain(f"{record.name}: robustness and interpretability"), fontsize=12.5)
    return figure


def _along(axes: Axes, record: StudyRecord, shown: StudyFigure) -> None:
    """The figure over α in three bases."""
    from lightning_robust.robustness.study_paths import along_alpha

    for infix, colour, dashes, _ in _BASES:
        found = along_alpha(record, shown.tag.replace("concepts/", f"concepts/{infix}"))
        if found:
            _band(axes, found, colour, dashes, shown.factor)
    _finish(axes, shown.words, shown.axis)


def _finish(axes: Axes, title: str, unit: str) -> None:
    axes.set_title(plain(title), fontsize=10, loc="left")
    axes.set_ylabel(plain(unit), fontsize=9.5)
    axes.set_xlabel("α: 0 before finetuning, 1 after it", fontsize=9.5)
    axes.tick_params(labelsize=9)
    axes.grid(alpha=0.25, linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)


def _band(axes: Axes, found: Sequence[AlphaMean], colour: str, dashes: str, factor: float) -> None:
    alphas = [one.alpha for one in found]
    low, high = ([factor * getattr(one.mean, end) for one in found] for end in ("low", "high"))
    axes.fill_between(alphas, low, high, color=colour, alpha=0.15, linewidth=0)
    middle = [factor * one.mean.estimate for one in found]
    axes.plot(alphas, middle, dashes, color=colour, linewidth=1.9, marker="o", markersize=4)


def _path_handles(robust: Sequence[AlphaMean]) -> list[Line2D | Patch]:
    lines = [
        Line2D([], [], color=colour, linestyle=dashes, marker="o", markersize=4, label=words)
        for _, colour, dashes, words in _BASES
    ]
    lines.append(Line2D([], [], color="0.25", linestyle="-.", marker="o", markersize=4, label="robustness"))
    return [*lines, Patch(color="0.5", alpha=0.3, label=f"95 %, {robust[0].families} families drawn again")]


def _correlations(shown: StudyFigure, correlations: Sequence[StudyCorrelation]) -> list[str]:
    names = {"pretrained": "CLIPs ρ", "paths": "paths ρ"}
    return [
        f"{names[one.scope]} {correlation_words(one)}"
        for one in correlations
        if one.figure == shown.tag and one.scope in names and not one.given and not one.without_extrapolated
    ]

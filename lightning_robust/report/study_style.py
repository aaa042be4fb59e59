"""How a study's models look in its pictures: colour for the corpus, shape for the kind, filled for the backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.lines import Line2D

from lightning_robust.report.emergence_axis import plain
from lightning_robust.results.study_record import StudyRecord, StudyRow

__all__ = ["KIND_WORDS", "StudyStyle", "family_paths", "is_extrapolated", "study_style"]

# Okabe and Ito's palette, told apart by the colour-blind; its yellow is too pale for small marks on white
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#882255")
_UNLABELLED = "0.35"
_MARKERS = {"zero-shot": "o", "interpolated": ".", "finetuned": "s", "supervised": "^", "random": "X"}
_SIZES = {"zero-shot": 6.5, "interpolated": 5.0, "finetuned": 5.2, "supervised": 6.0, "random": 6.0}
KIND_WORDS = {
    "zero-shot": "zero-shot CLIP",
    "interpolated": "Wise-FT, 0 < α < 1",
    "finetuned": "finetuned, α = 1",
    "supervised": "supervised",
    "random": "untrained",
}
"""A legend's words for each kind."""
_PALE = 0.3  # opacity of what is an extrapolation


@dataclass(frozen=True, kw_only=True)
class StudyStyle:
    """Colours and fills of one study.

    Attributes:
        label: name of the label that colours stand for; empty where no row has one.
        colours: by its value.
        hollow: backbone whose marks are hollow; empty for none.
        filled: backbone whose marks are filled; empty where there are not two.
        kinds: that the study has, in order.
        extrapolated: whether some row's robustness is an extrapolation.
    """

    label: str
    colours: Mapping[str, str]
    hollow: str
    filled: str
    kinds: tuple[str, ...]
    extrapolated: bool

    def mark(self, row: StudyRow) -> dict[str, Any]:
        """Keywords of its mark for matplotlib's plot.

        Args:
            row: A model of the study.
        """
        colour = self.colour(row)
        hollow = bool(self.hollow) and row.labels.get("backbone") == self.hollow
        return {
            "marker": _MARKERS[row.kind], "markersize": _SIZES[row.kind], "color": colour, "linestyle": "none",
            "markerfacecolor": "white" if hollow else colour, "markeredgecolor": colour if hollow else "white",
            "markeredgewidth": 1.2 if hollow else 0.5, "alpha": _PALE if is_extrapolated(row) else 1.0,
        }  # fmt: skip

    def colour(self, row: StudyRow) -> str:
        """Its colour.

        Args:
            row: A model of the study.
        """
        counterpart = self.label == "corpus" and row.kind in ("supervised", "random")  # whose images may be called so
        return _UNLABELLED if counterpart else self.colours.get(row.labels.get(self.label, ""), _UNLABELLED)

    def handles(self) -> list[Line2D]:
        """The entries of a legend."""
        found = [
            Line2D([], [], linestyle="none", marker="o", color=colour, label=plain(f"{self.label} {value}"))
            for value, colour in self.colours.items()
        ]
        for kind in self.kinds:
            style: dict[str, Any] = {"linestyle": "none", "color": _UNLABELLED, "markersize": _SIZES[kind]}
            found.append(Line2D([], [], marker=_MARKERS[kind], label=KIND_WORDS[kind], **style))
        if self.filled:
            found.append(Line2D([], [], linestyle="none", marker="D", color="0.35", label=plain(self.filled)))
            face: dict[str, Any] = {"markerfacecolor": "white", "markeredgewidth": 1.2}
            found.append(Line2D([], [], linestyle="none", marker="D", color="0.35", label=plain(self.hollow), **face))
        if {"interpolated", "finetuned"} & set(self.kinds):
            found.append(Line2D([], [], color="0.5", linewidth=0.8, label="one Wise-FT path"))
        if self.extrapolated:
            style = {"linestyle": "none", "color": _UNLABELLED, "alpha": _PALE}
            found.append(Line2D([], [], marker="o", label="pale: beyond the baseline", **style))
        return found


def study_style(record: StudyRecord) -> StudyStyle:
    """Choose colours and fills: colours for the corpora of CLIPs, else for the backbones; fills for two backbones.

    Args:
        record: The study.
    """
    pretrained = record.of_kind("zero-shot", "interpolated", "finetuned")
    corpora, backbones = _values(pretrained, "corpus"), _values(record.rows, "backbone")
    label, values = ("corpus", corpora) if corpora else ("backbone", backbones)
    two = backbones if label == "corpus" and len(backbones) == 2 else []
    return StudyStyle(
        label=label if values else "",
        colours={value: _COLOURS[k % len(_COLOURS)] for k, value in enumerate(values)},
        filled=two[0] if two else "",
        hollow=two[1] if two else "",
        kinds=tuple(kind for kind in _MARKERS if record.of_kind(kind)),
        extrapolated=any(is_extrapolated(row) for row in record.rows),
    )


def is_extrapolated(row: StudyRow) -> bool:
    """Whether its effective robustness is an extrapolation.

    Args:
        row: A model of a study.
    """
    return row.value("er/extrapolated") == 1.0


def family_paths(record: StudyRecord) -> list[list[StudyRow]]:
    """The rows of each Wise-FT path by α, the zero-shot model before them; families without a path are left out.

    Args:
        record: The study.
    """
    families: dict[str, list[StudyRow]] = {}
    for row in record.of_kind("zero-shot", "interpolated", "finetuned"):
        families.setdefault(row.family, []).append(row)
    ordered = [sorted(rows, key=lambda row: row.alpha or 0.0) for rows in families.values()]
    return [rows for rows in ordered if len(rows) > 1]


def _values(rows: Sequence[StudyRow], label: str) -> list[str]:
    return list(dict.fromkeys(row.labels[label] for row in rows if row.labels.get(label)))

"""The tables of a study: its models, and what of them follows effective robustness."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.markup import escape

from lightning_robust.report.cells import DASH
from lightning_robust.report.fitting import print_fitting
from lightning_robust.report.study_findings import study_findings
from lightning_robust.report.study_style import is_extrapolated
from lightning_robust.report.study_words import FIGURES, figure_words
from lightning_robust.results.study_record import StudyRecord, StudyRow

if TYPE_CHECKING:  # the room imports torch, which a reader of result files need not load
    from lightning_robust.robustness.study_correlations import StudyCorrelation

__all__ = ["print_study"]

_Column = tuple[str, Sequence[str]]
_MARK: Final = "†"
#: Columns of the models beside accuracies and robustness: title, tag and what marks the group that stays together.
_MEASURED: Final = (
    (("κ h", "kurtosis/h/width_adjusted"), ("κ last", "kurtosis/last/width_adjusted"), ("outl.", "outliers/largest")),
    (("raw", "importance/raw/max_over_median"), ("centred", "importance/centred/max_over_median"),
     ("pruned", "prune/reference/fraction")),
    (("unique", "concepts/unique_0.9"), ("best AP", "concepts/mean_best_ap"),
     ("poly", "concepts/polysemantic_share_0.5"), ("mono", "concepts/monosemantic_share_0.5")),
)  # fmt: skip
#: Columns of correlations: title, scope, what is held fixed.
_CORRELATED: Final = (
    ("between CLIPs", "pretrained", ""),
    ("along paths", "paths", ""),
    ("CLIPs | accuracy", "pretrained", "reference accuracy"),
    ("paths | accuracy", "paths", "reference accuracy"),
    ("CLIPs | backbone", "pretrained", "backbone"),
    ("between families", "families", ""),
)
_MODELS_NOTE: Final = (
    "ref, shifts: accuracy in %; ER: effective robustness in points, [ ] 95 % of line and sampling error; κ: kurtosis "
    "over that of a Gaussian, of h and of the layer before it; outl.: outlier features; raw, centred: importance, "
    "largest over median direction; pruned: % of r that can go for 1 point; unique: concepts at AP ≥ 0.9; poly, mono: "
    "% of directions with a concept that have several, % of directions with one (AP ≥ 0.5)."
)
_CORRELATIONS_NOTE: Final = (
    "Spearman's ρ with ER, [ ] 95 %, families drawn again; between CLIPs: zero-shot models; along paths: mean over "
    "families; |: held fixed, reference accuracy or backbone; between families: their means, supervised ones too; "
    "* Holm's p < 0.05, by permutation of families (paths: of signs). More, also without extrapolations: "
    "correlations.csv."
)


def print_study(
    record: StudyRecord, folder: Path, console: Console, correlations: Sequence[StudyCorrelation] | None = None
) -> None:
    """Print the models, the rank correlations with effective robustness, and what they say.

    Args:
        record: The study.
        folder: Where its files are.
        console: Where to print; 80 characters are enough.
        correlations: Of `study_correlations`; None computes those that are shown.
    """
    if correlations is None:
        from lightning_robust.robustness.study_correlations import study_correlations, study_figures

        shown = [tag for tag in study_figures(record) if tag in FIGURES or tag.startswith("accuracy/")]
        correlations = study_correlations(record, shown)
    _heading(console, f"{escape(record.name)}: {_counted(record)}")
    console.print(f"{record.data.dataset}; {_images(record)}", highlight=False, markup=False)
    _print_models(record, console)
    _print_correlations(correlations, console)
    if not any(math.isfinite(row.value("er/mean")) for row in record.rows):
        console.print("No effective robustness was measured, so nothing can follow it.", style="bold", highlight=False)
    for sentence in study_findings(record, correlations):
        console.print(f"• {sentence[0].upper()}{sentence[1:]}", highlight=False, markup=False)
    for failure in record.failures:
        words = f"{failure.model}, {failure.step} failed: {failure.reason}"
        console.print(words, style="bold red", highlight=False, markup=False)
    place = escape(str(folder))
    console.print(f"\nEverything: [bold]{place}[/bold]", highlight=False, soft_wrap=True)


def _heading(console: Console, words: str) -> None:
    console.print(f"\n[bold]{words}[/bold]", highlight=False)


def _counted(record: StudyRecord) -> str:
    kinds = {kind: len(record.of_kind(kind)) for kind in dict.fromkeys(row.kind for row in record.rows)}
    return f"{len(record.rows)} rows ({', '.join(f'{number} {kind}' for kind, number in kinds.items())})"


def _images(record: StudyRecord) -> str:
    """Of the sets that were judged; those of signatures and concepts stand in the record."""
    counts: dict[int, list[str]] = {}
    for name, number in record.data.images.items():
        if ": " not in name:
            counts.setdefault(number, []).append(name)
    return "; ".join(f"{number:,} images of {', '.join(names)}" for number, names in counts.items())


def _print_models(record: StudyRecord, console: Console) -> None:
    """All but the points inside paths."""
    rows = [row for row in record.rows if row.kind != "interpolated"]
    if not rows:
        return
    reference = _reference(record)
    groups: list[list[_Column]] = [
        [
            ("ref", [_cell(row, reference, 100, "{:.1f}") for row in rows]),
            ("shifts", [_cell(row, "accuracy/shifts", 100, "{:.1f}") for row in rows]),
            ("ER", [_robustness(row) for row in rows]),
        ]
    ]
    for measured in _MEASURED:
        there = [(title, tag) for title, tag in measured if any(math.isfinite(row.value(tag)) for row in rows)]
        groups.append([(title, [_shown(row, tag) for row in rows]) for title, tag in there])
    _heading(console, "Models, without the points inside Wise-FT paths")
    print_fitting(console, _labels(rows), [group for group in groups if group])
    extrapolated = f" {_MARK} beyond the baseline." if any(map(is_extrapolated, rows)) else ""
    console.print(_MODELS_NOTE + extrapolated, style="dim", highlight=False, markup=False)


def _labels(rows: Sequence[StudyRow]) -> list[str]:
    """Names; of a finetuned model below the one that it comes from, what was done."""
    before = [None, *(row.family for row in rows)]
    own = [row.kind == "finetuned" and row.family == family for row, family in zip(rows, before, strict=False)]
    return ["  finetuned" if follows else escape(row.name) for row, follows in zip(rows, own, strict=True)]


def _reference(record: StudyRecord) -> str:
    from lightning_robust.robustness.study_scopes import reference_accuracy

    return reference_accuracy(record)


def _cell(row: StudyRow, tag: str, factor: float, form: str) -> str:
    value = row.value(tag)
    return form.format(factor * value) if math.isfinite(value) else DASH


def _shown(row: StudyRow, tag: str) -> str:
    shown = figure_words(tag)
    return _cell(row, tag, shown.factor, shown.form)


def _robustness(row: StudyRow) -> str:
    words = _cell(row, "er/mean", 100, "{:+.1f}")
    low, high = (_cell(row, f"er/mean/{end}", 100, "{:+.1f}") for end in ("low", "high"))
    ends = f" \\[{low}, {high}]" if DASH not in (low, high) else ""
    return f"{words}{ends}{_MARK if is_extrapolated(row) else ''}"


def _print_correlations(correlations: Sequence[StudyCorrelation], console: Console) -> None:
    found = {(one.figure, one.scope, one.given): one for one in correlations if not one.without_extrapolated}
    tags = list(dict.fromkeys(one.figure for one in correlations if one.role != "other"))
    if not tags:
        return
    columns: list[_Column] = []
    for title, scope, given in _CORRELATED:
        cells = [_correlation(found.get((tag, scope, given))) for tag in tags]
        if set(cells) != {DASH}:
            columns.append((title, cells))
    _heading(console, "What follows effective robustness")
    first = next((k for k, tag in enumerate(tags) if not _is_signature(tag, correlations)), 0)
    print_fitting(
        console, [escape(figure_words(tag).short) for tag in tags], [[column] for column in columns], apart=[first]
    )
    console.print(_CORRELATIONS_NOTE, style="dim", highlight=False, markup=False)


def _is_signature(tag: str, correlations: Sequence[StudyCorrelation]) -> bool:
    return any(one.figure == tag and one.role == "signature" for one in correlations)


def _correlation(one: StudyCorrelation | None) -> str:
    if one is None or math.isnan(one.correlation.estimate):
        return DASH
    found = one.correlation
    words, low, high = (f"{value:+.2f}".replace("0.", ".") for value in (found.estimate, found.low, found.high))
    ends = "" if math.isnan(found.low) else f" \\[{low}, {high}]"
    return f"{words}{'*' if one.p_holm < 0.05 else ''}{ends}".replace("-", "−")

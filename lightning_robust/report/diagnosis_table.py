"""What `diagnose` prints: the verdict first, its reasons, what it is made of, then how far to trust it."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.text import Text

from lightning_robust.report.cells import DASH
from lightning_robust.report.diagnosis_words import (
    coverage_words,
    figure_words,
    in_words,
    interval_words,
    points,
    short_models,
    trust_sentences,
    verdict_sentence,
)
from lightning_robust.report.fitting import print_fitting
from lightning_robust.results.diagnosis_record import (
    CalibrationRecord,
    DiagnosedModel,
    DiagnosisRecord,
    PredictorSkill,
    TrainingPoint,
)
from lightning_robust.results.diagnosis_sentence import extrapolated_sentence
from lightning_robust.results.names import RESULTS

__all__ = ["print_calibration", "print_diagnosis"]

_COLOURS: Final = {"robust": "green", "not robust": "red", "undetermined": "yellow"}
_PREDICTED: Final = "Predicted effective robustness:"
_ROLES: Final = ("diagnosis", "rival", "single figure")
#: The mean of the others alone, which is low for a family that is high, has one near −1.
_BELOW_ZERO: Final = (
    "A rank correlation below 0 means no skill, not an inverse relation: where what is left out is high, the mean of "
    "the others is low."
)


def print_diagnosis(record: DiagnosisRecord, folder: Path, console: Console) -> None:
    """Print diagnoses: of each model the verdict with its reasons, then figures, then how far to trust all this.

    Args:
        record: The diagnoses.
        folder: Where its files are.
        console: Where to print; 80 characters are enough.
    """
    coverage = record.skill.coverage
    level = None if coverage is None else coverage.nominal
    if len(record.models) > 1:
        _print_overview(record.models, console)
    for model in record.models:
        console.print()
        console.print(f"[bold]{escape(model.name)}[/bold]", highlight=False, soft_wrap=True)
        colour = _COLOURS[model.verdict]
        console.print(f"[bold {colour}]{escape(verdict_sentence(model, level))}[/]", highlight=False)
        for reason in model.reasons:
            if not reason.startswith(_PREDICTED):  # which the verdict says
                _bullet(console, in_words(reason, model.figures))
    console.print("\n[bold]What the prediction is made of[/bold]", highlight=False)
    _print_figures(record.models, record.points, console)
    for sentence in _distances(record.models):
        console.print(sentence, highlight=False, markup=False)
    console.print(f"\n[bold]How far to trust it[/bold] (the table {escape(record.calibration)})", highlight=False)
    rivals = [one for one in record.skills if one.role == "rival"]
    for sentence in trust_sentences(record.skill, rivals):
        _bullet(console, sentence)
    if outside := extrapolated_sentence(record.points):
        _bullet(console, outside)
    _print_skills([record.skill, *rivals], console, whole=False)
    _print_end(record.conventions, folder, (RESULTS, "diagnosis.png"), console)


def print_calibration(record: CalibrationRecord, folder: Path, console: Console) -> None:
    """Print how good a diagnosis from a study's table is, on families that it had not seen.

    Args:
        record: The calibration.
        folder: Where its files are.
        console: Where to print; 80 characters are enough.
    """
    families = len({point.family for point in record.points})
    title = f"Robustness from reference images alone: the table {record.name}"
    console.print(f"\n[bold]{escape(title)}[/bold]", highlight=False)
    may = "Usable: verdicts are given." if record.usable else "Not usable: every verdict is undetermined."
    console.print(f"[bold {'green' if record.usable else 'yellow'}]{may}[/]", highlight=False)
    tags = [*record.figures, *(one.name for one in record.skills)]
    for reason in record.reasons:
        _bullet(console, in_words(reason, tags))
    console.print(
        f"{len(record.points)} rows of {families} families, from {len(record.figures)} figures: "
        f"{', '.join(figure_words(tag) for tag in record.figures)}.",
        highlight=False, markup=False,
    )  # fmt: skip
    console.print("\n[bold]How far to trust it[/bold] (each family predicted without its rows)", highlight=False)
    skill = next((one for one in record.skills if one.role == "diagnosis"), None)
    rivals = [one for one in record.skills if one.role == "rival"]
    for sentence in trust_sentences(skill, rivals) if skill is not None else ():
        _bullet(console, sentence)
    _print_skills(record.skills, console, whole=True)
    for name, reason in record.left_out.items():
        console.print(f"Left out: {name} ({reason}).", style="dim", highlight=False, markup=False)
    _print_end(record.conventions, folder, (RESULTS, "diagnosis.png"), console)


def _bullet(console: Console, sentence: str) -> None:
    """A sentence whose lines stand below each other."""
    console.print(Text("•"), end=" ")
    first, *rest = Text(sentence).wrap(console, console.width - 2)
    console.print(first, highlight=False)
    for line in rest:
        console.print(Padding(line, (0, 0, 0, 2)), highlight=False)


def _print_figures(models: Sequence[DiagnosedModel], rows: Sequence[TrainingPoint], console: Console) -> None:
    """A row for each figure: where the table lies, the model's own value, and what it adds in points."""
    tags = _by_size(models)
    if not tags:
        console.print("No figure can be used, so nothing is predicted.", highlight=False)
        return
    table = [_range_of(rows, tag) for tag in tags]
    if len(models) == 1:
        (model,) = models
        own = [
            ("value", [f"{_number(model.figures.get(tag, math.nan))}{_mark(model, tag)}" for tag in tags]),
            ("adds, points", [_adds(model, tag) for tag in tags]),
        ]
        print_fitting(console, [figure_words(tag) for tag in tags], [[("in the table", table), *own]])
    else:
        names = short_models([model.name for model in models])
        adds = [
            (name, [f"{_adds(model, tag)}{_mark(model, tag)}" for tag in tags])
            for name, model in zip(names, models, strict=True)
        ]
        print_fitting(console, [figure_words(tag) for tag in tags], [[column] for column in adds])
    what = "adds" if len(models) == 1 else "What each figure adds in points"
    said = f"{what}: to the table's mean effective robustness; !: outside the table's range."
    console.print(said, style="dim", highlight=False)


def _by_size(models: Sequence[DiagnosedModel]) -> list[str]:
    """Tags of the predictors, those that move some model most first."""
    largest: dict[str, float] = {}
    for model in models:
        for tag, value in model.contributions.items():
            largest[tag] = max(largest.get(tag, 0.0), 0.0 if math.isnan(value) else abs(value))
    return sorted(largest, key=lambda tag: -largest[tag])


def _adds(model: DiagnosedModel, tag: str) -> str:
    return points(model.contributions.get(tag, math.nan), digits=1)


def _mark(model: DiagnosedModel, tag: str) -> str:
    return "!" if tag in model.outside else ""


def _range_of(rows: Sequence[TrainingPoint], tag: str) -> str:
    values = [v for row in rows if not math.isnan(v := row.figures.get(tag, math.nan))]
    return f"{_number(min(values))} to {_number(max(values))}" if values else DASH


def _number(value: float) -> str:
    """Three figures that mean something, without an exponent where it can be had."""
    if math.isnan(value):
        return DASH
    return (f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}").replace("-", "−")


def _distances(models: Sequence[DiagnosedModel]) -> Iterator[str]:
    """How far each model lies from the table; several in the overview's words."""
    if len(models) != 1 or math.isnan(models[0].distance):
        return
    (model,) = models
    beyond = ": this model is unlike them" if model.distance > model.farthest else ""
    yield (
        f"Distance from the table {model.distance:.1f}; what is like its rows, each without its family, lies up to "
        f"{model.farthest:.1f} away{beyond}."
    )


def _print_overview(models: Sequence[DiagnosedModel], console: Console) -> None:
    """A row for each of several models."""
    spans = [
        DASH if math.isnan(m.predicted) else f"{points(m.predicted)} \\[{points(m.low)}, {points(m.high)}]"
        for m in models
    ]
    columns = [
        ("verdict", [f"[{_COLOURS[m.verdict]}]{m.verdict}[/]" for m in models]),
        ("predicted ER, points", spans),
        ("distance (limit)", [_distance(m) for m in models]),
    ]
    console.print()
    print_fitting(console, short_models([m.name for m in models]), [[column] for column in columns])


def _distance(model: DiagnosedModel) -> str:
    return DASH if math.isnan(model.distance) else f"{model.distance:.1f} ({model.farthest:.1f})"


def _print_skills(skills: Sequence[PredictorSkill], console: Console, *, whole: bool) -> None:
    """What is judged, the diagnosis first, and how held-out predictions rank; the whole has them by kind of rows."""
    shown = [one for role in _ROLES for one in skills if one.role == role]
    if not shown:
        return
    roles = [one.role for one in shown]
    apart = {k for k in range(1, len(shown)) if roles[k] != roles[k - 1]}
    columns = [
        ("rank corr.", [interval_words(one.correlation) for one in shown]),
        ("R²", [_number_of_two(one.r_squared) for one in shown]),
        ("held", [coverage_words(one.coverage) for one in shown]),
    ]
    more = [
        ("between families", [interval_words(one.between_families) for one in shown]),
        ("within", [interval_words(one.within_families) for one in shown]),
        ("pretrained alone", [DASH if one.pretrained is None else interval_words(one.pretrained) for one in shown]),
    ]
    groups = [columns, more] if whole else [columns]
    print_fitting(console, [figure_words(one.name) for one in shown], groups, apart=apart)
    if any(one.correlation.high < 0 for one in shown):
        console.print(_BELOW_ZERO, style="dim", highlight=False, markup=False)


def _number_of_two(value: float) -> str:
    return DASH if math.isnan(value) else f"{value:.2f}".replace("-", "−")


def _print_end(conventions: Sequence[str], folder: Path, files: Sequence[str], console: Console) -> None:
    for sentence in conventions:
        if "left out:" in sentence:
            console.print(sentence, style="bold red", highlight=False, markup=False)
    place = escape(str(folder))
    console.print(f"\nEverything: [bold]{place}[/bold] ({', '.join(files)})", highlight=False, soft_wrap=True)

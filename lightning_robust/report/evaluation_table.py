"""The tables of an evaluation: accuracies, effective robustness, differences; a model or an α in each row."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from lightning_robust.report.cells import DASH
from lightning_robust.report.fitting import print_fitting
from lightning_robust.report.shorten import short_paths
from lightning_robust.results import AccuracyRow, Difference, EvaluationRecord, Interval, ModelEvaluation
from lightning_robust.results.effective_robustness import EffectiveRobustness, ShiftRobustness
from lightning_robust.results.names import ACCURACIES, RESULTS

__all__ = ["print_evaluation"]

_MARK = "†"

_Column = tuple[str, Sequence[str]]


def print_evaluation(record: EvaluationRecord, folder: Path, console: Console) -> None:
    """Print the tables of an evaluation, and where everything lies.

    Args:
        record: The evaluation.
        folder: Where its files are.
        console: Where to print; 80 characters are enough for five shifts.
    """
    dataset = escape(record.data.dataset)
    console.print(f"\n[bold]{dataset}, {record.split} images: accuracy in %[/bold]", highlight=False)
    if len(record.models) == 1:
        console.print(f"[bold]{escape(record.models[0].name)}[/bold]", highlight=False, soft_wrap=True)
        _print_model(record.models[0], console)
        console.print("\n".join(_protocols(record.models[0].rows)), style="dim", highlight=False, markup=False)
    else:
        _print_models(record, console)
    for sentence in _sentences(record):
        console.print(sentence, highlight=False, markup=False)
    console.print(
        f"\nEverything: [bold]{escape(str(folder))}[/bold] ({RESULTS}, {ACCURACIES})", highlight=False, soft_wrap=True
    )


def _print_model(model: ModelEvaluation, console: Console) -> None:
    """A row for each set, then the mean of the shifts."""
    labels = [escape(row.set) for row in model.rows]
    groups = [_accuracy_columns(model), _robustness_columns(model)]
    if model.shifts:
        labels.append("mean of shifts")
    print_fitting(console, labels, groups, last_apart=bool(model.shifts))


def _print_models(record: EvaluationRecord, console: Console) -> None:
    labels = [escape(label) for label in _labels(record.models)]
    print_fitting(console, labels, [[column] for column in _accuracies(record.models)])
    robust = [(label, model.robustness) for label, model in zip(labels, record.models, strict=True) if model.robustness]
    if robust:
        console.print(f"[bold]Effective robustness, points over the baseline {escape(str(record.baseline))}[/bold]")
        print_fitting(console, [label for label, _ in robust], _robustness([er for _, er in robust]))
    if record.differences:
        console.print(f"[bold]Against {labels[0]}, points (95 % paired bootstrap)[/bold]", highlight=False)
        print_fitting(console, labels[1:], [[column] for column in _differences(record)])


def _accuracy_columns(model: ModelEvaluation) -> list[_Column]:
    rows, known = model.rows, model.published
    intervals = [f"{100 * row.accuracy:.1f} \\[{100 * row.low:.1f}, {100 * row.high:.1f}]" for row in rows]
    columns: list[_Column] = [
        ("accuracy", [*intervals, f"{100 * model.shifts_mean:.1f}"]),
        ("images", [*(f"{row.images:,}" for row in rows), DASH]),
        ("matched", [*(_percent(row.matched_accuracy) for row in rows), DASH]),
    ]
    return [*columns, ("publ.", [*(_percent(known.get(row.set)) for row in rows), DASH])] if known else columns


def _percent(share: float | None) -> str:
    return DASH if share is None else f"{100 * share:.1f}"


def _robustness_columns(model: ModelEvaluation) -> list[_Column]:
    er = model.robustness
    if er is None:
        return []
    cells = [*(_er_cells(er.shifts.get(row.set)) for row in model.rows), _er_cells(er.mean)]
    return [("ER", [cell[0] for cell in cells]), ("standard", [cell[1] for cell in cells])]


def _protocols(rows: Sequence[AccuracyRow]) -> list[str]:
    return [f"{row.set}: {row.protocol.removeprefix(f'{row.set}: ')}" for row in rows]


def _accuracies(models: Sequence[ModelEvaluation]) -> list[_Column]:
    """In %; the best mean is marked."""
    columns: list[_Column] = [
        (escape(row.set), [f"{100 * model.rows[k].accuracy:.1f}" for model in models])
        for k, row in enumerate(models[0].rows)
    ]
    best = max(model.shifts_mean for model in models)
    means = [_percent(model.shifts_mean if model.shifts else None) for model in models]
    marked = [
        f"[bold green]{mean}[/]" if model.shifts_mean == best else mean
        for mean, model in zip(means, models, strict=True)
    ]
    columns.append(("shifts", marked))
    if any(model.published for model in models):
        columns.append(("publ. ref.", [_percent(model.published.get(model.reference.set)) for model in models]))
    return columns


def _robustness(found: Sequence[EffectiveRobustness]) -> list[list[_Column]]:
    """Each shift; the mean with its intervals."""
    each: list[_Column] = [
        (escape(name), [f"{100 * er.shifts[name].estimate:+.1f}{_mark(er.shifts[name])}" for er in found])
        for name in found[0].shifts
    ]
    means = [_er_cells(er.mean) for er in found]
    return [each, [("mean", [mean for mean, _ in means]), ("standard", [standard for _, standard in means])]]


def _er_cells(er: ShiftRobustness | None) -> tuple[str, str]:
    """The estimate with its first interval, and the second interval."""
    if er is None:
        return DASH, DASH
    estimate = f"{100 * er.estimate:+.1f}{_mark(er)}"
    return (
        estimate if er.interval is None else f"{estimate} {_range(er.interval)}",
        DASH if er.prediction is None else _range(er.prediction),
    )


def _mark(er: ShiftRobustness) -> str:
    return _MARK if er.extrapolated else ""


def _range(interval: Interval) -> str:
    return f"\\[{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]"


def _differences(record: EvaluationRecord) -> list[_Column]:
    """Of each other model: reference, and mean over the shifts."""
    by_model: dict[tuple[str, str], Difference] = {(one.model, one.set): one for one in record.differences}
    columns: list[_Column] = []
    for name in dict.fromkeys((record.models[0].reference.set, record.differences[-1].set)):
        found = [by_model[model.name, name].interval for model in record.models[1:]]
        cells = [f"{100 * one.estimate:+.1f} {_range(one)}" for one in found]
        columns.append(("mean of shifts" if name == "shifts" else escape(name), cells))
    return columns


def _labels(models: Sequence[ModelEvaluation]) -> list[str]:
    """α alone where all models are points of one path, else names without what all share."""
    if all(model.alpha is not None for model in models) and len({_folder(model.name) for model in models}) == 1:
        return [f"α = {model.alpha:g}" for model in models]
    return short_paths([model.name for model in models])


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _sentences(record: EvaluationRecord) -> list[str]:
    found = [model.robustness for model in record.models if model.robustness is not None]
    lines = []
    first = record.models[0]
    if len(record.models) == 1 and any(row.matched_images != first.reference.images for row in first.shifts):
        lines.append(
            "matched: accuracy on the reference images of the classes that a shift covers, restricted to them."
        )
    if found:
        lines.append(
            "ER: effective robustness, accuracy over what the baseline's models reach at the same reference accuracy, "
            "in points, with line and sampling error; standard: with the scatter of single standard models too, so "
            "that a model is robust beyond them where it lies above 0. All intervals: 95 %."
        )
    if any(one.extrapolated for er in found for one in (*er.shifts.values(), er.mean)):
        lines.append(f"{_MARK} extrapolation: the reference accuracy lies outside that of the baseline's models.")
    lines += [
        sentence for sentence in record.conventions if "left out" in sentence or "evaluated as the file" in sentence
    ]
    return lines

"""The tables of an evaluation: accuracies, effective robustness, differences; a model or an α in each row."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lightning_robust.report.cells import DASH, new_table
from lightning_robust.report.shorten import short_paths
from lightning_robust.results import AccuracyRow, Difference, EvaluationRecord, Interval, ModelEvaluation
from lightning_robust.results.effective_robustness import EffectiveRobustness, ShiftRobustness
from lightning_robust.results.names import ACCURACIES, RESULTS

__all__ = ["print_evaluation"]

_MARK = "†"


def print_evaluation(record: EvaluationRecord, folder: Path, console: Console) -> None:
    """Print the tables of an evaluation, and where everything lies.

    Args:
        record: The evaluation.
        folder: Where its files are.
        console: Where to print; 100 characters are enough for five shifts.
    """
    console.print(f"\n[bold]{record.data.dataset}, {record.split} images: accuracy in %[/bold]", highlight=False)
    if len(record.models) == 1:
        console.print(_one_model(record.models[0]))
        console.print("\n".join(_protocols(record.models[0].rows)), highlight=False)
    else:
        labels = _labels(record.models)
        console.print(_accuracies(record.models, labels))
        if any(model.robustness is not None for model in record.models):
            console.print(f"[bold]Effective robustness, points over the baseline {record.baseline}[/bold]")
            console.print(_robustness(record.models, labels))
        if record.differences:
            console.print(f"[bold]Against {labels[0]}, points (95 % paired bootstrap)[/bold]", highlight=False)
            console.print(_differences(record, labels))
    for sentence in _sentences(record):
        console.print(sentence, highlight=False)
    console.print(f"\nEverything: [bold]{folder}[/bold] ({RESULTS}, {ACCURACIES})", highlight=False, soft_wrap=True)


def _one_model(model: ModelEvaluation) -> Table:
    """A row for each set."""
    er, published = model.robustness, bool(model.published)
    titles = ["accuracy", "images", "matched", *(["ER", "standard"] if er is not None else [])]
    table = new_table(model.name, *titles, *(["publ."] if published else []), left=1)
    for row in model.rows:
        found = None if er is None else er.shifts.get(row.set)
        cells = [
            f"{100 * row.accuracy:.1f} \\[{100 * row.low:.1f}, {100 * row.high:.1f}]",
            f"{row.images:,}",
            DASH if row.matched_accuracy is None else f"{100 * row.matched_accuracy:.1f}",
        ]
        if er is not None:
            cells += list(_er_cells(found))
        if published:
            cells.append(f"{100 * model.published[row.set]:.1f}" if row.set in model.published else DASH)
        table.add_row(row.set, *cells)
    if model.shifts:
        rest = [DASH, DASH, *(_er_cells(er.mean) if er is not None else []), *([DASH] if published else [])]
        table.add_section()
        table.add_row("mean of shifts", f"{100 * model.shifts_mean:.1f}", *rest)
    return table


def _protocols(rows: Sequence[AccuracyRow]) -> list[str]:
    return [f"[dim]{row.set}: {row.protocol.removeprefix(f'{row.set}: ')}[/dim]" for row in rows]


def _accuracies(models: Sequence[ModelEvaluation], labels: Sequence[str]) -> Table:
    """A row for each model, in %; the best mean is marked."""
    sets = [row.set for row in models[0].rows]
    published = any(model.published for model in models)
    table = new_table("", *sets, "shifts", *(["publ. ref."] if published else []), left=1)
    best = max(model.shifts_mean for model in models)
    for label, model in zip(labels, models, strict=True):
        mean = f"{100 * model.shifts_mean:.1f}" if model.shifts else DASH
        cells = [f"{100 * row.accuracy:.1f}" for row in model.rows]
        cells.append(f"[bold green]{mean}[/]" if model.shifts_mean == best else mean)
        if published:
            known = model.published.get(sets[0])
            cells.append(DASH if known is None else f"{100 * known:.1f}")
        table.add_row(label, *cells)
    return table


def _robustness(models: Sequence[ModelEvaluation], labels: Sequence[str]) -> Table:
    shifts = next(list(model.robustness.shifts) for model in models if model.robustness is not None)
    table = new_table("", *shifts, "mean", "standard", left=1)
    for label, model in zip(labels, models, strict=True):
        if model.robustness is not None:
            table.add_row(label, *_er_row(model.robustness, shifts))
    return table


def _er_row(er: EffectiveRobustness, shifts: Sequence[str]) -> list[str]:
    cells = [f"{100 * er.shifts[name].estimate:+.1f}{_mark(er.shifts[name])}" for name in shifts]
    mean, standard = _er_cells(er.mean)
    return [*cells, mean, standard]


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


def _differences(record: EvaluationRecord, labels: Sequence[str]) -> Table:
    """A row for each other model: reference, and mean over the shifts."""
    sets = list(dict.fromkeys((record.models[0].reference.set, record.differences[-1].set)))
    table = new_table("", *("mean of shifts" if name == "shifts" else name for name in sets), left=1)
    by_model: dict[tuple[str, str], Difference] = {(one.model, one.set): one for one in record.differences}
    for label, model in zip(labels[1:], record.models[1:], strict=True):
        found = [by_model[model.name, name].interval for name in sets]
        table.add_row(label, *(f"{100 * one.estimate:+.1f} {_range(one)}" for one in found))
    return table


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

"""The table of `study --plan`, whose names are never broken: what does not fit beside them stands in a table below."""

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from lightning_robust.cli.study_planned import ModelPlan, StudyPlan

__all__ = ["hours_words", "plan_table"]

_LEAST_HOURS = 0.05  # less is none in a column of hours
_Column = tuple[str, list[str], bool]


def hours_words(hours: float) -> str:
    """Hours as they are printed.

    Args:
        hours: How many.

    Example:
        >>> hours_words(12.4), hours_words(0.3), hours_words(0.01), hours_words(0)
        ('12', '0.3', '< 0.1', '0')
    """
    if hours == 0:
        return "0"
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.1f}" if hours >= _LEAST_HOURS else "< 0.1"


def plan_table(plan: StudyPlan, console: Console) -> Any:
    """The models of a plan, a row for each; columns that say the same nothing of every model are left out.

    Args:
        plan: The plan.
        console: Where it is printed. Where it is too narrow, what is loaded stands in a second table, by what it is.
    """
    models, sources = plan.models, [_source(one) for one in plan.models]
    title = f"study {plan.config.name}: {plan.config.file.name}"
    columns: list[_Column] = [
        ("what it is", [one.model.kind for one in models], False),
        ("weights", [one.weights for one in models], False),
        ("finetuning", [one.finetuning for one in models], False),
        ("measured", [f"{one.measured[0]}/{one.measured[1]}" for one in models], True),
        _hours(models),
    ]
    columns = [column for column in columns if any(column[1])]
    names = ("model", [one.model.name for one in models], False)
    whole = _table(title, [names, ("loaded, or trained by", sources, False), *columns])
    if Measurement.get(console, console.options.update(width=10_000), whole).maximum <= console.width:
        return whole
    by_source: dict[str, list[str]] = {}
    for one, source in zip(models, sources, strict=True):
        by_source.setdefault(source, []).append(one.model.name)
    return Group(_table(title, [names, *columns]), _loaded(by_source))


def _source(one: ModelPlan) -> str:
    return str(one.model.model) if one.model.train is None else one.model.train.config


def _hours(models: Sequence[ModelPlan]) -> _Column:
    """Those of a GPU, or of a core where a GPU needs next to none."""
    gpu, core = ([sum(hours) for hours in both] for both in zip(
        *((one.work.gpu_hours, one.work.core_hours) for one in models), strict=True
    ))  # fmt: skip
    name, hours = ("core hours", core) if max(gpu) < _LEAST_HOURS else ("GPU hours", gpu)
    return (name, [hours_words(one) for one in hours], True)


def _table(title: str, columns: Sequence[_Column]) -> Table:
    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name, _, is_number in columns:
        table.add_column(name, justify="right" if is_number else "left", no_wrap=True, overflow="fold")
    for cells in zip(*(cells for _, cells, _ in columns), strict=True):
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _loaded(by_source: dict[str, list[str]]) -> Table:
    """What is loaded for whom; models that come from the same stand in one row."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("loaded, or trained by", no_wrap=True, overflow="fold")
    table.add_column("models")
    for source, names in by_source.items():
        table.add_row(Text(source), Text(", ".join(names)))
    return table

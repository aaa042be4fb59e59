"""Cells and tables of the terminal that the parts of a probe share."""

import math
from collections.abc import Mapping

from rich import box
from rich.table import Table

from lightning_robust.results import ProbeRecord

DASH = "–"
"""What stands for a figure that was not measured or is not defined."""


def new_table(*columns: str, left: int) -> Table:
    """A table whose first columns are words and wrap; figures are never cut.

    Args:
        columns: Titles.
        left: How many of them are words.
    """
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for k, column in enumerate(columns):
        table.add_column(column, justify="left" if k < left else "right", no_wrap=k >= left, overflow="fold")
    return table


def figure(record: ProbeRecord, tag: str, form: str) -> str:
    """A figure by its tag, or a dash.

    Args:
        record: The model.
        tag: The figure's tag.
        form: A format such as `"{:.2f}"`.
    """
    value = record.scalars.get(tag, math.nan)
    return DASH if math.isnan(value) else form.format(value)


def representation(record: ProbeRecord) -> str:
    """The layer that the head reads: the last."""
    return record.layers[-1].name


def forms_by_layer(record: ProbeRecord) -> Mapping[str, str]:
    """Axis and pooling of each layer in words."""
    return {layer.name: layer.form for layer in record.layers}

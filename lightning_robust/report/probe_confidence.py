"""The table of a probe that says how sure models are of their answers, and how right."""

from collections.abc import Mapping
from typing import Final

from rich.table import Table

from lightning_robust.report.cells import DASH, figure, new_table
from lightning_robust.results import ProbeRecord

__all__ = ["CONFIDENCE_NOTE", "confidence_table"]

CONFIDENCE_NOTE: Final = (
    "confidence: mean largest softmax probability, of the model's own logits; entropy divided by log C; margin: "
    "largest minus second largest; over: confidence minus accuracy; ECE: calibration error over 15 bins of equal "
    "width. The last three need images whose classes are known to be the head's."
)
_COLUMNS: Final = {
    "confidence": ("mean", "{:.3f}"),
    "entropy": ("entropy", "{:.3f}"),
    "margin": ("margin", "{:.3f}"),
    "accuracy": ("accuracy", "{:.1%}"),
    "over": ("overconfidence", "{:+.3f}"),
    "ECE": ("ece", "{:.3f}"),
}


def confidence_table(records: Mapping[str, ProbeRecord]) -> Table:
    """A row for each model that has a head; empty where none has.

    Args:
        records: Models by the letter that stands for each; one needs none.

    Example:
        >>> confidence_table({}).row_count
        0
    """
    several = len(records) > 1
    table = new_table(*([""] if several else []), *_COLUMNS, left=int(several))
    for letter, record in records.items():
        cells = [figure(record, f"confidence/{name}", form) for name, form in _COLUMNS.values()]
        if set(cells) != {DASH}:
            table.add_row(*([letter] if several else []), *cells)
    return table

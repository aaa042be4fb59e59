"""The contact sheet of `ablate`: of each unit the images on which it is largest and smallest, and what it ranks."""

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from lightning_robust.report.ablation_words import percent, unit_name
from lightning_robust.results.ablation_record import AblatedUnit, AblationRecord, TopImage, UnitGroup

__all__ = ["contact_sheets"]

_ON_A_PAGE = 8  # units
_TEXT, _LINE = 3.4, 1.32  # width of the text and height of a row, in tiles
_INCHES = 0.86
_FEWEST = 4  # tiles that a sheet is wide at least
_BOLD, _PLAIN = 0.093, 0.063  # inches of a character
_SAID = "judged images on which each is largest (+) and smallest (−), with its value; concepts with AP (prevalence)"


def contact_sheets(record: AblationRecord, folder: Path) -> dict[str, Figure]:
    """Draw the sheets, one for each group and eight units: text, and the largest images above the smallest.

    Args:
        record: The ablation.
        folder: Its folder, in which the small pictures lie.

    Returns:
        By name, `features`, `raw_directions`, `raw_directions_2`; none where no top images were asked for.
    """
    sheets = {}
    for group in record.groups:
        units = [unit for unit in record.units_of(group) if unit.top or unit.bottom]
        name = f"{group.form}_directions" if group.form else "features"
        for number, start in enumerate(range(0, len(units), _ON_A_PAGE), start=1):
            page = units[start : start + _ON_A_PAGE]
            sheets[name if number == 1 else f"{name}_{number}"] = _sheet(record, group, page, folder)
    return sheets


def _sheet(record: AblationRecord, group: UnitGroup, units: Sequence[AblatedUnit], folder: Path) -> Figure:
    columns = max(len(side) for unit in units for side in (unit.top, unit.bottom))
    rows = sum(_rows(unit) for unit in units)
    width = _TEXT + max(_FEWEST, columns)
    title = _lines(f"{record.model.name}, {record.layer}: {group.words}", width, _BOLD)
    said = _lines(_SAID, width, _PLAIN)
    head = 0.35 + 0.19 * len(title) + 0.15 * len(said)
    height = rows * _LINE + 0.25 * len(units) + head
    figure = Figure(figsize=(width * _INCHES, height * _INCHES))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.axis("off")
    axes.text(0.12, 0.12, "\n".join(title), fontsize=9, va="top", weight="bold")
    axes.text(0.12, 0.2 + 0.19 * len(title), "\n".join(said), fontsize=7, va="top")
    y = head
    for unit in units:
        axes.axhline(y - 0.08, color="0.8", linewidth=0.6)
        axes.text(0.12, y + 0.05, _text(unit), fontsize=6.8, va="top", linespacing=1.35)
        for sign, side in (("+", unit.top), ("−", unit.bottom)):
            if not side:
                continue
            axes.text(_TEXT - 0.12, y + 0.5, sign, fontsize=11, ha="center", va="center")
            for column, one in enumerate(side):
                _tile(axes, one, folder, _TEXT + column, y)
            y += _LINE
        y += 0.25
    return figure


def _rows(unit: AblatedUnit) -> int:
    return sum(bool(side) for side in (unit.top, unit.bottom))


def _tile(axes: Axes, one: TopImage, folder: Path, x: float, y: float) -> None:
    pixels = _read(folder, one)
    edge = 0.04
    if pixels is None:
        axes.text(x + 0.5, y + 0.5, "no picture", fontsize=5.5, ha="center", va="center", color="0.4")
    else:
        high, wide = pixels.shape[:2]
        scale = (1 - 2 * edge) / max(high, wide)
        left, top = x + (1 - wide * scale) / 2, y + (1 - high * scale) / 2
        axes.imshow(
            pixels, extent=(left, left + wide * scale, top + high * scale, top), interpolation="nearest", aspect="auto"
        )
    words = f"{_cut(one.label)}\n{_cut(one.set)} {_number(one.score)}"
    axes.text(x + 0.5, y + 1.0, words, fontsize=5.2, ha="center", va="top", linespacing=1.05)


def _read(folder: Path, one: TopImage) -> Any:
    """The pixels of a small picture; None where there is none any more."""
    if one.file is None or not (folder / one.file).is_file():
        return None
    with Image.open(folder / one.file) as image:
        return np.asarray(image.convert("RGB"))


def _lines(words: str, width: float, character: float) -> list[str]:
    return textwrap.wrap(words, int((width - 0.24) * _INCHES / character))


def _number(score: float) -> str:
    """Three digits.

    Example:
        >>> [_number(score) for score in (-177.4, 25.0, 1.5, 0.0123, 12345.0)]
        ['−177', '25.0', '1.50', '0.0123', '12,345']
    """
    size = abs(score)
    digits = 0 if size >= 99.95 else 1 if size >= 9.995 else 2
    said = f"{score:,.{digits}f}" if size >= 0.9995 or score == 0 else f"{score:.3g}"
    return said.replace("-", "−")


def _cut(words: str, most: int = 15) -> str:
    return words if len(words) <= most else f"{words[: most - 1]}…"


def _text(unit: AblatedUnit) -> str:
    lines = [unit_name(unit)]
    facts = [f"{percent(unit.share)} % of ‖h‖²"]
    if not math.isnan(unit.importance_share):
        facts.append(f"{percent(unit.importance_share)} % of all importance")
    elif not math.isnan(unit.importance):
        facts.append(f"normalised importance {unit.importance:.2g}")
    lines.append(", ".join(facts))
    if not math.isnan(unit.common):
        lines.append(f"same for every class: {percent(unit.common)} %")
    if not math.isnan(unit.mean_z):
        far = "" if math.isnan(unit.far_out) else f", beyond 6 on {percent(unit.far_out)} %"
        lines.append(f"mean |z| {unit.mean_z:.1f}{far}")
    for entry in unit.concepts[:4]:
        sign = "−" if entry.sign < 0 else "+"
        lines.append(f"{sign} {_cut(entry.concept, 26)} {entry.average_precision:.2f} ({entry.prevalence:.2f})")
    return "\n".join(lines)

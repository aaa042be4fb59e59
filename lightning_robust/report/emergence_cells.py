"""What stands in the tables of a comparison of pretrainings: labels, cells and notes, in full and in short forms."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from lightning_robust.report.cells import DASH
from lightning_robust.report.emergence_onset import BEYOND
from lightning_robust.report.emergence_shown import ShownFigure, variant_words
from lightning_robust.report.emergence_summary import LAST_POINTS
from lightning_robust.results.emergence_record import EmergenceCorrelation, EmergenceOnset, EmergenceRecord

__all__ = ["Form", "TablePart", "table_parts", "thousands"]

Rows = list[tuple[str, list[str]]]


class Form(Enum):
    """How much a table tells: ranges over the seeds, words without them, or the shortest words."""

    RANGES = "ranges"
    WORDS = "words"
    SHORT = "short"


@dataclass(frozen=True)
class TablePart:
    """One table in its forms.

    Attributes:
        title: What it is of.
        columns: Headings.
        forms: Those that it has, the fullest first.
        rows: Label and cells of each row in a form.
        note: What is written below it in a form.
    """

    title: str
    columns: tuple[str, ...]
    forms: tuple[Form, ...]
    rows: Callable[[Form], Rows]
    note: Callable[[Form], str]


def table_parts(record: EmergenceRecord, shown: Sequence[ShownFigure]) -> list[TablePart]:
    """The tables of a comparison that have anything to say.

    Args:
        record: Summarised, see `emergence_summary.summarised`.
        shown: The figures, in order.
    """
    variants = tuple(variant_words(name) for name in record.variants)
    everything, plain = tuple(Form), (Form.WORDS, Form.SHORT)
    parts = [
        TablePart(
            "At the last point", variants, plain, lambda form: _finals(record, shown, form),
            lambda _: "Mean over the seeds ± half a 95 % t-interval." if len(record.seeds) > 1 else "Of one seed.",
        ),
        TablePart(
            "Half-rise, images seen", variants, everything, lambda form: _onsets(record, shown, form),
            lambda form: _onset_note(record, form),
        ),
    ]  # fmt: skip
    if any(len(one.half_rise) > 1 for one in record.onsets):
        parts.append(
            TablePart(
                "Leaves its untrained value, images seen", variants, plain, lambda form: _leaves(record, shown, form),
                lambda form: _leaves_note(record, form),
            )
        )  # fmt: skip
    if record.correlations:
        parts.append(
            TablePart(
                "Rank correlation with effective robustness", (*variants, LAST_POINTS), everything,
                lambda form: _correlations(record, shown, form), _correlation_note,
            )
        )  # fmt: skip
    return parts


def thousands(images: float) -> str:
    """A number of images, short.

    Example:
        >>> thousands(256), thousands(11_584), thousands(307_200), thousands(10_000)
        ('256', '11.6k', '307k', '10k')
    """
    if images < 1000:
        return f"{images:.0f}"
    return f"{images / 1000:.1f}".removesuffix(".0") + "k" if images < 99_950 else f"{images / 1000:.0f}k"


def _label(figure: ShownFigure, form: Form) -> str:
    return figure.short_words if form is Form.SHORT else figure.words


def _never(form: Form) -> str:
    return "never" if form is Form.SHORT else "not within this run"


def _no_change(form: Form) -> str:
    return "none" if form is Form.SHORT else "no clear change"


def _finals(record: EmergenceRecord, shown: Sequence[ShownFigure], form: Form) -> Rows:
    found = {(final.figure, final.variant): final for final in record.finals}
    rows = []
    for figure in shown:
        cells = []
        for variant in record.variants:
            final = found[figure.tag, variant]
            half = "" if math.isnan(final.half_width) else f" ± {figure.text(final.half_width)}"
            cells.append(figure.text(final.mean) + half)
        rows.append((_label(figure, form), cells))
    return rows


def _onsets(record: EmergenceRecord, shown: Sequence[ShownFigure], form: Form) -> Rows:
    beyond = ShownFigure(BEYOND, "beyond a standard model", short="beyond standard")
    found = {(one.figure, one.variant): one for one in record.onsets}
    return [
        (_label(figure, form), [_rise(found[figure.tag, variant], form) for variant in record.variants])
        for figure in (*shown, beyond)
        if any(figure.tag == tag for tag, _ in found)
    ]


def _rise(onset: EmergenceOnset, form: Form) -> str:
    """Mean and range over the seeds; how many of them where it is not all."""
    known = [value for value in onset.half_rise if not math.isnan(value)]
    if not known and math.isnan(onset.change):  # it was not measured
        return DASH
    if not known:
        return _never(form) if onset.figure == BEYOND or onset.clear else _no_change(form)
    falls = onset.figure != BEYOND and onset.change < 0
    text = ("↓ " if falls else "↑ ") + thousands(math.fsum(known) / len(known))
    if form is Form.RANGES and min(known) < max(known):
        text += f" ({thousands(min(known))}–{thousands(max(known))})"
    of = "{}/{}" if form is Form.SHORT else "{} of {} seeds"
    some = "" if len(known) == len(onset.half_rise) else " " + of.format(len(known), len(onset.half_rise))
    return text + some + (" †" if onset.extrapolated else "")


def _leaves(record: EmergenceRecord, shown: Sequence[ShownFigure], form: Form) -> Rows:
    found = {(one.figure, one.variant): one for one in record.onsets}
    return [
        (_label(figure, form), [_left(found[figure.tag, variant], form) for variant in record.variants])
        for figure in shown
    ]


def _left(onset: EmergenceOnset, form: Form) -> str:
    if not math.isnan(onset.leaves):
        return thousands(onset.leaves)
    # of one seed nothing is known of its noise
    return _never(form) if len(onset.half_rise) > 1 and not math.isnan(onset.change) else DASH


def _correlations(record: EmergenceRecord, shown: Sequence[ShownFigure], form: Form) -> Rows:
    found: Mapping[tuple[str, str], EmergenceCorrelation] = {(c.figure, c.variant): c for c in record.correlations}
    return [
        (
            _label(figure, form),
            [_rho(found[figure.tag, variant], form) for variant in (*record.variants, LAST_POINTS)],
        )
        for figure in shown
        if (figure.tag, LAST_POINTS) in found
    ]


def _rho(found: EmergenceCorrelation, form: Form) -> str:
    known = [value for value in found.values if not math.isnan(value)]
    if not known:
        return DASH
    mean = f"{math.fsum(known) / len(known):+.2f}"
    return f"{mean} ({min(known):+.2f} … {max(known):+.2f})" if form is Form.RANGES and len(known) > 1 else mean


def _onset_note(record: EmergenceRecord, form: Form) -> str:
    interval = "" if len(record.seeds) == 1 else f"; {_no_change(form)}: the 95 % t-interval of the change holds zero"
    over = "mean over the seeds, and their range" if form is Form.RANGES else "mean over the seeds"
    lines = [
        "The first point from which on half of the change between step 0 and the last point stays passed: "
        f"{over}. ↑ a figure that rises, ↓ one that falls{interval}."
    ]
    cells = [_rise(one, form) for one in record.onsets] if form is Form.SHORT else []
    if _never(form) in cells:
        lines.append("never: not within this run.")
    if any("/" in cell for cell in cells):
        lines.append("2/3: mean of two of three seeds, the third has none.")
    if any(one.figure == BEYOND for one in record.onsets):
        lines.append(
            "Beyond a standard model: the first point from which on the interval with the scatter of standard models "
            "lies above zero, without extrapolation."
        )
    if any(one.extrapolated for one in record.onsets):
        lines.append("† effective robustness is an extrapolation there: few standard models are that inaccurate.")
    return " ".join(lines)


def _leaves_note(record: EmergenceRecord, form: Form) -> str:
    lines = [
        "The first point from which on the 95 % t-interval over the seeds of the change since step 0 excludes zero, to "
        "the end; late for small changes, as the seeds are few."
    ]
    if form is Form.SHORT and any(_left(one, form) == _never(form) for one in record.onsets):
        lines.append("never: not within this run.")
    if any(len(one.half_rise) == 1 for one in record.onsets):
        lines.append(f"{DASH}: not defined for one seed.")
    return " ".join(lines)


def _correlation_note(form: Form) -> str:
    over = "mean and range over the seeds" if form is Form.RANGES else "mean over the seeds"
    return (
        f"Spearman's, over the points of each run: {over}. The points of one run are not independent: whatever grows "
        f"with training correlates, so it tests nothing. {LAST_POINTS}: over the last points of all runs, which differ "
        "by variant more than by seed."
    )

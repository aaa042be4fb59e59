"""Cells of the tables of `prune`."""

from collections.abc import Sequence
from statistics import mean

from rich.markup import escape

from lightning_robust.report.cells import DASH
from lightning_robust.report.prune_words import draw_range
from lightning_robust.results.choices import Interval
from lightning_robust.results.prune_record import JudgedPoint, PruneCurve, PrunedModel
from lightning_robust.results.pruned_headline import PrunedHeadline

__all__ = [
    "aligned",
    "fraction_words",
    "left_cell",
    "lost_words",
    "percent",
    "pruned_cells",
    "robustness_cell",
    "shown_fraction",
    "shown_headlines",
]


def percent(share: float) -> str:
    """A fraction in whole percent.

    Example:
        >>> percent(0.6512), percent(1.0)
        ('65', '100')
    """
    return f"{100 * share:.0f}"


def lost_words(points: float) -> str:
    """What a headline may lose, in words.

    Example:
        >>> lost_words(0.01), lost_words(0.005)
        ('1 point', '0.5 points')
    """
    return f"{100 * points:g} point{'' if points == 0.01 else 's'}"


def shown_headlines(curve: PruneCurve, what: str) -> Sequence[PrunedHeadline]:
    """The headlines of a curve on the reference or the shifts; of a random head those of its own answers.

    Args:
        curve: Of one order.
        what: `"reference"` or `"shifts"`.
    """
    name = "agreement" if what == "reference" and "agreement" in curve.headlines else what
    return curve.headlines.get(name, ())


def shown_fraction(model: PrunedModel, order: str, what: str = "reference", form: str = "raw") -> Interval | None:
    """The largest fraction pruned with its interval, of the first draw; None where there is none.

    Args:
        model: One model.
        order: Name of the order.
        what: `"reference"` or `"shifts"`.
        form: `"raw"`, `"centred"`, or empty for features.
    """
    curve = model.curve(order, form)
    found = () if curve is None else shown_headlines(curve, what)
    return found[0].fraction if found else None


def fraction_words(fraction: Interval) -> str:
    """A fraction with its interval, in %.

    Example:
        >>> fraction_words(Interval(0.5, 0.45, 0.65, level=0.95, replicates=2000, seed=0))
        '50 % [45, 65]'
    """
    return f"{percent(fraction.estimate)} % [{percent(fraction.low)}, {percent(fraction.high)}]"


def pruned_cells(curve: PruneCurve | None, what: str) -> tuple[str, str]:
    """The largest fraction pruned in %, and its interval; over several draws their mean, and their range.

    Args:
        curve: Of one order; None where there is none.
        what: `"reference"` or `"shifts"`.
    """
    headlines = () if curve is None else shown_headlines(curve, what)
    if not headlines:
        return DASH, ""
    if len(headlines) > 1:
        middle, low, high = draw_range([one.fraction.estimate for one in headlines])
        return percent(middle), f"({percent(low)}–{percent(high)})"
    fraction = headlines[0].fraction
    star = "*" if headlines[0].unbroken_kept != headlines[0].kept else ""
    return f"{star}{percent(fraction.estimate)}", f"[{percent(fraction.low)}, {percent(fraction.high)}]"


def aligned(cells: Sequence[tuple[str, str]]) -> list[str]:
    """Figures with their intervals as cells of one column, the figures below each other; ready for markup.

    Args:
        cells: Figure and interval of each row.

    Example:
        >>> aligned([("50", "(45–65)"), ("5", "")])
        ['50 (45–65)', ' 5        ']
    """
    first, second = (max((len(cell[part]) for cell in cells), default=0) for part in (0, 1))
    return [escape(f"{figure:>{first}} {interval:<{second}}") for figure, interval in cells]


def left_cell(curve: PruneCurve, what: str) -> str:
    """The accuracy in % that is left there, over the draws their mean.

    Args:
        curve: Of one order.
        what: `"reference"` or `"shifts"`.
    """
    headlines = curve.headlines.get(what, ())
    return f"{100 * mean(one.accuracy for one in headlines):.1f}" if headlines else DASH


def robustness_cell(point: JudgedPoint) -> str:
    """Mean effective robustness in points with its first interval, ready for markup; an extrapolation is marked.

    Args:
        point: The model, pruned or not.
    """
    if point.robustness is None:
        return DASH
    er = point.robustness.mean
    cell = f"{100 * er.estimate:+.1f}{'†' if er.extrapolated else ''}"
    if er.interval is None:
        return cell
    return f"{cell} \\[{100 * er.interval.low:+.1f}, {100 * er.interval.high:+.1f}]"

"""Cells of the tables of `prune`."""

from collections.abc import Sequence
from statistics import mean

from rich.markup import escape

from lightning_robust.report.cells import DASH
from lightning_robust.report.prune_words import draw_range
from lightning_robust.results.choices import Interval
from lightning_robust.results.prune_record import JudgedPoint, PruneCurve, PrunedModel, PruneRecord
from lightning_robust.results.pruned_headline import PrunedHeadline

__all__ = [
    "aligned",
    "fraction_words",
    "left_cell",
    "lost_words",
    "many_tries",
    "near_chance_words",
    "percent",
    "pruned_cells",
    "robustness_cell",
    "same_answers_known",
    "shown_fraction",
    "shown_headlines",
    "unbroken_cells",
]

_FEW = 64  # tries: the best of so many is hardly too high


def percent(share: float) -> str:
    """A fraction in whole percent; never 100 where something is left, never 0 where it is not nothing.

    Example:
        >>> percent(0.6512), percent(1.0), percent(0.998), percent(0.99999), percent(0.002), percent(0.0001)
        ('65', '100', '99.8', '>99.9', '0.2', '<0.1')
    """
    for digits in (0, 1):
        said = f"{100 * share:.{digits}f}"
        if float(said) != 100 * share and float(said) in (0, 100):
            continue
        return said
    return ">99.9" if share > 0.5 else "<0.1"


def lost_words(points: float) -> str:
    """What a headline may lose, in words.

    Example:
        >>> lost_words(0.01), lost_words(0.005)
        ('1 point', '0.5 points')
    """
    return f"{100 * points:g} point{'' if points == 0.01 else 's'}"


def near_chance_words(model: PrunedModel, label: str, points: float) -> str:
    """What is said of a model that has so little to lose that its headlines say nothing, without a full stop.

    Args:
        model: The model.
        label: What it is called.
        points: Accuracy that a headline may lose, a fraction.
    """
    name, nothing = model.unpruned.rows[0].set, model.without_directions
    left = "" if nothing is None else f" and on {100 * nothing:.1f} % with no direction left"
    return (
        f"{label} is right on {100 * model.unpruned.reference:.1f} % of {name}{left}: with so little to lose, how much "
        f"can go for {lost_words(points)} of accuracy says nothing"
    )


def shown_headlines(curve: PruneCurve, what: str) -> Sequence[PrunedHeadline]:
    """The headlines of a curve on the reference, on the shifts, or of answers that stay; none where there are none.

    Args:
        curve: Of one order.
        what: `"reference"`, `"shifts"` or `"agreement"`.
    """
    return curve.headlines.get(what, ())


def shown_fraction(model: PrunedModel, order: str, what: str = "reference", form: str = "raw") -> Interval | None:
    """The largest fraction pruned with its interval, of the first draw; None where there is none.

    Args:
        model: One model.
        order: Name of the order.
        what: `"reference"`, `"shifts"` or `"agreement"`.
        form: `"raw"`, `"centred"`, or empty for features.
    """
    curve = model.curve(order, form)
    found = () if curve is None else shown_headlines(curve, what)
    return found[0].fraction if found else None


def same_answers_known(record: PruneRecord) -> bool:
    """Whether heads and random heads were held to answers that stay; records of an early date lack it.

    Args:
        record: The pruning.
    """
    orders = {curve.order for model in record.models for curve in model.curves if "agreement" in curve.headlines}
    return {"importance", "random_head"} <= orders


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
        what: `"reference"`, `"shifts"` or `"agreement"`.
    """
    headlines = () if curve is None else shown_headlines(curve, what)
    if curve is None or not headlines:
        return DASH, ""
    found = _cells([one.fraction for one in headlines])
    star = len(headlines) == 1 and headlines[0].unbroken_kept != headlines[0].kept and not many_tries(curve)
    return f"{'*' if star else ''}{found[0]}", found[1]


def unbroken_cells(curve: PruneCurve | None, what: str) -> tuple[str, str]:
    """Likewise up to where no smaller pruning loses more.

    Args:
        curve: Of one order; None where there is none.
        what: `"reference"`, `"shifts"` or `"agreement"`.
    """
    headlines = () if curve is None else shown_headlines(curve, what)
    return _cells([one.unbroken for one in headlines]) if headlines else (DASH, "")


def many_tries(curve: PruneCurve | None) -> bool:
    """Whether the most that can go is the best of so many tries that it is rather high.

    Then the fraction without a break stands beside it: always for features, and for more than 64 directions.
    """
    return curve is not None and (curve.of == "features" or curve.total > _FEW)


def _cells(fractions: Sequence[Interval]) -> tuple[str, str]:
    if len(fractions) > 1:
        middle, low, high = draw_range([one.estimate for one in fractions])
        return percent(middle), f"({percent(low)}–{percent(high)})"
    (fraction,) = fractions
    return percent(fraction.estimate), f"[{percent(fraction.low)}, {percent(fraction.high)}]"


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

"""What the words and marks in the tables of `prune` mean."""

from collections.abc import Collection, Sequence

from lightning_robust.report.prune_cells import lost_words, many_tries, percent, same_answers_known, shown_headlines
from lightning_robust.report.prune_words import ORDERS, record_labels
from lightning_robust.results.prune_record import JudgedPoint, PruneCurve, PruneRecord

__all__ = ["notes"]


def notes(record: PruneRecord, orders: Collection[str], *, each: bool) -> list[str]:
    """A sentence for each word and mark that stands in the tables.

    Args:
        record: The pruning.
        orders: Those that the tables show.
        each: Whether every model has tables of its own, with controls below the finding and what is left.
    """
    curves = [curve for model in record.models for curve in model.curves if curve.order in orders]
    there, draws = {curve.order for curve in curves}, {curve.draws for curve in curves} - {1}
    lines = ["Bold: the finding; below it, indented, its controls."] if each else []
    lines.append(
        f"% pruned: the most that can go for at most {lost_words(record.points)} of accuracy; [95 % interval, paired "
        "bootstrap over the images, each replicate with its own most]."
        + (f" (Lowest–highest) of {_counts(draws)} draws beside their mean." if draws else "")
    )
    if "centred" in {curve.form for curve in curves}:
        lines.append("centred: the head without the mean of its rows, which predicts the same.")
    lines += [words for order, words in _OF_ORDERS.items() if order in there]
    if tries := sorted({curve.total for curve in curves if many_tries(curve)}):
        lines.append(
            f"without a break: up to where no smaller pruning loses more; the figure above it is the best of "
            f"{' or '.join(f'{count:,}' for count in tries)} tries, so rather high."
        )
    if same_answers_known(record):
        lines.append(
            f"same answers: the most that can go while {100 * (1 - record.points):g} % of the images are answered as "
            "before, which asks more than accuracy, where wins make up for losses. ‡ Gaussian weights in place of the "
            "head: no better than chance, so its answers are all that it can keep."
        )
    if each:
        lines += _of_paper(record) + _of_robustness(record, curves)
    return lines + _broken(record, orders)


_OF_ORDERS = {
    "reduced_rank": "reduced-rank regr.: the truncation that is best for the logits of the calibration images.",
    "smallest_first": "least important kept: the other way round, the largest go first.",
    "outlier_features": "outliers zeroed: features in place of directions, the furthest out first.",
}


def _of_paper(record: PruneRecord) -> list[str]:
    if all(model.comparable for model in record.models if model.role == "asked"):
        return []
    return ["§ not comparable: the head reads fewer than half of the dimensions."]


def _of_robustness(record: PruneRecord, curves: Sequence[PruneCurve]) -> list[str]:
    if record.baseline is None:
        return []
    lines = [f"ER: effective robustness, points over the baseline {record.baseline}."]
    points = [point for curve in curves if curve.order == "importance" for point in curve.judged.values()]
    if any(_extrapolated(point) for point in (*points, *(model.unpruned for model in record.models))):
        lines.append("† extrapolation: the reference accuracy lies outside that of the baseline's models.")
    return lines


def _counts(draws: set[int]) -> str:
    return " or ".join(f"{count:,}" for count in sorted(draws))


def _extrapolated(point: JudgedPoint) -> bool:
    return point.robustness is not None and point.robustness.mean.extrapolated


def _broken(record: PruneRecord, orders: Collection[str]) -> list[str]:
    """Where accuracy comes back on the way, the fraction up to which it does not go."""
    found = [
        f"{label}, {ORDERS[curve.order].words}{_form(curve)}, {what} {percent(one.unbroken.estimate)} %"
        for model, label in zip(record.models, record_labels(record), strict=True)
        for curve in model.curves
        for what in ("reference", "shifts")
        if curve.draws == 1 and curve.order in orders and not many_tries(curve)
        for one in shown_headlines(curve, what)
        if one.unbroken_kept != one.kept
    ]
    return [f"* pruning less loses more in between; without a break: {'; '.join(found)}."] if found else []


def _form(curve: PruneCurve) -> str:
    return f" ({curve.form})" if curve.form else ""

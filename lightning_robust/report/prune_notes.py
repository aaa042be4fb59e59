"""What the words and marks in the tables of `prune` mean."""

from lightning_robust.report.prune_cells import lost_words, percent, shown_headlines
from lightning_robust.report.prune_words import ORDERS, model_labels
from lightning_robust.results.prune_record import JudgedPoint, PruneCurve, PruneRecord

__all__ = ["notes"]


def notes(record: PruneRecord) -> list[str]:
    """A sentence for each word and mark that stands in the tables.

    Args:
        record: The pruning.
    """
    curves = [curve for model in record.models for curve in model.curves]
    there, draws = {curve.order for curve in curves}, {curve.draws for curve in curves} - {1}
    lines = [
        "Bold: the finding; below it, indented, its controls.",
        f"% pruned: the most that can go for at most {lost_words(record.points)} of accuracy; [95 % interval, paired "
        "bootstrap over the images, each replicate with its own most]."
        + (f" (Lowest–highest) of {_counts(draws)} draws beside their mean." if draws else ""),
    ]
    if "centred" in {curve.form for curve in curves}:
        lines.append("centred: the head without the mean of its rows, which predicts the same.")
    if "reduced_rank" in there:
        lines.append("reduced-rank regr.: the truncation that is best for the logits of the calibration images.")
    if "smallest_first" in there:
        lines.append("least important kept: the other way round, the largest go first.")
    if "random_head" in there:
        same = f"{100 * (1 - record.points):g} %"
        lines.append(f"‡ Gaussian weights: no better than chance, so what can go while {same} of its own answers stay.")
    if not all(model.comparable for model in record.models):
        lines.append("§ not comparable: the head reads fewer than half of the dimensions.")
    if "outlier_features" in there:
        lines.append("outliers zeroed: features in place of directions, the furthest out first.")
    if record.baseline is not None:
        lines.append(f"ER: effective robustness, points over the baseline {record.baseline}.")
    points = [point for curve in curves for point in curve.judged.values()]
    points += [model.unpruned for model in record.models]
    if any(_extrapolated(point) for point in points):
        lines.append("† extrapolation: the reference accuracy lies outside that of the baseline's models.")
    return lines + _broken(record)


def _counts(draws: set[int]) -> str:
    return " or ".join(f"{count:,}" for count in sorted(draws))


def _extrapolated(point: JudgedPoint) -> bool:
    return point.robustness is not None and point.robustness.mean.extrapolated


def _broken(record: PruneRecord) -> list[str]:
    """Where accuracy comes back on the way, the fraction up to which it does not go."""
    found = [
        f"{label}, {ORDERS[curve.order].words}{_form(curve)}, {what} {percent(one.unbroken.estimate)} %"
        for model, label in zip(record.models, model_labels(record.models), strict=True)
        for curve in model.curves
        for what in ("reference", "shifts")
        if curve.draws == 1
        for one in shown_headlines(curve, what)
        if one.unbroken_kept != one.kept
    ]
    return [f"* pruning less loses more in between; without a break: {'; '.join(found)}."] if found else []


def _form(curve: PruneCurve) -> str:
    return f" ({curve.form})" if curve.form else ""

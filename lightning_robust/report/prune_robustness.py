"""Whether what can be pruned goes with effective robustness: at the ends of a path, and over many models."""

import math
from collections.abc import Sequence

from lightning_robust.report.prune_cells import fraction_words, shown_fraction
from lightning_robust.report.prune_words import is_path
from lightning_robust.results.choices import Interval
from lightning_robust.results.prune_record import PrunedModel, PruneRecord

__all__ = ["correlation_sentence", "path_sentence"]

_ENOUGH = 6  # models that a rank correlation needs
_NORMAL = 1.959964  # 97.5 % quantile
_DEPENDENT = " Points of one path are not independent, as an interval would have it."


def path_sentence(record: PruneRecord) -> str:
    """What can go at both ends of a Wise-FT path, and whether it follows effective robustness; empty without a path.

    A change is one where the intervals of the ends have nothing in common.

    Args:
        record: The pruning.
    """
    if not is_path(record.models):
        return ""
    asked = sorted((one for one in record.models if one.role == "asked"), key=lambda one: one.alpha or 0.0)
    start, end = asked[0], asked[-1]
    before, after = (shown_fraction(one, "importance") for one in (start, end))
    if before is None or after is None:
        return ""
    said = (
        f"from α = {start.alpha:g} to α = {end.alpha:g} what can go on the reference changes from "
        f"{fraction_words(before)} to {fraction_words(after)}"
    )
    if unsure := [one for one in (start, end) if one.near_chance]:
        return f"{said}; α = {unsure[0].alpha:g} is at chance, so nothing can be concluded."
    first, last = start.unpruned.robustness, end.unpruned.robustness
    if first is None or last is None:
        return f"{said}."
    ends = f"{100 * first.mean.estimate:+.1f} to {100 * last.mean.estimate:+.1f} points"
    verdict = _verdict(_change(before, after), _change(first.mean.interval, last.mean.interval))
    return f"{said}, effective robustness from {ends}: {verdict}."


def _change(before: Interval | None, after: Interval | None) -> int:
    """1 where it is larger afterwards beyond both intervals, −1 where smaller, 0 where that is not known."""
    if before is None or after is None:
        return 0
    return int(after.low > before.high) - int(after.high < before.low)


def _verdict(pruned: int, robust: int) -> str:
    if pruned * robust > 0:
        return "it follows, beyond the intervals of both"
    if pruned * robust < 0:
        return "it goes the other way, beyond the intervals of both"
    unknown = " and ".join(words for words, change in (("what can go", pruned), ("robustness", robust)) if change == 0)
    return f"undetermined, for the intervals of {unknown} overlap at the two ends"


def correlation_sentence(models: Sequence[PrunedModel]) -> str:
    """Spearman's correlation of what can go with effective robustness; empty for fewer than six models with both.

    Interval: Fisher's z with the variance (1 + ρ²/2)/(n − 3) of Bonett & Wright (2000), 95 %.

    Args:
        models: That were asked for, those at chance left out.
    """
    pairs = [
        (fraction.estimate, one.unpruned.robustness.mean.estimate)
        for one in models
        if (fraction := shown_fraction(one, "importance")) is not None and one.unpruned.robustness is not None
    ]
    if len(pairs) < _ENOUGH:
        return ""
    from lightning_robust.robustness.rank_correlation import rank_correlation  # the room imports torch

    related = _related(models)
    rho, n = rank_correlation([pruned for pruned, _ in pairs], [robust for _, robust in pairs])
    what = f"Spearman's rank correlation of what can go on the reference with effective robustness, over {n} models"
    if math.isnan(rho):
        return f"{what}: none, for one of the two is the same in all of them."
    if abs(rho) > 1 - 1e-9:
        return f"{what}: {rho:+.2f}, the ranks agree fully, and no interval can be had.{_DEPENDENT if related else ''}"
    low, high = _interval(rho, n)
    verdict = "more can go where robustness is " + ("larger" if rho > 0 else "smaller")
    if related:
        verdict = "no verdict"
    elif low <= 0 <= high:
        verdict = "undetermined"
    return f"{what}: {rho:+.2f} [{low:+.2f}, {high:+.2f}]: {verdict}.{_DEPENDENT if related else ''}"


def _interval(rho: float, n: int) -> tuple[float, float]:
    z, half = math.atanh(rho), _NORMAL * math.sqrt((1 + rho**2 / 2) / (n - 3))
    return math.tanh(z - half), math.tanh(z + half)


def _related(models: Sequence[PrunedModel]) -> bool:
    """Whether several are points of one Wise-FT path."""
    folders = [one.name.rpartition("/")[0] for one in models if one.alpha is not None]
    return len(set(folders)) < len(folders)

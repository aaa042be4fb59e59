"""Effective robustness under the tags by which it is logged."""

import math
from collections.abc import Iterable, Mapping

from lightning_robust.callbacks.baseline_shifts import REFERENCE
from lightning_robust.errors import from_user
from lightning_robust.results.effective_robustness import EffectiveRobustness
from lightning_robust.robustness import Baseline

_MEAN = "er/mean"


def robustness_scalars(found: EffectiveRobustness) -> dict[str, float]:
    """Figures by tag: `er/<shift>`, `er/<shift>/low` …, `er/mean`, `er/mean/prediction_low` …, `er/extrapolated`.

    Args:
        found: Of one model. Without intervals their tags are left out.
    """
    scalars: dict[str, float] = {}
    for name, entry in {**found.shifts, "mean": found.mean}.items():
        scalars[f"er/{name}"] = entry.estimate
        if entry.interval is not None:
            scalars |= {f"er/{name}/low": entry.interval.low, f"er/{name}/high": entry.interval.high}
    if found.mean.prediction is not None:
        low, high = found.mean.prediction.low, found.mean.prediction.high
        scalars |= {f"{_MEAN}/prediction_low": low, f"{_MEAN}/prediction_high": high}
    return scalars | {"er/extrapolated": float(found.mean.extrapolated)}


def measured_scalars(
    baseline: Baseline, reference: Mapping[str, float], shifted: Mapping[str, float], n: Mapping[str, int],
    *, replicates: int, seed: int,
) -> dict[str, float]:  # fmt: skip
    """Effective robustness of accuracies some of which may be NaN: what hangs on one is NaN then, the mean included.

    Args:
        baseline: The baseline.
        reference: Reference accuracy as `"reference"`, and by shift that on its classes where the baseline asks for it.
        shifted: Accuracy by shift.
        n: Number of images of each.
        replicates: Bootstrap replicates; 0 gives no intervals.
        seed: Of the bootstrap.

    Returns:
        The same tags whichever accuracies are NaN.
    """
    scalars = dict.fromkeys(_tags(shifted, intervals=replicates > 0), math.nan)
    whole = reference[REFERENCE]
    usable = [s for s, value in shifted.items() if not math.isnan(value + reference.get(s, whole) + whole)]
    if not usable:
        return scalars
    with from_user(ValueError):
        found = baseline.effective_robustness(
            {name: value for name, value in reference.items() if name == REFERENCE or name in usable},
            {name: shifted[name] for name in usable}, n, replicates=replicates, seed=seed,
        )  # fmt: skip
    scalars |= robustness_scalars(found)
    if len(usable) < len(shifted):
        scalars |= dict.fromkeys([tag for tag in scalars if tag.startswith(_MEAN)], math.nan)
    return scalars


def _tags(shifts: Iterable[str], *, intervals: bool) -> list[str]:
    ends = ("", "/low", "/high") if intervals else ("",)
    tags = [f"er/{name}{end}" for name in (*shifts, "mean") for end in ends]
    predicted = [f"{_MEAN}/prediction_low", f"{_MEAN}/prediction_high"] if intervals else []
    return [*tags, *predicted, "er/extrapolated"]

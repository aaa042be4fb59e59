"""Words of a diagnosis: its verdict in one sentence, figures by their names, and how far to trust it."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from lightning_robust.report.cells import DASH
from lightning_robust.results import Interval
from lightning_robust.results.diagnosis_record import Coverage, PredictorSkill
from lightning_robust.results.diagnosis_sentence import points, verdict_sentence

__all__ = [
    "coverage_words",
    "figure_words",
    "in_words",
    "interval_words",
    "points",
    "short_models",
    "trust_sentences",
    "verdict_sentence",
]

_PLACES: Final = {
    "h": "of h",
    "last": "of the last layer",
    "largest": "largest over layers",
    "mean": "mean over layers",
}
_NAMES: Final = {
    "outliers": "outlier features",
    "neuron_norm_kurtosis": "neuron-norm kurtosis",
    "rankme": "RankMe",
    "covariance_effective_rank": "covariance rank",
    "participation_ratio": "participation ratio",
    "kurtosis": "kurtosis",
}
_WHOLE: Final = {
    "massive/h/largest": "largest activation of h",
    "head/stable_rank": "stable rank of the head",
    "head/effective_rank": "effective rank of the head",
    "head/alpha": "tail exponent α of the head",
    "weights/alpha": "WeightWatcher's α of the weights",
    "confidence/mean": "mean confidence",
    "confidence/entropy": "entropy of the answers",
    "confidence/margin": "margin of the answers",
    "confidence/accuracy": "reference accuracy",
    "confidence/overconfidence": "overconfidence",
    "confidence/ece": "calibration error",
    "diagnosis": "the diagnosis",
}
_IMPORTANCE: Final = {
    "max_over_median": "importance, largest over median",
    "privileged": "privileged directions",
    "directions_for_90": "directions for 90 % of the logits",
}
_NAME: Final = 34


def figure_words(tag: str) -> str:
    """A figure's name in words; the tag itself for one that has none.

    Args:
        tag: As of `robustness.reference_figures`.

    Example:
        >>> figure_words("kurtosis/last/width_adjusted"), figure_words("confidence/mean"), figure_words("new/one")
        ('kurtosis of the last layer (1: Gaussian)', 'mean confidence', 'new/one')
    """
    if tag in _WHOLE:
        return _WHOLE[tag]
    kind, _, rest = tag.partition("/")
    place, _, end = rest.partition("/")
    if kind == "importance" and end in _IMPORTANCE:
        return f"{_IMPORTANCE[end]} ({place} head)"
    if kind in _NAMES and place in _PLACES and end in ("", "width_adjusted"):
        joined = ", " if place in ("largest", "mean") else " "
        return f"{_NAMES[kind]}{joined}{_PLACES[place]}{' (1: Gaussian)' if end else ''}"
    return tag


def in_words(sentence: str, tags: Iterable[str]) -> str:
    """A sentence with figures by their names in words.

    Args:
        sentence: With tags.
        tags: Those that may stand in it.

    Example:
        >>> in_words("rankme/h adds most", ["rankme/h"])
        'RankMe of h adds most'
    """
    for tag in sorted({tag for tag in tags if "/" in tag}, key=len, reverse=True):
        sentence = sentence.replace(tag, figure_words(tag))
    return sentence


def interval_words(interval: Interval) -> str:
    """An estimate with its interval, two digits; a dash where there is none.

    Args:
        interval: The estimate.
    """
    if math.isnan(interval.estimate):
        return DASH
    if math.isnan(interval.low) or math.isnan(interval.high):
        return _signed(interval.estimate)
    return f"{_signed(interval.estimate)} [{_signed(interval.low)}, {_signed(interval.high)}]"


def coverage_words(coverage: Coverage | None) -> str:
    """How many intervals held what was measured, as "k of n"; a dash where there are none.

    Args:
        coverage: What was counted.
    """
    return DASH if coverage is None else f"{coverage.held} of {coverage.total}"


def trust_sentences(skill: PredictorSkill, rivals: Sequence[PredictorSkill]) -> Iterator[str]:
    """How far a diagnosis is to be trusted, judged on families that it had not seen.

    Args:
        skill: Of the diagnosis.
        rivals: Simple figures that it has to beat.
    """
    if skill.coverage is not None:
        c = skill.coverage
        yield (
            f"Its {100 * c.nominal:.0f} % intervals held what was measured for {c.held} of {c.total} rows whose family "
            f"they had not seen ({100 * c.low:.0f} to {100 * c.high:.0f} %){_by_family(skill.coverage_by_family)}."
        )
    yield (
        f"Rank correlation of prediction and measurement, over {skill.rows} rows of {skill.families} families left out "
        f"in turn: {interval_words(skill.correlation)}, R² {_signed(skill.r_squared)}; between families "
        f"{interval_words(skill.between_families)}, within them {interval_words(skill.within_families)}"
        f"{_among(skill.pretrained)}."
    )
    known = [one for one in rivals if not math.isnan(one.correlation.estimate)]
    if not known:
        return
    best = max(known, key=lambda one: one.correlation.estimate)
    name, its, own = figure_words(best.name), best.correlation.estimate, skill.correlation.estimate
    if math.isnan(own) or its >= own:
        yield (
            f"The simplest rival does as well or better: {name} alone reaches {_signed(its)}, so the diagnosis adds "
            "nothing to it here."
        )
    else:
        yield f"The best simple rival, {name} alone, reaches {interval_words(best.correlation)}."


def _by_family(coverage: Coverage | None) -> str:
    if coverage is None:
        return ""
    return (
        f", and for {coverage.held} of {coverage.total} families by one row of each "
        f"({100 * coverage.low:.0f} to {100 * coverage.high:.0f} %)"
    )


def _among(pretrained: Interval | None) -> str:
    return "" if pretrained is None else f", among pretrained models alone {interval_words(pretrained)}"


def short_models(names: Sequence[str]) -> list[str]:
    """Names for a first column: cut from the left, points of one path by their α alone.

    Args:
        names: As models were asked for, all different.

    Example:
        >>> short_models(["runs/1/wise_ft/alpha=0.50.safetensors", "scenes-clip"])
        ['α = 0.50', 'scenes-clip']
    """
    ends = [_alpha(name) for name in names]
    cut = [name if len(name) <= _NAME else f"…{name[1 - _NAME :]}" for name in names]
    found = [end if end and ends.count(end) == 1 else other for end, other in zip(ends, cut, strict=True)]
    if len(set(found)) == len(found):
        return found
    return [f"{k}. {name}" for k, name in enumerate(found, start=1)]


def _alpha(name: str) -> str:
    file = name.rpartition("/")[2].removesuffix(".safetensors")
    return f"α = {file.removeprefix('alpha=')}" if file.startswith("alpha=") else ""


def _signed(value: float) -> str:
    return DASH if math.isnan(value) else f"{value:.2f}".replace("-", "−")

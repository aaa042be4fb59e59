"""Does what is measured on reference images follow effective robustness? Rank correlations over a study's rows."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

import numpy as np

from lightning_robust.results import Interval
from lightning_robust.results.study_record import StudyRecord
from lightning_robust.robustness.family_permutation import holm, permutation_p, sign_flip_p
from lightning_robust.robustness.partial_correlation import partial_spearman, partial_within
from lightning_robust.robustness.rank_correlation import rank_correlation
from lightning_robust.robustness.study_scopes import SCOPES, ScopePoints, reference_accuracy, scope_points

__all__ = ["RIVALS", "SIGNATURES", "StudyCorrelation", "correlation_rows", "study_correlations", "study_figures"]

#: What the paper ties to robustness, and what its outlook asks for: fixed before any study was seen.
SIGNATURES: Final = (
    "kurtosis/h/width_adjusted",
    "kurtosis/last/width_adjusted",
    "outliers/largest",
    "importance/raw/max_over_median",
    "importance/centred/max_over_median",
    "importance/raw/privileged",
    "importance/centred/privileged",
    "prune/reference/fraction",
    "concepts/unique_0.9",
    "concepts/mean_best_ap",
    "concepts/polysemantic_share_0.5",
    "concepts/monosemantic_share_0.5",
)
#: Simple figures that a signature has to beat; the accuracy on the reference is one too.
RIVALS: Final = ("confidence/mean", "rankme/h", "covariance_effective_rank/h", "weights/alpha")
ACCURACY: Final = "reference accuracy"
_ENDS: Final = ("/low", "/high", "/prediction_low", "/prediction_high")
_CONTROLS: Final = {
    "all": (ACCURACY, "kind", "backbone"),
    "pretrained": (ACCURACY, "backbone"),
    "families": (ACCURACY,),
    "paths": (ACCURACY,),
}


@dataclass(frozen=True, kw_only=True)
class StudyCorrelation:
    """One rank correlation of a figure with ``er/mean``.

    Attributes:
        figure: its tag. role: ``"signature"`` for one of `SIGNATURES`, ``"rival"``, or ``"other"``.
        scope: one of `study_scopes.SCOPES`.
        given: what is held fixed: ``""``, ``"reference accuracy"``, ``"kind"`` or ``"backbone"``.
        without_extrapolated: whether rows whose effective robustness is an extrapolation are left out.
        correlation: Spearman's, or its partial correlation, with a bootstrap over families; of paths, the mean over
            families of the correlation inside each. NaN where it is not defined; ends are NaN for one family.
        rows: points that it is of. families: families among them. extrapolated: how many points are extrapolations.
        p: chance of one so far from zero where there is none, by permutation over families (of paths: by flipping the
            signs of families); NaN for partial correlations and where families have several rows, which are not
            exchangeable.
        p_holm: the same adjusted for all figures of its role in its scope.
    """

    figure: str
    role: str
    scope: str
    given: str
    without_extrapolated: bool
    correlation: Interval
    rows: int
    families: int
    extrapolated: int
    p: float = math.nan
    p_holm: float = math.nan


def study_figures(record: StudyRecord) -> tuple[str, ...]:
    """Tags that can be set against effective robustness: the signatures first, then others as they come.

    Accuracies on shifts, robustness itself and ends of intervals are none.

    Args:
        record: The study.
    """
    known = dict.fromkeys(tag for row in record.rows for tag in row.figures)
    reference = reference_accuracy(record)
    accuracies = {tag for tag in known if tag.startswith("accuracy/")} - {reference}
    own = [tag for tag in known if not tag.startswith("er/") and tag not in accuracies and not tag.endswith(_ENDS)]
    first = [tag for tag in (*SIGNATURES, reference, *RIVALS) if tag in own]
    return (*first, *(tag for tag in own if tag not in first))


def study_correlations(
    record: StudyRecord,
    figures: Sequence[str] | None = None,
    *,
    replicates: int = 2000,
    permutations: int = 9999,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[StudyCorrelation, ...]:
    """Correlate figures with effective robustness in every scope, with and without controls.

    Args:
        record: The study.
        figures: Tags; None takes all of `study_figures`.
        replicates: Bootstrap samples of families.
        permutations: Arrangements drawn for a p-value, where they are too many to go through.
        level: Coverage of intervals, in (0, 1).
        seed: Of bootstrap and permutations.

    Returns:
        By scope, then by figure; what has fewer than three points is absent. Where some points are extrapolations the
        same follows without them.
    """
    tags = study_figures(record) if figures is None else tuple(figures)
    rivals = (reference_accuracy(record), *RIVALS)
    draws = _Draws(replicates, permutations, level, seed)
    found: list[StudyCorrelation] = []
    for scope in SCOPES:
        for tag in tags:
            role = "signature" if tag in SIGNATURES else "rival" if tag in rivals else "other"
            for points, without in _variants(record, tag, scope):
                found += _correlated(tag, role, scope, without, points, draws)
    return _adjusted(found)


def correlation_rows(correlations: Sequence[StudyCorrelation]) -> list[dict[str, str | int | float | bool | None]]:
    """The cells of ``correlations.csv``, a row for each; not defined is an empty cell.

    Args:
        correlations: What was found.
    """
    rows: list[dict[str, str | int | float | bool | None]] = []
    for one in correlations:
        plain = asdict(one)
        interval = plain.pop("correlation")
        ends = {"p": plain.pop("p"), "p_holm": plain.pop("p_holm")}
        cells: Mapping[str, str | int | float | bool] = {
            "spearman": interval.pop("estimate"),
            **{name: interval[name] for name in ("low", "high")},
            **ends,
            **{name: interval[name] for name in ("level", "replicates", "seed")},
        }
        rows.append({name: None if _undefined(value) else value for name, value in {**plain, **cells}.items()})
    return rows


def _undefined(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


@dataclass(frozen=True)
class _Draws:
    replicates: int
    permutations: int
    level: float
    seed: int

    def interval(self, values: Sequence[float]) -> Interval:
        """Mean of one value for each family, with a bootstrap over families; NaN of none."""
        known = np.array([value for value in values if not math.isnan(value)])
        n = len(known)
        if not n:
            return Interval(math.nan, math.nan, math.nan, self.level, self.replicates, self.seed)
        counts = np.random.default_rng(self.seed).multinomial(n, np.full(n, 1 / n), size=self.replicates)
        low, high = np.quantile(counts @ known / n, [(1 - self.level) / 2, (1 + self.level) / 2])
        found = Interval(float(known.mean()), float(low), float(high), self.level, self.replicates, self.seed)
        return found if n > 1 else _without_ends(found)

    def partial(self, points: ScopePoints, given: str = "") -> Interval:
        """Over all points, with a control held fixed."""
        groups = {"kind": points.kinds, "backbone": points.backbones}.get(given)
        found = partial_spearman(
            points.x,
            points.y,
            points.family,
            given=points.accuracy if given == ACCURACY else None,
            groups=None if groups is None else np.unique(groups, return_inverse=True)[1],
            replicates=self.replicates,
            level=self.level,
            seed=self.seed,
        )
        return found if points.families > 1 else _without_ends(found)

    def within(self, points: ScopePoints) -> Interval:
        """Inside families, the accuracy on the reference held fixed."""
        found = partial_within(
            points.x,
            points.y,
            points.family,
            points.accuracy,
            replicates=self.replicates,
            level=self.level,
            seed=self.seed,
        )
        return found if points.families > 1 else _without_ends(found)


def _without_ends(found: Interval) -> Interval:
    """Of one family nothing is known of how families differ: drawn again it is always the same."""
    return replace(found, low=math.nan, high=math.nan)


def _variants(record: StudyRecord, tag: str, scope: str) -> Iterator[tuple[ScopePoints, bool]]:
    """All points, then those without extrapolations where there are some."""
    points = scope_points(record, tag, scope)
    if points is None:
        return
    yield points, False
    if points.extrapolated:
        fewer = scope_points(record, tag, scope, without_extrapolated=True)
        if fewer is not None:
            yield fewer, True


def _correlated(
    tag: str, role: str, scope: str, without: bool, points: ScopePoints, draws: _Draws
) -> Iterator[StudyCorrelation]:
    """The correlation alone, then with each control that says something here."""
    inside = _inside(points) if scope == "paths" else []
    if inside:
        alone, p = draws.interval(inside), sign_flip_p(inside, draws=draws.permutations, seed=draws.seed)
    else:
        alone = draws.partial(points)
        once = scope != "all" and points.families == len(points.x)  # a family in each row
        p = permutation_p(points.x, points.y, draws=draws.permutations, seed=draws.seed) if once else math.nan
    start = StudyCorrelation(
        figure=tag, role=role, scope=scope, given="", without_extrapolated=without, correlation=alone,
        rows=len(points.x), families=sum(not math.isnan(rho) for rho in inside) if inside else points.families,
        extrapolated=points.extrapolated, p=p,
    )  # fmt: skip
    yield start
    for given in _CONTROLS[scope]:
        if _says_something(points, given):
            held = draws.within(points) if inside else draws.partial(points, given)
            yield replace(start, given=given, correlation=held, p=math.nan)


def _inside(points: ScopePoints) -> list[float]:
    """Spearman's correlation inside each family."""
    members = [points.family == number for number in range(points.families)]
    return [rank_correlation(points.x[own], points.y[own])[0] for own in members]


def _says_something(points: ScopePoints, given: str) -> bool:
    """Whether it is known of every row, differs among them and is not the figure itself."""
    if given == ACCURACY:
        return bool(np.isfinite(points.accuracy).all()) and not np.array_equal(points.x, points.accuracy)
    return len(set(points.kinds if given == "kind" else points.backbones)) > 1


def _adjusted(found: Sequence[StudyCorrelation]) -> tuple[StudyCorrelation, ...]:
    """Holm's adjustment among the figures of a role in a scope."""
    together: dict[tuple[str, str, bool], list[int]] = {}
    for k, one in enumerate(found):
        if not one.given:
            together.setdefault((one.role, one.scope, one.without_extrapolated), []).append(k)
    adjusted = list(found)
    for places in together.values():
        for k, p in zip(places, holm([found[k].p for k in places]), strict=True):
            adjusted[k] = replace(found[k], p_holm=p)
    return tuple(adjusted)

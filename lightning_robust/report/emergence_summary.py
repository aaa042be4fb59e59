"""What a comparison's points say, figure by figure: last values, onsets, and rank correlations with robustness."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from lightning_robust.report.emergence_onset import BEYOND, onset
from lightning_robust.report.emergence_shown import ROBUSTNESS, shown_figures
from lightning_robust.report.student_t import mean_interval
from lightning_robust.results.emergence_record import (
    EmergenceCorrelation,
    EmergenceFinal,
    EmergenceRecord,
    EmergenceRun,
)

__all__ = ["LAST_POINTS", "by_variant", "summarised"]

LAST_POINTS = "last points"
"""In the place of a variant: a correlation over the last points of all runs."""


def summarised(record: EmergenceRecord) -> EmergenceRecord:
    """The record with last values, onsets and correlations computed from its points.

    Args:
        record: Whose own, if it has any, are replaced.
    """
    tags = [figure.tag for figure in shown_figures(record.runs)]
    variants = by_variant(record.runs)
    robust = any(ROBUSTNESS in point.figures for run in record.runs for point in run.points)
    rising = [*tags, BEYOND] if robust else tags
    return replace(
        record,
        finals=tuple(_final(tag, variant, runs) for tag in tags for variant, runs in variants.items()),
        onsets=tuple(onset(tag, variant, runs) for tag in rising for variant, runs in variants.items()),
        correlations=tuple(
            found for tag in tags if robust and tag != ROBUSTNESS for found in _correlations(tag, variants, record.runs)
        ),
    )


def by_variant(runs: Sequence[EmergenceRun]) -> dict[str, list[EmergenceRun]]:
    """The runs of each variant, both in order.

    Args:
        runs: All runs.
    """
    variants: dict[str, list[EmergenceRun]] = {}
    for run in runs:
        variants.setdefault(run.variant, []).append(run)
    return variants


def _final(tag: str, variant: str, runs: Sequence[EmergenceRun]) -> EmergenceFinal:
    mean, half = mean_interval([run.points[-1].value(tag) for run in runs])
    return EmergenceFinal(figure=tag, variant=variant, mean=mean, half_width=half, seeds=len(runs))


def _correlations(
    tag: str, variants: Mapping[str, Sequence[EmergenceRun]], runs: Sequence[EmergenceRun]
) -> list[EmergenceCorrelation]:
    from lightning_robust.robustness.rank_correlation import rank_correlation  # the room imports torch

    within = {
        variant: [
            rank_correlation([p.value(tag) for p in run.points], [p.value(ROBUSTNESS) for p in run.points])
            for run in own
        ]
        for variant, own in variants.items()
    }
    last = [run.points[-1] for run in runs]
    within[LAST_POINTS] = [rank_correlation([p.value(tag) for p in last], [p.value(ROBUSTNESS) for p in last])]
    return [
        EmergenceCorrelation(
            figure=tag, variant=variant, values=tuple(rho for rho, _ in found), points=tuple(n for _, n in found)
        )
        for variant, found in within.items()
    ]

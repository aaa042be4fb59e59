"""The scatter of effective robustness for the page: models above the line of standard models, shift by shift."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from lightning_robust.errors import UserError
from lightning_robust.report.html.axis import Axis
from lightning_robust.report.html.blocks import choices
from lightning_robust.report.html.judged import Judged, JudgedGroup
from lightning_robust.report.html.sources import Sources
from lightning_robust.report.html.svg import Series, chart
from lightning_robust.results import EffectiveRobustness
from lightning_robust.results.baseline_record import ModelAccuracies
from lightning_robust.results.names import BASELINE

if TYPE_CHECKING:  # the room imports torch, which is only needed where there is a baseline
    from lightning_robust.robustness import Baseline

__all__ = ["baseline_of", "scatter_panels"]

_PLACES = 41  # at which line and bands are computed
_CLOSE = 0.005  # between what a line and a record expect of a model


def baseline_of(found: Sources, group: JudgedGroup) -> Baseline | None:
    """The baseline that a group's effective robustness was measured from, if it is at hand.

    A baseline beside the run, beside another run, or one that ships counts only if its lines say of the models what
    their records say.

    Args:
        found: result files.
        group: models.
    """
    judged = [(model, model.robustness) for model in group.models if model.robustness is not None]
    if not judged:
        return None
    own = [one.folder / BASELINE for one in found.baselines if one.folder == group.folder]
    others = [one.folder / BASELINE for one in found.baselines if one.folder != group.folder]
    for place in (*own, *others, judged[0][1].baseline):
        baseline = _load(str(place), judged[0][1])
        if baseline is not None and all(_agrees(baseline, model, robustness) for model, robustness in judged):
            return baseline
    return None


def _load(place: str, said: EffectiveRobustness) -> Baseline | None:
    from lightning_robust.robustness import load_baseline

    try:
        baseline = load_baseline(place, scale=said.scale, x=said.x, aggregate=said.aggregate)  # type: ignore[arg-type]
        return baseline.on(list(said.shifts))
    except (UserError, ValueError):  # of that name nothing ships, or it has no such line
        return None


def _agrees(baseline: Baseline, model: Judged, said: EffectiveRobustness) -> bool:
    """Whether the lines expect of a model what its record says, to half a point, which clipping may move."""
    for name, one in said.shifts.items():
        read = model.matched.get(name, model.reference) if said.x == "matched" else model.reference
        if abs(float(baseline.expected(np.array([read]), name)[0]) - one.expected) > _CLOSE:
            return False
    return True


def _accuracies(model: Judged, shifts: Sequence[str]) -> ModelAccuracies:
    return ModelAccuracies(model.name, model.reference, {name: model.shifts[name] for name in shifts}, model.matched)


def scatter_panels(group: JudgedGroup, baseline: Baseline) -> Markup:
    """A scatter for the mean and one for each shift, one at a time.

    Args:
        group: the models.
        baseline: their baseline, on the shifts that they were judged on.
    """
    from lightning_robust.robustness.baseline import MEAN

    names = [MEAN, *baseline.shifts] if len(baseline.shifts) > 1 else list(baseline.shifts)
    return choices("Shift", [(_words(name, MEAN), _panel(group, baseline, name)) for name in names])


def _words(shift: str, mean: str) -> str:
    return "mean of the shifts" if shift == mean else shift


def _panel(group: JudgedGroup, baseline: Baseline, shift: str) -> Markup:
    from lightning_robust.robustness.bands import points
    from lightning_robust.robustness.baseline import MEAN

    models = [model for model in group.models if model.robustness is not None]
    own = points(baseline, [_accuracies(model, baseline.shifts) for model in models], shift)
    standard = points(baseline, baseline.models, shift)
    on = "its classes of the reference" if baseline.x == "matched" else "the reference"
    x = Axis(label=f"accuracy on {on}, %", scale=baseline.scale, percent=True)
    title = f"Accuracy on {'the shifts (mean)' if shift == MEAN else shift} against {on}"
    y = Axis(label=f"accuracy on {_words(shift, MEAN)}, %", scale=baseline.scale, percent=True)
    series = [*_line(baseline, shift, np.concatenate([own[0], standard[0]])), _standard(baseline, standard)]
    series += _models(group, models, own)
    return chart(title, x, y, series, words=_said(models, shift))


def _line(baseline: Baseline, shift: str, reference: np.ndarray) -> list[Series]:
    """The standard models' line with the band of a single one about it."""
    from lightning_robust.robustness.bands import band
    from lightning_robust.robustness.links import link_named

    known = reference[np.isfinite(reference)]
    link = link_named(baseline.scale)
    ends = link.forward(np.array([known.min(), known.max()]))
    pad = 0.05 * (ends[1] - ends[0])
    across = link.inverse(np.linspace(ends[0] - pad, ends[1] + pad, _PLACES))
    low, high = band(baseline, across, shift)
    expected = baseline.expected(across, shift)
    span = {"low": low.tolist(), "high": high.tolist()}
    shared = {"x": across.tolist(), "y": expected.tolist(), "tone": 0, "marks": False, "listed": False}
    return [
        Series(name="95 % of standard models", line=False, band=True, **span, **shared),
        Series(name="their line", dashed=True, **shared),
    ]


def _standard(baseline: Baseline, places: tuple[np.ndarray, np.ndarray]) -> Series:
    return Series(
        name=f"{len(baseline.models)} standard models",
        x=places[0].tolist(),
        y=places[1].tolist(),
        tone=0,
        line=False,
        notes=[f"{model.name}, a standard model: {_pair(places, k)}" for k, model in enumerate(baseline.models)],
    )


def _models(group: JudgedGroup, models: Sequence[Judged], own: tuple[np.ndarray, np.ndarray]) -> list[Series]:
    """A path as one line; of models by themselves each has a tone, as long as there are tones."""
    if group.path or len(models) > 7:
        notes = [f"{model.name}: {_pair(own, k)}" for k, model in enumerate(models)]
        name = "Wise-FT path" if group.path else f"{len(models)} judged models"
        return [Series(name=name, x=own[0].tolist(), y=own[1].tolist(), line=group.path, notes=notes, shape="diamond")]
    return [
        Series(
            name=model.name,
            x=[float(own[0][k])],
            y=[float(own[1][k])],
            tone=k + 1,
            shape="diamond",
            line=False,
            notes=[f"{model.name}: {_pair(own, k)}"],
        )
        for k, model in enumerate(models)
    ]


def _pair(places: tuple[np.ndarray, np.ndarray], k: int) -> str:
    return f"reference {100 * places[0][k]:.1f} %, shift {100 * places[1][k]:.1f} %"


def _said(models: Sequence[Judged], shift: str) -> str:
    """What is to be seen: how far the last model lies above the line."""
    last = models[-1]
    if last.robustness is None:
        return ""
    found = last.robustness.shifts.get(shift, last.robustness.mean)
    side = "above" if found.estimate >= 0 else "below"
    return f"{last.name} lies {abs(100 * found.estimate):.1f} points {side} the line of standard models."

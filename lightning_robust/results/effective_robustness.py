"""Records of effective robustness; the ``robustness`` room computes them."""

from collections.abc import Mapping
from dataclasses import dataclass

from lightning_robust.results.choices import Interval

__all__ = ["EffectiveRobustness", "ShiftRobustness"]


@dataclass(frozen=True, kw_only=True)
class ShiftRobustness:
    """Effective robustness of one model on one shift, or in the mean over several (METHODS 1).

    Attributes:
        accuracy: of the model on the shift, a fraction in [0, 1]; in the mean over shifts, the mean accuracy.
        expected: β, the accuracy that a standard model of the same reference accuracy would have.
        estimate: ``accuracy − expected``, a fraction in [−1, 1]; 0.01 is one accuracy point.
        interval: line and sampling error alone: the baseline models are resampled and every accuracy is drawn from
            its binomial, clipped half an image away from 0 and 1. None where no replicates were asked for.
        prediction: the same with the scatter of standard models about the line: "robust beyond a standard model" is
            judged by it. Conservative for small test sets, whose sampling error the scatter holds already: of 95 %
            nominal it covers 97 to 99 % with 14 baseline models and 300 to 2,000 images. None where no replicates
            were asked for.
        extrapolated: whether the model's reference accuracy lies outside the range of the baseline models.
    """

    accuracy: float
    expected: float
    estimate: float
    interval: Interval | None
    prediction: Interval | None
    extrapolated: bool

    @property
    def beyond_standard(self) -> bool | None:
        """Whether all of the prediction interval lies above zero; None without one."""
        return None if self.prediction is None else self.prediction.low > 0


@dataclass(frozen=True, kw_only=True)
class EffectiveRobustness:
    """Effective robustness of one model.

    Attributes:
        shifts: by shift, in the order of the baseline.
        mean: over these shifts: the mean of the per-shift values, or for ``aggregate="accuracy"`` from one line on
            the mean accuracy.
        baseline: name of the baseline.
        scale: of the line: ``"logit"``, ``"probit"`` or ``"linear"``.
        x: ``"full"``, or ``"matched"`` for reference accuracy on the classes that a shift covers.
        aggregate: ``"er"`` or ``"accuracy"``, which says what ``mean`` is.
    """

    shifts: Mapping[str, ShiftRobustness]
    mean: ShiftRobustness
    baseline: str
    scale: str
    x: str
    aggregate: str

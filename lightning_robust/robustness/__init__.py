"""Numbers about numbers: intervals by bootstrap, the choice of α. Never imports lightning."""

from lightning_robust.results import AlphaChoice, Interval
from lightning_robust.robustness.alpha import FIXED_ALPHA, choose_alpha
from lightning_robust.robustness.bootstrap import mean_shift_difference, paired_bootstrap, resampled_accuracies
from lightning_robust.robustness.wilson import wilson_interval

__all__ = [
    "FIXED_ALPHA",
    "AlphaChoice",
    "Interval",
    "choose_alpha",
    "mean_shift_difference",
    "paired_bootstrap",
    "resampled_accuracies",
    "wilson_interval",
]

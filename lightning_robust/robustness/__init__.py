"""Numbers about numbers: intervals by bootstrap, the choice of α, effective robustness. Never imports lightning."""

from lightning_robust.results import AlphaChoice, Interval
from lightning_robust.results.baseline_record import ModelAccuracies
from lightning_robust.results.effective_robustness import EffectiveRobustness, ShiftRobustness
from lightning_robust.robustness.alpha import FIXED_ALPHA, choose_alpha
from lightning_robust.robustness.baseline import Baseline
from lightning_robust.robustness.bootstrap import mean_shift_difference, paired_bootstrap, resampled_accuracies
from lightning_robust.robustness.diagnosed import FittedDiagnosis, diagnose_row
from lightning_robust.robustness.diagnosis import fit_calibration, without_family
from lightning_robust.robustness.largest_pruned import largest_pruned
from lightning_robust.robustness.loading import load_baseline
from lightning_robust.robustness.reference_figures import REFERENCE_ONLY, reference_figures
from lightning_robust.robustness.wilson import wilson_interval

__all__ = [
    "FIXED_ALPHA",
    "REFERENCE_ONLY",
    "AlphaChoice",
    "Baseline",
    "EffectiveRobustness",
    "FittedDiagnosis",
    "Interval",
    "ModelAccuracies",
    "ShiftRobustness",
    "choose_alpha",
    "diagnose_row",
    "fit_calibration",
    "largest_pruned",
    "load_baseline",
    "mean_shift_difference",
    "paired_bootstrap",
    "reference_figures",
    "resampled_accuracies",
    "wilson_interval",
    "without_family",
]

"""Lightning callbacks: when to measure, on which layer and images, under which tags to log."""

from lightning_robust.callbacks.diagnosis import Diagnosis
from lightning_robust.callbacks.effective_robustness import EffectiveRobustness
from lightning_robust.callbacks.log_steps import LogSteps
from lightning_robust.callbacks.monitor import SignatureMonitor
from lightning_robust.callbacks.named import ConceptMonitor, ConfidenceMonitor, KurtosisMonitor, SpectrumMonitor
from lightning_robust.callbacks.random_states import RandomStates
from lightning_robust.callbacks.recorder import CurveRecorder
from lightning_robust.callbacks.wise_ft import WiseFT

__all__ = [
    "ConceptMonitor",
    "ConfidenceMonitor",
    "CurveRecorder",
    "Diagnosis",
    "EffectiveRobustness",
    "KurtosisMonitor",
    "LogSteps",
    "RandomStates",
    "SignatureMonitor",
    "SpectrumMonitor",
    "WiseFT",
]

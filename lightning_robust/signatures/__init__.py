"""Signatures of robustness: for each a pure function on tensors and a ``torchmetrics.Metric`` that accumulates it.

Nothing here knows of a trainer: everything works in a plain PyTorch loop. Definitions stand in each docstring.
"""

from lightning_robust.signatures.bases import control_bases, neurons, random_rotation, right_singular_vectors
from lightning_robust.signatures.batches import images_from_batch, labels_from_batch
from lightning_robust.signatures.concept_counts import CURVE_THRESHOLDS, THRESHOLDS, ConceptCounts, count_concepts
from lightning_robust.signatures.concept_labels import ConceptEligibility, eligible_concepts, permute_within_category
from lightning_robust.signatures.concept_lists import (
    ConceptEntry,
    ConceptList,
    ConceptListComparison,
    ConceptPair,
    compare_concept_lists,
    concept_lists,
)
from lightning_robust.signatures.concept_metric import ConceptAveragePrecision
from lightning_robust.signatures.concepts import (
    concept_average_precision,
    signed_average_precision,
    two_sided_average_precision,
)
from lightning_robust.signatures.confidence import (
    CALIBRATION_BINS,
    ConfidenceReport,
    PredictionConfidence,
    prediction_confidence,
)
from lightning_robust.signatures.controlled_importance import (
    DrawnImportance,
    ImportanceWithControls,
    importance_with_controls,
    importance_with_controls_report,
)
from lightning_robust.signatures.direction_pruning import (
    ORDERS,
    Order,
    direction_order,
    pruned_predictions,
    reduced_rank_predictions,
    unpruned_predictions,
)
from lightning_robust.signatures.feature_spectrum import FeatureSpectrum
from lightning_robust.signatures.growing_logits import NO_CLASS, Predict
from lightning_robust.signatures.head_controls import ControlHeads, control_heads, random_head, rotated_head
from lightning_robust.signatures.importance import (
    DirectionImportance,
    DirectionImportanceReport,
    centre_head,
    direction_importance,
    importance_report,
)
from lightning_robust.signatures.importance_controls import ImportanceControls
from lightning_robust.signatures.kurtosis import (
    ActivationKurtosis,
    activation_kurtosis,
    gaussian_kurtosis,
    width_adjusted,
)
from lightning_robust.signatures.layer_form import LayerForm
from lightning_robust.signatures.layers import expand_layers
from lightning_robust.signatures.massive import MassiveActivationReport, massive_activations
from lightning_robust.signatures.massive_metric import MassiveActivations
from lightning_robust.signatures.measure import Measured, measure
from lightning_robust.signatures.outlier_identity import (
    OutlierChange,
    OutlierHistory,
    OutlierIdentity,
    OutlierMoment,
    compare_outliers,
    follow_outliers,
)
from lightning_robust.signatures.outliers import (
    OutlierFeatureReport,
    OutlierFeatures,
    neuron_norm_kurtosis,
    outlier_features,
    outlier_report,
)
from lightning_robust.signatures.probe import ActivationProbe
from lightning_robust.signatures.pruned_features import zeroed_predictions
from lightning_robust.signatures.reduced_rank import ReducedRank, reduced_rank, reduced_rank_regression
from lightning_robust.signatures.sparse_labels import SparseLabels
from lightning_robust.signatures.spectrum import MatrixSpectrum, matrix_spectrum, power_law_alpha
from lightning_robust.signatures.spectrum_sketch import SketchSpectrum, sketch_spectrum
from lightning_robust.signatures.unchanged import every_hook_fires, leave_unchanged, measured_pass
from lightning_robust.signatures.weight_change import WeightChange, weight_change
from lightning_robust.signatures.weight_matrices import WeightMatrices, weight_matrices
from lightning_robust.signatures.weight_spectra import SpectrumCache, WeightSpectra, WeightSpectrum, weight_spectra

__all__ = [
    "CALIBRATION_BINS",
    "CURVE_THRESHOLDS",
    "NO_CLASS",
    "ORDERS",
    "THRESHOLDS",
    "ActivationKurtosis",
    "ActivationProbe",
    "ConceptAveragePrecision",
    "ConceptCounts",
    "ConceptEligibility",
    "ConceptEntry",
    "ConceptList",
    "ConceptListComparison",
    "ConceptPair",
    "ConfidenceReport",
    "ControlHeads",
    "DirectionImportance",
    "DirectionImportanceReport",
    "DrawnImportance",
    "FeatureSpectrum",
    "ImportanceControls",
    "ImportanceWithControls",
    "LayerForm",
    "MassiveActivationReport",
    "MassiveActivations",
    "MatrixSpectrum",
    "Measured",
    "Order",
    "OutlierChange",
    "OutlierFeatureReport",
    "OutlierFeatures",
    "OutlierHistory",
    "OutlierIdentity",
    "OutlierMoment",
    "Predict",
    "PredictionConfidence",
    "ReducedRank",
    "SketchSpectrum",
    "SparseLabels",
    "SpectrumCache",
    "WeightChange",
    "WeightMatrices",
    "WeightSpectra",
    "WeightSpectrum",
    "activation_kurtosis",
    "centre_head",
    "compare_concept_lists",
    "compare_outliers",
    "concept_average_precision",
    "concept_lists",
    "control_bases",
    "control_heads",
    "count_concepts",
    "direction_importance",
    "direction_order",
    "eligible_concepts",
    "every_hook_fires",
    "expand_layers",
    "follow_outliers",
    "gaussian_kurtosis",
    "images_from_batch",
    "importance_report",
    "importance_with_controls",
    "importance_with_controls_report",
    "labels_from_batch",
    "leave_unchanged",
    "massive_activations",
    "matrix_spectrum",
    "measure",
    "measured_pass",
    "neuron_norm_kurtosis",
    "neurons",
    "outlier_features",
    "outlier_report",
    "permute_within_category",
    "power_law_alpha",
    "prediction_confidence",
    "pruned_predictions",
    "random_head",
    "random_rotation",
    "reduced_rank",
    "reduced_rank_predictions",
    "reduced_rank_regression",
    "right_singular_vectors",
    "rotated_head",
    "signed_average_precision",
    "sketch_spectrum",
    "two_sided_average_precision",
    "unpruned_predictions",
    "weight_change",
    "weight_matrices",
    "weight_spectra",
    "width_adjusted",
    "zeroed_predictions",
]

"""Encoders by name, the zero-shot head, classifiers and weight interpolation."""

from lightning_robust.models.batch_norm import recalibrate_batch_norm
from lightning_robust.models.bundled import Classifier, load_classifier, save_classifier
from lightning_robust.models.calibration import Calibration, InputMoments, calibrate
from lightning_robust.models.checkpoint_files import load_metadata, load_tensors, load_theta, save_tensors
from lightning_robust.models.classifier import ImageClassifier, split_classifier_state
from lightning_robust.models.clip_folder import save_clip_folder, write_clip_folder
from lightning_robust.models.compressed import is_compressed, load_compressed, save_compressed
from lightning_robust.models.compression_plan import CompressionPlan, plan_compression
from lightning_robust.models.encoders import Encoder, load_encoder
from lightning_robust.models.evaluate import PathPredictions, evaluate_path
from lightning_robust.models.fisher import diagonal_fisher, fisher_soup
from lightning_robust.models.image_tower import ImageTower
from lightning_robust.models.interpolate import interpolate, interpolate_into
from lightning_robust.models.layer_sensitivity import OutputGradients
from lightning_robust.models.low_rank import LowRankConv2d, LowRankLinear
from lightning_robust.models.low_rank_attention import LowRankAttention, LowRankBlocks
from lightning_robust.models.low_rank_build import factorise, opened
from lightning_robust.models.low_rank_matrices import MatrixOfLayer, left_dense, matrices
from lightning_robust.models.low_rank_structure import ranks_of
from lightning_robust.models.rank_budget import MatrixShape, allocate, uniform_ranks
from lightning_robust.models.soups import GreedySoup, greedy_soup, uniform_soup
from lightning_robust.models.truncation import LowRankFactors, Truncation, decompose
from lightning_robust.models.untrained import calibrate_untrained
from lightning_robust.models.word_tokenizer import build_word_tokenizer, unknown_words
from lightning_robust.models.zero_shot import zero_shot_head

__all__ = [
    "Calibration",
    "Classifier",
    "CompressionPlan",
    "Encoder",
    "GreedySoup",
    "ImageClassifier",
    "ImageTower",
    "InputMoments",
    "LowRankAttention",
    "LowRankBlocks",
    "LowRankConv2d",
    "LowRankFactors",
    "LowRankLinear",
    "MatrixOfLayer",
    "MatrixShape",
    "OutputGradients",
    "PathPredictions",
    "Truncation",
    "allocate",
    "build_word_tokenizer",
    "calibrate",
    "calibrate_untrained",
    "decompose",
    "diagonal_fisher",
    "evaluate_path",
    "factorise",
    "fisher_soup",
    "greedy_soup",
    "interpolate",
    "interpolate_into",
    "is_compressed",
    "left_dense",
    "load_classifier",
    "load_compressed",
    "load_encoder",
    "load_metadata",
    "load_tensors",
    "load_theta",
    "matrices",
    "opened",
    "plan_compression",
    "ranks_of",
    "recalibrate_batch_norm",
    "save_classifier",
    "save_clip_folder",
    "save_compressed",
    "save_tensors",
    "split_classifier_state",
    "uniform_ranks",
    "uniform_soup",
    "unknown_words",
    "write_clip_folder",
    "zero_shot_head",
]

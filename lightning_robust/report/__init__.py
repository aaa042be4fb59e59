"""Tables and pictures from result files alone: a report can be made again without the model."""

from lightning_robust.report.ablation_pictures import write_ablation_figures
from lightning_robust.report.ablation_table import print_ablation
from lightning_robust.report.baseline_table import print_baseline, print_zoo
from lightning_robust.report.compress_figure import write_compression_figures
from lightning_robust.report.compress_table import print_compression
from lightning_robust.report.curves import curves_figure
from lightning_robust.report.diagnosis_figure import write_diagnosis_figure
from lightning_robust.report.diagnosis_table import print_calibration, print_diagnosis
from lightning_robust.report.evaluation_table import print_evaluation
from lightning_robust.report.headline import Headline, headline
from lightning_robust.report.probe_figure import probe_figure
from lightning_robust.report.probe_table import print_probe
from lightning_robust.report.prune_pictures import write_pruning_figures
from lightning_robust.report.prune_table import print_pruning
from lightning_robust.report.scatter import scatter_figure, write_scatter
from lightning_robust.report.study_pictures import write_study_figures
from lightning_robust.report.study_table import print_study
from lightning_robust.report.table import print_run

__all__ = [
    "Headline",
    "curves_figure",
    "headline",
    "print_ablation",
    "print_baseline",
    "print_calibration",
    "print_compression",
    "print_diagnosis",
    "print_evaluation",
    "print_probe",
    "print_pruning",
    "print_run",
    "print_study",
    "print_zoo",
    "probe_figure",
    "scatter_figure",
    "write_ablation_figures",
    "write_compression_figures",
    "write_diagnosis_figure",
    "write_pruning_figures",
    "write_scatter",
    "write_study_figures",
]

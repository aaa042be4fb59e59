"""LightningModules: finetuning and pretraining."""

from lightning_robust.training.contrastive import ContrastivePretraining
from lightning_robust.training.contrastive_losses import contrastive_loss, info_nce, siglip
from lightning_robust.training.finetuning import ClassifierFinetuning
from lightning_robust.training.flyp import ContrastiveFinetuning
from lightning_robust.training.linear_probe import fit_linear_probe
from lightning_robust.training.supervised import SupervisedPretraining

__all__ = [
    "ClassifierFinetuning",
    "ContrastiveFinetuning",
    "ContrastivePretraining",
    "SupervisedPretraining",
    "contrastive_loss",
    "fit_linear_probe",
    "info_nce",
    "siglip",
]

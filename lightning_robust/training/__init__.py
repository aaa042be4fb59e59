"""LightningModules: finetuning and pretraining."""

from lightning_robust.training.contrastive import ContrastivePretraining, contrastive_loss
from lightning_robust.training.finetuning import ClassifierFinetuning

__all__ = ["ClassifierFinetuning", "ContrastivePretraining", "contrastive_loss"]

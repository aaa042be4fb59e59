"""LightningModules: finetuning and pretraining."""

from lightning_robust.training.contrastive import ContrastivePretraining, contrastive_loss
from lightning_robust.training.finetuning import ClassifierFinetuning
from lightning_robust.training.supervised import SupervisedPretraining

__all__ = ["ClassifierFinetuning", "ContrastivePretraining", "SupervisedPretraining", "contrastive_loss"]

"""LightningModules: finetuning and pretraining."""

"""The scenes world: a procedural stand-in for ImageNet and its natural shifts that needs no download."""

from lightning_robust.data.scenes.datamodule import ScenesDataModule

__all__ = ["ScenesDataModule"]

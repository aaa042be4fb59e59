"""ImageNet and its natural shifts: classes, named protocols, where copies lie and what is published about them."""

from lightning_robust.data.imagenet.datamodule import ImageNetDataModule
from lightning_robust.data.imagenet.labels import imagenet_classes
from lightning_robust.data.imagenet.protocols import PROTOCOLS, shift_record

__all__ = ["PROTOCOLS", "ImageNetDataModule", "imagenet_classes", "shift_record"]

"""Images: scenes world, ImageNet and its shifts, own images with shifts, captions; records of shifts, loaders."""

from lightning_robust.data.captions import CaptionsDataModule
from lightning_robust.data.image_folder import ImageFolderDataModule
from lightning_robust.data.imagenet import ImageNetDataModule
from lightning_robust.data.loaders import Place, ResumableLoader, UnrepeatedSampler
from lightning_robust.data.scenes import ScenesDataModule
from lightning_robust.data.shifts import DistributionShift

__all__ = [
    "CaptionsDataModule",
    "DistributionShift",
    "ImageFolderDataModule",
    "ImageNetDataModule",
    "Place",
    "ResumableLoader",
    "ScenesDataModule",
    "UnrepeatedSampler",
]

"""Labelled images: from class folders, a CSV list, parquet or the Hub, as data sets and loaders."""

from lightning_robust.data.labelled.augment import AUGMENTATIONS, training_transform
from lightning_robust.data.labelled.dataset import LabelledImages
from lightning_robust.data.labelled.folders import class_folders
from lightning_robust.data.labelled.loading import evaluation_loader, training_loader
from lightning_robust.data.labelled.source import LabelledSource
from lightning_robust.data.labelled.spec import LABELLED_SPECS, open_labelled

__all__ = [
    "AUGMENTATIONS",
    "LABELLED_SPECS",
    "LabelledImages",
    "LabelledSource",
    "class_folders",
    "evaluation_loader",
    "open_labelled",
    "training_loader",
    "training_transform",
]

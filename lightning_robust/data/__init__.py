"""Images: the procedural scenes world, records of distribution shifts, resumable loaders."""

from lightning_robust.data.loaders import Place, ResumableLoader, UnrepeatedSampler
from lightning_robust.data.scenes import ScenesDataModule
from lightning_robust.data.shifts import DistributionShift

__all__ = ["DistributionShift", "Place", "ResumableLoader", "ScenesDataModule", "UnrepeatedSampler"]

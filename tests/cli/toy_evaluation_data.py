"""A data module on a folder of PNGs: four classes, a shift of three of them in two groups, one with other names."""

import os
import time
from pathlib import Path

import numpy as np
from lightning import LightningDataModule
from PIL import Image

from lightning_robust.data import DistributionShift
from lightning_robust.data.labelled import LabelledImages, class_folders, evaluation_loader
from lightning_robust.data.scenes.dataset import rendered
from lightning_robust.data.scenes.distributions import REFERENCE, SHIFTS
from lightning_robust.data.scenes.draws import draw_scenes
from lightning_robust.data.scenes.vocabulary import CLASSES, TEMPLATES

NAMES = list(CLASSES[:4])
GROUPS = ((2, 0), (3,))


def write_images(root, each=12):
    """`root/reference/<class>/k.png` and `root/shift/<class>/k.png`; the shift has no images of class 1."""
    for name, distribution in (("reference", REFERENCE), ("shift", SHIFTS[0])):
        labels = draw_scenes(distribution, 0, "test", np.arange(600)).label
        images, _ = rendered(distribution, 0, "test", 600)
        for label in range(4):
            if name == "shift" and label == 1:
                continue
            folder = Path(root) / name / NAMES[label]
            folder.mkdir(parents=True)
            for k in np.flatnonzero(labels == label)[:each]:
                Image.fromarray(images[k].transpose(1, 2, 0)).save(folder / f"{k:03d}.png")


class Slow(LabelledImages):
    """Each image takes as long as the environment says, and is counted in a file where it asks for that."""

    def __getitem__(self, place):
        time.sleep(float(os.environ.get("TOY_SECONDS", "0")))
        if (log := os.environ.get("TOY_LOG")) is not None:
            with Path(log).open("a") as file:
                file.write("read\n")
        return super().__getitem__(place)


class Toy(LightningDataModule):
    def __init__(self, root: str, transform=None, own_names: bool = False, batch: int = 7):
        super().__init__()
        self.root, self.transform, self.batch = Path(root), transform, batch
        self.class_names, self.templates, self.description = NAMES, list(TEMPLATES), "toy images"
        self.reference = DistributionShift("reference", "toy")
        names = ("heart", "car") if own_names else None
        said = "toy: own names" if own_names else "toy: two groups"
        self.shifts = (DistributionShift("shift", "toy", said, GROUPS, names), DistributionShift("all", "toy"))
        self.val_loader_names = ["reference", "shift", "all"]

    def test_dataloader(self):
        return [self._loader("reference"), self._loader("shift"), self._loader("shift", whole=True)]

    def val_dataloader(self):
        return self.test_dataloader()

    def _loader(self, name, whole=False):
        source = class_folders(self.root / name)
        canonical = [NAMES.index(found) for found in source.class_names]
        if name == "shift" and not whole:
            first = {index: group[0] for group in GROUPS for index in group}
            canonical = [first[index] for index in canonical]
        return evaluation_loader(Slow(source, self.transform, canonical), self.batch)

"""The toy images with training images: the reference's own."""

from toy_evaluation_data import NAMES, Toy

from lightning_robust.data.labelled import LabelledImages, class_folders, training_loader


class Trained(Toy):
    def train_dataloader(self):
        source = class_folders(self.root / "reference")
        canonical = [NAMES.index(found) for found in source.class_names]
        return training_loader(LabelledImages(source, self.transform, canonical), 8, seed=0)

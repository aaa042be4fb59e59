"""The toy images with validation images of their own: mirrored, so that what is estimated on them differs."""

from pathlib import Path

from PIL import Image, ImageOps
from toy_evaluation_data import Toy, write_images


def write_apart(root):
    """`root/…` as `write_images` leaves it, and `root/val/…` mirrored and paler."""
    write_images(root)
    write_images(Path(root) / "val", each=20)
    for path in (Path(root) / "val").rglob("*.png"):
        with Image.open(path) as image:
            changed = ImageOps.mirror(image).point(lambda value: value // 2 + 60)
        changed.save(path)


class Apart(Toy):
    """Args: as `Toy`; shifts: how many of its two shifts there are."""

    def __init__(self, root: str, transform=None, own_names: bool = False, batch: int = 7, shifts: int = 2):
        super().__init__(root, transform, own_names, batch)
        self.shifts = self.shifts[:shifts]
        self.val_loader_names = self.val_loader_names[: shifts + 1]

    def test_dataloader(self):
        return super().test_dataloader()[: len(self.val_loader_names)]

    def val_dataloader(self):
        return Toy(str(self.root / "val"), self.transform, batch=self.batch).test_dataloader()[
            : len(self.val_loader_names)
        ]

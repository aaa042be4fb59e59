"""The reference test images of any data module with their classes, for the signatures of a study's models."""

from typing import Any

from torch.utils.data import Dataset, Subset

from lightning_robust.cli.probe_measured import GivenImages
from lightning_robust.data.image_sets import spread
from lightning_robust.data.reading import TolerantLoader
from lightning_robust.errors import UserError

__all__ = ["reference_images"]


def reference_images(
    data: Any, network: Any, batch_size: int, most: int | None = None, split: str = "test"
) -> GivenImages:
    """The images that `evaluate` judges reference accuracy on, in their order.

    Args:
        data: The data module, with the transform of the network.
        network: What is measured; a head of as many classes as the data have means these classes.
        batch_size: Images in a batch.
        most: At most so many, evenly spaced; None takes all.
        split: `"test"`, or `"val"` for its validation images.

    Raises:
        UserError: If the network's head has other classes than the data.
    """
    if network.head is not None and len(network.head) != len(data.class_names):
        raise UserError(
            f"{network.name} has {len(network.head)} classes and the data have {len(data.class_names)}: they do not fit"
        )
    found = data.test_dataloader() if split == "test" else data.val_dataloader()
    loader = found[0] if isinstance(found, list | tuple) else found
    dataset = loader.dataset.dataset if isinstance(loader, TolerantLoader) else loader.dataset  # type: ignore[attr-defined]
    chosen = spread(len(dataset), most)
    some = "" if len(chosen) == len(dataset) else f", {len(chosen):,} of {len(dataset):,}, evenly spaced"
    batches = TolerantLoader(_Pairs(Subset(dataset, chosen)), batch_size, num_workers=loader.num_workers)
    names = data.val_loader_names if split == "val" else getattr(data, "test_loader_names", data.val_loader_names)
    of = "validation" if split == "val" else split
    return GivenImages(data.description, f"{data.description}, {names[0]} {of} images{some}", batches)


class _Pairs(Dataset[Any]):
    """Images and their classes, without what else a sample has."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        image, label, *_ = self.dataset[index]
        return image, label

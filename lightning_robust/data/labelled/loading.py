"""Loaders of labelled images that leave out, or replace, what cannot be read: named, counted, up to a limit."""

from lightning_robust.data.labelled.dataset import LabelledImages
from lightning_robust.data.loaders import UnrepeatedSampler
from lightning_robust.data.reading import MAX_UNREADABLE, TolerantLoader

__all__ = ["evaluation_loader"]


def evaluation_loader(
    dataset: LabelledImages, batch_size: int = 64, num_workers: int = 0, max_unreadable: int = MAX_UNREADABLE
) -> TolerantLoader:
    """Batches `(images (n, 3, H, W), targets (n,))` in the order of the set; every image on one process, once.

    An image that cannot be read is left out with a warning that names it.

    Args:
        dataset: The images.
        batch_size: Images in a batch.
        num_workers: Worker processes.
        max_unreadable: How many images may be unreadable in one pass, on each process of a distributed run.

    Returns:
        The loader; its `unreadable` lists what the last pass left out.

    Raises:
        ValueError: If a number is out of range, or there are fewer images than processes; while iterating, if more
            images than allowed cannot be read or they differ in size.
    """
    return TolerantLoader(
        dataset, batch_size, num_workers=num_workers, max_unreadable=max_unreadable, sampler=UnrepeatedSampler(dataset)
    )

"""A distribution shift as a record: what an evaluation set is, without any of its images."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DistributionShift:
    """An evaluation set beside the reference.

    Attributes:
        name: Short name, used in tags, tables and file names.
        source: What it is, or which natural data set it mirrors.
        protocol: How accuracy is counted on it; stands in every result row.
        classes: Indices into the reference's classes that it covers, or None for all.
    """

    name: str
    source: str
    protocol: str = "top-1 over all classes"
    classes: tuple[int, ...] | None = None

"""An evaluation set as a record: what it is and how accuracy is counted on it, without any of its images."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DistributionShift:
    """An evaluation set: a natural shift beside the reference, or the reference itself.

    Attributes:
        name: Short name, used in tags, tables and file names.
        source: What it is, or which natural data set it mirrors.
        protocol: Name of how accuracy is counted on it; stands in every result row.
        groups: For each of its labels the reference classes that count as right, the canonical one first; None: every
            class of the reference, each for itself. Targets are canonical reference classes.
        class_names: Names for a zero-shot head of its own, one for each label, where the protocol prompts with other
            names than the reference does; None takes those of the reference.
        images: How many images it has as published; None where that is not fixed.

    Example:
        >>> DistributionShift("objects", "two objects", groups=((3, 1), (2,))).classes
        (1, 2, 3)
    """

    name: str
    source: str
    protocol: str = "top-1 over all classes"
    groups: tuple[tuple[int, ...], ...] | None = None
    class_names: tuple[str, ...] | None = None
    images: int | None = None

    @property
    def classes(self) -> tuple[int, ...] | None:
        """Reference classes that it covers, ascending; None for all."""
        return None if self.groups is None else tuple(sorted(index for group in self.groups for index in group))

"""What `ImageFolderDataModule` found, as a table: images per class and set, and what does not match."""

from collections.abc import Sequence
from dataclasses import dataclass

from lightning_robust.data.image_folder_domains import Reference, Shift
from lightning_robust.data.labelled.source import in_words

__all__ = ["Summary", "summarise"]


@dataclass(frozen=True)
class Summary:
    """Images per class and set.

    Attributes:
        classes: The reference's classes.
        counts: For each set and split (`photo/train`, `sketch/val` …) the images of each class.
        left_out: For each shift the classes that the reference lacks, with the number of images left out.
        lacking: For each shift the classes of the reference that it lacks.
    """

    classes: tuple[str, ...]
    counts: dict[str, tuple[int, ...]]
    left_out: dict[str, dict[str, int]]
    lacking: dict[str, tuple[str, ...]]

    def __str__(self) -> str:
        heads = list(self.counts)
        rows = [("class", *heads)]
        rows += [(name, *(str(self.counts[head][i]) for head in heads)) for i, name in enumerate(self.classes)]
        rows.append(("all", *(str(sum(self.counts[head])) for head in heads)))
        widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
        lines = [_line(row, widths) for row in rows]
        for name, classes in self.left_out.items():
            if classes:
                listed = ", ".join(f"{label} ({count})" for label, count in classes.items())
                lines.append(f"left out of {name}, since the reference has no such class: {listed}")
        for name, lacking in self.lacking.items():
            if lacking:
                many = "1 class" if len(lacking) == 1 else f"{len(lacking)} classes"
                lines.append(f"{name} lacks {many} and is judged over the others: {in_words(lacking)}")
        return "\n".join(lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    return "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)])


def summarise(reference: Reference, shifts: Sequence[Shift]) -> Summary:
    """Count what was found.

    Args:
        reference: The reference.
        shifts: The shifts.
    """
    classes = reference.classes
    counts = {}
    holders: list[Reference | Shift] = [reference, *shifts]
    for holder in holders:
        for split, part in holder.parts.items():
            counts[f"{holder.record.name}/{split}"] = tuple(part.counts(len(classes)).tolist())
    lacking = {}
    for shift in shifts:
        covered = shift.record.classes
        lacking[shift.record.name] = (
            () if covered is None else tuple(name for i, name in enumerate(classes) if i not in covered)
        )
    return Summary(classes, counts, {shift.record.name: shift.unmatched for shift in shifts}, lacking)

"""Where the accuracies of a validation stand: tags of the reference and of each shift, and images behind them."""

from collections.abc import Mapping
from dataclasses import dataclass

from lightning.pytorch import Trainer

from lightning_robust.callbacks.baseline_shifts import (
    REFERENCE,
    check_shifts,
    restricted_shifts,
    same_images,
    shifts_in_common,
)
from lightning_robust.callbacks.validated_images import loader_index, names_of_loaders, validated_images
from lightning_robust.errors import UserError
from lightning_robust.robustness import Baseline


@dataclass(frozen=True)
class AccuracyTags:
    """Under which tags a module logs what effective robustness is computed from.

    Attributes:
        reference: Tag of the reference accuracy over all classes.
        matched: By shift the tag of the reference accuracy on the classes it covers, where the baseline asks for it.
        shifts: Tag of the accuracy on each shift, in the order of the baseline.
        loaders: Names of the validation loaders, where they are known.
    """

    reference: str
    matched: Mapping[str, str]
    shifts: Mapping[str, str]
    loaders: tuple[str, ...]

    @property
    def counted(self) -> tuple[str, ...]:
        """What numbers of images are asked for."""
        return (REFERENCE, *self.shifts, *(f"matched/{name}" for name in self.matched))

    @property
    def all(self) -> tuple[str, ...]:
        """Every tag once."""
        return tuple(dict.fromkeys([self.reference, *self.matched.values(), *self.shifts.values()]))


def find_tags(
    trainer: Trainer, baseline: Baseline, reference: str | Mapping[str, str] | None, shifts: Mapping[str, str] | None
) -> AccuracyTags:
    """Put together what was given and what the data module knows.

    Args:
        trainer: The Trainer.
        baseline: What is compared with.
        reference: As given to the callback.
        shifts: As given to the callback.

    Raises:
        UserError: If baseline and data share no shift, one that was named is none of the baseline's, or tags of
            reference accuracies on a shift's classes are missing or without effect.
    """
    names = names_of_loaders(trainer)
    if shifts is None:
        common = shifts_in_common(baseline, names[1:] if names else baseline.shifts)
        common = same_images(baseline, common, getattr(trainer, "datamodule", None))
        shifts = {name: f"val/{name}/accuracy" for name in common}
    check_shifts(baseline, list(shifts))
    ordered = {name: shifts[name] for name in baseline.shifts if name in shifts}
    given = {REFERENCE: reference} if isinstance(reference, str) else dict(reference or {})
    own = given.pop(REFERENCE, f"val/{names[0] if names else REFERENCE}/accuracy")
    wanted = restricted_shifts(baseline, list(ordered))
    if missing := [name for name in wanted if name not in given]:
        raise UserError(
            f"the baseline {baseline.name!r} compares the reference accuracy on the classes that a shift covers: give "
            f"reference={{shift: tag}} for {', '.join(missing)}, or a baseline with x='full'"
        )
    if idle := [name for name in given if name not in wanted]:
        raise UserError(
            f"reference= has no use for {', '.join(idle)}: the baseline {baseline.name!r} compares the reference "
            "accuracy over all classes there"
        )
    return AccuracyTags(own, given, ordered, tuple(names))


def count_images(trainer: Trainer, tags: AccuracyTags, given: Mapping[str, int]) -> dict[str, int]:
    """How many images are behind each accuracy, by the names that a baseline gives them.

    Args:
        trainer: A Trainer that has its validation loaders.
        tags: Where the accuracies stand.
        given: What the user says.

    Raises:
        UserError: If a number cannot be known.
    """
    counts = dict(given)
    sizes = validated_images(trainer)
    for name, tag in {REFERENCE: tags.reference, **tags.shifts}.items():
        if name in counts:
            continue
        index = loader_index(tags.loaders[0] if name == REFERENCE and tags.loaders else name, tag, tags.loaders)
        if index is None and name == REFERENCE:
            index = 0
        size = sizes[index] if index is not None and index < len(sizes) else None
        if not size:
            raise UserError(
                f"how many images the accuracy {tag!r} is taken on cannot be known from the validation loaders: give "
                f"images={{{name!r}: …}}"
            )
        counts[name] = size
    if missing := [f"matched/{name}" for name in tags.matched if f"matched/{name}" not in counts]:
        raise UserError(
            f"how many reference images have the classes of a shift is not known: give images={{{missing[0]!r}: …}}"
        )
    return counts

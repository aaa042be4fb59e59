"""Which shifts of a data set a baseline speaks of, and which classes they cover."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from lightning.pytorch.utilities import rank_zero_warn

from lightning_robust.data.shifts import DistributionShift
from lightning_robust.errors import UserError, from_user
from lightning_robust.models.class_mask import ClassMask
from lightning_robust.robustness import Baseline, load_baseline
from lightning_robust.robustness.comparable import comparable

#: What a baseline calls the reference among numbers of images.
REFERENCE: Final = "reference"
_TAKEN: Final = ("mean", "extrapolated")


def open_baseline(baseline: Any) -> Baseline:
    """A baseline itself, or the one of a name or a file.

    Args:
        baseline: A `Baseline`, `"scenes"`, `"imagenet"`, or the path of a baseline's JSON.

    Raises:
        UserError: If there is none of that name, or the file is no baseline.
    """
    if isinstance(baseline, Baseline):
        return baseline
    if not isinstance(baseline, str | Path):
        raise UserError(f"baseline is a name, a path or a Baseline, not a {type(baseline).__name__}")
    with from_user(ValueError):
        return load_baseline(baseline)


def check_shifts(baseline: Baseline, shifts: Sequence[str]) -> None:
    """Check that a baseline has these shifts.

    Raises:
        UserError: If there is none, one is none of the baseline's, or one has the name of another figure.
    """
    if not shifts:
        raise UserError("shifts is empty, so there is nothing to measure; None takes those of the data module")
    if taken := [name for name in shifts if name in _TAKEN]:
        raise UserError(f"a shift named {taken[0]!r} would be logged under the tag of another figure: rename it")
    with from_user(ValueError):
        baseline.on(list(shifts))


def restricted_shifts(baseline: Baseline, shifts: Sequence[str]) -> list[str]:
    """Shifts for which a baseline compares the reference accuracy on the classes that they cover."""
    if baseline.x != "matched":
        return []
    return [name for name in shifts if any(name in model.matched for model in baseline.models)]


def shifts_in_common(baseline: Baseline, names: Sequence[str]) -> tuple[str, ...]:
    """Shifts that both a data set and a baseline have; told of where they differ, since the mean is over these alone.

    Args:
        baseline: The baseline.
        names: Shifts of the data.

    Raises:
        UserError: If they share none, or a mean accuracy is compared and one is missing.
    """
    common = tuple(name for name in names if name in baseline.shifts)
    theirs = ", ".join(baseline.shifts)
    if not common:
        raise UserError(
            f"the baseline {baseline.name!r} speaks of {theirs}, and the data of {', '.join(names) or 'no shift'}: "
            "there is no effective robustness without a shift of the same name (fit-baseline makes a baseline)"
        )
    left = [f"the data's {', '.join(extra)}" for extra in [[n for n in names if n not in common]] if extra]
    left += [f"the baseline's {', '.join(m)}" for m in [[n for n in baseline.shifts if n not in common]] if m]
    if left:
        rank_zero_warn(
            f"effective robustness against {baseline.name!r} is measured on {', '.join(common)}, its mean over these; "
            f"left out: {' and '.join(left)}"
        )
    return common


def same_images(baseline: Baseline, names: Sequence[str], datamodule: Any) -> tuple[str, ...]:
    """Those of the shifts that are the same images in the data and the baseline; told of where they are not.

    A data module that does not say what it is (`description`, `class_names`, records of its shifts) is taken at its
    word, as are tags that a user gives.

    Args:
        baseline: The baseline.
        names: Shifts that both have.
        datamodule: The data module, or None.

    Raises:
        UserError: If the baseline is evidently of other data, or no shift is left.
    """
    records = [r for r in getattr(datamodule, "shifts", None) or () if isinstance(r, DistributionShift)]
    description = getattr(datamodule, "description", None)
    if not records or not isinstance(description, str):
        return tuple(names)
    protocols = {record.name: record.protocol for record in records if record.name in names}
    found, said = comparable(baseline, description, getattr(datamodule, "class_names", ()), protocols)
    for sentence in said:
        rank_zero_warn(sentence)
    return tuple(name for name in names if name in found.shifts)


def masks_of(datamodule: Any) -> dict[str, ClassMask]:
    """The classes that each of a data module's shifts covers, by its name; a shift of all classes has none.

    Args:
        datamodule: Its `shifts` are records with `name` and `groups`; None and modules without have no masks.

    Raises:
        UserError: If a shift is prompted with class names of its own, which takes a zero-shot head for it.
    """
    records = [r for r in getattr(datamodule, "shifts", None) or () if isinstance(r, DistributionShift)]
    if own := [record.name for record in records if record.class_names is not None]:
        raise UserError(
            f"{own[0]!r} is prompted with class names of its own (protocol), and a finetuned head knows those of the "
            "reference only: choose another protocol for it"
        )
    return {record.name: ClassMask(record.groups) for record in records if record.groups is not None}

"""Which baseline an evaluation is judged by."""

import warnings
from typing import Any

from lightning_robust.cli.data_spec import IMAGENET, SCENES
from lightning_robust.errors import UserError
from lightning_robust.robustness import Baseline, load_baseline
from lightning_robust.robustness.comparable import IMAGENET_DATA, comparable
from lightning_robust.robustness.loading import shipped_baselines

__all__ = ["NONE", "chosen_baseline"]

NONE = "none"
"""Leaves effective robustness out."""

_OF_TRAIN = (
    "--split val takes its reference images from ImageNet train, where models that were trained on all of it are more "
    "accurate than on unseen images: effective robustness against the baseline imagenet would come out too low"
)


def chosen_baseline(
    name: str | None, text: str, data: Any, split: str = "test", options: dict[str, Any] | None = None
) -> Baseline | None:
    """The baseline that is asked for, or the one that ships for the data, on the shifts that are the same there.

    What a user should know of the choice is warned about.

    Args:
        name: Of a baseline, a file, `"none"`, or None.
        text: The data as typed: `scenes` and `imagenet:FOLDER` have baselines that ship.
        data: The data module.
        split: `"test"` or `"val"`.
        options: `scale`, `x` and `aggregate` of `load_baseline`; None leaves one as it is.

    Raises:
        UserError: If there is no such baseline, it is of other data or has no line for any shift of the data, or an
            option has nothing to act on.
    """
    asked = {key: value for key, value in (options or {}).items() if value is not None}
    baseline = None if name == NONE else _opened(name, text, data, split, asked)
    if baseline is None and asked:
        option = next(iter(asked))
        raise UserError(f"--{option} has no effect without a baseline: leave it out, or give --baseline NAME")
    return baseline


def _opened(name: str | None, text: str, data: Any, split: str, asked: dict[str, Any]) -> Baseline | None:
    default = SCENES if text == SCENES else "imagenet" if text.startswith(IMAGENET) else None
    if name is None and default not in shipped_baselines():
        return None
    baseline = load_baseline(name or str(default), **asked)
    shifts = {shift.name: shift.protocol for shift in data.shifts}
    if not set(shifts) & set(baseline.shifts):
        if name is None:
            return None
        raise UserError(
            f"the baseline {baseline.name} has lines for {', '.join(baseline.shifts)} and the data have "
            f"{', '.join(shifts) or 'no shifts'}: fit one on these data (fit-baseline)"
        )
    if split == "val" and baseline.dataset == IMAGENET_DATA == data.description:
        if name is None:
            warnings.warn(f"{_OF_TRAIN}; it is left out (--baseline imagenet asks for it)", stacklevel=2)
            return None
        warnings.warn(_OF_TRAIN, stacklevel=2)
    try:
        found, said = comparable(baseline, data.description, data.class_names, shifts)
    except UserError as error:
        if name is not None:
            raise
        warnings.warn(f"no effective robustness: {error}", stacklevel=2)
        return None
    for sentence in said:
        warnings.warn(sentence, stacklevel=2)
    return found

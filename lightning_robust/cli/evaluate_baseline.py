"""Which baseline an evaluation is judged by."""

from typing import Any

from lightning_robust.cli.data_spec import IMAGENET, SCENES
from lightning_robust.errors import UserError
from lightning_robust.robustness import Baseline, load_baseline
from lightning_robust.robustness.loading import shipped_baselines

__all__ = ["NONE", "chosen_baseline"]

NONE = "none"
"""Leaves effective robustness out."""


def chosen_baseline(name: str | None, text: str, data: Any) -> Baseline | None:
    """The baseline that is asked for, or the one that ships for the data.

    Args:
        name: Of a baseline, a file, `"none"`, or None.
        text: The data as typed: `scenes` and `imagenet:FOLDER` have baselines that ship.
        data: The data module.

    Raises:
        UserError: If there is no such baseline, or it has no line for any shift of the data.
    """
    if name == NONE:
        return None
    default = SCENES if text == SCENES else "imagenet" if text.startswith(IMAGENET) else None
    if name is None and default not in shipped_baselines():
        return None
    baseline = load_baseline(name or str(default))
    shifts = [shift.name for shift in data.shifts]
    if not set(shifts) & set(baseline.shifts):
        if name is None:
            return None
        raise UserError(
            f"the baseline {baseline.name} has lines for {', '.join(baseline.shifts)} and the data have "
            f"{', '.join(shifts) or 'no shifts'}: fit one on these data (fit-baseline)"
        )
    return baseline

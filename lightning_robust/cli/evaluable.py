"""Whether `validate` and `test` have a model that answers and images to ask it about."""

from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.utilities.model_helpers import is_overridden

from lightning_robust.errors import UserError

__all__ = ["check_evaluable"]

_HOOKS = {"validate": ("validation_step", "val_dataloader"), "test": ("test_step", "test_dataloader")}


def check_evaluable(command: str, model: LightningModule, data: LightningDataModule) -> None:
    """Refuse, before anything is set up, an evaluation that cannot begin.

    Args:
        command: `validate` or `test`.
        model: That is to answer.
        data: Whose images it is asked about.

    Raises:
        UserError: If the model has no such step, or the data no such images.
    """
    step, loader = _HOOKS[command]
    if not is_overridden(step, model):
        other = "'validate' judges it on the validation images, and " if is_overridden("validation_step", model) else ""
        raise UserError(
            f"{type(model).__name__} has no {step}, so that '{command}' cannot run it; {other}'evaluate' judges what "
            "was trained on test images"
        )
    without = hasattr(data, "evaluation") and data.evaluation is None
    if without or not is_overridden(loader, data):
        advice = "give it another data module that has, data.init_args.evaluation" if without else f"it has no {loader}"
        raise UserError(f"'{command}' needs images to judge on, and {type(data).__name__} has none: {advice}")

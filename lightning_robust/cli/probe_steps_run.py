"""What a run's config says of how it was watched: its monitors, and the images that they looked at."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any, Final

from lightning_robust.callbacks import (
    ConceptMonitor,
    ConfidenceMonitor,
    KurtosisMonitor,
    LogSteps,
    SignatureMonitor,
    SpectrumMonitor,
)
from lightning_robust.callbacks.sources import CONCEPTS, VALIDATION
from lightning_robust.data import ScenesDataModule
from lightning_robust.errors import UserError, from_user
from lightning_robust.models.run_names import init_args, known_encoder, run_settings

__all__ = ["WatchedRun", "watched_run"]

_MONITORS: Final = {
    kind.__name__: kind
    for kind in (SignatureMonitor, KurtosisMonitor, SpectrumMonitor, ConceptMonitor, ConfidenceMonitor)
}
_SETTINGS: Final = frozenset(signature(SignatureMonitor).parameters)
_FUNCTIONS: Final = ("forward", "images_from_batch", "labels_from_batch")


@dataclass(frozen=True)
class WatchedRun:
    """A run of `fit` as its config tells it.

    Attributes:
        folder: The run's folder.
        kind: Class of its LightningModule.
        encoder: Name of the encoder that it trains.
        class_names: Of the model's settings; None where it takes the data's.
        templates: Likewise.
        data: Class of its data module, and its settings.
        recalibrated: Training images over which LogSteps recomputed the statistics of batch norms for each checkpoint.
        limit: The Trainer's `limit_val_batches`.
        precision: The Trainer's.
        monitors: As they were set, those that can be set up again.
        left_out: Why others cannot, a sentence for each.
    """

    folder: Path
    kind: str
    encoder: str
    class_names: list[str] | None
    templates: list[str] | None
    data: tuple[str, Mapping[str, Any]]
    recalibrated: int
    limit: int | float | None
    precision: str
    monitors: tuple[SignatureMonitor, ...]
    left_out: tuple[str, ...]

    def scenes(self, transform: Callable[[Any], Any]) -> ScenesDataModule | None:
        """The run's data module, where it is the scenes world; else None.

        Args:
            transform: From a PIL image to a tensor.

        Raises:
            UserError: If its settings are none of this version's.
        """
        name, settings = self.data
        if name != ScenesDataModule.__name__:
            return None
        known = {key: value for key, value in settings.items() if key != "transform"}
        with from_user(ValueError, TypeError):
            return ScenesDataModule(transform=transform, **known)

    def batches(self, whole: int) -> int:
        """How many of the validation's batches were run.

        Args:
            whole: How many there are.
        """
        if self.limit is None:
            return whole
        return min(whole, self.limit) if isinstance(self.limit, int) else int(whole * self.limit)


def watched_run(file: Path) -> WatchedRun:
    """Read the config of the run that a checkpoint lies in.

    Args:
        file: The checkpoint.

    Raises:
        UserError: If there is none beside it or one folder above, or it cannot be read.
    """
    with from_user(ValueError):
        found = known_encoder(file)
        if found is None:
            raise UserError(
                f"{file.parent} lies in no run of 'fit': there is no config.yaml in it or one folder above that would "
                "name the encoder"
            )
        kind, encoder, config = found
        model, data, trainer = (run_settings(config, section) for section in ("model", "data", "trainer"))
    monitors, left_out = _monitors(trainer.get("callbacks"))
    settings = init_args(model)
    return WatchedRun(
        folder=config.parent,
        kind=kind,
        encoder=encoder,
        class_names=settings.get("class_names"),
        templates=settings.get("templates"),
        data=(str(data.get("class_path", "")).rpartition(".")[2], init_args(data)),
        recalibrated=_recalibrated(trainer.get("callbacks")),
        limit=trainer.get("limit_val_batches"),
        precision=str(trainer.get("precision") or "32-true"),
        monitors=tuple(monitors),
        left_out=tuple(left_out),
    )


def _recalibrated(callbacks: Any) -> int:
    found = [
        init_args(entry).get("recalibrate")
        for entry in (callbacks if isinstance(callbacks, list) else ())
        if isinstance(entry, dict) and str(entry.get("class_path", "")).rpartition(".")[2] == LogSteps.__name__
    ]
    return next((images for images in found if isinstance(images, int)), 0)


def _monitors(callbacks: Any) -> tuple[list[SignatureMonitor], list[str]]:
    made, left_out = [], []
    for entry in callbacks if isinstance(callbacks, list) else ():
        name = str(entry.get("class_path", "")).rpartition(".")[2] if isinstance(entry, dict) else ""
        if name not in _MONITORS:
            continue
        settings = {key: value for key, value in init_args(entry).items() if key in _SETTINGS}
        if name != SignatureMonitor.__name__:
            settings.pop("signatures", None)
        if settings.get("every_n_epochs") == 0 and settings.get("every_n_steps") is None:
            continue  # it never measured
        if settings.get("images", VALIDATION) not in (VALIDATION, CONCEPTS) or any(map(settings.get, _FUNCTIONS)):
            left_out.append(f"the run's {name} on images or with functions of its own is left out")
            continue
        if settings.pop("untrained", False):
            left_out.append("figures of the untrained model (…/untrained) are left out: step 0 has them")
        # when to measure is settled: at each checkpoint
        made.append(_MONITORS[name](**{**settings, "every_n_epochs": 1, "every_n_steps": None}))
    return made, list(dict.fromkeys(left_out))

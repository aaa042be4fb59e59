"""How long a study takes, by arithmetic: floating-point operations, and a stated share of a named processor's peak."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from lightning_robust.cli.study_config import StudyConfig, StudyModel, StudyTraining
from lightning_robust.cli.study_models import PlannedRow
from lightning_robust.errors import UserError

__all__ = ["ASSUMPTIONS", "Work", "architecture_of", "measuring_work", "training_work"]

_HALF: Final = 312e12  # A100, dense bfloat16, NVIDIA's data sheet; float32 below it
_SINGLE: Final = 19.5e12
_TRAINING, _MEASURING = 0.35, 0.5  # shares of the peak
_CORE: Final = 20e9  # what the pretraining of scenes-clip reaches on one core, rendering included
_BACKWARD: Final = 3  # forward and backward, in forwards
_IMAGENET: Final = 1_281_167
_CONCEPT_IMAGES: Final = {"broden": 63_305}
#: What the hours rest on.
ASSUMPTIONS: Final = (
    "GPU hours are those of one NVIDIA A100: training 3 forward passes an image at 35 % of its peak (312 TFLOP/s in "
    "16 bits, 19.5 in float32), a measurement one forward pass over all images, in float32 at 50 %",
    "core hours are those of one CPU core at 20 GFLOP/s",
    "reading and decoding images is not counted, and can take longer than all of this",
)


@dataclass(frozen=True)
class Work:
    """Floating-point operations of a part of a study.

    Attributes:
        training: Of runs in 16 bits, then in float32.
        measuring: Of measurements.
        unknown: What could not be reckoned, in words.
    """

    training: tuple[float, float] = (0.0, 0.0)
    measuring: float = 0.0
    unknown: tuple[str, ...] = ()

    def __add__(self, other: "Work") -> "Work":
        training = (self.training[0] + other.training[0], self.training[1] + other.training[1])
        return Work(training, self.measuring + other.measuring, (*self.unknown, *other.unknown))

    @property
    def gpu_hours(self) -> tuple[float, float]:
        """Of training and of measuring, on the GPU of `ASSUMPTIONS`."""
        trained = self.training[0] / _HALF + self.training[1] / _SINGLE
        return trained / _TRAINING / 3600, self.measuring / _SINGLE / _MEASURING / 3600

    @property
    def core_hours(self) -> tuple[float, float]:
        """Of training and of measuring, on one core."""
        return sum(self.training) / _CORE / 3600, self.measuring / _CORE / 3600


def training_work(training: StudyTraining, what: str, architecture: str | None = None) -> Work:
    """What a run costs.

    Args:
        training: The run.
        what: What it is called where it cannot be reckoned.
        architecture: Name of the encoder's architecture; None takes the config's encoder.

    Returns:
        The work, or none of it with the reason.
    """
    try:
        settings = training.settings()
        images = _images(settings)
        name = architecture or str((settings["model"].get("init_args") or {}).get("encoder"))
        cost = _cost(name)
    except (UserError, ValueError) as error:
        return Work(unknown=(f"{what}: {error}",))
    with_text = "Contrastive" in str(settings["model"].get("class_path"))
    flops = float(_BACKWARD * images * (cost.image + (cost.text if with_text else 0)))
    half = "16" in str((settings.get("trainer") or {}).get("precision", "32"))
    return Work((flops, 0.0) if half else (0.0, flops))


def measuring_work(config: StudyConfig, row: PlannedRow, measurement: str, architecture: str, images: int) -> Work:
    """What a measurement of a row costs: a forward pass for every image, also for those of a concept set.

    Args:
        config: The study.
        row: The row.
        measurement: Its name.
        architecture: Name of the model's architecture.
        images: Of the reference and its shifts.
    """
    if measurement == "probe":
        images += _CONCEPT_IMAGES.get((config.concepts or "").partition(":")[0], 0)
    try:
        return Work(measuring=float(images * _cost(architecture).image))
    except ValueError as error:
        return Work(unknown=(f"{measurement} of {row.model}: {error}",))


def architecture_of(model: StudyModel) -> str:
    """Name of a model's architecture, as `architecture_cost` takes it.

    Args:
        model: Of the study.

    Raises:
        UserError: If the config that names it cannot be read.
    """
    if model.train is None:
        return str(model.model)
    return str((model.train.settings()["model"].get("init_args") or {}).get("encoder"))


@lru_cache(maxsize=64)
def _cost(name: str) -> Any:
    from lightning_robust.models.architecture_cost import architecture_cost

    return architecture_cost(name)


def _images(settings: Mapping[str, Any]) -> int:
    """How many images a run trains on, each as often as it comes.

    Raises:
        ValueError: If the config does not tell.
    """
    trainer = settings.get("trainer") or {}
    given = settings["data"].get("init_args") or {}
    batch = _whole(given.get("batch_size"))
    if (steps := _whole(trainer.get("max_steps"))) and batch:
        counts = [_whole(trainer.get(name)) or 1 for name in ("devices", "num_nodes", "accumulate_grad_batches")]
        return steps * batch * counts[0] * counts[1] * counts[2]
    if (epochs := _whole(trainer.get("max_epochs"))) is None:
        raise ValueError("its config has no max_epochs")
    return epochs * _of_an_epoch(str(settings["data"].get("class_path")).rpartition(".")[2], given)


def _of_an_epoch(data: str, given: Mapping[str, Any]) -> int:
    if (n_train := _whole(given.get("n_train"))) is not None:
        return n_train
    if data == "ImageNetDataModule":
        shots = _whole(given.get("shots"))
        return _IMAGENET - (_whole(given.get("n_val")) or 10_000) if shots is None else 1000 * shots
    if data == "CaptionsDataModule":
        from lightning_robust.data.captions.spec import open_captions

        try:
            return len(open_captions(given["source"]))
        except (ValueError, OSError, TypeError, KeyError):
            raise ValueError("how many pairs it has is told by its source alone, which is not there") from None
    raise ValueError(f"how many images {data} has is told by the images alone")


def _whole(value: Any) -> int | None:
    number = int(value) if isinstance(value, str) and value.isdecimal() else value
    return number if isinstance(number, int) and not isinstance(number, bool) and number > 0 else None

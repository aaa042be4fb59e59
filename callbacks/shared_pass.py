"""One pass over images that serves several monitors."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Trainer
from torch import nn

from lightning_robust.callbacks.passes import count_images, run_pass
from lightning_robust.callbacks.shares import Share
from lightning_robust.callbacks.signature import Reading
from lightning_robust.callbacks.sources import Images
from lightning_robust.callbacks.together import Together
from lightning_robust.errors import UserError, from_user
from lightning_robust.models.batch_norm import batch_norms
from lightning_robust.models.modes import kept_random_state
from lightning_robust.models.untrained import calibrate_untrained
from lightning_robust.signatures import leave_unchanged
from lightning_robust.signatures.batches import images_from_batch

if TYPE_CHECKING:
    from lightning_robust.callbacks.measuring import Measuring


def measure_with(
    monitors: Sequence["Measuring"], trainer: Trainer, module: Any, images: Iterable[Any],
    layers: Sequence[Sequence[str]] | None = None, together: Together | None = None,
) -> list[Reading]:  # fmt: skip
    """Measure a module as it is now for several monitors in one pass, without publishing anything.

    Args:
        monitors: What to measure, and where.
        trainer: The Trainer, for devices and precision.
        module: Any module that has the monitors' layers.
        images: Batches; `Images` know which of them are this process's own, others are read whole.
        layers: Layers for each monitor, where `module` is not the module that they watch.
        together: Processes of which each has a part of the images, no image twice; an error of one ends all.

    Returns:
        One reading for each monitor.
    """
    with kept_random_state(), as_validation(trainer):
        where = layers if layers is not None else [monitor.layers_of(module) for monitor in monitors]
        share = images.share if isinstance(images, Images) else Share()
        if together is not None and together.world > 1:
            share = Share(spread=True)
        collectors = [m.collector(trainer, module, own, share) for m, own in zip(monitors, where, strict=True)]
        first, context = monitors[0], trainer.precision_plugin.forward_context
        readings = run_pass(
            collectors, module, images, first.forward, batch_preparation(trainer), context, first.images_from_batch,
            together,
        )  # fmt: skip
    return [monitor.named(reading) for monitor, reading in zip(monitors, readings, strict=True)]


def measure_control(
    monitors: Sequence["Measuring"], own: bool | nn.Module, trainer: Trainer, module: Any
) -> list[Reading]:
    """Measure the untrained control for several monitors in one pass.

    A control that `untrained_model()` gives has its batch norms calibrated on these images first
    (`models.calibrate_untrained`), the same on every process; one that is given is measured as it is.

    Args:
        monitors: Those that have it as their control, on the same images.
        own: The control, or True for what the module's `untrained_model()` gives.
        trainer: The Trainer.
        module: The module that is watched.

    Returns:
        One reading for each monitor.

    Raises:
        UserError: If the module has no such method, or its batch norms cannot be calibrated on the images.
    """
    if own is True and not hasattr(module, "untrained_model"):
        raise UserError(f"untrained=True needs {type(module).__name__}.untrained_model(); or give the untrained module")
    with leave_unchanged(module):
        control = own if isinstance(own, nn.Module) else module.untrained_model()
        layers = [monitor.layers_of(module) for monitor in monitors]
    control = trainer.precision_plugin.convert_module(control).to(trainer.strategy.root_device)
    if own is True:
        calibrate_control(monitors[0], trainer, control)
    return measure_with(monitors, trainer, control, Images(trainer, monitors[0].images), layers)


def calibrate_control(monitor: "Measuring", trainer: Trainer, control: nn.Module) -> int:
    """Give a control of random weights the batch-norm statistics of a monitor's images.

    Every process reads the same images, so that the statistics are those of a run on one process, and takes those of
    the first, bitwise. Where a loader gives each process images of its own and cannot be read whole, they are of the
    first process's.

    Args:
        monitor: One of those that measure it.
        trainer: The Trainer.
        control: Random weights, on their device.

    Returns:
        The number of images used; 0 where there is no batch norm to calibrate.
    """
    layers = batch_norms(control)
    if not layers:
        return 0
    images, prepare = Images(trainer, monitor.images, whole=True), batch_preparation(trainer)

    def batches() -> Iterator[Any]:
        for batch in map(prepare, images):
            if monitor.forward is None:
                yield (monitor.images_from_batch or images_from_batch)(batch)
            else:
                yield range(count_images(batch, monitor.images_from_batch) or 2), batch

    def run(module: nn.Module, batch: Any) -> None:
        with trainer.precision_plugin.forward_context():
            module(batch) if monitor.forward is None else monitor.forward(module, batch[1])

    def calibrate() -> int:
        with kept_random_state(), as_validation(trainer), from_user(ValueError):
            return calibrate_untrained(control, batches(), run=run)

    together = Together(trainer)
    used = together.each(calibrate)
    together.take_from_first(s for layer in layers.values() for s in (layer.running_mean, layer.running_var))
    return used[0]


def same_pass(one: "Measuring", other: "Measuring") -> bool:
    """Whether two monitors look at the same images in the same way."""
    same_images = one.images is other.images or (isinstance(one.images, str) and one.images == other.images)
    return same_images and one.forward is other.forward and one.images_from_batch is other.images_from_batch


def batch_preparation(trainer: Trainer) -> Callable[[Any], Any]:
    """A function that moves a batch as the Trainer does, its batch hooks included, and gives it the module's precision.

    Args:
        trainer: The Trainer.
    """

    def prepare(batch: Any) -> Any:
        return trainer.precision_plugin.convert_input(trainer.strategy.batch_to_device(batch))

    return prepare


@contextmanager
def as_validation(trainer: Trainer) -> Iterator[None]:
    """Let hooks that prepare batches see a validation: many augment when `trainer.training`."""
    stage = trainer.state.stage
    trainer.validating = True
    try:
        yield
    finally:
        trainer.state.stage = stage

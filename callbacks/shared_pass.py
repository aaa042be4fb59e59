"""One pass over images that serves several monitors."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Trainer

from lightning_robust.callbacks.collector import run_pass
from lightning_robust.callbacks.signature import Reading
from lightning_robust.models.modes import kept_random_state

if TYPE_CHECKING:
    from lightning_robust.callbacks.monitor import SignatureMonitor


def measure_with(
    monitors: Sequence["SignatureMonitor"], trainer: Trainer, module: Any, images: Iterable[Any],
    layers: Sequence[Sequence[str]] | None = None, *, spread: bool = False,
) -> list[Reading]:  # fmt: skip
    """Measure a module as it is now for several monitors in one pass, without publishing anything.

    Args:
        monitors: What to measure, and where.
        trainer: The Trainer, for devices and precision.
        module: Any module that has the monitors' layers.
        images: Batches.
        layers: Layers for each monitor, where `module` is not the module that they watch.
        spread: Whether each process of a distributed run has its own share of the images.

    Returns:
        One reading for each monitor.
    """
    where = layers if layers is not None else [monitor.layers_of(module) for monitor in monitors]
    with kept_random_state(), as_validation(trainer):
        collectors = [m.collector(trainer, module, own, spread=spread) for m, own in zip(monitors, where, strict=True)]
        context = trainer.precision_plugin.forward_context
        readings = run_pass(collectors, module, images, monitors[0].forward, batch_preparation(trainer), context)
    return [reading.prefixed(monitor.prefix) for monitor, reading in zip(monitors, readings, strict=True)]


def same_pass(one: "SignatureMonitor", other: "SignatureMonitor") -> bool:
    """Whether two monitors look at the same images in the same way."""
    same_images = one.images is other.images or (isinstance(one.images, str) and one.images == other.images)
    return same_images and one.forward is other.forward


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

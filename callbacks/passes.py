"""One pass of a module over images, for as many collectors as there are."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

from lightning.pytorch import LightningModule
from torch import Tensor, nn

from lightning_robust.callbacks.collector import NO_BATCH, Collector
from lightning_robust.callbacks.signature import Reading
from lightning_robust.callbacks.together import Together
from lightning_robust.errors import UserError, from_user
from lightning_robust.signatures import measured_pass
from lightning_robust.signatures.batches import images_from_batch

Forward = Callable[[Any, Any], Any]
FindImages = Callable[[Any], Tensor]

_GIVE_FORWARD = "give the monitor forward=, a function (module, batch) that runs one batch"
_NO_FORWARD = (LightningModule.forward, nn.Module.forward)


def run_pass(
    collectors: Sequence[Collector],
    module: nn.Module,
    batches: Iterable[Any],
    forward: Forward | None,
    to_device: Callable[[Any], Any],
    context: Callable[[], AbstractContextManager[Any]] = nullcontext,
    find_images: FindImages | None = None,
    together: Together | None = None,
) -> list[Reading]:
    """Run a module once over images for several collectors; nothing of the module or the random states is changed.

    Args:
        collectors: Who listens.
        module: The module.
        batches: Its images: tensors, `(inputs, labels, …)`, mappings, or anything that `forward` understands.
        forward: `forward(module, batch)`; None calls `module(images)`.
        to_device: Moves a batch to the module's device.
        context: Makes what each forward runs in; reading the images and computing figures stay outside.
        find_images: Finds the images of a batch; `signatures.batches.images_from_batch` by default.
        together: Processes that end the pass together before figures are exchanged, so that an error of one ends all.

    Raises:
        UserError: If there is no batch, or one does not fit the module and there is no `forward`.
    """
    fast_path = not any(collector.probe.inside_fused for collector in collectors)
    spread = any(collector.synchronise for collector in collectors)

    def listen() -> None:
        with ExitStack() as stack:
            number = -1
            for number, batch in enumerate(batches):
                if number == 0:
                    for collector in collectors:
                        stack.enter_context(collector.listening())
                _run_batch(collectors, module, number, to_device(batch), forward, context, find_images)
            if number < 0 and not spread:
                raise UserError(NO_BATCH)

    with measured_pass(module, fast_path):
        (together or Together()).each(listen)
        return [collector.read() for collector in collectors]


def _run_batch(
    collectors: Sequence[Collector], module: nn.Module, number: int, batch: Any, forward: Forward | None,
    context: Callable[[], AbstractContextManager[Any]], find_images: FindImages | None,
) -> None:  # fmt: skip
    images, n = None, count_images(batch, find_images)
    if forward is None:
        if getattr(type(module), "forward", None) in _NO_FORWARD:
            raise UserError(f"{type(module).__name__} has no forward of its own: {_GIVE_FORWARD}")
        with from_user(ValueError):
            images = (find_images or images_from_batch)(batch)
        n = len(images)
    for collector in collectors:
        collector.begin(batch, n, number)
    with context():
        output = forward(module, batch) if forward is not None else module(images)
    for collector in collectors:
        collector.probe.returned(output)
        collector.end()


def count_images(batch: Any, find_images: FindImages | None = None) -> int | None:
    """How many images a batch has; None where they cannot be found.

    Args:
        batch: A batch of any form.
        find_images: Finds its images; an error of a function that was given is passed on.
    """
    if find_images is not None:
        return len(find_images(batch))
    try:
        return len(images_from_batch(batch))
    except (ValueError, TypeError):
        return None

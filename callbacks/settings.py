"""What a monitor refuses before a run begins: settings that cannot work, or that would do nothing."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_warn

from lightning_robust.callbacks.schedule import chosen_validations
from lightning_robust.callbacks.sources import CONCEPTS, VALIDATION, Images
from lightning_robust.errors import UserError
from lightning_robust.signatures.layers import RETURNED

if TYPE_CHECKING:
    from lightning_robust.callbacks.monitor import SignatureMonitor

KINDS: Final = ("kurtosis", "spectrum", "concepts", "confidence")


def check_settings(monitor: "SignatureMonitor") -> None:
    """Check a monitor's settings against each other.

    Raises:
        UserError: For an unknown signature, layers or images that cannot be, or a setting without effect.
    """
    kinds, layers = monitor.signatures, monitor.layers
    if not kinds or any(kind not in KINDS for kind in kinds) or len(set(kinds)) < len(kinds):
        raise UserError(f"signatures are any of {', '.join(KINDS)}, each once; got {list(kinds)}")
    if isinstance(layers, str):
        raise UserError(f"layers is a list of names: layers=[{layers!r}]")
    if layers is not None and not layers and not (monitor.weights and kinds == ("spectrum",)):
        raise UserError("layers is empty, so there is nothing to measure; None asks the module for its own layer")
    _check_images(monitor.images)
    _check_rows(monitor)
    idle = {
        "labels_from_batch": getattr(monitor, "labels_from_batch", None) is not None
        and not {"concepts", "confidence"} & set(kinds),
        "controls": getattr(monitor, "controls", False) and "spectrum" not in kinds,
        "rotations": getattr(monitor, "rotations", 1) != 1 and "concepts" not in kinds,
        "weights": monitor.weights and "spectrum" not in kinds,
        "head": monitor.head is not None and kinds == ("kurtosis",),
        "categories": monitor.categories is not None and "concepts" not in kinds,
    }
    for setting, unused in idle.items():
        if unused:
            raise UserError(f"{setting}= has no effect on a monitor of {' and '.join(kinds)}: leave it out")


def _check_images(images: Any) -> None:
    if isinstance(images, str) and images not in (VALIDATION, CONCEPTS):
        raise UserError(f"images is {VALIDATION!r}, {CONCEPTS!r} or a loader; got {images!r}")
    if isinstance(images, Iterator):
        raise UserError(f"images is read at every measurement, but a {type(images).__name__} can be read once only")


def _check_rows(monitor: "SignatureMonitor") -> None:
    if monitor.pool == "tokens" and "concepts" in monitor.signatures:
        raise UserError("concepts are labels of images, not of tokens: give pool='mean' or 'first'")
    if monitor.pool == "tokens" and "confidence" in monitor.signatures:
        raise UserError("the head answers for images, not for tokens: give pool='mean' or 'first' for confidence")
    if getattr(monitor, "rotations", 1) < 1:
        raise UserError(f"rotations is the number of random rotations, at least 1; got {monitor.rotations}")
    watched = isinstance(monitor.images, str) and monitor.images == VALIDATION
    if watched and monitor.layers is not None and RETURNED in monitor.layers:
        raise UserError(
            f"layer {RETURNED!r} is what a pass of the monitor's own returns: give images=, or name a submodule"
        )


def check_moments(monitor: "SignatureMonitor", trainer: Trainer) -> None:
    """Check that a monitor has no schedule in epochs where a callback says when to validate.

    Raises:
        UserError: If it has one.
    """
    if monitor.schedule.every_n_epochs > 1 and (chosen := chosen_validations(trainer)) is not None:
        raise UserError(
            f"{type(chosen).__name__} says when to measure, so every_n_epochs={monitor.schedule.every_n_epochs} has no "
            "effect: leave it out, or 0 for never"
        )


def check_sharing(monitor: "SignatureMonitor", trainer: Trainer, same: Sequence["SignatureMonitor"]) -> None:
    """Warn, once for monitors of the same images, where it cannot be known that no image counts twice.

    Args:
        monitor: The monitor.
        trainer: The Trainer.
        same: All monitors that look at its images, in order.
    """
    if same[0] is monitor and trainer.world_size > 1 and not Images(trainer, monitor.images).share.known:
        rank_zero_warn(
            f"how {trainer.world_size} processes share the images of {monitor.images!r} cannot be known from their "
            "loader, so some may count twice: give it a sampler without repeats, such as data.UnrepeatedSampler"
        )


def check_tags(monitors: Sequence["SignatureMonitor"], module: Any) -> None:
    """Check that no two monitors log the same tags.

    Raises:
        UserError: If they do, naming the first.
    """
    seen = set()
    for monitor in monitors:
        kinds = [kind for kind in monitor.signatures if kind != "confidence"]
        places = [f"{kind} of {layer!r}" for kind in kinds for layer in monitor.layers_of(module)]
        places += ["the confidence of the head"] * ("confidence" in monitor.signatures)
        places += [f"the spectrum of {name!r}" for name in monitor.weights]
        for place in places:
            if (monitor.prefix, place) in seen:
                raise UserError(f"two monitors log {place} under one tag: give one of them a prefix=")
            seen.add((monitor.prefix, place))

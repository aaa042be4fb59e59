"""The measurements of one monitor: made alone or with others that look at the same images, published, and kept."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

from lightning_robust.callbacks.averaging import averaged_weights
from lightning_robust.callbacks.collector import Collector
from lightning_robust.callbacks.kurtosis import follow_outliers_since
from lightning_robust.callbacks.listening import Listening
from lightning_robust.callbacks.passes import FindImages, Forward
from lightning_robust.callbacks.publish import publish
from lightning_robust.callbacks.schedule import Schedule
from lightning_robust.callbacks.shared_pass import measure_control, measure_with, same_pass
from lightning_robust.callbacks.shares import Share
from lightning_robust.callbacks.signature import Reading
from lightning_robust.callbacks.sources import VALIDATION, Images, epoch_number
from lightning_robust.callbacks.weights import FollowedWeights
from lightning_robust.models.modes import kept_random_state
from lightning_robust.signatures import LayerForm

if TYPE_CHECKING:
    from lightning_robust.callbacks.monitor import SignatureMonitor


class Measuring(Callback):
    """What `SignatureMonitor` measures with, apart from when.

    Attributes:
        history: One entry for each measurement: epoch, step, scalars by tag, indices by tag if there are any, `forms`
            (kind, positions, pooling, width and axis of each layer) and `images`, the number seen by all processes.
        before: Curves from before training by tag.
        reference: Figures of the untrained model by tag.
    """

    images: Any
    schedule: Schedule
    untrained: bool | nn.Module
    forward: Forward | None
    images_from_batch: FindImages | None
    prefix: str
    followed: FollowedWeights

    def __init__(self) -> None:
        super().__init__()
        self.history: list[dict[str, Any]] = []
        self.before: dict[str, list[float]] = {}
        self.reference: dict[str, float] = {}
        self._listening: Listening | None = None
        self._pending: Reading | None = None
        self._warned: set[str] = set()
        self._steps = 0

    def state_dict(self) -> dict[str, Any]:
        """What was measured so far, and the followed weights from before training; plain values and tensors."""
        kept = {"history": self.history, "before": self.before, "reference": self.reference}
        return kept | {"theta0": self.followed.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on after the measurements of a checkpoint."""
        self.history, self.before = list(state_dict["history"]), dict(state_dict["before"])
        self.reference = dict(state_dict["reference"])
        self.followed.load_state_dict(state_dict.get("theta0", {}))

    @abstractmethod
    def collector(self, trainer: Trainer, module: nn.Module, layers: Sequence[str], share: Share) -> Collector:
        """Make a collector for a module as it is now."""

    @abstractmethod
    def layers_of(self, module: Any) -> Sequence[str]:
        """The layers to measure."""

    def named(self, reading: Reading) -> Reading:
        """What is told of a reading: its figures under this monitor's tags.

        Args:
            reading: What a collector read.
        """
        return reading.prefixed(self.prefix)

    @property
    def forms(self) -> dict[str, str]:
        """In which form each layer was measured last, in words: `"768 features, mean over 50 tokens"`."""
        found = self.history[-1].get("forms", {}) if self.history else {}
        return {layer: LayerForm(**form).words for layer, form in found.items()}

    def _measured_at(self, trainer: Trainer) -> bool:
        return self._pending is not None or (bool(self.history) and self.history[-1]["step"] == trainer.global_step)

    def _measure_own(self, trainer: Trainer, module: LightningModule) -> None:
        """Measure own images inside a validation; the reading is published at its end."""
        if self.images != VALIDATION and self.schedule.in_validation(trainer) and not self._measured_at(trainer):
            peers = self._peers(trainer, lambda peer: peer.schedule.in_validation(trainer))
            readings = measure_with(peers, trainer, module, Images(trainer, self.images))
            for monitor, reading in zip(peers, readings, strict=True):
                monitor._pending = reading

    def _measure_with_peers(
        self, trainer: Trainer, module: LightningModule, due: Callable[["SignatureMonitor"], bool], *,
        starting: bool = False,
    ) -> None:  # fmt: skip
        """One pass for every monitor that is due for these very images now."""
        peers = self._peers(trainer, due)
        with averaged_weights(trainer, module):
            readings = measure_with(peers, trainer, module, Images(trainer, self.images))
        for monitor, reading in zip(peers, readings, strict=True):
            monitor._publish(trainer, reading, starting=starting)

    def _peers(self, trainer: Trainer, due: Callable[["SignatureMonitor"], bool]) -> list["SignatureMonitor"]:
        return [m for m in monitors_of(trainer) if same_pass(m, self) and due(m) and not m._measured_at(trainer)]

    def _measure_untrained(self, trainer: Trainer, module: Any) -> None:
        """One pass for every monitor that has the same control and images; before the first reading is published."""
        peers = [m for m in self._peers(trainer, lambda peer: not peer.history) if not m.reference]
        own = next((m.untrained for m in peers if m.untrained is not False), False)
        if own is False:
            return
        peers = [m for m in peers if m.untrained is own]
        for monitor, reading in zip(peers, measure_control(peers, own, trainer, module), strict=True):
            monitor.reference = {f"{tag}/untrained": value for tag, value in reading.scalars.items()}
        self._measure_untrained(trainer, module)  # peers with another control

    def _publish(self, trainer: Trainer, reading: Reading, *, starting: bool = False) -> None:
        with kept_random_state():
            follow_outliers_since(reading, self.history[-1].get("indices") if self.history else None)
        reading.scalars.update(self.reference)
        epoch = epoch_number(trainer, starting=starting)
        publish(trainer, reading, epoch, self.before)
        if not self.history and trainer.global_step == 0:
            self.before = dict(reading.curves)
        self.history.append(reading.entry(epoch, trainer.global_step))


def monitors_of(trainer: Trainer) -> list["SignatureMonitor"]:
    """The Trainer's signature monitors, in order."""
    return [callback for callback in getattr(trainer, "callbacks", []) if isinstance(callback, Measuring)]  # type: ignore[misc]

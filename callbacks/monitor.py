"""`SignatureMonitor`: when signatures are measured, on which layers and images, in anybody's training loop."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

from lightning_robust.callbacks.collector import Collector, Forward
from lightning_robust.callbacks.concepts import ConceptSignature
from lightning_robust.callbacks.kurtosis import KurtosisSignature
from lightning_robust.callbacks.publish import as_metrics, publish
from lightning_robust.callbacks.schedule import Schedule, validation_left_out
from lightning_robust.callbacks.settings import check_settings, check_tags
from lightning_robust.callbacks.shared_pass import measure_with, same_pass
from lightning_robust.callbacks.signature import Reading, Signature
from lightning_robust.callbacks.sources import VALIDATION, Images, epoch_number
from lightning_robust.callbacks.spectrum import SpectrumSignature
from lightning_robust.errors import UserError
from lightning_robust.models.modes import kept_random_state
from lightning_robust.signatures import every_hook_fires, leave_unchanged
from lightning_robust.signatures.pooling import Pool


class SignatureMonitor(Callback):
    """Measures signatures before training (epoch 0) and after every n epochs or steps, and changes nothing.

    With `images="validation"` it listens to validation loader 0, the reference, whose images are forwarded anyway: no
    extra pass but the one before training. With images of its own it makes one pass over them; monitors of one
    Trainer that look at the same images share their pass. Figures go to every logger at the global step and to
    `trainer.callback_metrics`, so that EarlyStopping and ModelCheckpoint can watch them. `history` keeps them all.

    Logged tags, `<layer>` as given in `layers`; what they mean, their unit and range:
        kurtosis: see `KurtosisMonitor`. spectrum: see `SpectrumMonitor`. concepts: see `ConceptMonitor`.
        `<tag>/untrained`: a figure of the untrained model, the same at every measurement: a reference line.

    Args:
        signatures: Any of `"kurtosis"`, `"spectrum"`, `"concepts"`.
        layers: Layers of the LightningModule, as `signatures.ActivationProbe` names them (`"fc:input"` is what the head
            reads). None asks the module for its `representation_layer`.
        images: `"validation"`, `"concepts"` (the data module's `concept_dataloader()`), or a loader.
        every_n_epochs: Measure after each n-th epoch, with its validation if it has one; 0 never.
        every_n_steps: Measure also after each n-th optimiser step, in a pass of its own; None never.
        head: Name of the linear head, for importance and singular vectors; None asks the module's `head_weight()`.
        weights: Parameters whose spectra are followed.
        pool: How tokens and maps become one vector for each image, `"mean"` or `"first"`.
        untrained: The control: True asks the module's `untrained_model()`, a module is taken as it is, False leaves it
            out. Its layers have the same names.
        forward: `forward(module, batch)` for batches that `module(batch[0])` does not fit; passes of its own only.
        categories: Category of each concept, for the permuted control; None asks the data module.
        seed: Of random rotation and permutation.
        prefix: Put before every tag, as `<prefix>/<tag>`: for a second monitor of the same layer on other images.

    Raises:
        UserError: For an unknown signature, a setting without effect, a layer, head or weight that the module does not
            have, tags that another monitor logs, or images that are not there; before training starts wherever it can
            be known.
    """

    def __init__(
        self,
        signatures: Sequence[str] = ("kurtosis", "spectrum"),
        layers: Sequence[str] | None = None,
        images: Any = VALIDATION,
        every_n_epochs: int = 1,
        every_n_steps: int | None = None,
        head: str | None = None,
        weights: Sequence[str] = (),
        pool: Pool = "mean",
        untrained: bool | nn.Module = False,
        forward: Forward | None = None,
        categories: Sequence[str] | None = None,
        seed: int = 0,
        prefix: str = "",
    ) -> None:
        super().__init__()
        self.signatures, self.layers, self.images = tuple(signatures), layers, images
        self.schedule = Schedule(every_n_epochs, every_n_steps)
        self.head, self.weights, self.pool, self.seed = head, tuple(weights), pool, seed
        self.untrained, self.forward, self.categories, self.prefix = untrained, forward, categories, prefix
        check_settings(self)
        #: One entry for each measurement: epoch, step, scalars by tag, and indices by tag if there are any.
        self.history: list[dict[str, Any]] = []
        #: Curves from before training by tag.
        self.before: dict[str, list[float]] = {}
        #: Figures of the untrained model by tag.
        self.reference: dict[str, float] = {}
        self._listening: tuple[Collector, ExitStack] | None = None

    @property
    def state_key(self) -> str:
        """Monitors of different things keep their states apart in one checkpoint."""
        images = self.images if isinstance(self.images, str) else "own"
        layers = None if self.layers is None else tuple(self.layers)
        return self._generate_state_key(
            signatures=self.signatures, layers=layers, images=images, head=self.head, weights=self.weights,
            prefix=self.prefix,
        )  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        """What was measured so far; plain values only."""
        return {"history": self.history, "before": self.before, "reference": self.reference}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on after the measurements of a checkpoint."""
        self.history, self.before = list(state_dict["history"]), dict(state_dict["before"])
        self.reference = dict(state_dict["reference"])

    def collector(self, trainer: Trainer, module: nn.Module, layers: Sequence[str], *, spread: bool) -> Collector:
        """Make a collector for a module as it is now.

        Args:
            trainer: The Trainer.
            module: What is measured.
            layers: Its layers.
            spread: Whether the images are spread over the processes.
        """
        datamodule = getattr(trainer, "datamodule", None)
        categories = self.categories or getattr(datamodule, "concept_categories", None)
        made: dict[str, Signature] = {
            "kurtosis": KurtosisSignature(),
            "spectrum": SpectrumSignature(self.head, self.weights),
            "concepts": ConceptSignature(self.head, categories, self.seed),
        }
        return Collector(module, [made[name] for name in self.signatures], layers, self.pool, spread)

    def layers_of(self, module: Any) -> Sequence[str]:
        """The layers to measure: those given, else the module's own `representation_layer`.

        Raises:
            UserError: If there is neither.
        """
        own = getattr(module, "representation_layer", None)
        if self.layers is None and own is None:
            names = [name for name, _ in module.named_children()]
            raise UserError(
                f"give the monitor layers=[…]: {type(module).__name__} names no representation_layer; it has {names}"
            )
        return list(self.layers) if self.layers is not None else [str(own)]

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget another run's figures; those of this one come with its checkpoint, if it goes on from one."""
        del pl_module
        if stage == "fit" and trainer.global_step == 0:
            self.history, self.before, self.reference = [], {}, {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure before training; where training goes on from a checkpoint, what Lightning leaves out."""
        with kept_random_state():  # names are checked before any step
            self.collector(trainer, pl_module, self.layers_of(pl_module), spread=False)
            check_tags(monitors_of(trainer), pl_module)
        if not self.history:
            self._measure_untrained(trainer, pl_module)
            self._measure_with_peers(trainer, pl_module, lambda peer: not peer.history, starting=True)
            return
        trainer.callback_metrics.update(as_metrics(self.history[-1]["scalars"]))
        epoch = validation_left_out(trainer)
        if epoch is not None and self.schedule.is_due(epoch) and not self._measured_at(trainer):
            self._measure_with_peers(trainer, pl_module, lambda peer: peer.schedule.is_due(epoch), starting=True)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to listen, if this validation is one to measure."""
        if self.images == VALIDATION and self.schedule.after_epoch(trainer) and not self._measured_at(trainer):
            with kept_random_state():
                layers = self.layers_of(pl_module)
                collector = self.collector(trainer, pl_module, layers, spread=self._spread(trainer))
            self._listening = (collector, ExitStack())

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Place the hooks for a batch of the reference."""
        del pl_module, batch_idx
        if self._listening is not None and dataloader_idx == 0:
            collector, stack = self._listening
            with kept_random_state():
                collector.begin(batch)
            if self is next(monitor for monitor in monitors_of(trainer) if monitor._listening is not None):
                # one alone switches: several would switch back in the order in which they switched
                stack.enter_context(every_hook_fires())
            stack.enter_context(collector.listening())

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Take the hooks away again."""
        del trainer, pl_module, outputs, batch, batch_idx
        if self._listening is not None and dataloader_idx == 0:
            with kept_random_state():
                self._listening[1].close()

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Publish what was heard, or make the pass over own images."""
        if self._listening is not None:
            collector, _ = self._listening
            self._listening = None
            with leave_unchanged(pl_module):
                reading = collector.read().prefixed(self.prefix)
            self._publish(trainer, reading)
        elif self.images != VALIDATION:
            self.on_train_epoch_end(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure every n steps, once for each step."""
        del outputs, batch, batch_idx
        if self.schedule.after_step(trainer) and not self._measured_at(trainer):
            self._measure_with_peers(trainer, pl_module, lambda peer: peer.schedule.after_step(trainer))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure own images after an epoch that has no validation."""
        if self.images != VALIDATION and self.schedule.after_epoch(trainer) and not self._measured_at(trainer):
            self._measure_with_peers(trainer, pl_module, lambda peer: peer.schedule.after_epoch(trainer))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave no hook behind when a run breaks off."""
        del trainer, pl_module
        if self._listening is not None:
            _, stack = self._listening
            self._listening = None
            stack.__exit__(type(exception), exception, exception.__traceback__)

    def _spread(self, trainer: Trainer) -> bool:
        """Whether each process sees its own share of the images; own images are seen whole by all."""
        return trainer.world_size > 1 and isinstance(self.images, str) and self.images == VALIDATION

    def _measured_at(self, trainer: Trainer) -> bool:
        return bool(self.history) and self.history[-1]["step"] == trainer.global_step

    def _measure_with_peers(
        self, trainer: Trainer, module: LightningModule, due: Callable[["SignatureMonitor"], bool], *,
        starting: bool = False,
    ) -> None:  # fmt: skip
        """One pass for every monitor that is due for these very images now."""
        peers = [m for m in monitors_of(trainer) if same_pass(m, self) and due(m) and not m._measured_at(trainer)]
        images = Images(trainer, self.images)
        readings = measure_with(peers, trainer, module, images, spread=self._spread(trainer))
        for monitor, reading in zip(peers, readings, strict=True):
            monitor._publish(trainer, reading, starting=starting)

    def _measure_untrained(self, trainer: Trainer, module: Any) -> None:
        """One pass for every monitor that has the same control and images; before the first reading is published."""
        peers = [m for m in monitors_of(trainer) if same_pass(m, self) and not m.history and not m.reference]
        own = next((m.untrained for m in peers if m.untrained is not False), False)
        peers = [m for m in peers if m.untrained is own]
        if own is False:
            return
        if own is True and not hasattr(module, "untrained_model"):
            raise UserError(
                f"untrained=True needs {type(module).__name__}.untrained_model(); or give the untrained module"
            )
        with leave_unchanged(module):
            control = own if isinstance(own, nn.Module) else module.untrained_model()
        control = trainer.precision_plugin.convert_module(control).to(trainer.strategy.root_device)
        images, layers = Images(trainer, self.images), [m.layers_of(module) for m in peers]
        readings = measure_with(peers, trainer, control, images, layers, spread=self._spread(trainer))
        for monitor, reading in zip(peers, readings, strict=True):
            monitor.reference = {f"{tag}/untrained": value for tag, value in reading.scalars.items()}
        self._measure_untrained(trainer, module)  # peers with another control

    def _publish(self, trainer: Trainer, reading: Reading, *, starting: bool = False) -> None:
        reading.scalars.update(self.reference)
        epoch = epoch_number(trainer, starting=starting)
        publish(trainer, reading, epoch, self.before)
        if not self.history and trainer.global_step == 0:
            self.before = dict(reading.curves)
        entry = {"epoch": epoch, "step": trainer.global_step, "scalars": dict(reading.scalars)}
        self.history.append(entry | ({"indices": dict(reading.indices)} if reading.indices else {}))


def monitors_of(trainer: Trainer) -> list[SignatureMonitor]:
    """The Trainer's signature monitors, in order."""
    return [callback for callback in getattr(trainer, "callbacks", []) if isinstance(callback, SignatureMonitor)]

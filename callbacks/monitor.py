"""`SignatureMonitor`: when signatures are measured, on which layers and images, in anybody's training loop."""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning_robust.callbacks.collector import Collector, Forward, run_pass
from lightning_robust.callbacks.concepts import ConceptSignature
from lightning_robust.callbacks.kurtosis import KurtosisSignature
from lightning_robust.callbacks.publish import publish
from lightning_robust.callbacks.signature import Reading, Signature
from lightning_robust.callbacks.sources import VALIDATION, epoch_number, images_of
from lightning_robust.callbacks.spectrum import SpectrumSignature
from torch import Tensor, nn

from lightning_robust.errors import UserError
from lightning_robust.signatures import every_hook_fires, leave_unchanged
from lightning_robust.signatures.pooling import Pool

KINDS = ("kurtosis", "spectrum", "concepts")


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
        every_n_epochs: Measure after each n-th epoch's validation; 0 never.
        every_n_steps: Measure also after each n-th optimiser step, in a pass of its own; None never.
        head: Name of the linear head, for importance and singular vectors; None asks the module's `head_weight()`.
        weights: Parameters whose spectra are followed.
        pool: How tokens and maps become one vector for each image, `"mean"` or `"first"`.
        untrained: The control: True asks the module's `untrained_model()`, a module is taken as it is, False leaves it
            out. Its layers have the same names.
        forward: `forward(module, batch)` for batches that `module(batch[0])` does not fit; passes of its own only.
        categories: Category of each concept, for the permuted control; None asks the data module.
        seed: Of random rotation and permutation.

    Raises:
        UserError: For an unknown signature, a layer, head or weight that the module does not have, or images that are
            not there; before training starts wherever it can be known.
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
    ) -> None:
        super().__init__()
        unknown = [name for name in signatures if name not in KINDS]
        if unknown or not signatures:
            raise UserError(f"signatures are any of {', '.join(KINDS)}; got {list(signatures)}")
        if every_n_epochs < 0 or (every_n_steps is not None and every_n_steps < 1):
            raise UserError(
                f"measure every n ≥ 1 epochs or steps, got {every_n_epochs} epochs and {every_n_steps} steps"
            )
        self.signatures, self.layers, self.images = tuple(signatures), layers, images
        self.every_n_epochs, self.every_n_steps = every_n_epochs, every_n_steps
        self.head, self.weights, self.pool, self.seed = head, tuple(weights), pool, seed
        self.untrained, self.forward, self.categories = untrained, forward, categories
        #: One entry for each measurement: epoch, step and scalars by tag.
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
        return self._generate_state_key(signatures=self.signatures, layers=layers, images=images)

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

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure before training, unless training goes on from a checkpoint."""
        self.collector(trainer, pl_module, self._layers(pl_module), spread=False)  # names are checked before any step
        if trainer.global_step == 0 and not self.history:
            if self.untrained is not False:
                self._measure_untrained(trainer, pl_module)
            self._measure_with_peers(trainer, pl_module)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to listen, if this validation is one to measure."""
        if self.images == VALIDATION and self._due(trainer):
            layers = self._layers(pl_module)
            collector = self.collector(trainer, pl_module, layers, spread=self._spread(trainer))
            self._listening = (collector, ExitStack())

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Place the hooks for a batch of the reference."""
        del trainer, pl_module, batch_idx
        if self._listening is not None and dataloader_idx == 0:
            collector, stack = self._listening
            second = batch[1] if isinstance(batch, tuple | list) and len(batch) > 1 else None
            collector.labels = second if isinstance(second, Tensor) else None
            stack.enter_context(every_hook_fires())
            stack.enter_context(collector.probe)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Take the hooks away again."""
        del trainer, pl_module, outputs, batch, batch_idx
        if self._listening is not None and dataloader_idx == 0:
            self._listening[1].close()

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Publish what was heard, or make the pass over own images."""
        if self._listening is not None:
            collector, _ = self._listening
            self._listening = None
            with leave_unchanged(pl_module):
                self._publish(trainer, collector.read())
        elif self.images != VALIDATION and self._due(trainer):
            self._measure_with_peers(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure every n steps, once for each step."""
        del outputs, batch, batch_idx
        n, step = self.every_n_steps, trainer.global_step
        if n is not None and step % n == 0 and not self._measured_at(step):
            self._measure_with_peers(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure own images after an epoch that has no validation."""
        due = self.every_n_epochs and (trainer.current_epoch + 1) % self.every_n_epochs == 0
        if self.images != VALIDATION and due and not self._measured_at(trainer.global_step):
            self._measure_with_peers(trainer, pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave no hook behind when a run breaks off."""
        del trainer, pl_module
        if self._listening is not None:
            _, stack = self._listening
            self._listening = None
            stack.__exit__(type(exception), exception, exception.__traceback__)

    def _due(self, trainer: Trainer) -> bool:
        if trainer.sanity_checking or trainer.state.fn != "fit" or self.every_n_epochs == 0:
            return False
        return (trainer.current_epoch + 1) % self.every_n_epochs == 0

    def _spread(self, trainer: Trainer) -> bool:
        """Whether each process sees its own share of the images; own images are seen whole by all."""
        return trainer.world_size > 1 and self.images == VALIDATION

    def _measured_at(self, step: int) -> bool:
        return bool(self.history) and self.history[-1]["step"] == step

    def _layers(self, module: Any) -> Sequence[str]:
        own = getattr(module, "representation_layer", None)
        layers = self.layers if self.layers is not None else (own,)
        if layers == (None,):
            names = [name for name, _ in module.named_children()]
            raise UserError(
                f"give the monitor layers=[…]: {type(module).__name__} names no representation_layer; it has {names}"
            )
        return [str(layer) for layer in layers]

    def _measure_with_peers(self, trainer: Trainer, module: LightningModule) -> None:
        """One pass for every monitor that is due for these very images now."""
        step = trainer.global_step
        peers = [m for m in monitors_of(trainer) if _same(m, self) and not m._measured_at(step)]
        spread = self._spread(trainer)
        readings = measure_with(peers, trainer, module, images_of(trainer, self.images), spread=spread)
        for monitor, reading in zip(peers, readings, strict=True):
            monitor._publish(trainer, reading)

    def _measure_untrained(self, trainer: Trainer, module: Any) -> None:
        if self.untrained is True and not hasattr(module, "untrained_model"):
            raise UserError(
                f"untrained=True needs {type(module).__name__}.untrained_model(); or give the untrained module"
            )
        with leave_unchanged(module):
            control = self.untrained if isinstance(self.untrained, nn.Module) else module.untrained_model()
        images, layers = images_of(trainer, self.images), self._layers(module)
        [reading] = measure_with([self], trainer, control, images, layers, spread=self._spread(trainer))
        self.reference = {f"{tag}/untrained": value for tag, value in reading.scalars.items()}

    def _publish(self, trainer: Trainer, reading: Reading) -> None:
        reading.scalars.update(self.reference)
        epoch = epoch_number(trainer)
        if not self.history:
            self.before = dict(reading.curves)
        self.history.append({"epoch": epoch, "step": trainer.global_step, "scalars": dict(reading.scalars)})
        publish(trainer, reading, epoch, self.before)


def monitors_of(trainer: Trainer) -> list[SignatureMonitor]:
    """The Trainer's signature monitors, in order."""
    return [callback for callback in getattr(trainer, "callbacks", []) if isinstance(callback, SignatureMonitor)]


def measure_with(
    monitors: Sequence[SignatureMonitor], trainer: Trainer, module: Any, images: Iterable[Any],
    layers: Sequence[str] | None = None, *, spread: bool = False,
) -> list[Reading]:  # fmt: skip
    """Measure a module as it is now for several monitors in one pass, without publishing anything.

    Args:
        monitors: What to measure, and where.
        trainer: The Trainer, for devices and precision.
        module: Any module that has the monitors' layers.
        images: Batches.
        layers: Layers, instead of the monitors' own.
        spread: Whether each process of a distributed run has its own share of the images.

    Returns:
        One reading for each monitor.
    """
    collectors = [m.collector(trainer, module, layers or m._layers(module), spread=spread) for m in monitors]
    with trainer.precision_plugin.forward_context():
        return run_pass(collectors, module, images, monitors[0].forward, trainer.strategy.batch_to_device)


def _same(one: SignatureMonitor, other: SignatureMonitor) -> bool:
    same_images = one.images is other.images or (isinstance(one.images, str) and one.images == other.images)
    return same_images and one.forward is other.forward

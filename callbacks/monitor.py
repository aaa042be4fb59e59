"""`SignatureMonitor`: when signatures are measured, on which layers and images, in anybody's training loop."""

from collections.abc import Sequence
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from torch import nn

from lightning_robust.callbacks.averaging import check_averaging_first
from lightning_robust.callbacks.collector import Collector, FindLabels
from lightning_robust.callbacks.concepts import ConceptSignature
from lightning_robust.callbacks.confidence import ConfidenceSignature
from lightning_robust.callbacks.kurtosis import KurtosisSignature
from lightning_robust.callbacks.listening import Listening
from lightning_robust.callbacks.measuring import Measuring, monitors_of
from lightning_robust.callbacks.passes import FindImages, Forward
from lightning_robust.callbacks.publish import as_metrics
from lightning_robust.callbacks.schedule import Schedule, validation_left_out
from lightning_robust.callbacks.settings import check_moments, check_settings, check_sharing, check_tags
from lightning_robust.callbacks.shared_pass import same_pass
from lightning_robust.callbacks.shares import Share
from lightning_robust.callbacks.signature import Signature
from lightning_robust.callbacks.sources import VALIDATION, Images
from lightning_robust.callbacks.spectrum import SpectrumSignature
from lightning_robust.callbacks.weights import FollowedWeights
from lightning_robust.errors import UserError, from_user
from lightning_robust.models.modes import kept_random_state
from lightning_robust.signatures import expand_layers, leave_unchanged
from lightning_robust.signatures.pooling import Pool

__all__ = ["SignatureMonitor", "monitors_of"]


class SignatureMonitor(Measuring):
    """Measures signatures before training (epoch 0) and after every n epochs or steps, and changes nothing.

    With `images="validation"` it listens to validation loader 0, the reference, whose images are forwarded anyway: no
    extra pass but the one before training. With images of its own it makes one pass over them; monitors of one
    Trainer that look at the same images share their pass. Figures go to every logger at the global step and to
    `trainer.callback_metrics`, so that EarlyStopping and ModelCheckpoint can watch them. `history` keeps them all.

    In a distributed run figures are those of all images together, each counted once: repeats of a padding sampler are
    left out. With Lightning's `WeightAveraging` the averaged weights are measured, as they are validated. Images with
    a NaN or infinite feature are left out, counted under `not_finite` and told of once.

    Logged tags, `<layer>` as given in `layers`; what they mean, their unit and range:
        kurtosis: see `KurtosisMonitor`. spectrum: see `SpectrumMonitor`. concepts: see `ConceptMonitor`.
        confidence: see `ConfidenceMonitor`.
        `<tag>/untrained`: a figure of the untrained model, the same at every measurement: a reference line.

    Args:
        signatures: Any of `"kurtosis"`, `"spectrum"`, `"concepts"`, `"confidence"`.
        layers: Layers of the LightningModule, as `signatures.ActivationProbe` names them (`"fc:input"` is what the head
            reads), wildcards included (`"visual.transformer.resblocks.*"`). None asks the module for its
            `representation_layer`.
        images: `"validation"`, `"concepts"` (the data module's `concept_dataloader()`), or a loader, which each process
            of a distributed run reads whole, unless its sampler is a distributed one.
        every_n_epochs: Measure after each n-th epoch, with its validation if it has one; 0 never. With `LogSteps` in
            the Trainer 1 is at each of its steps and at no others.
        every_n_steps: Measure also after each n-th optimiser step (of all optimisers together, as `global_step` counts
            them), in a pass of its own; None never.
        head: Name of the linear head, for importance, singular vectors and confidence; None asks the module's
            `head_weight()`.
        weights: Matrices whose spectra, and those of their change, are followed: names as `signatures.weight_matrices`
            gives them (`attn.in_proj_weight[q]`), wildcards, or `"all"`.
        pool: How tokens and maps become one vector for each image, `"mean"` or `"first"`; with `"tokens"` each token or
            position counts as an image of its own.
        untrained: The control: True asks the module's `untrained_model()` and calibrates its batch norms on these
            images, since random weights come without statistics (`models.calibrate_untrained`); a module is taken as
            it is, False leaves it out. Its layers have the same names.
        forward: `forward(module, batch)` for batches that `module(images)` does not fit; passes of its own only.
        images_from_batch: Finds the images of a batch, `(n, …)`; None is `signatures.batches.images_from_batch`, which
            knows tensors, tuples and mappings with the usual names.
        labels_from_batch: Finds a batch's concept labels, or for confidence its classes; None is
            `signatures.batches.labels_from_batch`.
        categories: Category of each concept, for the permuted control; None asks the data module.
        controls: Whether importance is measured for random heads, random rotations and the reduced-rank regression too.
        rotations: Random rotations in which concepts are counted, each a control of its own.
        seed: Of random rotations and permutation.
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
        images_from_batch: FindImages | None = None,
        labels_from_batch: FindLabels | None = None,
        categories: Sequence[str] | None = None,
        rotations: int = 1,
        controls: bool = False,
        seed: int = 0,
        prefix: str = "",
    ) -> None:
        super().__init__()
        self.signatures, self.layers, self.images = tuple(signatures), layers, images
        self.schedule = Schedule(every_n_epochs, every_n_steps)
        self.head, self.weights, self.pool, self.seed = head, tuple(weights), pool, seed
        self.followed = FollowedWeights(self.weights)
        self.untrained, self.forward, self.categories, self.prefix = untrained, forward, categories, prefix
        self.images_from_batch, self.labels_from_batch = images_from_batch, labels_from_batch
        self.rotations, self.controls = rotations, controls
        check_settings(self)

    @property
    def state_key(self) -> str:
        """Monitors of different things keep their states apart in one checkpoint."""
        images = self.images if isinstance(self.images, str) else "own"
        layers = None if self.layers is None else tuple(self.layers)
        return self._generate_state_key(
            signatures=self.signatures, layers=layers, images=images, head=self.head, weights=self.weights,
            prefix=self.prefix,
        )  # fmt: skip

    def collector(self, trainer: Trainer, module: nn.Module, layers: Sequence[str], share: Share) -> Collector:
        """Make a collector for a module as it is now.

        Args:
            trainer: The Trainer.
            module: What is measured.
            layers: Its layers.
            share: Which of the images are this process's own.
        """
        datamodule = getattr(trainer, "datamodule", None)
        categories = self.categories or getattr(datamodule, "concept_categories", None)
        made: dict[str, Signature] = {
            "kurtosis": KurtosisSignature(),
            "spectrum": SpectrumSignature(self.head, self.weights, self.followed, self.controls),
            "concepts": ConceptSignature(self.head, categories, self.seed, self.rotations),
            "confidence": ConfidenceSignature(self.head),
        }
        chosen = [made[name] for name in self.signatures]
        return Collector(
            module, chosen, layers, self.pool, share.spread, share=share, labels=self.labels_from_batch,
            warned=self._warned,
        )  # fmt: skip

    def layers_of(self, module: Any) -> Sequence[str]:
        """The layers to measure, wildcards replaced: those given, else the module's own `representation_layer`.

        Raises:
            UserError: If there is neither, or a wildcard matches nothing.
        """
        own = getattr(module, "representation_layer", None)
        if self.layers is None and own is None:
            names = [name for name, _ in module.named_children()]
            raise UserError(
                f"give the monitor layers=[…]: {type(module).__name__} names no representation_layer; it has {names}"
            )
        with from_user(ValueError):
            return expand_layers(module, self.layers if self.layers is not None else [str(own)])

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget another run's figures; those of this one come with its checkpoint, if it goes on from one."""
        del pl_module
        self._listening = self._pending = None
        if stage == "fit" and trainer.global_step == 0:
            self.history, self.before, self.reference = [], {}, {}
            self.followed.reset()

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the weights from before training: every monitor's, before any of them makes a pass for all.

        Here rather than at the start of training, which does not come where no step is left and only a path is judged.
        """
        check_moments(self, trainer)
        with kept_random_state():  # whatever a module does when it is looked at
            self.followed.begin(pl_module)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure before training; where training goes on from a checkpoint, what Lightning leaves out."""
        self._steps = trainer.global_step
        with kept_random_state():  # names are checked before any step
            self.collector(trainer, pl_module, self.layers_of(pl_module), Share())
            check_tags(monitors_of(trainer), pl_module)
            check_sharing(self, trainer, [m for m in monitors_of(trainer) if same_pass(m, self)])
        if self.schedule.every_n_steps is not None or not trainer.enable_validation:
            check_averaging_first(trainer, self, "it has to average a step before that is measured")
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
        if self.images == VALIDATION and self.schedule.in_validation(trainer) and not self._measured_at(trainer):
            with kept_random_state():
                share = Images(trainer, VALIDATION).share
                self._listening = Listening(self.collector(trainer, pl_module, self.layers_of(pl_module), share))

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Place the hooks for a batch of the reference; before the first, own images are measured.

        A callback that swaps other weights in for a validation has done so by now, and takes them out at its end.
        """
        monitors = monitors_of(trainer)
        if self is monitors[0]:  # before any hook is in place
            for monitor in monitors:
                monitor._measure_own(trainer, pl_module)
        if self._listening is not None and dataloader_idx == 0:
            others = [m._listening.collector.probe for m in monitors if m._listening is not None]
            first = self is next(m for m in monitors if m._listening is not None)
            switch = not any(probe.inside_fused for probe in others) if first else None
            self._listening.start(batch, self.images_from_batch, batch_idx, switch=switch)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Take the hooks away again."""
        del trainer, pl_module, outputs, batch, batch_idx
        if self._listening is not None and dataloader_idx == 0:
            self._listening.stop()

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Publish what was heard, or seen of own images."""
        if self._listening is not None:
            listening, self._listening = self._listening, None
            with leave_unchanged(pl_module):
                reading = self.named(listening.collector.read())
            self._publish(trainer, reading)
            return
        self._measure_own(trainer, pl_module)
        if self._pending is not None:
            pending, self._pending = self._pending, None
            self._publish(trainer, pending)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure every n steps, once for each step."""
        del outputs, batch, batch_idx
        if self.schedule.after_step(trainer, self._steps) and not self._measured_at(trainer):
            self._measure_with_peers(trainer, pl_module, lambda peer: peer.schedule.after_step(trainer, peer._steps))
        self._steps = trainer.global_step

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure own images after an epoch that has no validation."""
        if self.images != VALIDATION and self.schedule.after_epoch(trainer) and not self._measured_at(trainer):
            self._measure_with_peers(trainer, pl_module, lambda peer: peer.schedule.after_epoch(trainer))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave no hook behind when a run breaks off."""
        del trainer, pl_module
        listening, self._listening, self._pending = self._listening, None, None
        if listening is not None:
            listening.break_off(exception)

"""`SignatureTrainerCallback`: signatures while transformers' Trainer trains. Import it from this module.

`lightning_robust.callbacks` does not import it, since it needs transformers; the Trainer itself needs accelerate too.
"""

from collections.abc import Callable, Sequence
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Any, cast

from torch import Tensor, nn
from transformers import TrainerCallback

from lightning_robust.callbacks.collector import Collector
from lightning_robust.callbacks.concepts import ConceptSignature
from lightning_robust.callbacks.confidence import ConfidenceSignature
from lightning_robust.callbacks.kurtosis import KurtosisSignature, follow_outliers_since
from lightning_robust.callbacks.passes import run_pass
from lightning_robust.callbacks.schedule import Schedule
from lightning_robust.callbacks.settings import check_settings
from lightning_robust.callbacks.shares import share_of
from lightning_robust.callbacks.signature import Reading, Signature
from lightning_robust.callbacks.spectrum import SpectrumSignature
from lightning_robust.callbacks.transformers_tower import EMBEDDINGS, Head, ImageTower, image_features
from lightning_robust.callbacks.weights import FollowedWeights
from lightning_robust.errors import UserError
from lightning_robust.models.modes import kept_random_state
from lightning_robust.signatures.batches import batch_to
from lightning_robust.signatures.pooling import Pool

if TYPE_CHECKING:
    from transformers import Trainer, TrainerControl, TrainerState, TrainingArguments


class SignatureTrainerCallback(TrainerCallback):
    """Follows signatures while `transformers.Trainer` trains, CLIP or another model of images; changes nothing.

    ``trainer.add_callback(SignatureTrainerCallback(trainer, images=loader))`` before ``trainer.train()``. It measures
    before training, then after every n epochs, n steps or each evaluation, never twice at one step, each time in one
    pass over its images. Figures have the tags of the Lightning monitors (`KurtosisMonitor`, `SpectrumMonitor`,
    `ConceptMonitor` list them) and go through `Trainer.log`: into `state.log_history` and to every callback that
    reports. TensorBoard and W&B show them as all of the Trainer's figures, with `train/` in front. Every process of a
    distributed run measures all images (unless their sampler is a distributed one: figures are then those of all
    shares together), and reporting callbacks write on the first. Checkpoints keep `history` (in `trainer_state.json`)
    but not the weights from before training: a run that goes on measures no `weights/<name>/change_…`. Not for models
    in shards (FSDP, ZeRO-3), whose weights no process holds whole.

    Args:
        trainer: The Trainer that this is added to; a callback has no other way to log.
        images: Batches, read at every measurement: a loader of tensors, `(images, labels, …)` or mappings with
            `pixel_values`.
        layers: As `signatures.ActivationProbe` names them; `"forward"` is what `forward` gives. None takes the image
            embedding before it is normalised: `visual_projection` (CLIP) or `vision_model.head` (SigLIP).
        signatures: Any of `"kurtosis"`, `"spectrum"`, `"concepts"`, `"confidence"`.
        every_n_epochs: Measure after each n-th epoch; 0 never.
        every_n_steps: Measure also after each n-th optimiser step; None never.
        at_evaluations: Whether to measure also after each evaluation during training.
        head: The linear head, for importance and singular vectors: the name of a layer with a weight, a weight
            `(C, d)`, or a function of the model that gives one (zero-shot, from the text tower as it is then).
        weights: Matrices whose spectra, and those of their change, are followed; see `SignatureMonitor`.
        pool: How tokens and maps become one vector for each image.
        forward: `forward(model, batch)`; None calls `model.get_image_features(pixel_values=…)`, or
            `model(pixel_values=…)` where there is no such method.
        images_from_batch: Finds the images of a batch; None takes `signatures.batches.images_from_batch`.
        labels_from_batch: Finds its concept labels; likewise.
        categories: Category of each concept, for the permuted control.
        controls: Whether importance is also measured of its controls; see `SpectrumMonitor`.
        rotations: How many random rotations the concepts are counted in.
        seed: Of random rotation and permutation.
        prefix: Put before every tag, as `<prefix>/<tag>`: for a second callback on other images.

    Attributes:
        history: One entry for each measurement: epoch as the Trainer counts it, step, scalars by tag, and indices by
            tag if there are any.

    Raises:
        UserError: For an unknown signature, layer, head or weight, a setting without effect, or images that can be
            read once only; before training starts wherever it can be known.
    """

    def __init__(
        self,
        trainer: "Trainer",
        images: Any,
        layers: Sequence[str] | None = None,
        signatures: Sequence[str] = ("kurtosis", "spectrum"),
        every_n_epochs: int = 1,
        every_n_steps: int | None = None,
        at_evaluations: bool = False,
        head: Head | None = None,
        weights: Sequence[str] = (),
        pool: Pool = "mean",
        forward: Callable[[Any, Any], Any] | None = None,
        images_from_batch: Callable[[Any], Tensor] | None = None,
        labels_from_batch: Callable[[Any], Any] | None = None,
        categories: Sequence[str] | None = None,
        controls: bool = False,
        rotations: int = 1,
        seed: int = 0,
        prefix: str = "",
    ) -> None:
        self.trainer, self.images, self.layers, self.signatures = trainer, images, layers, tuple(signatures)
        self.schedule, self.at_evaluations = Schedule(every_n_epochs, every_n_steps), at_evaluations
        self.head, self.weights, self.pool, self.forward = head, tuple(weights), pool, forward
        self.images_from_batch, self.labels_from_batch = images_from_batch, labels_from_batch
        self.categories, self.controls, self.rotations = categories, controls, rotations
        self.seed, self.prefix = seed, prefix
        self.history: list[dict[str, Any]] = []
        self._followed, self._warned = FollowedWeights(self.weights), set[str]()
        self._tower: ImageTower | None = None
        check_settings(cast("Any", self))
        if isinstance(images, str):
            raise UserError(f"images is a loader or a list of batches here; got {images!r}")
        if isinstance(head, nn.Module):
            raise UserError(f"head is a name, a weight (C, d) or a function of the model; got a {type(head).__name__}")

    def on_train_begin(
        self, args: "TrainingArguments", state: "TrainerState", control: "TrainerControl", **kwargs: Any
    ) -> "TrainerControl":
        """Check names; measure before training, or take over what was measured until a checkpoint."""
        del args
        if state is not self.trainer.state:
            raise UserError("this callback was made for another Trainer: make one for each, with its trainer")
        self._check_tags()
        model = kwargs["model"]
        tower = ImageTower(model, self.forward or partial(image_features, find_images=self.images_from_batch))
        self._tower = tower
        tower.take_head(self.head)
        self._followed.reset()
        with kept_random_state():
            self._collector(tower)
        if state.global_step == 0:
            self.history = []
            self._followed.begin(tower)
            control = self._measure(state, control, model)
        else:
            found: Any = state.stateful_callbacks.get(self._key)
            self.history = list(found["attributes"]["history"]) if found else []
        # a part of the Trainer's state that it writes into each checkpoint; the list grows in place
        state.stateful_callbacks[self._key] = {"args": {}, "attributes": {"history": self.history}}
        return control

    def on_step_end(
        self, args: "TrainingArguments", state: "TrainerState", control: "TrainerControl", **kwargs: Any
    ) -> "TrainerControl":
        """Measure every n optimiser steps."""
        del args
        n = self.schedule.every_n_steps
        return self._measure(state, control, kwargs["model"]) if n and state.global_step % n == 0 else control

    def on_epoch_end(
        self, args: "TrainingArguments", state: "TrainerState", control: "TrainerControl", **kwargs: Any
    ) -> "TrainerControl":
        """Measure every n epochs; the last may be cut short by `max_steps`."""
        del args
        due = self.schedule.is_due(ceil(state.epoch))
        return self._measure(state, control, kwargs["model"]) if due else control

    def on_evaluate(
        self, args: "TrainingArguments", state: "TrainerState", control: "TrainerControl", **kwargs: Any
    ) -> "TrainerControl":
        """Measure after an evaluation, but not after one that is no part of training."""
        del args
        due = self.at_evaluations and self.trainer.is_in_train
        return self._measure(state, control, kwargs["model"]) if due else control

    @property
    def _key(self) -> str:
        """Tells callbacks on different things apart in one checkpoint; no class has such a name."""
        return "/".join(("signatures", self.prefix, *self.signatures, *(self.layers or ())))

    def _measure(self, state: "TrainerState", control: "TrainerControl", model: Any) -> "TrainerControl":
        """Measure, keep and log, unless that was done at this step."""
        tower = self._tower
        if tower is None or (self.history and self.history[-1]["step"] == state.global_step):
            return control
        tower.take_head(self.head)
        with kept_random_state():
            [reading] = run_pass(
                [self._collector(tower)],
                model,
                self.images,
                lambda _, batch: tower(batch),
                lambda batch: batch_to(batch, self.trainer.args.device),
                self.trainer.accelerator.autocast,
                self.images_from_batch,
            )
        self._check_head(reading)
        reading = reading.prefixed(self.prefix)
        follow_outliers_since(reading, self.history[-1].get("indices") if self.history else None)
        self.history.append(reading.entry(0, state.global_step) | {"epoch": float(state.epoch or 0)})
        due = control.should_log
        self.trainer.log(dict(reading.scalars))
        self.trainer.control.should_log = due  # logging takes the flag down, and this step's loss would be lost
        return self.trainer.control

    def _collector(self, tower: "ImageTower") -> Collector:
        head = self.head if isinstance(self.head, str) else None
        made: dict[str, Signature] = {
            "kurtosis": KurtosisSignature(),
            "spectrum": SpectrumSignature(head, self.weights, self._followed, self.controls),
            "concepts": ConceptSignature(head, self.categories, self.seed, self.rotations),
            "confidence": ConfidenceSignature(head),
        }
        layers = self.layers if self.layers is not None else [tower.embedding()]
        share = share_of(self.images, self.trainer.args.world_size, watched=False)
        return Collector(
            tower, [made[name] for name in self.signatures], layers, self.pool, share.spread, share=share,
            labels=self.labels_from_batch, warned=self._warned,
        )  # fmt: skip

    def _check_tags(self) -> None:
        """No two callbacks of one Trainer may log under the same tags."""
        others = [c for c in self.trainer.callback_handler.callbacks if isinstance(c, SignatureTrainerCallback)]
        for other in others:
            layers = set(self.layers or EMBEDDINGS) & set(other.layers or EMBEDDINGS)
            kinds = set(self.signatures) & set(other.signatures)
            if other is not self and other.prefix == self.prefix and layers and kinds:
                raise UserError(f"two callbacks log {min(kinds)} of {min(layers)!r}: give one of them a prefix=")

    def _check_head(self, reading: Reading) -> None:
        """A head given by name is checked where it is used."""
        used = any(
            tag.startswith(("importance/", "confidence/")) or "/singular_vectors/" in tag for tag in reading.scalars
        )
        if self.head is not None and not isinstance(self.head, str) and not used:
            raise UserError("no layer is as wide as what the head reads: add the layer that it reads to layers=")

"""`EffectiveRobustness`: after each validation, accuracy on the shifts beyond what a standard model would have."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_warn

from lightning_robust.callbacks.accuracy_tags import AccuracyTags, count_images, find_tags
from lightning_robust.callbacks.baseline_shifts import REFERENCE, open_baseline
from lightning_robust.callbacks.logged_accuracies import check_same_on_all, logged_accuracies
from lightning_robust.callbacks.publish import as_metrics, publish
from lightning_robust.callbacks.robustness_scalars import measured_scalars
from lightning_robust.callbacks.schedule import is_whole_check
from lightning_robust.callbacks.signature import Reading
from lightning_robust.callbacks.sources import epoch_number
from lightning_robust.errors import UserError
from lightning_robust.models.modes import kept_random_state
from lightning_robust.robustness import Baseline


class EffectiveRobustness(Callback):
    """Follows effective robustness (METHODS 1): accuracy on a shift minus what standard models reach at this reference.

    It reads the accuracies that the module logs at each validation, so it costs no forward pass, and fits any module.
    Where the sanity check covers the whole validation (`num_sanity_val_steps=-1`) there are figures of epoch 0 too.
    The reference accuracy is that on the module's validation images; those of `ImageNetDataModule` are held out of the
    training images, while the models of `"imagenet"` were judged on the official validation set: the two differ, and
    `WiseFT` judges on the official one. Figures go to every logger at the global step and to
    `trainer.callback_metrics`, and `history` keeps them all; a validation that Lightning leaves out on resuming has
    none, as it has no accuracies. Put it before a `CurveRecorder`. These figures are for looking at: a choice (of an
    epoch, of α, of when to stop) made by them is made on the shifts, which METHODS 6 rules out; choose by reference
    accuracy.

    Logged tags, fractions as accuracies are (0.01 is one point); NaN where an accuracy is NaN:
        `er/<shift>`: accuracy on the shift minus the baseline's, in [−1, 1].
        `er/<shift>/low`: lower end of its 95 % interval of line and sampling error.
        `er/<shift>/high`: upper end.
        `er/mean`: their mean, or for a baseline with `aggregate="accuracy"` the same of the mean accuracy.
        `er/mean/low`: lower end of its interval of line and sampling error.
        `er/mean/high`: upper end.
        `er/mean/prediction_low`: lower end of the interval that also has the scatter of standard models about their
            line: the model is robust beyond a standard one where this is above 0.
        `er/mean/prediction_high`: upper end.
        `er/extrapolated`: 1 where the reference accuracy lies outside the range of the baseline's models, else 0.

    Args:
        baseline: The standard models: `"scenes"`, `"imagenet"`, the path of a baseline's JSON (`fit-baseline` writes
            one), or a `robustness.Baseline`.
        reference: Tag of the reference accuracy; None takes `val/<first loader>/accuracy`, by the data module's
            `val_loader_names`. For a baseline with `x="matched"` a mapping, with the tag of the reference accuracy on
            its classes for each shift that does not cover all.
        shifts: Tag of the accuracy by shift; None takes `val/<shift>/accuracy` for the shifts that data and baseline
            both have.
        images: Number of images by shift, `"reference"` and (for `x="matched"`) `"matched/<shift>"`; what is not given
            is read off the validation loaders.
        replicates: Bootstrap replicates of the intervals; 0 logs none.
        seed: Of the bootstrap, which has a random generator of its own.
        prefix: Put before every tag, as `<prefix>/er/…`: for a second one with another baseline.

    Raises:
        UserError: For an unknown baseline, a shift that it lacks, a tag that the module does not log, an accuracy that
            is no fraction or differs between processes, or images that cannot be counted; before training starts
            wherever it can be known, else at the first validation.
    """

    def __init__(
        self,
        baseline: str | Path | Baseline = "scenes",
        reference: str | Mapping[str, str] | None = None,
        shifts: Mapping[str, str] | None = None,
        images: Mapping[str, int] | None = None,
        replicates: int = 2000,
        seed: int = 0,
        prefix: str = "",
    ) -> None:
        super().__init__()
        self.baseline = open_baseline(baseline)
        self.reference, self.shifts, self.images = reference, shifts, dict(images or {})
        self.replicates, self.seed, self.prefix = replicates, seed, prefix
        if replicates < 0 or seed < 0:
            raise UserError(f"replicates and seed are 0 or more, got {replicates} and {seed}")
        if small := [name for name, count in self.images.items() if count < 1]:
            raise UserError(
                f"images counts at least one image for each name, got {self.images[small[0]]} for {small[0]!r}"
            )
        #: One entry for each validation: epoch, step and scalars by tag.
        self.history: list[dict[str, Any]] = []
        self._tags: AccuracyTags | None = None
        self._counts: dict[str, int] | None = None
        self._before: dict[str, float] | None = None
        self._warned = False

    @property
    def state_key(self) -> str:
        """Two with different baselines keep their states apart in one checkpoint."""
        return self._generate_state_key(baseline=self.baseline.name, prefix=self.prefix)

    def state_dict(self) -> dict[str, Any]:
        """What was measured so far; plain values."""
        return {"history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on after the measurements of a checkpoint."""
        self.history = list(state_dict["history"])

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget another run's figures; those of this one come with its checkpoint, if it goes on from one."""
        del pl_module
        if stage == "fit" and trainer.global_step == 0:
            self.history, self._warned = [], False
        self._tags, self._counts, self._before = None, None, None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse now what cannot work."""
        if not trainer.enable_validation:
            raise UserError(
                f"EffectiveRobustness reads the accuracies of validations, and this Trainer runs none of "
                f"{type(pl_module).__name__}: give it validation loaders, or leave the callback out"
            )
        others = [c for c in _callbacks(trainer) if isinstance(c, EffectiveRobustness) and c is not self]
        if any(other.prefix == self.prefix for other in others):
            raise UserError("two EffectiveRobustness callbacks log the same tags: give one of them a prefix=")
        with kept_random_state():
            self._tags = find_tags(trainer, self.baseline, self.reference, self.shifts)
        if unknown := [name for name in self.images if name not in self._tags.counted]:
            raise UserError(f"images= has no use for {unknown[0]!r}: it counts {', '.join(self._tags.counted)}")
        self._warn_of_choices(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Send out the figures from before training; on resuming, have the last ones there to be watched."""
        del pl_module
        if self._before is not None and trainer.global_step == 0:
            self._publish(trainer, self._before, starting=True)
        elif self.history:
            trainer.callback_metrics.update(as_metrics(self.history[-1]["scalars"]))
        self._before = None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure, once the module has logged its accuracies; a part of a sanity check only shows whether it does."""
        del pl_module
        if trainer.state.fn != "fit" or self._tags is None:
            return
        if self.history and not trainer.sanity_checking and self.history[-1]["step"] == trainer.global_step > 0:
            return
        figures = logged_accuracies(trainer, self._tags)
        if figures is None:
            return
        if self._counts is None:
            self._counts = count_images(trainer, self._tags, self.images)
        if not trainer.sanity_checking:
            check_same_on_all(trainer, figures)
            self._publish(trainer, self._measure(figures, self._tags, self._counts))
        elif is_whole_check(trainer):
            check_same_on_all(trainer, figures)
            self._before = self._measure(figures, self._tags, self._counts)

    def _measure(self, figures: Mapping[str, float], tags: AccuracyTags, counts: Mapping[str, int]) -> dict[str, float]:
        """Effective robustness of these accuracies under its tags."""
        reference = {REFERENCE: figures[tags.reference]} | {s: figures[tag] for s, tag in tags.matched.items()}
        shifted = {name: figures[tag] for name, tag in tags.shifts.items()}
        with kept_random_state():  # whatever checks types may draw
            scalars = measured_scalars(
                self.baseline, reference, shifted, counts, replicates=self.replicates, seed=self.seed
            )
        if scalars["er/extrapolated"] == 1.0 and not self._warned:
            self._warned = True
            low, high = self.baseline.reference_range
            rank_zero_warn(
                f"effective robustness is an extrapolation (er/extrapolated is 1): the reference accuracy of "
                f"{reference[REFERENCE]:.3f} lies outside the {len(self.baseline.models)} models of the baseline "
                f"{self.baseline.name!r}, {low:.3f} to {high:.3f}"
            )
        start = f"{self.prefix}/" if self.prefix else ""
        return {f"{start}{tag}": value for tag, value in scalars.items()}

    def _publish(self, trainer: Trainer, scalars: dict[str, float], *, starting: bool = False) -> None:
        reading, epoch = Reading(scalars), epoch_number(trainer, starting=starting)
        publish(trainer, reading, epoch, {})
        self.history.append(reading.entry(epoch, trainer.global_step))

    def _warn_of_choices(self, trainer: Trainer) -> None:
        start = f"{self.prefix}/er/" if self.prefix else "er/"
        for callback in _callbacks(trainer):
            watched = callback.monitor if isinstance(callback, EarlyStopping | ModelCheckpoint) else None
            if watched is not None and watched.startswith(start):
                rank_zero_warn(
                    f"{type(callback).__name__} chooses by {watched!r}, measured on the shifts: a model chosen so "
                    "is chosen after looking; watch a reference accuracy instead"
                )


def _callbacks(trainer: Trainer) -> list[Callback]:
    return list(getattr(trainer, "callbacks", []))

"""`WiseFT`: keep the weights from before finetuning, and at the end write and judge the path to those after it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn

from lightning_robust.callbacks.alpha_path import ALPHAS, AlphaPath, judge_path, normalised_alphas
from lightning_robust.callbacks.averaging import check_averaging_first
from lightning_robust.callbacks.baseline_shifts import open_baseline
from lightning_robust.callbacks.first_weights import check_whole_weights, weights_of_first, why_alone
from lightning_robust.callbacks.parts import parts_of
from lightning_robust.callbacks.path_answers import Correct, Rules, SetAnswers, answer_path
from lightning_robust.callbacks.path_robustness import check_path, matched_correct, path_robustness, path_rules
from lightning_robust.callbacks.path_scalars import log_path
from lightning_robust.callbacks.path_signatures import measure_path
from lightning_robust.callbacks.sources import VALIDATION, Images, first_validation_loader
from lightning_robust.callbacks.tests_of import named_test_loaders
from lightning_robust.callbacks.together import Together
from lightning_robust.errors import UserError
from lightning_robust.models import ImageClassifier, interpolate, save_tensors
from lightning_robust.models.evaluate import Predict
from lightning_robust.models.evaluate_rules import AnswerRule
from lightning_robust.models.modes import kept_random_state
from lightning_robust.results.effective_robustness import EffectiveRobustness
from lightning_robust.robustness import Baseline


class WiseFT(Callback):
    """Interpolates between the weights before and after finetuning: θ_α = (1 − α) θ0 + α θ1 (arXiv 2109.01903).

    θ0 is kept in the callback's own part of each checkpoint (tensors and builtins only). At the end of training one
    checkpoint for each α is written atomically: for a CLIP classifier `alpha=0.50.safetensors` under open_clip's keys,
    which loads strictly in plain open_clip, and `alpha=0.50.head.safetensors` beside it; for another module its whole
    state in one file. Every α is then evaluated in one pass over the validation images of the reference (for choices)
    and the test images of reference and shifts (for tables), and every `SignatureMonitor` of the Trainer measures it.
    `path` holds the outcome; outlier features persist, appear and vanish on it against α = 0. A shift that covers a
    part of the classes, as the data module's record of it says, is judged over these. Lightning's `WeightAveraging`
    belongs before it: θ1 is averaged then.

    Under several processes (DDP) each evaluates and measures the first one's weights on its share of the batches, no
    image twice; answers are those of one process, in its order. The first writes, and `path` is None on the others. An
    error on one is raised on all. The first process alone evaluates, with a warning, while the others wait as long as
    it takes: everything under DeepSpeed, or where a buffer differs in size between the processes;
    and single sets of images that cannot be shared (an IterableDataset, no torch `DataLoader`, or one whose subclass
    iterates in a way of its own).

    Args:
        alphas: Positions on the path, each in [0, 1]; 0, 0.5 and 1 are always among them.
        module: Name of the submodule whose weights are interpolated, `""` for the whole LightningModule.
        folder: Where checkpoints go; None is `wise_ft` below the Trainer's `default_root_dir`.
        evaluate: Whether to evaluate the path; False only writes the checkpoints.
        tests: Test loaders by name, the reference first; None takes the data module's `test_dataloader()`.
        predict: `predict(module, batch)` gives predicted and true classes, each `(n,)`, of this batch alone; None takes
            the largest of `module(batch[0])` and `batch[1]`.
        replicates: Bootstrap replicates of the intervals.
        seed: Seed of the bootstrap.
        baseline: Standard models, against which effective robustness of every α is computed on the test images: as
            `EffectiveRobustness` takes it; None leaves it out.

    Logged to TensorBoard, with α in percent as the step (finer where α's have more decimals):
        `wise_ft/val/reference/accuracy`: on the reference's validation images, by which α* is chosen.
        `wise_ft/test/<loader>/accuracy`: on the test images of the reference and of each shift.
        `wise_ft/test/shifts/accuracy`: the mean over the shifts.
        `wise_ft/er/<shift>`: effective robustness, as `EffectiveRobustness` logs it, with all its tags.
        `wise_ft/<tag>`: every figure of every monitor.

    Raises:
        UserError: For an α outside [0, 1], an unknown submodule, nothing to evaluate on, an unknown baseline or one
            that shares no shift with the test images, or a strategy under which a process has a part of the weights;
            before training starts.
    """

    def __init__(
        self,
        alphas: Sequence[float] = ALPHAS,
        module: str = "model",
        folder: str | Path | None = None,
        evaluate: bool = True,
        tests: Mapping[str, Iterable[Any]] | None = None,
        predict: Predict | None = None,
        replicates: int = 2000,
        seed: int = 0,
        baseline: str | Path | Baseline | None = None,
    ) -> None:
        super().__init__()
        self.alphas = normalised_alphas(alphas)
        self.module, self.folder, self.evaluate = module, folder, evaluate
        self.tests, self.predict, self.replicates, self.seed = tests, predict, replicates, seed
        self.baseline = None if baseline is None else open_baseline(baseline)
        if self.baseline is not None and not evaluate:
            raise UserError("baseline= has no effect with evaluate=False: leave one of them out")
        #: θ0, on the CPU.
        self.theta0: dict[str, Tensor] | None = None
        #: The judged path, once training has ended.
        self.path: AlphaPath | None = None
        #: The files written, by α.
        self.files: dict[float, list[Path]] = {}
        self._ended = False
        self._together: Together | None = None

    def state_dict(self) -> dict[str, Any]:
        """θ0."""
        return {"theta0": self.theta0}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take θ0 from the checkpoint of the run that goes on."""
        self.theta0 = state_dict["theta0"]

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget another run's weights; those of this one come with its checkpoint, if it goes on from one."""
        del pl_module
        if stage == "fit" and trainer.global_step == 0:
            self.theta0, self.path, self.files = None, None, {}
        self._ended = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep θ0, unless it came with a checkpoint; refuse now what could not be done at the end."""
        module = self._interpolated(pl_module)
        check_whole_weights(trainer)
        check_averaging_first(trainer, self, "it puts the averaged weights in at the end of training")
        if self.theta0 is None:
            if trainer.ckpt_path is not None:
                raise UserError(
                    f"{trainer.ckpt_path} was written without WiseFT, so the weights from before are unknown"
                )
            self.theta0 = _copied(module)
        if self.evaluate:
            with kept_random_state():
                self._check_tests(trainer)
        self._together = Together(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse now to choose on validation images that are not there."""
        del pl_module
        if self.evaluate:
            first_validation_loader(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the checkpoints and judge the path; the module keeps its finetuned weights."""
        if self.theta0 is None:
            raise UserError("WiseFT has no weights from before training; use it through Trainer.fit")
        self._ended = True
        together, self._together = self._together or Together(), None
        with kept_random_state():
            together.each(lambda: self._write_all(trainer, pl_module) if trainer.is_global_zero else None)
            if self.evaluate:
                self._judge_all(trainer, pl_module, together)
        together.meet()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make up for what a run that was broken off after its last step has not written: here no step is left."""
        if not self._ended:
            pl_module.to(trainer.strategy.root_device)
            self.on_train_end(trainer, pl_module)

    def _write_all(self, trainer: Trainer, pl_module: LightningModule) -> None:
        module = self._interpolated(pl_module)
        theta1 = _copied(module)
        folder = Path(self.folder) if self.folder is not None else Path(trainer.default_root_dir) / "wise_ft"
        folder.mkdir(parents=True, exist_ok=True)
        for alpha in self.alphas:
            theta = interpolate(self.theta0 or {}, theta1, alpha)
            self.files[alpha] = self._write(folder, alpha, theta, module)

    def _judge_all(self, trainer: Trainer, pl_module: LightningModule, together: Together) -> None:
        """Judge the path on all processes; where they cannot share it, on the first while the others wait."""
        why = why_alone(trainer, pl_module, self.theta0 or {}, together)
        if why is not None:
            rank_zero_warn(f"the first process alone judges the Wise-FT path, while the others wait: {why}")
            first = trainer.is_global_zero
            together.each(lambda: self._judge(trainer, pl_module, self.theta0 or {}, Together()) if first else None)
            return
        together.draw_alike()
        with weights_of_first(pl_module, self.theta0 or {}, together) as theta0:
            self._judge(trainer, pl_module, theta0, together)

    def _interpolated(self, pl_module: LightningModule) -> nn.Module:
        try:
            return pl_module.get_submodule(self.module)
        except AttributeError as error:
            names = ", ".join(repr(name) for name, _ in pl_module.named_children())
            raise UserError(
                f"{type(pl_module).__name__} has no submodule {self.module!r} to interpolate: give module=, one of "
                f"{names}, or '' for the whole"
            ) from error

    def _write(self, folder: Path, alpha: float, theta: dict[str, Tensor], module: nn.Module) -> list[Path]:
        # one entry only: safetensors writes several in an order drawn anew each time, and files would differ
        stem, metadata = f"alpha={alpha:.{_decimals(self.alphas)}f}", {"format": "pt"}
        if not isinstance(module, ImageClassifier):
            save_tensors(folder / f"{stem}.safetensors", theta, metadata)
            return [folder / f"{stem}.safetensors"]
        clip, head = module.split_state(theta)
        save_tensors(folder / f"{stem}.safetensors", clip, metadata)
        save_tensors(folder / f"{stem}.head.safetensors", head, metadata)
        return [folder / f"{stem}.safetensors", folder / f"{stem}.head.safetensors"]

    def _judge(
        self, trainer: Trainer, pl_module: LightningModule, theta0: Mapping[str, Tensor], together: Together
    ) -> None:
        module, tests = self._interpolated(pl_module), dict[str, Iterable[Any]]()
        theta1 = _copied(module)
        together.each(lambda: tests.update(named_test_loaders(trainer, self.tests)))
        reference = next(iter(tests))
        validation = f"{reference} (validation)"
        loaders = parts_of({validation: Images(trainer, VALIDATION, whole=True), **tests}, together)
        rules = path_rules(self.baseline, list(tests), self._records(trainer))
        all_rules = {validation: {"": AnswerRule()}, **rules}
        found = answer_path(trainer, module, theta0, theta1, self.alphas, loaders, all_rules, self.predict, together)
        signatures = measure_path(trainer, pl_module, module, theta0, theta1, self.alphas, loaders[reference], together)

        def finish() -> None:
            self.path = self._path(rules, found.pop(validation), found, signatures)
            log_path(trainer, self.path.rows, _decimals(self.alphas))

        together.each(lambda: finish() if trainer.is_global_zero else None)

    def _path(
        self, rules: Mapping[str, Rules], validation: SetAnswers, found: Mapping[str, SetAnswers],
        signatures: Sequence[Mapping[str, float]],
    ) -> AlphaPath:  # fmt: skip
        by_rule = {name: answers.correct for name, answers in found.items()}
        correct = {name: rights[""] for name, rights in by_rule.items()}
        robustness: list[EffectiveRobustness] = []
        matched: dict[str, Correct] = {}
        if self.baseline is not None:
            matched = matched_correct(self.baseline, rules, by_rule)
            robustness = path_robustness(self.baseline, correct, matched, replicates=self.replicates, seed=self.seed)
        path = judge_path(
            self.alphas, validation.correct[""], correct, signatures, robustness, matched,
            replicates=self.replicates, seed=self.seed,
        )  # fmt: skip
        answered = dict(zip(path.images, (validation, *found.values()), strict=True))
        return replace(path, unreadable={name: each.unreadable for name, each in answered.items() if each.unreadable})

    def _check_tests(self, trainer: Trainer) -> None:
        names, records = list(named_test_loaders(trainer, self.tests)), self._records(trainer)
        path_rules(None, names, records)
        if self.baseline is not None:
            check_path(self.baseline, names, records, predict=self.predict is not None)

    def _records(self, trainer: Trainer) -> Any:
        """Who says which classes a shift covers: the data module, of its own loaders."""
        return getattr(trainer, "datamodule", None) if self.tests is None and self.predict is None else None


def _decimals(alphas: Sequence[float]) -> int:
    """Decimals that tell all α's apart in file names, at least two."""
    return next(n for n in range(2, 17) if len({f"{a:.{n}f}" for a in alphas}) == len(alphas))


def _copied(module: nn.Module) -> dict[str, Tensor]:
    """A module's state, on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}

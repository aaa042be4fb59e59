"""`WiseFT`: keep the weights from before finetuning, and at the end write and judge the path to those after it."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from lightning_robust.callbacks.alpha_path import ALPHAS, AlphaPath, judge_path, normalised_alphas
from lightning_robust.callbacks.averaging import check_averaging_first
from lightning_robust.callbacks.kurtosis import follow_outliers_since
from lightning_robust.callbacks.monitor import SignatureMonitor, monitors_of
from lightning_robust.callbacks.shared_pass import as_validation, batch_preparation, measure_with, same_pass
from lightning_robust.callbacks.sources import VALIDATION, Images, first_validation_loader
from lightning_robust.callbacks.tests_of import named_test_loaders
from lightning_robust.errors import UserError
from lightning_robust.models import ImageClassifier, interpolate, save_tensors, split_classifier_state
from lightning_robust.models.evaluate import Predict, evaluate_path, predict_largest
from lightning_robust.models.interpolate import interpolate_into
from lightning_robust.models.modes import kept_random_state


class WiseFT(Callback):
    """Interpolates between the weights before and after finetuning: θ_α = (1 − α) θ0 + α θ1 (arXiv 2109.01903).

    θ0 is kept in the callback's own part of each checkpoint (tensors and builtins only). At the end of training one
    checkpoint for each α is written atomically: for a CLIP classifier `alpha=0.50.safetensors` under open_clip's keys,
    which loads strictly in plain open_clip, and `alpha=0.50.head.safetensors` beside it; for another module its whole
    state in one file. Every α is then evaluated in one pass over the validation images of the reference (for choices)
    and the test images of reference and shifts (for tables), and every `SignatureMonitor` of the Trainer measures it.
    `path` holds the outcome; outlier features persist, appear and vanish on it against α = 0. Under several processes
    the first evaluates while the others wait. Lightning's `WeightAveraging` belongs before it: θ1 is averaged then.

    Args:
        alphas: Positions on the path, each in [0, 1]; 0, 0.5 and 1 are always among them.
        module: Name of the submodule whose weights are interpolated, `""` for the whole LightningModule.
        folder: Where checkpoints go; None is `wise_ft` below the Trainer's `default_root_dir`.
        evaluate: Whether to evaluate the path; False only writes the checkpoints.
        tests: Test loaders by name, the reference first; None takes the data module's `test_dataloader()`.
        predict: `predict(module, batch)` gives predicted and true classes, each `(n,)`; None takes the largest of
            `module(batch[0])` and `batch[1]`.
        replicates: Bootstrap replicates of the intervals.
        seed: Seed of the bootstrap.

    Raises:
        UserError: For an α outside [0, 1], an unknown submodule, or nothing to evaluate on; before training starts.
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
    ) -> None:
        super().__init__()
        self.alphas = normalised_alphas(alphas)
        self.module, self.folder, self.evaluate = module, folder, evaluate
        self.tests, self.predict, self.replicates, self.seed = tests, predict, replicates, seed
        #: θ0, on the CPU.
        self.theta0: dict[str, Tensor] | None = None
        #: The judged path, once training has ended.
        self.path: AlphaPath | None = None
        #: The files written, by α.
        self.files: dict[float, list[Path]] = {}
        self._ended = False

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
        check_averaging_first(trainer, self, "it puts the averaged weights in at the end of training")
        if self.theta0 is None:
            if trainer.ckpt_path is not None:
                raise UserError(
                    f"{trainer.ckpt_path} was written without WiseFT, so the weights from before are unknown"
                )
            self.theta0 = {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}
        if self.evaluate:
            named_test_loaders(trainer, self.tests)

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
        module = self._interpolated(pl_module)
        theta1 = {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}
        if trainer.is_global_zero:
            with kept_random_state():
                self._write_and_judge(trainer, pl_module, module, theta1)
        trainer.strategy.barrier("wise_ft")

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make up for what a run that was broken off after its last step has not written: here no step is left."""
        if not self._ended:
            pl_module.to(trainer.strategy.root_device)
            self.on_train_end(trainer, pl_module)

    def _write_and_judge(
        self, trainer: Trainer, pl_module: LightningModule, module: nn.Module, theta1: dict[str, Tensor]
    ) -> None:
        folder = Path(self.folder) if self.folder is not None else Path(trainer.default_root_dir) / "wise_ft"
        folder.mkdir(parents=True, exist_ok=True)
        for alpha in self.alphas:
            theta = interpolate(self.theta0 or {}, theta1, alpha)
            self.files[alpha] = self._write(folder, alpha, theta, module)
        if self.evaluate:
            self.path = self._judge(trainer, pl_module, module, theta1)

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
        clip, head = split_classifier_state(theta)
        save_tensors(folder / f"{stem}.safetensors", clip, metadata)
        save_tensors(folder / f"{stem}.head.safetensors", head, metadata)
        return [folder / f"{stem}.safetensors", folder / f"{stem}.head.safetensors"]

    def _judge(
        self, trainer: Trainer, pl_module: LightningModule, module: nn.Module, theta1: dict[str, Tensor]
    ) -> AlphaPath:
        theta0 = self.theta0 or {}
        tests = named_test_loaders(trainer, self.tests)
        loaders = {"": Images(trainer, VALIDATION, whole=True), **tests}
        predict, prepare = self.predict or predict_largest, batch_preparation(trainer)

        def run(model: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
            with trainer.precision_plugin.forward_context():
                return predict(model, batch)

        with as_validation(trainer):
            found = evaluate_path(module, theta0, theta1, self.alphas, loaders, predict=run, to_device=prepare)
        validation = found.pop("")
        signatures = self._measure_path(trainer, pl_module, module, theta1, next(iter(tests.values())))
        correct = {name: predictions.correct.numpy() for name, predictions in found.items()}
        return judge_path(
            self.alphas, validation.correct.numpy(), correct, signatures, replicates=self.replicates, seed=self.seed
        )

    def _measure_path(
        self, trainer: Trainer, pl_module: LightningModule, module: nn.Module, theta1: dict[str, Tensor], reference: Any
    ) -> list[dict[str, float]]:
        """Every monitor's figures at every α; those that watch the validation images look at test images here."""
        groups: list[list[SignatureMonitor]] = []
        for monitor in monitors_of(trainer):
            group = next((group for group in groups if same_pass(group[0], monitor)), None)
            if group is None:
                groups.append([monitor])
            else:
                group.append(monitor)
        state, theta0 = module.state_dict(), self.theta0 or {}
        rows, start = [], dict[str, dict[str, list[int]]]()  # outlier features at α = 0
        try:
            for alpha in self.alphas:
                with torch.no_grad():
                    interpolate_into(state, theta0, theta1, alpha)
                scalars: dict[str, float] = {}
                for monitors in groups:
                    watched = monitors[0].images
                    listens = isinstance(watched, str) and watched == VALIDATION
                    images = reference if listens else Images(trainer, watched, whole=True)
                    for monitor, reading in zip(
                        monitors, measure_with(monitors, trainer, pl_module, images), strict=True
                    ):
                        follow_outliers_since(reading, start.setdefault(monitor.state_key, reading.indices))
                        scalars.update(reading.scalars)
                rows.append(scalars)
        finally:
            with torch.no_grad():
                interpolate_into(state, theta0, theta1, 1.0)
        return rows


def _decimals(alphas: Sequence[float]) -> int:
    """Decimals that tell all α's apart in file names, at least two."""
    return next(n for n in range(2, 17) if len({f"{a:.{n}f}" for a in alphas}) == len(alphas))

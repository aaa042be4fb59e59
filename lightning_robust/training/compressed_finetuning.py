"""Finetuning a network that is there already, such as a compressed one, with its head."""
# ruff: noqa: ARG002 - save_hyperparameters reads the arguments of __init__

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from lightning_robust.training.classifier_module import ClassifierModule
from lightning_robust.training.optimisation import decay_groups

__all__ = ["CompressedFinetuning"]


class CompressedFinetuning(ClassifierModule):
    """Train a classifier that is given as a module: what is left of a network after its matrices were cut.

    The recipe is that of `ClassifierFinetuning`: cross-entropy, AdamW, linear warm-up and cosine per step, decay on
    matrices alone. Low-rank factors are matrices, and decay as such. Other modules of this package build their network
    by name; this one takes it as it is, so it is no part of a config.

    Logged tags:
        `train/loss`: cross-entropy of the batch, nats, every step.

    Args:
        network: From images `(n, 3, H, W)` to logits `(n, C)`; it is put into train mode, and trained in place.
        class_names: The classes, in the order of the labels.
        trained: Names of the parameters that are trained; None takes those that require gradients.
        lr: Highest learning rate.
        betas: AdamW's decay rates.
        weight_decay: Decay of matrices; vectors have none.
        warmup_steps: Steps of the linear warm-up.
        label_smoothing: Share of the target that is spread over all classes, in [0, 1).

    Raises:
        ValueError: If the label smoothing is out of range, or a name in `trained` is no parameter.
    """

    def __init__(
        self,
        network: nn.Module,
        class_names: Sequence[str],
        trained: Sequence[str] | None = None,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.1,
        warmup_steps: int = 10,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0.0 <= label_smoothing < 1.0:
            raise ValueError(f"label_smoothing lies in [0, 1), not {label_smoothing}.")
        self.save_hyperparameters(ignore=["network", "class_names", "trained"])
        parameters = dict(network.named_parameters())
        self._trained = [name for name, one in parameters.items() if one.requires_grad] if trained is None else trained
        if strange := [name for name in self._trained if name not in parameters]:
            raise ValueError(f"The network has no parameter {strange[0]!r} that could be trained.")
        self.model: Any = network.train()  # Lightning keeps the modes that it finds
        self.class_names = [str(name) for name in class_names]
        for name, parameter in parameters.items():
            parameter.requires_grad_(name in set(self._trained))

    @property
    def start(self) -> str:
        """What training begins from, in words."""
        return "a network that was given"

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups for the optimiser: matrices decay, vectors do not."""
        parameters = dict(self.model.named_parameters())
        return decay_groups([parameters[name] for name in self._trained], float(self.hparams["weight_decay"]))

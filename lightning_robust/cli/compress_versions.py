"""The versions of one network that a compression compares, and what each answers in one pass over the images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import nn

from lightning_robust.cli.evaluate_answers import ModelAnswers
from lightning_robust.cli.evaluate_models import Candidate, LoadedModels
from lightning_robust.cli.evaluate_pass import answers_of
from lightning_robust.cli.opened_evaluation import Opened

__all__ = ["CALIBRATED", "DENSE", "MAGNITUDE", "PLAIN", "UNIFORM", "Version", "answered"]

DENSE, CALIBRATED, PLAIN, UNIFORM, MAGNITUDE = "dense", "calibrated", "plain", "uniform", "magnitude"


@dataclass(frozen=True, eq=False)
class Version:
    """One network, made in one way.

    Attributes:
        method: `dense`, `calibrated`, `plain`, `uniform` or `magnitude`.
        keep: Share of the budget that was asked for.
        make: Gives the network, from images to logits, in eval mode: where all versions together are too large to be
            held at once, a new one at each call.
        ranks: By matrix, None where it is dense; empty for what was not truncated.
        epochs: Of finetuning after it was made.
    """

    method: str
    keep: float
    make: Callable[[], nn.Module]
    ranks: Mapping[str, int | None] = field(default_factory=dict)
    epochs: int = 0

    @property
    def name(self) -> str:
        """What it is called: no two versions of a compression share it."""
        share = "" if self.method == DENSE else f" {self.keep:g}"
        return f"{self.method}{share}{f', finetuned for {self.epochs}' if self.epochs else ''}"


def answered(
    versions: Sequence[Version],
    loaded: LoadedModels,
    opened: Opened,
    seen: Callable[[int], None] | None = None,
) -> list[ModelAnswers]:
    """Let all versions answer the judged images, each of which is read once.

    Args:
        versions: The versions.
        loaded: The dense model, for what belongs to it: preprocessing, heads of the sets' own.
        opened: Data, sets and device.
        seen: Called with numbers of images, for progress.

    Returns:
        In the order of the versions, under their names.
    """
    dense = loaded.candidates[0]
    candidates = tuple(
        Candidate(one.name, dense.origin, dense.checkpoint_hash, dense.alpha, dense.image_size, one.name)
        for one in versions
    )
    together = LoadedModels(
        candidates,
        {one.name: one.make for one in versions},
        nn.ModuleList([versions[0].make()]),
        loaded.transform,
        loaded.network,
        loaded.own_heads,
    )
    loaders = opened.judged_loaders(loaded.transform)
    return answers_of(together, candidates, opened.sets, loaders, opened.here, opened.device, seen)

"""Effective robustness of the zero-shot models that open_clip publishes accuracies of."""

from dataclasses import dataclass

from lightning_robust.errors import UserError
from lightning_robust.results.baseline_record import ModelAccuracies
from lightning_robust.results.effective_robustness import EffectiveRobustness
from lightning_robust.robustness.baseline import Baseline
from lightning_robust.robustness.published import published_models, published_source

__all__ = ["ZooEntry", "zero_shot_zoo"]

_TABLE = "imagenet_zero_shot"


@dataclass(frozen=True)
class ZooEntry:
    """A model of the zoo.

    Attributes:
        accuracies: as published; its name is ``architecture/tag``.
        robustness: effective robustness by the baseline.
    """

    accuracies: ModelAccuracies
    robustness: EffectiveRobustness


def zero_shot_zoo(baseline: Baseline, *, replicates: int = 2000, seed: int = 0) -> tuple[ZooEntry, ...]:
    """Judge every zero-shot model that open_clip publishes accuracies of, the most robust first.

    Their ObjectNet is counted by another protocol than the testbed's (`published_source` says which): its values
    carry that difference.

    Args:
        baseline: of ImageNet, ``x="full"``.
        replicates: bootstrap replicates; 0 leaves intervals out.
        seed: of the replicates.

    Raises:
        UserError: the baseline is not of ImageNet's shifts, or needs accuracies that are not published.

    Example:
        >>> from lightning_robust.robustness import load_baseline
        >>> zoo = zero_shot_zoo(load_baseline("imagenet"), replicates=0)
        >>> entry = next(entry for entry in zoo if entry.accuracies.name == "ViT-B-32/openai")
        >>> round(entry.robustness.mean.estimate, 4)
        0.2679
    """
    images = published_source(_TABLE)["images"]
    if unknown := [name for name in baseline.shifts if name not in images]:
        raise UserError(
            f"the zero-shot zoo was evaluated on ImageNet and its shifts, the baseline {baseline.name} is of "
            f"{', '.join(unknown)}"
        )
    if baseline.x != "full":
        raise UserError("the zero-shot zoo has no reference accuracy on the classes of a shift: take --x full")
    entries = []
    for model in published_models(_TABLE):
        shifted = {name: model.shifts[name] for name in baseline.shifts}
        found = baseline.effective_robustness(model.reference, shifted, images, replicates=replicates, seed=seed)
        entries.append(ZooEntry(model, found))
    return tuple(sorted(entries, key=lambda entry: -entry.robustness.mean.estimate))

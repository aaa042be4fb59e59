"""What the tables and pictures of `prune` share: words and colours of the orders, names of the models."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from lightning_robust.report.shorten import short_paths, short_tails
from lightning_robust.results.prune_record import PruneCurve, PrunedModel, PruneRecord

__all__ = [
    "FORMS", "ORDERS", "PAPER", "TITLES", "Order", "clipped", "draw_range", "fractions_of", "is_path", "model_labels",
    "record_labels", "short_names", "twin_of",
]  # fmt: skip

PAPER = 0.8
"""The fraction that the paper prunes, "up to 80 %" of the directions, on ImageNet's 1,000 classes."""
TITLES = {
    "reference": "reference accuracy",
    "shifts": "mean accuracy of the shifts",
    "agreement": "same answers, reference",
}
"""Of the panels of headlines: what is held."""
FORMS = ("raw", "centred")
"""The head as it is, and without the mean of its rows."""


@dataclass(frozen=True)
class Order:
    """How one order of pruning is shown.

    Attributes:
        words: In a legend or a table.
        colour: Of its line: Okabe and Ito's palette, told apart by the colour-blind.
        marker: On the line, so that it is told apart in grey too; empty for none.
    """

    words: str
    colour: str
    marker: str


ORDERS = {
    "importance": Order("most important kept", "#0072B2", "o"),
    "reduced_rank": Order("reduced-rank regression", "#009E73", "s"),
    "random": Order("random directions kept", "#E69F00", ""),
    "smallest_first": Order("least important kept", "#D55E00", "v"),
    "random_head": Order("random head, its own answers", "#B0689A", "D"),
    "outlier_features": Order("features zeroed, outliers first", "#000000", "P"),
    "random_features": Order("random features zeroed", "#808080", ""),
}
"""By the names of the record, in the order of legends and tables."""


def model_labels(models: Sequence[PrunedModel], twin: str | None = None) -> list[str]:
    """A short name for each model that says what it serves as.

    Args:
        models: Of one record.
        twin: Name of the supervised twin, which may have been asked for too.
    """
    served = [
        f" ({one.role})" if one.role != "asked" else " (also the twin)" if one.name == twin else "" for one in models
    ]
    return [f"{name}{words}" for name, words in zip(short_names(models), served, strict=True)]


def record_labels(record: PruneRecord) -> list[str]:
    """A short name for each model of a record that says what it serves as."""
    return model_labels(record.models, record.twin)


def short_names(models: Sequence[PrunedModel]) -> list[str]:
    """A short name for each model: α alone for the points of one path, else the names without what they share.

    Args:
        models: Of one record; a supervised twin that was not asked for keeps the end of its own name.
    """
    asked = [model for model in models if model.role == "asked"]
    if is_path(models):
        short = [f"α = {model.alpha:g}" for model in asked]
    else:
        short = short_paths([model.name for model in asked])
    names = iter(short)
    return short_tails([next(names) if model.role == "asked" else model.name for model in models])


def is_path(models: Sequence[PrunedModel]) -> bool:
    """Whether the models that were asked for are several points of one Wise-FT path.

    Args:
        models: Of one record.
    """
    asked = [model for model in models if model.role == "asked"]
    return len(asked) > 1 and all(one.alpha is not None for one in asked) and len({_folder(one) for one in asked}) == 1


def twin_of(record: PruneRecord) -> PrunedModel | None:
    """The supervised twin, where one was measured; one that was asked for may be it."""
    named = next((model for model in record.models if model.name == record.twin), None)
    return next((model for model in record.models if model.role != "asked"), named)


def draw_range(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean, smallest and largest over the draws of a control."""
    return fmean(values), min(values), max(values)


def fractions_of(curve: PruneCurve, what: str) -> list[float]:
    """The largest fraction pruned of each draw.

    Args:
        curve: Of one order.
        what: `"reference"`, `"shifts"` or `"agreement"`.

    Returns:
        Nothing where there is no such headline.
    """
    return [headline.fraction.estimate for headline in curve.headlines.get(what, ())]


def clipped(name: str, most: int) -> str:
    """A name of at most so many characters; of a longer one the end, where paths differ.

    Example:
        >>> clipped("runs/finetune/007/last.ckpt", 14), clipped("scenes-clip", 14)
        ('…007/last.ckpt', 'scenes-clip')
    """
    return name if len(name) <= most else f"…{name[1 - most :]}"


def _folder(model: PrunedModel) -> str:
    return model.name.rpartition("/")[0]

"""Published accuracies beside one's own: how a first real run checks its QuickGELU, crop, prompts and masks."""

from collections.abc import Mapping, Sequence

from lightning_robust.data.shifts import DistributionShift
from lightning_robust.results import ModelEvaluation
from lightning_robust.robustness import published as tables

__all__ = ["TOLERANCE", "of_other_size", "published_accuracies", "unlike_published"]

TOLERANCE = 0.01
"""One accuracy point: crops, interpolation and half precision move less."""

_TIMM = "timm:"


def published_accuracies(
    name: str, sets: Sequence[DistributionShift], image_size: int | None = None
) -> dict[str, float]:
    """What is published of a model on ImageNet, for the sets that are counted likewise here.

    Args:
        name: `ARCHITECTURE/TAG` of open_clip or `timm:NAME`; of any other nothing is known.
        sets: The sets of the evaluation, the reference first.
        image_size: Height and width of the images that the model is given here; where timm's figures are of another
            size, nothing is comparable. None is not compared.

    Returns:
        Accuracy by set, a fraction.
    """
    if of_other_size(name, image_size) is not None:
        known = None
    elif name.startswith(_TIMM) and "@" not in name:
        known = tables.published_timm(_with_tag(name.removeprefix(_TIMM)))
    elif name.count("/") == 1:
        known = tables.published_zero_shot(*name.split("/"))
    else:
        known = None
    if known is None:
        return {}
    by_set = dict(known)
    return {
        one.name: by_set["reference" if index == 0 else one.name]
        for index, one in enumerate(sets)
        if ("reference" if index == 0 else one.name) in by_set and _counted_alike(name, one)
    }


def of_other_size(name: str, image_size: int | None) -> str | None:
    """A sentence where a model's published accuracies are of images of another size than it is given here.

    Args:
        name: As for `published_accuracies`.
        image_size: Height and width here, in pixels; None where it is not known.
    """
    if image_size is None or not name.startswith(_TIMM) or "@" in name:
        return None
    published = tables.published_image_size(_with_tag(name.removeprefix(_TIMM)))
    if published is None or published == image_size:
        return None
    return (
        f"{name}: accuracies are published at {published} px, and it is judged at {image_size} px here, so that the "
        "two are not compared"
    )


def _with_tag(name: str) -> str:
    """The full name of what timm loads: a name alone stands for the architecture's default weights."""
    if "." in name or ":" in name or "/" in name:
        return name
    import timm

    known = timm.get_pretrained_cfg(name)
    return f"{name}.{known.tag}" if known is not None and known.tag else name


def _counted_alike(name: str, one: DistributionShift) -> bool:
    """Published V2 is the matched-frequency variant; open_clip counts ObjectNet as CLIP_benchmark does, others not."""
    if one.name == "objectnet":
        return ("clip_benchmark" in one.protocol) != name.startswith(_TIMM)
    return one.name != "v2" or "matched-frequency" in one.protocol


def unlike_published(model: ModelEvaluation) -> list[str]:
    """A sentence for each set on which a model is more than a point from what is published.

    Args:
        model: The evaluation.
    """
    own: Mapping[str, float] = {row.set: row.accuracy for row in model.rows}
    return [
        f"{model.name} has {100 * own[name]:.1f} % on {name}, published are {100 * figure:.1f} %: check the "
        "activation (QuickGELU), the preprocessing, the prompts and the classes before you trust any figure"
        for name, figure in model.published.items()
        if abs(own[name] - figure) > TOLERANCE
    ]

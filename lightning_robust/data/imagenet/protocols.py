"""Named protocols: how each code base counts accuracy on the natural shifts, as data.

They disagree on ObjectNet alone. `wise-ft` cuts its border, gives each object the largest logit of its ImageNet
classes and takes the largest of 113. `testbed` cuts the border too and counts the largest of the 125 logits where it
belongs to the object. The two name the same winner unless logits of two objects are exactly equal and the largest; no
source says who wins then, and here the object whose canonical class comes first in ImageNet's order does, under both
names. `clip_benchmark` cuts nothing and prompts a zero-shot head with the 113 names that ObjectNet displays, so it is
no protocol for a head over the 1,000 classes. On V2 and Sketch all three take the largest of 1,000, on R and A the
largest of the 200 classes that are there (CLIP_benchmark's head of the 200 names is those rows of the head).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from lightning_robust.data.imagenet.classes import A_SYNSETS, R_SYNSETS, subset
from lightning_robust.data.imagenet.objectnet import BORDER, covered
from lightning_robust.data.imagenet.published import SHIFT_NAMES, published
from lightning_robust.data.shifts import DistributionShift

__all__ = ["PROTOCOLS", "Protocol", "protocol_names", "reference_record", "shift_record"]


@dataclass(frozen=True)
class Protocol:
    """What a code base does on ObjectNet, where they differ.

    Attributes:
        name: Its short name.
        source: The code base.
        border: Pixels cut from every side of an ObjectNet image before the model's preprocessing.
        rule: How an ObjectNet image counts as right, in words.
        own_names: Whether a zero-shot head is prompted with ObjectNet's names instead of ImageNet's.
    """

    name: str
    source: str
    border: int
    rule: str
    own_names: bool = False


#: The protocols by name.
PROTOCOLS: Final = {
    one.name: one
    for one in (
        Protocol("wise-ft", "github.com/mlfoundations/wise-ft", BORDER, "max over 125 classes in 113 groups"),
        Protocol("testbed", "github.com/modestyachts/imagenet-testbed", BORDER, "argmax over 125 classes in its group"),
        Protocol("clip_benchmark", "github.com/LAION-AI/CLIP_benchmark", 0, "zero-shot head of 113 names", True),
    )
}


def protocol_names(protocol: str | Mapping[str, str]) -> dict[str, str]:
    """The protocol of each shift.

    Args:
        protocol: One name for all, or a mapping from shift to name; a shift that is not named gets `wise-ft`.

    Raises:
        ValueError: If there is no such protocol or shift.

    Example:
        >>> protocol_names({"objectnet": "testbed"})["objectnet"], protocol_names({"objectnet": "testbed"})["r"]
        ('testbed', 'wise-ft')
    """
    given = dict.fromkeys(SHIFT_NAMES, protocol) if isinstance(protocol, str) else dict(protocol)
    for shift, name in given.items():
        if shift not in SHIFT_NAMES:
            raise ValueError(f"a protocol is given for {shift!r}, which is no shift; they are {', '.join(SHIFT_NAMES)}")
        if name not in PROTOCOLS:
            raise ValueError(f"no protocol {name!r}; there are {', '.join(PROTOCOLS)}")
    return dict.fromkeys(SHIFT_NAMES, "wise-ft") | given


def shift_record(name: str, protocol: str = "wise-ft", v2: str = "matched-frequency") -> DistributionShift:
    """A natural shift of ImageNet as a record.

    Args:
        name: `v2`, `r`, `sketch`, `objectnet` or `a`.
        protocol: `wise-ft`, `testbed` or `clip_benchmark`.
        v2: Which variant of ImageNet-V2.

    Returns:
        The record; its `protocol` is a full name, which stands in every result row.

    Raises:
        ValueError: If there is no such shift, protocol or variant.

    Example:
        >>> shift_record("objectnet").protocol
        'objectnet: wise-ft (crop 2 px, max over 125 classes in 113 groups)'
    """
    if name not in SHIFT_NAMES:
        raise ValueError(f"no shift {name!r}; there are {', '.join(SHIFT_NAMES)}")
    facts = published(name, v2)
    how = PROTOCOLS[protocol_names({name: protocol})[name]]
    groups: tuple[tuple[int, ...], ...] | None = None
    class_names: tuple[str, ...] | None = None
    if name == "objectnet":
        said = f"{f'crop {how.border} px' if how.border else 'no crop'}, {how.rule}"
        groups = tuple(one.classes for one in covered())
        class_names = tuple(one.name.lower() for one in covered()) if how.own_names else None
    elif name in ("r", "a"):
        groups = tuple((index,) for index in subset(R_SYNSETS if name == "r" else A_SYNSETS))
        said = f"argmax over {len(groups)} classes"
    else:
        said = f"{v2}, argmax over 1,000 classes" if name == "v2" else "argmax over 1,000 classes"
    return DistributionShift(name, facts.source, f"{name}: {how.name} ({said})", groups, class_names, max(facts.images))


def reference_record() -> DistributionShift:
    """ImageNet's validation images as the record of the reference: all 1,000 classes, nothing chosen on them."""
    facts = published("val")
    protocol = "reference: ImageNet val (argmax over 1,000 classes)"
    return DistributionShift("reference", facts.source, protocol, images=facts.images[0])

"""Which concepts the units of `ablate` rank, and what random directions reach on the same images."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lightning_robust.cli.evaluate_models import LoadedModels
from lightning_robust.cli.opened_evaluation import Opened
from lightning_robust.errors import UserError, from_user
from lightning_robust.results import ConceptEntry
from lightning_robust.signatures import ConceptAveragePrecision, concept_lists, measure, random_rotation

__all__ = ["Concepts", "opened_concepts", "ranked_concepts"]

_LISTED = 5
"""Concepts that are listed of each unit."""
_BATCH = 128


@dataclass(frozen=True, eq=False)
class Concepts:
    """What a concept set says of the units.

    Attributes:
        lists: Of each unit, the largest average precision first.
        best: Largest average precision of each unit, `(m,)`; NaN without an eligible concept.
        random: The same of as many random directions of the space.
        source: What the concept set was read from.
        images: Images of it that were read.
        unreadable: A sentence for each that was left out.
    """

    lists: tuple[tuple[ConceptEntry, ...], ...]
    best: tuple[float, ...]
    random: tuple[float, ...]
    source: str
    images: int
    unreadable: tuple[str, ...]


def opened_concepts(opened: Opened, transform: Any) -> Any:
    """The concept set that is asked for, and its batches; None where none is.

    Args:
        opened: With the arguments.
        transform: The model's preprocessing.

    Raises:
        UserError: If it cannot be had.
    """
    from lightning_robust.data.concept_sets import concept_loader, open_concept_set

    args = opened.args
    if args.concepts is None:
        return None
    fetch = {"download": True} if args.download and args.concepts.startswith("hub:") else {}
    with from_user(ValueError, RuntimeError):
        dataset = open_concept_set(args.concepts, transform, **fetch)
        return dataset, concept_loader(dataset, args.batch_size or _BATCH)


def ranked_concepts(found: Any, loaded: LoadedModels, layer: str, units: Tensor, opened: Opened) -> Concepts:
    """Average precision of every unit and its negative for every concept, of features of unit length.

    Args:
        found: What `opened_concepts` gave.
        loaded: The model, in its place.
        layer: Whose features.
        units: Columns, `(d, m)`.
        opened: Device and seed.

    Raises:
        UserError: If none of the images can be read, or the layer gives nothing that can be measured.
    """
    dataset, batches = found
    m, count = units.shape[1], min(units.shape)
    bases = {"units": units, "random": random_rotation(len(units), count, opened.args.seed)}
    with from_user(ValueError, RuntimeError):
        if next(iter(batches), None) is None:
            raise UserError("none of the images of the concept set can be read, so there are no concepts")
        metric = ConceptAveragePrecision(bases)
        model = loaded.points[loaded.candidates[0].key]()
        result = measure(model, batches, {layer: metric}, device=opened.device)[layer]["ConceptAveragePrecision"]
    eligible = result["eligible"].reshape(-1)
    shape = (-1, len(eligible))
    ap = result["ap/units"].reshape(shape)
    lists = concept_lists(
        ap,
        dataset.concepts,
        dataset.categories,
        result["prevalence"].reshape(-1),
        range(m),
        _LISTED,
        negative=result["negative/units"].reshape(shape),
        eligible=eligible,
        minimum=0.0,
    )
    return Concepts(
        lists=tuple(tuple(_entry(one) for one in listed.entries) for listed in lists),
        best=_best(ap, eligible),
        random=_best(result["ap/random"].reshape(shape), eligible),
        source=dataset.source,
        images=int(result["n"]),
        unreadable=tuple(batches.unreadable),
    )


def _entry(found: Any) -> ConceptEntry:
    return ConceptEntry(
        concept=found.concept,
        category=found.category,
        average_precision=found.ap,
        prevalence=found.prevalence,
        sign=found.sign,
    )


def _best(ap: Tensor, eligible: Tensor) -> tuple[float, ...]:
    if not bool(eligible.any()):
        return (float("nan"),) * len(ap)
    return tuple(torch.nan_to_num(ap[:, eligible], nan=0.0).amax(dim=1).tolist())

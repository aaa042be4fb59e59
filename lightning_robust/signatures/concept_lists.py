"""Which concepts a direction encodes, by name, and the lists of two models side by side (METHODS 5)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Bool, Float64
from torch import Tensor

from lightning_robust.signatures.concept_checks import check_computed, check_table

MIN_LISTED_AP = 0.5
"""A concept below it is not listed: the lowest threshold at which concepts are counted in the logs."""

Named = tuple[str, str]
"""A concept and its category: names may come in two categories."""


@dataclass(frozen=True)
class ConceptEntry:
    """One concept of a direction.

    Attributes:
        concept: its name. category: of the concept.
        ap: average precision of the direction, or of its negative, whichever is larger.
        prevalence: positives among the known images: about what the average precision of random scores is.
        sign: 1 if ``v`` has that average precision, −1 if ``−v`` has.
    """

    concept: str
    category: str
    ap: float
    prevalence: float
    sign: int


@dataclass(frozen=True)
class ConceptList:
    """The concepts of one direction, the largest average precision first.

    Attributes:
        direction: its index in the basis.
        entries: its concepts; empty if none is good enough.
    """

    direction: int
    entries: tuple[ConceptEntry, ...]

    @property
    def names(self) -> tuple[Named, ...]:
        """Concept and category of each entry."""
        return tuple((entry.concept, entry.category) for entry in self.entries)


def concept_lists(
    ap: Float64[Tensor, "D C"],
    concepts: Sequence[str],
    categories: Sequence[str],
    prevalence: Float64[Tensor, " C"],
    directions: Sequence[int] | None = None,
    top: int | None = 10,
    *,
    negative: Bool[Tensor, "D C"] | None = None,
    eligible: Bool[Tensor, " C"] | None = None,
    minimum: float = MIN_LISTED_AP,
) -> tuple[ConceptList, ...]:
    """List the concepts of each direction by name.

    Args:
        ap: ``(D, C)``, as ``ConceptAveragePrecision`` gives it.
        concepts: names of the C concepts. A name may come twice, but not in one category.
        categories: the category of each.
        prevalence: ``(C,)`` of each among the known images.
        directions: which directions, in this order, such as the privileged ones by importance; all by default.
        top: no more than this number of concepts for each direction; None for no limit.
        negative: ``(D, C)`` whether ``−v`` has that average precision; all ``v`` by default.
        eligible: ``(C,)`` which concepts may be listed, from ``eligible_concepts``; all by default.
        minimum: the least average precision that is listed.

    Returns:
        One list for each direction; entries of equal average precision in the order of the concepts.

    Raises:
        TypeError: if ap, prevalence, negative or eligible is no tensor, or one of the last two is not bool.
        ValueError: if the numbers of concepts differ, two concepts of one category share a name, a direction is none
            of the D, or ``top`` is negative.

    Example:
        >>> import torch
        >>> ap = torch.tensor([[0.95, 0.2, 0.6], [0.3, 0.4, 0.1]], dtype=torch.float64)
        >>> prevalence = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
        >>> first, second = concept_lists(ap, ["red", "wheel", "sky"], ["colour", "part", "scene"], prevalence)
        >>> first.names, second.names
        ((('red', 'colour'), ('sky', 'scene')), ())
    """
    ap, eligible = check_table(ap, eligible)
    prevalence = check_computed(prevalence, "prevalence", "(C,)")
    negative = None if negative is None else check_computed(negative, "negative", "(D, C)", flags=True)
    if negative is not None and negative.shape != ap.shape:
        raise ValueError(f"negative must have the shape of ap, {tuple(ap.shape)}, not {tuple(negative.shape)}.")
    D, C = ap.shape
    named = tuple(zip(concepts, categories, strict=False))
    if not len(concepts) == len(categories) == len(prevalence) == C:
        lengths = f"{len(concepts)} names, {len(categories)} categories and {len(prevalence)} prevalences"
        raise ValueError(f"{C} concepts need as many names, categories and prevalences, not {lengths}.")
    if len(set(named)) < C:
        twice = next(name for name in named if named.count(name) > 1)
        raise ValueError(f"concept {twice[0]!r} comes twice in category {twice[1]!r}; names must tell concepts apart.")
    chosen = range(D) if directions is None else [int(direction) for direction in directions]
    outside = [direction for direction in chosen if not 0 <= direction < D]
    if outside:
        raise ValueError(f"directions must lie in 0 … {D - 1}, not {outside}.")
    if top is not None and top < 0:
        raise ValueError(f"top must be a number of concepts or None, not {top}.")
    listed = ap >= minimum if eligible is None else (ap >= minimum) & eligible.to(ap.device)
    lists = []
    for direction in chosen:
        row = ap[direction].tolist()
        found = [c for c, yes in enumerate(listed[direction].tolist()) if yes]
        best = sorted((-row[c], c) for c in found)[:top]
        entries = []
        for _, c in best:
            sign = -1 if negative is not None and bool(negative[direction, c]) else 1
            entries.append(ConceptEntry(concepts[c], categories[c], row[c], float(prevalence[c]), sign))
        lists.append(ConceptList(direction, tuple(entries)))
    return tuple(lists)


@dataclass(frozen=True)
class ConceptPair:
    """Two directions side by side; in each part concepts stand in the order of their list.

    Attributes:
        a: direction of the first model, None if no direction of it is matched. b: of the second.
        both: concepts on both lists. only_a: on that of the first alone. only_b: of the second alone.
    """

    a: int | None
    b: int | None
    both: tuple[Named, ...]
    only_a: tuple[Named, ...]
    only_b: tuple[Named, ...]


@dataclass(frozen=True)
class ConceptListComparison:
    """The concept lists of two models side by side.

    Attributes:
        match: how directions were matched.
        pairs: matched directions, then those of the first model alone, then those of the second alone.
        both: concepts on any list of both models, in the order in which the first model lists them.
        only_a: on lists of the first alone. only_b: of the second alone.
    """

    match: str
    pairs: tuple[ConceptPair, ...]
    both: tuple[Named, ...]
    only_a: tuple[Named, ...]
    only_b: tuple[Named, ...]


def compare_concept_lists(
    a: Sequence[ConceptList], b: Sequence[ConceptList], match: Literal["rank", "concepts"] = "rank"
) -> ConceptListComparison:
    """Set the concept lists of two models side by side.

    Args:
        a: of the first model, from ``concept_lists``.
        b: of the second.
        match: ``"rank"`` sets the i-th list of one beside the i-th of the other. ``"concepts"`` sets the two beside
            each other that share most concepts, then the next two, as long as any share one; among equals the first.

    Returns:
        The frozen comparison.

    Raises:
        ValueError: if ``match`` is neither word.

    Example:
        >>> def one(direction, *names):
        ...     return ConceptList(direction, tuple(ConceptEntry(name, "colour", 0.9, 0.1, 1) for name in names))
        >>> compared = compare_concept_lists([one(0, "red"), one(1, "blue")], [one(7, "blue", "grey")], "concepts")
        >>> [(pair.a, pair.b) for pair in compared.pairs], compared.both
        ([(1, 7), (0, None)], (('blue', 'colour'),))
    """
    if match not in ("rank", "concepts"):
        raise ValueError(f"match must be 'rank' or 'concepts', not {match!r}.")
    matched = [(i, i) for i in range(min(len(a), len(b)))] if match == "rank" else _most_shared(a, b)
    pairs = [_pair(a[i], b[j]) for i, j in matched]
    pairs += [_pair(one, None) for i, one in enumerate(a) if i not in {i for i, _ in matched}]
    pairs += [_pair(None, one) for j, one in enumerate(b) if j not in {j for _, j in matched}]
    of_a, of_b = (dict.fromkeys(name for one in lists for name in one.names) for lists in (a, b))
    return ConceptListComparison(match, tuple(pairs), *_parts(tuple(of_a), tuple(of_b)))


def _most_shared(a: Sequence[ConceptList], b: Sequence[ConceptList]) -> list[tuple[int, int]]:
    shared = [(len({*x.names} & {*y.names}), i, j) for i, x in enumerate(a) for j, y in enumerate(b)]
    matched: list[tuple[int, int]] = []
    for number, i, j in sorted(shared, key=lambda found: (-found[0], found[1], found[2])):
        if number and all(i != k and j != m for k, m in matched):
            matched.append((i, j))
    return matched


def _pair(a: ConceptList | None, b: ConceptList | None) -> ConceptPair:
    names_a, names_b = (() if one is None else one.names for one in (a, b))
    of_a, of_b = (None if one is None else one.direction for one in (a, b))
    return ConceptPair(of_a, of_b, *_parts(names_a, names_b))


def _parts(
    a: tuple[Named, ...], b: tuple[Named, ...]
) -> tuple[tuple[Named, ...], tuple[Named, ...], tuple[Named, ...]]:
    in_a, in_b = set(a), set(b)
    both = tuple(name for name in a if name in in_b)
    return both, tuple(name for name in a if name not in in_b), tuple(name for name in b if name not in in_a)

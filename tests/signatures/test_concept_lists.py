"""Lists of concepts that can be read off a small table, and two of them side by side."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_robust.signatures import ConceptEntry, ConceptList, compare_concept_lists, concept_lists

NAN = float("nan")
AP = torch.tensor([[0.6, 0.9, 0.6, NAN], [0.2, 0.1, 0.3, NAN], [0.5, 0.4, 0.95, NAN]], dtype=torch.float64)
NAMES = ["red", "wheel", "red", "sky"]
CATEGORIES = ["colour", "part", "cloth", "scene"]
PREVALENCE = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)


def lists(**kwargs):
    return concept_lists(AP, NAMES, CATEGORIES, PREVALENCE, **kwargs)


def test_sorted_with_all_that_is_said_of_a_concept():
    negative = torch.zeros_like(AP, dtype=torch.bool)
    negative[0, 2] = True
    first = lists(negative=negative)[0]
    assert first == ConceptList(
        0,
        (
            ConceptEntry("wheel", "part", 0.9, 0.2, 1),
            ConceptEntry("red", "colour", 0.6, 0.1, 1),  # equals stand in the order of the concepts
            ConceptEntry("red", "cloth", 0.6, 0.3, -1),
        ),
    )


def test_directions_limit_eligible_and_minimum():
    assert [one.direction for one in lists()] == [0, 1, 2]
    third, first = lists(directions=[2, 0], top=1)
    assert (third.direction, third.names) == (2, (("red", "cloth"),))
    assert first.names == (("wheel", "part"),)
    eligible = torch.tensor([True, False, True, True])
    assert lists(eligible=eligible)[0].names == (("red", "colour"), ("red", "cloth"))
    assert lists()[1].entries == ()
    assert len(lists(minimum=0.0, top=None)[1].entries) == 3, "no average precision, no entry"
    assert lists(top=0)[0].entries == ()


def test_no_concept():
    empty = concept_lists(AP[:, :0], [], [], PREVALENCE[:0])
    assert [one.entries for one in empty] == [(), (), ()]
    assert compare_concept_lists(empty, empty).both == ()


def test_refusals():
    with pytest.raises(ValueError, match="4 concepts need as many names, categories and prevalences, not 3 names"):
        concept_lists(AP, NAMES[:3], CATEGORIES, PREVALENCE)
    with pytest.raises(ValueError, match="'red' comes twice in category 'colour'"):
        concept_lists(AP, NAMES, ["colour"] * 4, PREVALENCE)
    with pytest.raises(ValueError, match=r"directions must lie in 0 … 2, not \[3, -1\]"):
        lists(directions=[0, 3, -1])
    with pytest.raises(ValueError, match="not -1"):
        lists(top=-1)
    with pytest.raises(Exception, match=r"'rank' or 'concepts', not 'name'|Type-check"):
        compare_concept_lists(lists(), lists(), "name")


def one(direction, *names):
    return ConceptList(direction, tuple(ConceptEntry(name, "c", 0.9, 0.1, 1) for name in names))


def named(*names):
    return tuple((name, "c") for name in names)


def test_by_rank():
    compared = compare_concept_lists([one(4, "a", "b"), one(2, "c")], [one(9, "b", "d", "c")])
    first, second = compared.pairs
    assert (first.a, first.b, first.both, first.only_a, first.only_b) == (4, 9, named("b"), named("a"), named("d", "c"))
    assert (second.a, second.b, second.both, second.only_a) == (2, None, (), named("c"))
    assert (compared.both, compared.only_a, compared.only_b) == (named("b", "c"), named("a"), named("d"))
    assert compared.match == "rank"


def test_by_concepts():
    a = [one(0, "x"), one(1, "a", "b", "c"), one(2, "c")]
    b = [one(5, "c"), one(6, "q"), one(7, "b", "c")]
    compared = compare_concept_lists(a, b, "concepts")
    assert [(pair.a, pair.b) for pair in compared.pairs] == [(1, 7), (2, 5), (0, None), (None, 6)]
    assert compared.pairs[-1].only_b == named("q")


concept_names = st.lists(st.lists(st.sampled_from("abcdef"), unique=True, max_size=4), max_size=4)


@pytest.mark.parametrize("match", ["rank", "concepts"])
@settings(max_examples=50, derandomize=True)
@given(concept_names, concept_names)
def test_laws(match, a, b):
    """Each direction stands once; nothing is lost; the other way round is the mirror image overall."""
    a, b = ([one(i, *names) for i, names in enumerate(lists)] for lists in (a, b))
    compared, mirrored = compare_concept_lists(a, b, match), compare_concept_lists(b, a, match)
    for side, given_lists in (("a", a), ("b", b)):
        stands = [getattr(pair, side) for pair in compared.pairs if getattr(pair, side) is not None]
        assert sorted(stands) == list(range(len(given_lists)))
        for pair in compared.pairs:
            if (direction := getattr(pair, side)) is not None:
                assert {*pair.both, *getattr(pair, f"only_{side}")} == {*given_lists[direction].names}
    assert set(compared.both) == set(mirrored.both)
    assert (set(compared.only_a), set(compared.only_b)) == (set(mirrored.only_b), set(mirrored.only_a))
    whole = {name for lists in (a, b) for entry in lists for name in entry.names}
    assert whole == {*compared.both, *compared.only_a, *compared.only_b}

"""Sparse labels are the dense ones, whatever is done to them."""

import inspect

import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_robust.signatures import (
    SparseLabels,
    concept_average_precision,
    eligible_concepts,
    permute_within_category,
)
from lightning_robust.signatures.sparse_labels import pack_bits, unpack_bits


def draw(n, C, seed=0):
    return torch.randint(-1, 2, (n, C), generator=torch.Generator().manual_seed(seed))


def by_category(n=300, seed=0):
    """Labels of three categories of 5, 1 and 12 concepts, each annotated on some images only."""
    generator = torch.Generator().manual_seed(seed)
    categories = [0] * 5 + [1] + [2] * 12
    annotated = torch.rand(n, 3, generator=generator) < 0.6
    labels = (torch.rand(n, 18, generator=generator) < 0.2).long()
    return torch.where(annotated[:, categories], labels, -1), annotated, categories


@settings(max_examples=60, derandomize=True)
@given(st.integers(0, 30), st.integers(0, 20), st.integers(0, 10**6))
def test_there_and_back(n, C, seed):
    dense = draw(n, C, seed)
    sparse = SparseLabels.from_dense(dense)
    assert sparse.shape == (n, C)
    assert torch.equal(sparse.dense().long(), dense)
    assert torch.equal(sparse.positives_per_concept(), (dense == 1).sum(dim=0))
    assert torch.equal(sparse.known_per_concept(), (dense >= 0).sum(dim=0))
    patterns, of = sparse.patterns()
    assert torch.equal(patterns[of], dense >= 0)
    assert len(patterns) == len({tuple(row) for row in (dense >= 0).tolist()})


@settings(max_examples=40, derandomize=True)
@given(st.lists(st.integers(0, 7), min_size=1, max_size=6), st.integers(0, 10), st.data())
def test_batches_join_and_images_are_selected(sizes, C, data):
    dense = draw(sum(sizes), C, seed=len(sizes))
    joined = SparseLabels.cat([SparseLabels.from_dense(part) for part in dense.split(sizes)])
    assert torch.equal(joined.dense().long(), dense)
    mask = torch.tensor(data.draw(st.lists(st.booleans(), min_size=len(dense), max_size=len(dense))), dtype=torch.bool)
    assert torch.equal(joined.select(mask).dense().long(), dense[mask])


def test_bool_labels_know_everything():
    dense = draw(10, 9) == 1
    assert torch.equal(SparseLabels.from_dense(dense).dense().bool(), dense)


def test_bits():
    bits = draw(6, 19) == 1
    assert pack_bits(bits).shape == (6, 3)
    assert torch.equal(unpack_bits(pack_bits(bits), 19), bits)
    assert pack_bits(torch.tensor([[True, False, True]])).tolist() == [[5]]


def test_from_pairs():
    dense, annotated, categories = by_category()
    images, concepts = (dense == 1).nonzero(as_tuple=True)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(1))
    sparse = SparseLabels.from_pairs(images[order], concepts[order], annotated, categories)
    want = SparseLabels.from_dense(dense)
    assert torch.equal(sparse.dense().long(), dense)
    for name in ("positives_per_image", "positives", "known"):
        assert torch.equal(getattr(sparse, name), getattr(want, name)), name
        assert getattr(sparse, name).dtype == getattr(want, name).dtype
    empty = SparseLabels.from_pairs(images[:0], concepts[:0], annotated, categories)
    assert torch.equal(empty.dense() >= 0, dense >= 0)
    assert len(SparseLabels.from_pairs(images[:0], concepts[:0], annotated[:0], [])) == 0


def test_from_pairs_refuses():
    annotated, one = torch.tensor([[True, False]]), torch.tensor([0])
    with pytest.raises(ValueError, match=r"images must lie in 0 … 0, not 1 … 1"):
        SparseLabels.from_pairs(one + 1, one, annotated, [0, 1])
    with pytest.raises(ValueError, match=r"concepts must lie in 0 … 1, not -1"):
        SparseLabels.from_pairs(one, one - 1, annotated, [0, 1])
    with pytest.raises(ValueError, match=r"categories must lie in 0 … 1, not 0 … 2"):
        SparseLabels.from_pairs(one, one, annotated, [0, 2])
    with pytest.raises(ValueError, match="not annotated for"):
        SparseLabels.from_pairs(one, one + 1, annotated, [0, 1])
    with pytest.raises(ValueError, match="twice"):
        SparseLabels.from_pairs(one.repeat(2), one.repeat(2), annotated, [0, 1])


def test_pairs_are_not_made_by_broadcasting():
    annotated, two = torch.tensor([[True], [True]]), torch.tensor([0, 1])
    with pytest.raises(Exception, match=r"as many images as concepts, not 2 and 1|Type-check"):
        SparseLabels.from_pairs(two, two[:1], annotated, [0, 0])
    with pytest.raises(ValueError, match=r"as many images as concepts, not 2 and 1\."):
        inspect.unwrap(SparseLabels.from_pairs.__func__)(SparseLabels, two, two[:1], annotated, [0, 0])


@pytest.mark.parametrize("value", [0.5, -0.5, 0.9999999, 1.5, float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_labels_between_are_no_labels(value, dtype):
    labels = torch.tensor([[0, 1], [-1, value], [1, 7]], dtype=dtype)
    with pytest.raises(ValueError, match=rf"^labels must be 1, 0 or -1, not {float(labels[1, 1])}\.$"):
        SparseLabels.from_dense(labels)
    with pytest.raises(ValueError, match="must be 1, 0 or -1"):
        concept_average_precision(torch.tensor([[3.0], [2.0], [1.0]]), labels)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64, torch.int8, torch.int64])
def test_labels_of_any_dtype(dtype):
    dense = draw(20, 9)
    assert torch.equal(SparseLabels.from_dense(dense.to(dtype)).dense().long(), dense)
    assert permute_within_category(dense.to(dtype), ["a"] * 9).dtype == dtype


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"positives": torch.tensor([0, 2, 1])}, TypeError, "positives must be int32, not int64"),
        ({"known": torch.tensor([[7], [6]])}, TypeError, "known must be uint8, not int64"),
        ({"positives_per_image": [2, 1]}, TypeError, "positives_per_image must be a torch tensor, not list"),
        ({"concepts": 9}, ValueError, r"known must have shape \(2, 2\) for 2 images and 9 concepts, not \(2, 1\)"),
        ({"concepts": 2}, ValueError, "positives must lie in 0 … 1, not 0 … 2"),
        ({"concepts": -1}, ValueError, r"known must have shape \(2, 0\) for 2 images and -1 concepts"),
        ({"positives": torch.tensor([0, -1, 1]).int()}, ValueError, "positives must lie in 0 … 2, not -1 … 1"),
        ({"positives": torch.tensor([0, 2]).int()}, ValueError, "positives_per_image sum to 3, not to 2 positives"),
        ({"positives_per_image": torch.tensor([4, -1]).int()}, ValueError, "must be 0 or more, not -1"),
        ({"positives_per_image": torch.tensor([3]).int()}, ValueError, r"known must have shape \(1, 1\) for 1 images"),
        ({"positives": torch.tensor([[0, 2, 1]]).int()}, ValueError, r"positives must have shape \(p,\), not \(1, 3\)"),
    ],
)
def test_made_by_hand(changed, error, message, monkeypatch):
    right = {
        "positives_per_image": torch.tensor([2, 1]).int(),
        "positives": torch.tensor([0, 2, 1]).int(),
        "known": torch.tensor([[7], [6]], dtype=torch.uint8),
        "concepts": 3,
    }
    assert SparseLabels(**right).dense().tolist() == [[1, 0, 1], [-1, 1, 0]]
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(error, match=message):
        SparseLabels(**right | changed)


def test_joining_refuses():
    with pytest.raises(ValueError, match=r"same number of concepts, not \[2, 3\]"):
        SparseLabels.cat([SparseLabels.from_dense(draw(4, C)) for C in (2, 3)])
    with pytest.raises(ValueError, match="from 0 to 2"):
        SparseLabels.from_dense(torch.tensor([[0, 2]]))


@pytest.mark.parametrize("seed", [0, 1])
def test_eligibility_and_permutation_are_those_of_the_matrix(seed):
    dense, _, categories = by_category(seed=seed)
    sparse, names = SparseLabels.from_dense(dense), [str(c) for c in categories]
    a, b = eligible_concepts(dense), eligible_concepts(sparse)
    assert a.excluded == b.excluded
    assert torch.equal(a.prevalence, b.prevalence)
    permuted = permute_within_category(sparse, names, seed)
    assert isinstance(permuted, SparseLabels)
    assert torch.equal(permuted.dense().long(), permute_within_category(dense, names, seed))
    assert torch.equal(sparse.dense().long(), dense), "its input stays"
    assert not torch.equal(permuted.dense().long(), dense)


def test_memory():
    """What METHODS 5 asks of Broden's size, at a tenth of the images: far below a byte for each label."""
    n, C = 6330, 1197
    generator = torch.Generator().manual_seed(0)
    images = torch.arange(n).repeat_interleave(10)
    concepts = (torch.rand(n, C, generator=generator).argsort(dim=1)[:, :10]).flatten()
    sparse = SparseLabels.from_pairs(images, concepts, torch.ones(n, 1, dtype=torch.bool), [0] * C)
    held = sum(t.numel() * t.element_size() for t in (sparse.positives, sparse.positives_per_image, sparse.known))
    assert held < n * C / 5

"""Mergeable moments against exact rational arithmetic and numpy."""

from fractions import Fraction

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_robust.signatures.moments import merge, merge_packed, moments, pack, unpack

rows = st.lists(st.lists(st.integers(-50, 50), min_size=3, max_size=3), min_size=1, max_size=12)


def exact(table):
    n = len(table)
    mean = [Fraction(sum(column), n) for column in zip(*table, strict=True)]
    M2 = [[sum((r[i] - mean[i]) * (r[j] - mean[j]) for r in table) for j in range(3)] for i in range(3)]
    return [float(m) for m in mean], [[float(x) for x in line] for line in M2]


def tensor(table):
    return torch.tensor(table, dtype=torch.float64).reshape(-1, 3)


@settings(max_examples=25, derandomize=True)
@given(rows)
def test_equals_exact_arithmetic(table):
    m = moments(tensor(table))
    mean, M2 = exact(table)
    np.testing.assert_allclose(m.mean, mean, atol=1e-12)
    np.testing.assert_allclose(m.M2, M2, atol=1e-9)
    assert float(m.n) == len(table)


@settings(max_examples=25, derandomize=True)
@given(rows, rows, st.integers(-(10**6), 10**6))
def test_merging_is_computing_on_both(left, right, shift):
    a, b = tensor(left) + shift, tensor(right) + shift
    merged, both = merge(moments(a), moments(b)), moments(torch.cat([a, b]))
    for got, want in zip(merged, both, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-8)
    swapped = merge(moments(b), moments(a))
    torch.testing.assert_close(swapped.M2, merged.M2, rtol=1e-12, atol=1e-8)


def test_nothing_is_neutral():
    m = moments(tensor([[1, 2, 3], [4, 0, 9]]))
    nothing = moments(tensor([]))
    for both in (merge(m, nothing), merge(nothing, m)):
        assert all(torch.equal(got, want) for got, want in zip(both, m, strict=True))
    assert not merge(nothing, nothing).M2.any()


def test_covariance_and_second_moment():
    h = np.random.default_rng(0).normal(3, 2, size=(40, 5))
    m = moments(torch.from_numpy(h))
    np.testing.assert_allclose(m.covariance, np.cov(h.T, bias=True), rtol=1e-12)
    np.testing.assert_allclose(m.second_moment, h.T @ h / 40, rtol=1e-12)


def test_many_merges_lose_nothing():
    """A thousand batches with mean/std of a million."""
    h = torch.randn(4000, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 1e6
    total = pack(moments(h[:0]))
    for batch in h.split(4):
        total = merge_packed(torch.stack([total, pack(moments(batch))]))
    np.testing.assert_allclose(unpack(total).covariance, np.cov((h - 1e6).numpy().T, bias=True), rtol=1e-9, atol=1e-9)


def test_pack_round_trip():
    m = moments(tensor([[1, 2, 3], [4, 0, 9]]))
    assert all(torch.equal(got, want) for got, want in zip(unpack(pack(m)), m, strict=True))

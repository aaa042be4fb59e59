"""Sums of outer products: against one product of all rows, however rows and columns are cut."""

import numpy as np
import pytest
import torch

from lightning_robust.models.outer_sums import OuterSum, pieces


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("width", [1, 7, 255, 256, 300, 384])
def test_the_sum_is_the_product_of_all_rows(width):
    rows, total, other = drawn(60, width) + 1, OuterSum(), OuterSum()
    for index, part in enumerate(rows.split([1, 40, 0, 19])):
        (total if index % 2 else other).add(part)
    before = other.matrix
    total.merge(other)
    total.merge(OuterSum())
    expected = np.einsum("ni,nj->ij", rows.numpy(), rows.numpy())
    np.testing.assert_allclose(total.matrix, expected, rtol=1e-12, atol=1e-12)
    assert torch.equal(total.matrix, total.matrix.T)
    assert torch.equal(total.diagonal, total.matrix.diagonal())
    assert torch.equal(other.matrix, before)  # what is merged is left alone
    total.add(rows)
    assert torch.equal(other.matrix, before)


def test_merging_into_nothing_shares_no_memory():
    one, empty = OuterSum(), OuterSum()
    one.add(drawn(3, 2))
    before = one.matrix
    empty.merge(one)
    empty.add(drawn(3, 2))
    assert torch.equal(one.matrix, before)
    torch.testing.assert_close(empty.matrix, 2 * before)
    assert OuterSum().matrix.shape == OuterSum().diagonal.shape == ()


def test_rows_may_lie_anyhow_in_memory():
    rows, total = drawn(300, 40).T, OuterSum()
    total.add(rows)
    torch.testing.assert_close(total.matrix, rows.T @ rows)


def test_pieces_hold_every_row_once_and_are_small():
    rows = torch.arange(3000.0)[:, None].expand(3000, 1000)
    found = list(pieces(rows))
    assert len(found) == 2
    assert all(one.numel() * 8 <= 1 << 24 for one in found)
    assert torch.equal(torch.cat(found), rows)
    assert [len(one) for one in pieces(torch.zeros(2, 1 << 22))] == [1, 1]
    assert list(pieces(torch.zeros(0, 4))) == []

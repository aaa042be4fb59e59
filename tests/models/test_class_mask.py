"""Restricted predictions against a naive loop over images and groups."""

import pytest
import torch

from lightning_robust.models.class_mask import ClassMask


def test_scores_are_the_largest_of_each_group_as_in_a_loop():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(40, 9, generator=generator)
    groups = [(4, 1, 7), (0,), (8, 3)]
    restricted = ClassMask(groups)(logits)
    for row, out in zip(logits, restricted, strict=True):
        expected = [-float("inf")] * 9
        for group in groups:
            expected[group[0]] = max(row[k].item() for k in group)
        assert out.tolist() == expected


def test_argmax_inside_the_covered_set_gives_the_same_label():
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(200, 12, generator=generator)
    groups = [(2, 5), (9,), (0, 11, 4)]
    mask = ClassMask(groups)
    covered = torch.tensor([k for group in groups for k in group])
    winners = covered[logits[:, covered].argmax(dim=1)]
    assert torch.equal(mask(logits).argmax(dim=1), mask.canonical(winners))


def test_half_precision_and_empty_batches_keep_their_dtype_and_shape():
    mask = ClassMask([(1,), (0, 2)])
    assert mask(torch.zeros(0, 3)).shape == (0, 3)
    assert mask(torch.zeros(2, 3, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert mask.canonical(torch.tensor([], dtype=torch.long)).shape == (0,)


@pytest.mark.parametrize("groups", [[], [()], [(1,), (1, 2)], [(-1,)]])
def test_groups_that_mean_nothing_are_refused(groups):
    with pytest.raises(ValueError, match="class"):
        ClassMask(groups)

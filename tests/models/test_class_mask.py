"""Restricted predictions against a naive loop over images and groups."""

import pytest
import torch

from lightning_robust.models.class_mask import ClassMask
from lightning_robust.models.evaluate import predict_largest
from lightning_robust.models.evaluate_rules import AnswerRule


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


def test_logits_that_are_no_numbers_are_wrong_whatever_the_target():
    lost = torch.full((3, 3), torch.nan)
    lost[1] = torch.tensor([0.0, torch.nan, 9.0])
    lost[2] = torch.tensor([1.0, 5.0, 0.0])
    targets = torch.tensor([0, 0, 1])
    assert predict_largest(lambda images: images, (lost, targets))[0].tolist() == [-1, -1, 1]
    for rule in (AnswerRule(), AnswerRule(ClassMask([(0,), (1, 2)])), AnswerRule(ClassMask([(0,), (1,), (2,)]))):
        right, covered = rule.correct(rule.predict(lost), targets)
        assert (right.tolist(), covered.tolist()) == ([False, False, True], [True] * 3)
    rule = AnswerRule(ClassMask([(0,), (1, 2)]), torch.ones(2, 1))
    assert rule.predict(lost, lost[:, :2]).tolist() == [-1, -1, 1]


def test_too_few_logits_are_one_sentence():
    with pytest.raises(ValueError, match=r"the mask names class 5: logits are \(n, 6 or more\)"):
        ClassMask([(5,), (0,)])(torch.zeros(2, 3))

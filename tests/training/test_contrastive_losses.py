"""The contrastive losses against open_clip's and against loops, whole and in shares."""

import math

import pytest
import torch
from open_clip.loss import ClipLoss, SigLipLoss
from torch.nn import functional

from lightning_robust.training import contrastive_loss, info_nce, siglip
from lightning_robust.training.contrastive_losses import identical

SCALE, BIAS = 7.0, -4.0
TOKENS = torch.tensor([[1, 5], [1, 6], [1, 5], [2, 5], [1, 5], [2, 5]])  # equal in every position, not just in one
SAME = [[i == j or {i, j} <= {0, 2, 4} or {i, j} <= {3, 5} for j in range(6)] for i in range(6)]


@pytest.fixture
def pairs():
    generator = torch.Generator().manual_seed(0)
    made = (torch.randn(6, 8, generator=generator, dtype=torch.float64) for _ in range(2))
    return [functional.normalize(each, dim=1).requires_grad_() for each in made]


def leaves():
    return [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (SCALE, BIAS)]


def logits_of(pairs, bias=0.0):
    return (SCALE * pairs[0] @ pairs[1].T + bias).tolist()


def test_with_different_captions_they_are_open_clips_with_its_gradients(pairs):
    scale, bias = leaves()
    different = torch.arange(6)[:, None]
    ours = [info_nce(*pairs, scale, tokens) for tokens in (None, different)]
    ours += [siglip(*pairs, scale, bias, tokens) for tokens in (None, different)]
    theirs = [ClipLoss()(*pairs, scale)] * 2 + [SigLipLoss()(*pairs, scale, bias)] * 2
    for mine, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-12, atol=0.0)
        wanted = [*pairs, scale, bias]
        gradients = [
            torch.autograd.grad(loss, wanted, retain_graph=True, allow_unused=True, materialize_grads=True)
            for loss in (mine, reference)
        ]
        torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-13)


def test_info_nce_with_identical_captions_is_a_loop(pairs):
    expected = 0.0
    logits = logits_of(pairs)
    for rows in (logits, list(zip(*logits, strict=True))):
        for row, same in zip(rows, SAME, strict=True):
            log_sum = math.log(sum(math.exp(x) for x in row))
            expected += sum(log_sum - x for x, one in zip(row, same, strict=True) if one) / sum(same) / 12
    found = info_nce(*pairs, torch.tensor(SCALE), TOKENS)
    assert found.item() == pytest.approx(expected, rel=1e-12)
    assert found.item() == contrastive_loss(*pairs, torch.tensor(SCALE), TOKENS).item()
    assert found.item() != pytest.approx(info_nce(*pairs, torch.tensor(SCALE)).item(), rel=1e-3)


def test_siglip_with_identical_captions_is_a_loop(pairs):
    expected = sum(
        math.log1p(math.exp(-x if one else x)) / 6
        for row, same in zip(logits_of(pairs, BIAS), SAME, strict=True)
        for x, one in zip(row, same, strict=True)
    )
    found = siglip(*pairs, torch.tensor(SCALE), torch.tensor(BIAS), TOKENS)
    assert found.item() == pytest.approx(expected, rel=1e-12)


def test_tied_embeddings_make_both_forms_of_info_nce_one(pairs):
    images, texts = pairs
    tied = texts[torch.tensor([0, 1, 0, 3, 0, 3])]
    scale = torch.tensor(SCALE)
    losses = [info_nce(images, tied, scale, tokens) for tokens in (None, TOKENS)]
    torch.testing.assert_close(*losses, rtol=1e-13, atol=0.0)
    gradients = [torch.autograd.grad(loss, pairs, retain_graph=True) for loss in losses]
    torch.testing.assert_close(*gradients, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("tokens", [None, TOKENS])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_mean_over_equal_shares_is_the_whole(pairs, tokens, size):
    (images, texts), (scale, bias) = pairs, leaves()
    shares = [slice(first, first + size) for first in range(0, 6, size)]
    whole = info_nce(images, texts, scale, tokens), siglip(images, texts, scale, bias, tokens)
    parts = (
        [info_nce(images, texts, scale, tokens, own=own) for own in shares],
        [siglip(images[own], texts, scale, bias, tokens, own=own) for own in shares],
    )
    for expected, part in zip(whole, parts, strict=True):
        torch.testing.assert_close(torch.stack(part).mean(), expected, rtol=1e-12, atol=0.0)


def test_identical_captions_are_found_in_rows_of_own():
    assert identical(TOKENS).tolist() == SAME
    assert identical(TOKENS, slice(2, 5)).tolist() == SAME[2:5]

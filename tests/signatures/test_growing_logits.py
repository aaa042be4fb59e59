"""What every pruning sweep has in common: distinct classes, logits that grow, images in blocks."""

import numpy as np
import pytest
import torch

from lightning_robust.models.class_mask import NO_CLASS as NO_CLASS_OF_THE_MODELS
from lightning_robust.models.class_mask import largest_class
from lightning_robust.signatures import NO_CLASS
from lightning_robust.signatures.growing_logits import answered, checked_counts, distinct_classes, growing_logits


def test_no_class_is_that_of_the_models():
    assert NO_CLASS == NO_CLASS_OF_THE_MODELS


def test_distinct_classes():
    W = torch.tensor([[2.0, 1.0], [0.0, 3.0], [2.0, 1.0], [-1.0, 0.0], [0.0, 3.0]])
    found = distinct_classes(W, None)
    assert found.weight.tolist() == [[2, 1], [0, 3], [-1, 0]]  # by their first class, not by their values
    assert found.first.tolist() == [0, 1, 3]
    assert found.row.tolist() == [0, 1, 0, 2, 1]
    assert found.weight.dtype == found.bias.dtype == torch.float64
    biased = distinct_classes(W, torch.tensor([0.0, 1.0, 0.5, 0.0, 1.0]))
    assert biased.first.tolist() == [0, 1, 2, 3]
    assert biased.bias.tolist() == [0, 1, 0.5, 0]
    assert torch.equal(biased.weight[biased.row], W.double())


def test_answers_are_those_of_the_models():
    found = distinct_classes(torch.tensor([[1.0], [2.0], [1.0], [3.0]]), None)
    rows = torch.tensor(
        [
            [0, 2, 1],
            [5, 5, 5],
            [0, 7, 7],
            [torch.nan, 2, 3],
            [1, 2, torch.nan],
            [-torch.inf, -torch.inf, -torch.inf],
            [-torch.inf, 0, -1],
            [torch.inf, 0, -1],
        ],
        dtype=torch.float64,
    )
    (answers,) = found.predict([rows], None)
    assert answers.tolist() == [1, 0, 1, -1, -1, -1, 1, 0]
    assert torch.equal(answers, largest_class(rows[:, found.row]))
    assert torch.equal(answers, found.predict([rows], largest_class)[0])


def test_logits_grow_to_those_of_one_product():
    generator = torch.Generator().manual_seed(0)
    start, coefficients, pieces = (
        torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((5, 7), (5, 9), (9, 7))
    )
    for counts in (range(10), [0, 4, 9], [9], [3, 4, 5, 8], [0]):
        seen = [logits.clone() for logits in growing_logits(start.clone(), coefficients, pieces, counts)]
        for count, logits in zip(counts, seen, strict=True):
            np.testing.assert_allclose(logits, start + coefficients[:, :count] @ pieces[:count], rtol=0, atol=1e-13)


def test_every_image_is_answered_once(monkeypatch):
    monkeypatch.setattr("lightning_robust.signatures.growing_logits._LOGITS", 8)
    classes = distinct_classes(torch.eye(3), None)
    sizes = []

    def grow(rows):
        sizes.append(len(rows))
        return [rows, -rows]

    features = torch.tensor([[1.0, 2, 3], [3, 2, 1], [2, 3, 1], [torch.inf, 0, 0], [0, 0, 9]])
    found = answered(features, classes, grow, None)
    assert found.tolist() == [[2, 0, 1, -1, 2], [0, 2, 2, -1, 0]]
    assert sizes == [2, 2, 1]


def test_counts():
    assert checked_counts(None, 3, "kept") == (3, 2, 1, 0)
    assert checked_counts([2, 0], 3, "kept") == (2, 0)
    with pytest.raises(ValueError, match=r"kept must be different numbers from 0 to 3, not \[4\]"):
        checked_counts([4], 3, "kept")

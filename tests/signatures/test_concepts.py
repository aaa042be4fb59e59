"""Average precision against scikit-learn, with ties and unknowns."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from lightning_robust.signatures import concept_average_precision, signed_average_precision


def sklearn_ap(scores, labels, unknown, sign=1):
    result = np.full((scores.shape[1], labels.shape[1]), np.nan)
    for i in range(scores.shape[1]):
        for c in range(labels.shape[1]):
            known = labels[:, c] >= 0 if unknown == "ignore" else np.ones(len(labels), dtype=bool)
            y = (labels[known, c] == 1).astype(int)
            if y.any():
                result[i, c] = average_precision_score(y, sign * scores[known, i])
    return result


def compare(scores, labels, unknown):
    up, down = (sklearn_ap(scores, labels, unknown, sign) for sign in (1, -1))
    tensors = torch.from_numpy(scores), torch.from_numpy(labels)
    np.testing.assert_allclose(concept_average_precision(*tensors, unknown), up, rtol=1e-12)
    np.testing.assert_allclose(signed_average_precision(*tensors, unknown), np.fmax(up, down), rtol=1e-12)


@st.composite
def problems(draw):
    n, D, C = draw(st.integers(1, 25)), draw(st.integers(1, 3)), draw(st.integers(1, 5))
    levels = draw(st.sampled_from([2, 4, 1000]))  # few levels: many ties
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scores = rng.integers(-levels, levels, size=(n, D)) / 8
    return scores.astype(draw(st.sampled_from([np.float32, np.float64]))), rng.integers(-1, 2, size=(n, C))


@pytest.mark.parametrize("unknown", ["ignore", "negative"])
@settings(max_examples=60, derandomize=True)
@given(problems())
def test_equals_sklearn(unknown, problem):
    compare(*problem, unknown)


@pytest.mark.parametrize("unknown", ["ignore", "negative"])
@pytest.mark.parametrize("ties", [False, True])
def test_equals_sklearn_when_categories_share_their_unknowns(unknown, ties):
    """Masks that several concepts share, as categories do, and a rectified feature with a block of zeros."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(400, 4)).astype(np.float32)
    if ties:
        scores = np.maximum(scores, 0)
    labels = (rng.random((400, 9)) < 0.1).astype(np.int8)
    for columns in (slice(0, 3), slice(3, 6)):
        labels[rng.random(400) < 0.4, columns] = -1
    compare(scores, labels, unknown)


def test_known_answers():
    scores = torch.tensor([[4.0], [3.0], [2.0], [1.0]])
    labels = torch.tensor([[1, 0, 1, -1, 0], [0, 0, 1, 1, 0], [0, 0, 1, 0, 0], [1, 1, 1, 0, 0]])
    want = [(1 + 2 / 4) / 2, 1 / 4, 1, 1, float("nan")]
    np.testing.assert_allclose(concept_average_precision(scores, labels)[0], want)
    assert float(concept_average_precision(scores, labels, "negative")[0, 3]) == 0.5
    assert float(signed_average_precision(scores, labels)[0, 1]) == 1


def test_equal_scores_give_the_prevalence():
    labels = torch.tensor([[1], [0], [0], [1], [0], [-1]])
    assert float(concept_average_precision(torch.zeros(6, 1), labels)) == pytest.approx(2 / 5)


@settings(max_examples=20, derandomize=True)
@given(problems())
def test_laws(problem):
    """Signed AP knows no sign and no scale; and only the order counts."""
    scores, labels = (torch.from_numpy(x) for x in problem)
    base = signed_average_precision(scores, labels)
    for other in (-scores, scores * 0.25, (scores.double() * 3).exp()):
        torch.testing.assert_close(signed_average_precision(other, labels), base, rtol=1e-12, atol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int8, torch.int64])
def test_label_dtypes(dtype):
    labels = torch.tensor([[1], [0], [1]]).to(dtype)
    assert float(concept_average_precision(torch.tensor([[3.0], [2.0], [1.0]]), labels)) == pytest.approx(5 / 6)


def test_half_precision_scores():
    scores = torch.randn(50, 2, generator=torch.Generator().manual_seed(0)).bfloat16()
    labels = torch.randint(0, 2, (50, 3), generator=torch.Generator().manual_seed(1))
    want = sklearn_ap(scores.double().numpy(), labels.numpy(), "ignore")
    np.testing.assert_allclose(concept_average_precision(scores, labels), want, rtol=1e-12)


def test_nothing_to_score():
    assert concept_average_precision(torch.zeros(3, 0), torch.ones(3, 2, dtype=torch.int8)).shape == (0, 2)
    assert concept_average_precision(torch.zeros(0, 2), torch.ones(0, 3, dtype=torch.int8)).isnan().all()
    assert signed_average_precision(torch.zeros(3, 2), torch.ones(3, 0, dtype=torch.int8)).shape == (2, 0)
    assert signed_average_precision(torch.zeros(3, 0), torch.ones(3, 2, dtype=torch.int8)).shape == (0, 2)


def test_refusals():
    scores, labels = torch.zeros(3, 1), torch.zeros(3, 1, dtype=torch.int8)
    with pytest.raises(ValueError, match="NaN"):
        concept_average_precision(scores * float("nan"), labels)
    with pytest.raises(ValueError, match="from 0 to 2"):
        concept_average_precision(scores, labels + torch.tensor([[0], [1], [2]]))
    with pytest.raises(ValueError, match="from 128 to 128"):
        concept_average_precision(scores, labels.int() + 128)
    with pytest.raises(Exception, match=r"same images|Type-check"):
        concept_average_precision(scores, labels[:2])

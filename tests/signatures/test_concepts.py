"""Average precision against scikit-learn, with ties and unknowns."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score
from torchmetrics.functional.classification import binary_average_precision

from lightning_robust.signatures import (
    SparseLabels,
    concept_average_precision,
    signed_average_precision,
    two_sided_average_precision,
)
from lightning_robust.signatures.concept_ranking import PositiveRanking


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
    for found, want in zip(two_sided_average_precision(*tensors, unknown), (up, down), strict=True):
        np.testing.assert_allclose(found, want, rtol=1e-12)
    sparse = SparseLabels.from_dense(tensors[1])
    assert_equal(
        two_sided_average_precision(tensors[0], sparse, unknown), two_sided_average_precision(*tensors, unknown)
    )


def assert_equal(found, want):
    for a, b in zip(found, want, strict=True):
        np.testing.assert_array_equal(a, b)


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


def naive_ap(scores, labels):
    """The definition, image by image."""
    known = [i for i in range(len(labels)) if labels[i] >= 0]
    positives = [i for i in known if labels[i] == 1]
    precisions = []
    for i in positives:
        above = [j for j in known if scores[j] >= scores[i]]
        precisions.append(sum(1 for j in above if labels[j] == 1) / len(above))
    return sum(precisions) / len(precisions) if precisions else math.nan


@settings(max_examples=40, derandomize=True)
@given(problems())
def test_equals_the_definition(problem):
    scores, labels = problem
    up, down = two_sided_average_precision(torch.from_numpy(scores), torch.from_numpy(labels))
    for found, sign in ((up, 1), (down, -1)):
        want = [[naive_ap(sign * column, y) for y in labels.T] for column in scores.T]
        np.testing.assert_allclose(found, want, rtol=1e-12)


@pytest.mark.parametrize("decimals", [None, 1, 0])
def test_equals_torchmetrics(decimals):
    """Inputs as torchmetrics tests its binary average precision: batches of random floats, here with ties too."""
    generator = torch.Generator().manual_seed(42)
    scores, labels = torch.rand(320, generator=generator), torch.randint(0, 2, (320,), generator=generator)
    if decimals is not None:
        scores = scores.round(decimals=decimals)
    want = binary_average_precision(scores, labels)
    found = concept_average_precision(scores[:, None], labels[:, None])
    assert float(found) == pytest.approx(float(want), rel=1e-5)  # theirs is in float32


def broden_like(n=700, seed=0):
    """Six categories annotated by source as in Broden, concepts from rare to common.

    The layout makes blocks of several rows and groups of concepts that share their known images; 9 directions, since
    four are ranked together, and the last of them may be alone.
    """
    rng = np.random.default_rng(seed)
    source = rng.choice(4, n, p=[0.35, 0.16, 0.4, 0.09])
    columns = []
    for sources, concepts in (([0], 20), ([0, 1], 40), ([0, 1], 20), ([2], 6), ([3], 5), ([0, 1, 2, 3], 4)):
        known = np.isin(source, sources)
        for rarity in range(concepts):
            columns.append(np.where(known, rng.random(n) < 0.4 / (1 + rarity), -1))
    return rng.normal(size=(n, 9)).astype(np.float32), np.stack(columns, axis=1).astype(np.int8)


@pytest.mark.parametrize("unknown", ["ignore", "negative"])
@pytest.mark.parametrize("ties", ["none", "few", "rectified", "coarse", "constant"])
def test_equals_sklearn_on_the_layout_of_broden(unknown, ties):
    scores, labels = broden_like()
    scores = {
        "none": scores[:, :2],
        "few": np.where(np.arange(700)[:, None] % 50 == 0, np.float32(0.5), scores)[:, 1:4],
        "rectified": np.maximum(scores, 0)[:, 2:4],
        "coarse": scores.round(1)[:, :2],
        "constant": scores[:, :1] * 0,
    }[ties]
    compare(scores, labels, unknown)


def test_more_kinds_of_known_images_than_fit_a_byte():
    rng = np.random.default_rng(3)
    labels = rng.integers(-1, 2, size=(60, 21))
    compare(rng.normal(size=(60, 5)).round(1), labels, "ignore")


def test_directions_do_not_depend_on_their_neighbours():
    scores, labels = (torch.from_numpy(x) for x in broden_like())
    together = two_sided_average_precision(scores, labels)
    each = [two_sided_average_precision(column, labels) for column in scores.split(1, dim=1)]
    alone = [torch.cat(parts) for parts in zip(*each, strict=True)]
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-14)


def test_images_in_any_order_give_the_same_bits():
    scores, labels = (torch.from_numpy(x) for x in broden_like())
    order = torch.randperm(len(scores), generator=torch.Generator().manual_seed(0))
    for s in (scores, scores.relu()):
        assert_equal(two_sided_average_precision(s[order], labels[order]), two_sided_average_precision(s, labels))


def test_a_ranking_serves_again_and_again():
    """Its tables are written over by every direction: nothing of the last may be left."""
    scores, labels = broden_like()
    ranking = PositiveRanking(SparseLabels.from_dense(torch.from_numpy(labels)), everything_known=False)
    rows = [np.ascontiguousarray(x) for x in (scores.T, np.maximum(scores, 0).T, scores.round(1).T[:3])]
    first = [ranking.average_precision(x) for x in rows]
    for x, want in reversed(list(zip(rows, first, strict=True))):
        assert_equal(ranking.average_precision(x), want)


def test_zeros_of_both_signs_and_infinities():
    scores = torch.tensor([[0.0], [-0.0], [float("inf")], [-float("inf")], [float("inf")]])
    labels = torch.tensor([[1], [0], [0], [1], [1]], dtype=torch.int8)
    for dtype in (torch.float32, torch.float64):
        assert float(concept_average_precision(scores.to(dtype), labels)) == pytest.approx((1 / 2 + 2 / 4 + 3 / 5) / 3)


@pytest.mark.parametrize(("label", "want"), [(1, 1.0), (0, math.nan), (-1, math.nan)])
def test_one_image(label, want):
    found = signed_average_precision(torch.ones(1, 2), torch.tensor([[label]]))
    np.testing.assert_array_equal(found, [[want], [want]])


def test_a_perfect_direction_is_exactly_one():
    """So that a threshold of 1 can be met."""
    labels = torch.zeros(2000, 40, dtype=torch.int8)
    for c in range(40):
        labels[: 49 * (c + 1), c] = 1
    scores = -torch.arange(2000.0)[:, None]
    assert bool((signed_average_precision(torch.cat([scores, -scores], dim=1), labels) == 1).all())


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


def test_integers_are_not_rounded():
    """As float32 these two would be equal, and the average precision 1/2."""
    scores, labels = torch.tensor([[2**24 + 1], [2**24]]), torch.tensor([[1], [0]])
    for dtype in (torch.int32, torch.int64):
        assert float(concept_average_precision(scores.to(dtype), labels)) == 1


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
    with pytest.raises(Exception, match=r"'ignore' or 'negative'|Type-check"):
        concept_average_precision(scores, labels, "positive")

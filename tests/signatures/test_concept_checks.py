"""Whatever is wrong with an input of the concepts is said in one sentence, without the type check of the tests."""

import re

import jaxtyping
import pytest
import torch

from lightning_robust.signatures import (
    ConceptAveragePrecision,
    SparseLabels,
    concept_average_precision,
    concept_lists,
    count_concepts,
    eligible_concepts,
    neurons,
    permute_within_category,
    signed_average_precision,
)
from lightning_robust.signatures.concept_checks import check_computed, check_tensor

SCORES, LABELS = torch.rand(12, 3), torch.randint(-1, 2, (12, 4))
AP, ELIGIBLE, SHARES = torch.rand(3, 4).double(), torch.ones(4, dtype=torch.bool), torch.full((4,), 0.1).double()
IMAGES, CONCEPTS, ANNOTATED = torch.tensor([0, 1]), torch.tensor([2, 3]), torch.ones(2, 1, dtype=torch.bool)
NAMES, CATEGORIES = list("abcd"), ["part"] * 4


@pytest.fixture(autouse=True)
def _as_for_users():
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def score(h, labels):
    ConceptAveragePrecision({"neurons": neurons(3)}).update(h, labels)


def listed(ap=AP, prevalence=SHARES, **kwargs):
    return concept_lists(ap, NAMES, CATEGORIES, prevalence, **kwargs)


def pairs(images=IMAGES, concepts=CONCEPTS, annotated=ANNOTATED):
    return SparseLabels.from_pairs(images, concepts, annotated, [0] * 4)


ARRAYS = {
    "scores": [lambda: concept_average_precision(SCORES.numpy(), LABELS)],
    "labels": [
        lambda: concept_average_precision(SCORES, LABELS.numpy()),
        lambda: signed_average_precision(SCORES, LABELS.numpy()),
        lambda: eligible_concepts(LABELS.numpy()),
        lambda: permute_within_category(LABELS.numpy(), CATEGORIES),
        lambda: SparseLabels.from_dense(LABELS.numpy()),
        lambda: score(SCORES, LABELS.numpy()),
    ],
    "features": [lambda: score(SCORES.numpy(), LABELS)],
    "basis 'b'": [lambda: ConceptAveragePrecision({"b": torch.eye(3).numpy()})],
    "ap": [lambda: count_concepts(AP.numpy(), ELIGIBLE), lambda: listed(AP.numpy())],
    "eligible": [lambda: count_concepts(AP, ELIGIBLE.numpy()), lambda: listed(eligible=ELIGIBLE.numpy())],
    "prevalence": [lambda: listed(prevalence=SHARES.numpy())],
    "negative": [lambda: listed(negative=(AP > 2).numpy())],
    "images": [lambda: pairs(images=IMAGES.numpy())],
    "concepts": [lambda: pairs(concepts=CONCEPTS.numpy())],
    "annotated": [lambda: pairs(annotated=ANNOTATED.numpy())],
    "known": [lambda: SparseLabels(IMAGES.int() * 0, IMAGES[:0].int(), ANNOTATED.byte().numpy(), 4)],
}


@pytest.mark.parametrize(("name", "call"), [(name, call) for name, calls in ARRAYS.items() for call in calls])
def test_arrays(name, call):
    with pytest.raises(TypeError, match=f"^{name} must be a torch tensor, not ndarray\\.$"):
        call()


SENTENCES = [
    (lambda: concept_average_precision(SCORES, LABELS[:, 0]), "labels must have shape (n, C), not (12,)."),
    (lambda: concept_average_precision(SCORES[:, 0], LABELS), "scores must have shape (n, D), not (12,)."),
    (lambda: signed_average_precision(SCORES[..., None], LABELS), "scores must have shape (n, D), not (12, 3, 1)."),
    (lambda: eligible_concepts(LABELS[:, 0]), "labels must have shape (n, C), not (12,)."),
    (lambda: permute_within_category(LABELS[:, 0], CATEGORIES), "labels must have shape (n, C), not (12,)."),
    (lambda: score(SCORES, LABELS[:, 0]), "labels must have shape (n, C), not (12,)."),
    (lambda: score(SCORES, LABELS[:10]), "12 images came with labels for 10."),
    (lambda: concept_average_precision(SCORES, LABELS[:2]), "scores have 12 images and labels 2"),
    (lambda: concept_average_precision(SCORES, LABELS, "positive"), "must be 'ignore' or 'negative', not 'positive'."),
    (lambda: count_concepts(AP[0], ELIGIBLE), "ap must have shape (D, C), not (4,)."),
    (lambda: count_concepts(AP, ELIGIBLE[:3]), "ap is of 4 concepts and eligible of 3."),
    (lambda: count_concepts(AP, ELIGIBLE[None]), "eligible must have shape (C,), not (1, 4)."),
    (lambda: listed(AP[0]), "ap must have shape (D, C), not (4,)."),
    (lambda: listed(eligible=ELIGIBLE[:3]), "ap is of 4 concepts and eligible of 3."),
    (lambda: listed(negative=AP[:2] > 2), "negative must have the shape of ap, (3, 4), not (2, 4)."),
    (lambda: pairs(annotated=ANNOTATED[0]), "annotated must have shape (n, K), not (1,)."),
]


@pytest.mark.parametrize(("call", "sentence"), SENTENCES, ids=[sentence for _, sentence in SENTENCES])
def test_shapes(call, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        call()


@pytest.mark.parametrize(
    "call",
    [lambda flags: count_concepts(AP, flags), lambda flags: listed(eligible=flags)],
    ids=["count_concepts", "concept_lists"],
)
def test_zeros_and_ones_are_not_taken_for_positions(call):
    with pytest.raises(TypeError, match=r"^eligible must be bool, not int64\.$"):
        call(torch.tensor([0, 1, 0, 1]))


def test_a_single_number_that_torchmetrics_squeezed():
    metric = ConceptAveragePrecision({"one": torch.eye(3)[:, :1]})
    metric.update(torch.eye(3).repeat(10, 1), torch.eye(3)[:, :1].repeat(10, 1))
    result = metric.compute()
    assert result["ap/one"].ndim == result["eligible"].ndim == 0
    assert count_concepts(result["ap/one"], result["eligible"], (0.9,)).unique_concepts == (1,)
    (found,) = concept_lists(
        result["ap/one"], ["a"], ["part"], result["prevalence"], negative=result["negative/one"],
        eligible=result["eligible"],
    )  # fmt: skip
    assert found.names == (("a", "part"),)


def test_what_is_right_is_handed_back():
    assert check_tensor(AP, "ap", "(D, C)") is AP
    assert check_computed(ELIGIBLE, "eligible", "(C,)", flags=True) is ELIGIBLE
    assert check_tensor(AP[None], "anything").ndim == 3

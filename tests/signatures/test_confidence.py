"""Confidence: known answers, another implementation of the calibration error, and what does not matter."""

import math

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from lightning_robust.signatures import CALIBRATION_BINS, PredictionConfidence, measure, prediction_confidence


def some(n=500, C=12, scale=2.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(n, C, generator=generator, dtype=torch.float64)
    truth = torch.where(torch.rand(n, generator=generator) < 0.4, logits.argmax(dim=1), 3)
    return logits, truth


def test_known_answers():
    logits = torch.tensor([[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [1 / 3, 1 / 3, 1 / 3]], dtype=torch.float64).log()
    report = prediction_confidence(logits, torch.tensor([0, 1, -1]))
    assert report.mean == pytest.approx((0.7 + 0.5 + 1 / 3) / 3)
    assert report.margin == pytest.approx((0.5 + 0.2) / 3)
    entropies = [-sum(p * math.log(p) for p in row) / math.log(3) for row in ((0.7, 0.2, 0.1), (0.5, 0.3, 0.2))]
    assert report.entropy == pytest.approx((sum(entropies) + 1) / 3)
    assert (report.n, report.labelled, report.not_finite, report.accuracy) == (3, 2, 0, 0.5)
    assert report.overconfidence == pytest.approx(0.6 - 0.5)
    assert report.ece == pytest.approx((0.3 + 0.5) / 2)
    assert report.bin_images.tolist() == [0] * 7 + [1, 0, 0, 1] + [0] * 4  # 0.5 in (7/15, 8/15], 0.7 in (10/15, 11/15]
    assert report.bin_accuracy[[7, 10]].tolist() == [0.0, 1.0]


def test_a_sure_classifier_and_one_that_knows_nothing():
    sure = prediction_confidence(torch.eye(4) * 1e4, torch.arange(4))
    assert (sure.mean, sure.entropy, sure.margin, sure.accuracy, sure.ece) == (1.0, 0.0, 1.0, 1.0, 0.0)
    assert sure.bin_images.tolist() == [0] * 14 + [4]
    nothing = prediction_confidence(torch.zeros(5, 8))
    assert (nothing.mean, nothing.entropy, nothing.margin) == pytest.approx((1 / 8, 1.0, 0.0))
    assert all(math.isnan(x) for x in (nothing.accuracy, nothing.overconfidence, nothing.ece))
    one = prediction_confidence(torch.zeros(2, 1), torch.zeros(2, dtype=torch.int64))
    assert (one.mean, one.accuracy) == (1.0, 1.0)
    assert math.isnan(one.entropy)
    assert math.isnan(one.margin)


def test_the_calibration_error_is_that_of_torchmetrics():
    logits, truth = some()
    ours = prediction_confidence(logits, truth)
    theirs = multiclass_calibration_error(logits.softmax(dim=1), truth, num_classes=12, n_bins=CALIBRATION_BINS)
    assert ours.ece == pytest.approx(float(theirs), abs=1e-6)
    assert ours.ece >= abs(ours.overconfidence) - 1e-12
    assert ours.ece > 0.05


def test_temperature_changes_how_sure_it_is_and_not_what_it_answers():
    logits, truth = some()
    cool, warm = (prediction_confidence(logits / t, truth) for t in (0.5, 2.0))
    assert cool.accuracy == warm.accuracy
    assert cool.mean > warm.mean
    assert cool.entropy < warm.entropy
    shifted = prediction_confidence(logits + torch.linspace(-50, 50, len(logits))[:, None], truth)
    assert shifted.mean == pytest.approx(prediction_confidence(logits, truth).mean, rel=1e-12)


@pytest.mark.parametrize("unit_norm", [False, True])
def test_a_head_s_logits_are_those_of_the_head(unit_norm):
    generator = torch.Generator().manual_seed(1)
    h = torch.randn(70, 16, generator=generator)
    head = torch.nn.Linear(16, 6)
    with torch.no_grad():
        logits = head(torch.nn.functional.normalize(h, dim=1) if unit_norm else h)
    truth = torch.randint(0, 6, (70,), generator=generator)
    metric = PredictionConfidence(head.weight, head.bias, unit_norm=unit_norm)
    metric.update(h, truth)
    found, want = metric.compute(), prediction_confidence(logits, truth)
    for name in ("mean", "entropy", "margin", "overconfidence", "ece"):
        assert float(found[name]) == pytest.approx(getattr(want, name), rel=1e-5)
    assert float(found["accuracy"]) == want.accuracy
    with torch.no_grad():
        head.weight.zero_()
    metric.update(h, truth)
    assert float(metric.compute()["mean"]) == pytest.approx(want.mean, rel=1e-5)  # training on changes nothing


def test_batches_ranks_and_unlabelled_images_merge_exactly():
    logits, truth = some()
    want = prediction_confidence(logits, torch.cat([truth[:300], torch.full((200,), -1)]))
    first, second, third = PredictionConfidence(), PredictionConfidence(), PredictionConfidence()
    first.update(logits[:7], truth[:7])
    second.update(logits[7:300], truth[7:300].to(torch.int32))
    third.update(logits[300:])
    for other in (second, third):
        first.merge_state(other)
    found = first.compute()
    for name in ("mean", "entropy", "margin", "accuracy", "overconfidence", "ece"):
        assert float(found[name]) == pytest.approx(getattr(want, name), rel=1e-12)
    assert torch.equal(found["bin_images"], want.bin_images)
    assert int(found["labelled"]) == 300


def test_other_classes_and_other_heads_are_not_merged():
    one, other = PredictionConfidence(), PredictionConfidence()
    one.update(torch.zeros(2, 5))
    other.update(torch.zeros(2, 6))
    with pytest.raises(ValueError, match="5 features and of 6"):
        one.merge_state(other)
    with pytest.raises(ValueError, match="5 classes, now it got 6"):
        one.update(torch.zeros(2, 6))
    W = torch.ones(3, 4)
    with pytest.raises(ValueError, match="another unit_norm"):
        PredictionConfidence(W, unit_norm=True).merge_state(PredictionConfidence(W))
    with pytest.raises(ValueError, match="reads 4 features, the layer gave 5"):
        PredictionConfidence(W).update(torch.zeros(2, 5))


def test_logits_without_end_are_left_out_with_their_labels():
    logits, truth = some(n=6)
    logits[2, 0] = math.inf
    found, want = (
        prediction_confidence(logits, truth),
        prediction_confidence(logits[[0, 1, 3, 4, 5]], truth[[0, 1, 3, 4, 5]]),
    )
    assert (found.n, found.labelled, found.not_finite) == (6, 5, 1)
    assert (found.mean, found.accuracy) == pytest.approx((want.mean, want.accuracy))


def test_measured_with_labels_of_the_batches():
    logits, truth = some(n=40)
    model = torch.nn.Identity()
    batches = [(x, y) for x, y in zip(logits.split(16), truth.split(16), strict=True)]
    found = measure(model, batches, {"": PredictionConfidence()})[""]["PredictionConfidence"]
    assert float(found["accuracy"]) == np.mean((logits.argmax(dim=1) == truth).tolist())


@pytest.mark.parametrize(
    ("labels", "error", "words"),
    [
        (torch.zeros(3), TypeError, "whole numbers, not torch.float32"),
        ([0, 1, 2], TypeError, "whole numbers, not list"),
        (torch.zeros(2, dtype=torch.int64), ValueError, r"shape \(3,\), one for each image, not \(2,\)"),
        (torch.tensor([0, 1, 4]), ValueError, "from 0 to 3, or -1 where unknown, not 4"),
        (torch.tensor([0, -2, 1]), ValueError, "not -2"),
    ],
)
def test_wrong_labels_are_an_error(labels, error, words):
    metric = PredictionConfidence()
    with pytest.raises(error, match=words):
        PredictionConfidence.update.__wrapped__(metric, torch.zeros(3, 4), labels)  # types are not checked at the door


def test_no_image_and_settings_without_a_head_are_an_error():
    with pytest.raises(ValueError, match="at least one image"):
        prediction_confidence(torch.zeros(0, 4))
    with pytest.raises(ValueError, match="belong to a head"):
        PredictionConfidence(unit_norm=True)

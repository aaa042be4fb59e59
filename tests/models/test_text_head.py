"""A head that follows its text tower, whoever changes the weights and how."""

import itertools

import pytest
import torch
from torch import nn

from lightning_robust.models import ImageClassifier, load_encoder, zero_shot_head
from lightning_robust.models import text_head as module_under_test
from lightning_robust.models.evaluate import evaluate_path
from lightning_robust.models.interpolate import interpolate
from lightning_robust.models.text_head import TextHeadClassifier

NAMES, TEMPLATES = ["star", "heart", "boat"], ["a photo of a {}.", "the {}"]


@pytest.fixture
def encoder():
    return load_encoder("scenes-clip")


@pytest.fixture
def model(encoder):
    return TextHeadClassifier(encoder.model, encoder.tokenizer, NAMES, TEMPLATES, encoder.embed_dim).eval()


def by_hand(encoder):
    return zero_shot_head(encoder.model, encoder.tokenizer, NAMES, TEMPLATES)


def test_it_classifies_as_an_image_classifier_with_the_zero_shot_head(model, encoder):
    images = torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(model(images), ImageClassifier(encoder.model, by_hand(encoder))(images))


def test_the_head_follows_changes_in_place_past_the_version_counter_and_by_loading(model, encoder):
    images, weight = torch.rand(2, 3, 32, 32), encoder.model.token_embedding.weight
    changes = [
        lambda: weight.data.mul_(1.5),  # as averaging swaps weights
        lambda: nn.init.normal_(encoder.model.text_projection, generator=torch.Generator().manual_seed(0)),
        lambda: encoder.model.logit_scale.data.sub_(0.5),
        lambda: encoder.model.load_state_dict(load_encoder("scenes-clip").model.state_dict()),
    ]
    seen = [model.refresh().clone()]
    for change in changes:
        change()
        with torch.no_grad():
            model(images)
        assert torch.equal(model.head.weight, by_hand(encoder))
        seen.append(model.head.weight.detach().clone())
    assert not any(torch.equal(a, b) for a, b in itertools.pairwise(seen))
    assert torch.equal(seen[0], seen[-1])


def counted(model, monkeypatch):
    """Readings of all text weights."""
    full, read = TextHeadClassifier._fingerprint, []
    monkeypatch.setattr(TextHeadClassifier, "_fingerprint", lambda self: read.append(1) or full(self))
    return read


def test_an_unchanged_text_tower_is_read_once_for_all_batches_of_an_evaluation(model, encoder, monkeypatch):
    images, read = torch.rand(2, 3, 32, 32), counted(model, monkeypatch)
    for epoch in (1, 2):
        model.train().eval()
        with torch.inference_mode():
            for _ in range(5):
                model(images)
        assert len(read) == epoch
    head = by_hand(encoder)
    assert torch.equal(model.head.weight, head)


def test_a_change_between_two_batches_is_followed(model, encoder):
    """As averages and paths write: one entry past the version counters, by copying, or in other memory."""
    images, weight = torch.rand(1, 3, 32, 32), encoder.model.text_projection
    other = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    moved = weight.detach() + 0.1 * other
    changes = [
        lambda: weight.data.lerp_(other, 0.01),
        lambda: weight.detach().copy_(moved),
        lambda: setattr(weight, "data", moved.clone().mul_(2).add_(other)),
        lambda: encoder.model.token_embedding.weight.data.mul_(1.01),
    ]
    with torch.no_grad():
        model(images)
        for change in changes:
            before = model.head.weight.clone()
            change()
            model(images)
            assert not torch.equal(model.head.weight, before)
            assert torch.equal(model.head.weight, by_hand(encoder))


def test_one_value_written_past_the_counters_is_followed_by_the_next_evaluation(model, encoder):
    images, weight = torch.rand(1, 3, 32, 32), encoder.model.token_embedding.weight
    with torch.no_grad():
        model(images)
        weight.data[weight.shape[0] // 2 :, 1] += 1.0
        model.train().eval()(images)
        assert torch.equal(model.head.weight, by_hand(encoder))
        weight.data[weight.shape[0] // 2 :, 1] += 1.0
        assert torch.equal(model.refresh(), by_hand(encoder))


def test_an_overwritten_head_is_made_good(model, encoder):
    model.refresh()
    model.head.weight.data.zero_()
    with torch.no_grad():
        model(torch.rand(1, 3, 32, 32))
    assert torch.equal(model.head.weight, by_hand(encoder))


def test_each_head_of_a_path_is_made_once(model, encoder, monkeypatch):
    made = []
    monkeypatch.setattr(module_under_test, "zero_shot_head", lambda *given: made.append(1) or zero_shot_head(*given))
    theta0 = {name: value.clone() for name, value in model.state_dict().items()}
    theta1 = {n: v * 1.1 if v.is_floating_point() else v for n, v in theta0.items()}
    batches = [(torch.rand(2, 3, 32, 32), torch.tensor([0, 1]))] * 5
    evaluate_path(model, theta0, theta1, [0.0, 0.5, 1.0], {"a": batches, "b": batches}, block=1)
    assert len(made) == 3


def test_a_state_is_split_with_its_own_head_and_nothing_is_left_changed(model, encoder):
    model.refresh()
    theta0 = {name: value.clone() for name, value in model.state_dict().items()}
    theta1 = {n: v + 0.01 if v.is_floating_point() else v for n, v in theta0.items()}
    theta = interpolate(theta0, theta1, 0.5)
    clip, head = model.split_state(theta)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in theta0.items())
    assert set(clip) == set(encoder.model.state_dict())
    encoder.model.load_state_dict(clip)
    assert torch.equal(head["weight"], by_hand(encoder))


def test_only_a_few_heads_are_remembered(model, monkeypatch):
    monkeypatch.setattr(module_under_test, "_KEPT", 2)
    for _ in range(4):
        model.encoder.logit_scale.data.sub_(0.1)
        model.refresh()
    assert len(model._heads) == 2


def test_both_towers_can_be_trained_and_the_head_cannot(model):
    assert all(parameter.requires_grad for parameter in model.encoder.parameters())
    assert not model.head.weight.requires_grad

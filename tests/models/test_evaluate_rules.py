"""Rules of evaluation sets against loops over images, and what is shared between them."""

import pytest
import torch
from torch import nn

from lightning_robust.models import ImageClassifier
from lightning_robust.models.class_mask import ClassMask
from lightning_robust.models.evaluate_rules import AnswerRule, answer_by, rules_of_reference

GROUPS = ((4, 1), (2,), (5,))


@pytest.fixture
def logits():
    return torch.randn(200, 7, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def targets():
    return torch.randint(0, 7, (200,), generator=torch.Generator().manual_seed(1))


def test_matched_reference_accuracy_by_hand(logits, targets):
    rule = AnswerRule(ClassMask(GROUPS))
    right, covered = rule.correct(rule.predict(logits), targets)
    hits = images = 0
    for row, target in zip(logits.tolist(), targets.tolist(), strict=True):
        group = next((g for g in GROUPS if target in g), None)
        if group is None:
            continue
        images += 1
        hits += max(GROUPS, key=lambda g: max(row[c] for c in g)) == group
    assert (int(right.sum()), int(covered.sum())) == (hits, images)
    assert 0 < hits < images < 200
    assert not right[~covered].any()


def test_several_points_are_judged_at_once(logits, targets):
    rule = AnswerRule(ClassMask(GROUPS))
    both = torch.stack([rule.predict(logits), rule.predict(-logits)])
    right, _ = rule.correct(both, targets)
    assert torch.equal(right[1], rule.correct(both[1], targets)[0])
    assert not torch.equal(right[0], right[1])


def test_without_a_mask_every_image_counts(logits, targets):
    right, covered = AnswerRule().correct(AnswerRule().predict(logits), targets)
    assert covered.all()
    assert torch.equal(right, logits.argmax(1) == targets)


class Counting(nn.Identity):
    calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x)


def test_all_rules_share_one_forward_pass(logits, targets):
    model = Counting()
    rules = {"all": AnswerRule(), "some": AnswerRule(ClassMask(GROUPS))}
    predicted, true = answer_by(rules)(model, (logits, targets))
    assert model.calls == 1
    assert torch.equal(predicted["all"], logits.argmax(1))
    assert torch.equal(predicted["some"], ClassMask(GROUPS)(logits).argmax(1))
    assert true is targets


def test_a_head_of_the_sets_own(tiny):
    torch.manual_seed(3)
    model = ImageClassifier(tiny.model, torch.randn(7, 16)).eval()
    images = torch.randn(20, 3, 32, 32)
    with torch.no_grad():
        unit = torch.nn.functional.normalize(model.encode(images), dim=1)
        middle = unit.mean(0)  # the embeddings of random images lie close together: away from what they share
        own = unit[:3] - (unit[:3] @ middle)[:, None] * middle / middle.square().sum()
    rules = {"all": AnswerRule(), "objects": AnswerRule(ClassMask(GROUPS), own), "renamed": AnswerRule(head=-own)}
    with torch.no_grad():
        predicted, _ = answer_by(rules)(model, (images, torch.zeros(20)))
        h = model.encode(images)
        expected = [GROUPS[k][0] for k in ((h / h.norm(dim=1, keepdim=True)) @ own.T).argmax(1).tolist()]
        assert torch.equal(predicted["all"], model(images).argmax(1))
    assert predicted["objects"].tolist() == expected
    assert predicted["renamed"].tolist() == (h @ -own.T).argmax(1).tolist()
    assert len(set(expected)) > 1


def test_a_network_without_a_clips_head_is_refused(logits):
    with pytest.raises(ValueError, match="needs a CLIP with a linear head"):
        answer_by({"objects": AnswerRule(ClassMask(GROUPS), torch.ones(3, 7))})(nn.Identity(), (logits, logits))


def test_equal_masks_are_asked_once():
    shifts = {
        "v2": AnswerRule(),
        "r": AnswerRule(ClassMask(GROUPS)),
        "again": AnswerRule(ClassMask(GROUPS)),
        "a": AnswerRule(ClassMask([(0,)])),
        "own": AnswerRule(ClassMask(GROUPS), torch.ones(3, 4)),
    }
    assert list(rules_of_reference(shifts, AnswerRule())) == ["", "r", "a", "own"]

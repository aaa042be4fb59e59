"""The classifier: what it computes, what it trains, and what plain open_clip and torch load of it."""

import open_clip
import pytest
import torch
from torch import nn

from lightning_robust.models import ImageClassifier, load_encoder, split_classifier_state, zero_shot_head

NAMES, TEMPLATES = ["star", "heart"], ["a photo of a {}"]


@pytest.fixture
def classifier(tiny):
    return ImageClassifier(tiny.model, zero_shot_head(tiny.model, tiny.tokenizer, NAMES, TEMPLATES)).eval()


@pytest.fixture
def images():
    return torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_with_the_zero_shot_head_the_logits_are_clips(classifier, tiny_folder, images):
    clip = load_encoder(f"local-dir:{tiny_folder}")
    with torch.no_grad():
        image, text, scale = clip.model(images, clip.tokenizer(["a photo of a star", "a photo of a heart"]))
        torch.testing.assert_close(classifier(images), scale * image @ text.T, rtol=1e-5, atol=1e-5)


def test_hooks_by_name_see_raw_and_normalised_features(classifier, images):
    seen = {}
    for name in ("encoder.visual", "normalize", "head"):
        classifier.get_submodule(name).register_forward_hook(lambda _m, _a, out, name=name: seen.update({name: out}))
    logits = classifier(images)
    h = classifier.encode(images)
    torch.testing.assert_close(seen["encoder.visual"], h)
    torch.testing.assert_close(seen["normalize"], h / h.norm(dim=1, keepdim=True))
    assert torch.equal(seen["head"], logits)


def test_only_the_image_tower_and_the_head_train(classifier, images):
    classifier(images).sum().backward()
    moving = {name for name, parameter in classifier.named_parameters() if parameter.requires_grad}
    assert moving == {name for name, p in classifier.named_parameters() if p.grad is not None}
    assert all(name.startswith(("encoder.visual.", "head.")) for name in moving)
    frozen = {name for name, _ in classifier.named_parameters()} - moving
    assert {"encoder.logit_scale", "encoder.text_projection", "encoder.token_embedding.weight"} <= frozen


def test_the_parts_load_strictly_in_plain_open_clip_and_torch(classifier, tiny_folder, images):
    clip, _, _ = open_clip.create_model_and_transforms(f"local-dir:{tiny_folder}", load_weights=False)
    clip.load_state_dict(classifier.clip_state_dict(), strict=True)
    head = nn.Linear(16, 2, bias=False)
    head.load_state_dict(classifier.head_state_dict(), strict=True)
    with torch.no_grad():
        assert torch.equal(head(clip.eval().encode_image(images, normalize=True)), classifier(images))


def test_building_one_draws_no_random_numbers(tiny):
    state = torch.get_rng_state()
    ImageClassifier(tiny.model, torch.ones(2, 16))
    assert torch.equal(state, torch.get_rng_state())


def test_what_is_no_classifier_is_refused(tiny):
    with pytest.raises(ValueError, match=r"not of shape \(16,\)"):
        ImageClassifier(tiny.model, torch.ones(16))
    with pytest.raises(ValueError, match="no image tower"):
        ImageClassifier(nn.Linear(2, 2), torch.ones(2, 16))
    with pytest.raises(ValueError, match=r"\['fc\.weight'\]"):
        split_classifier_state({"fc.weight": torch.ones(1), "head.weight": torch.ones(1)})
    with pytest.raises(ValueError, match="no head"):
        split_classifier_state({"encoder.logit_scale": torch.ones(1)})

"""The zero-shot head against open_clip's own and against its definition."""

import open_clip
import pytest
import torch

from lightning_robust.models import load_encoder, zero_shot_head

NAMES, TEMPLATES = ["star", "fire truck", "heart"], ["a photo of a {}.", "the red {}"]


@pytest.mark.parametrize("batch_size", [1, 4, 256])
def test_it_is_open_clips_classifier_times_the_logit_scale(tiny, batch_size):
    expected = open_clip.build_zero_shot_classifier(tiny.model, tiny.tokenizer, NAMES, TEMPLATES).T
    head = zero_shot_head(tiny.model, tiny.tokenizer, NAMES, TEMPLATES, batch_size=batch_size)
    torch.testing.assert_close(head, expected * tiny.model.logit_scale.exp().item(), rtol=1e-5, atol=1e-6)
    assert not head.requires_grad


def test_rows_have_the_length_of_the_logit_scale_and_follow_the_definition(tiny):
    head = zero_shot_head(tiny.model, tiny.tokenizer, NAMES, TEMPLATES)
    scale = tiny.model.logit_scale.exp().item()
    torch.testing.assert_close(head.norm(dim=1), torch.full((3,), scale))
    with torch.no_grad():
        t = tiny.model.encode_text(tiny.tokenizer(["a photo of a fire truck.", "the red fire truck"]))
    mean = (t / t.norm(dim=1, keepdim=True)).mean(dim=0)
    torch.testing.assert_close(head[1], scale * mean / mean.norm())


def test_modes_gradients_and_random_states_stay(tiny):
    tiny.model.train()
    tiny.model.visual.eval()
    modes = [module.training for module in tiny.model.modules()]
    state = torch.get_rng_state()
    zero_shot_head(tiny.model, tiny.tokenizer, NAMES, TEMPLATES)
    assert modes == [module.training for module in tiny.model.modules()]
    assert torch.equal(state, torch.get_rng_state())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in tiny.model.parameters())


@pytest.mark.parametrize(
    ("names", "templates", "match"),
    [
        (["star", "zebra"], TEMPLATES, "'zebra' of the class name 'zebra'"),
        (NAMES, ["a sketch of a {}"], "'sketch' of the template"),
        (NAMES, ["a photo"], "has no {} where"),
        ([], TEMPLATES, "not 0 and 2"),
        ("star", TEMPLATES, "lists of texts"),
        ({"star": 0}, TEMPLATES, "lists of texts"),
        (NAMES, [3], "or a function of the class name, not 3"),
        (NAMES, [lambda name: None], "that is a function gives a text, not None"),
        (NAMES, [lambda name: "a star"], "'a star' for every name"),
        (NAMES, [lambda name: f"a sketch of {name}"], "'sketch' of the template"),
        (["star", "star"], TEMPLATES, "'star' stands twice"),
        (["star", "heart", "Star"], TEMPLATES, "gives 'star' and 'Star' the same row"),
        (NAMES, ["photo " * 40 + "{}"], "gives '.*' and '.*' the same row: the names stand beyond"),
    ],
)
def test_texts_that_would_be_misread_are_refused(tiny, names, templates, match):
    with pytest.raises(ValueError, match=match):
        zero_shot_head(tiny.model, tiny.tokenizer, names, templates)


@pytest.mark.parametrize("templates", [["a photo of a {c}.", "the red {c}"], ["{} star".format, "a {}"]])
def test_prompts_of_other_houses(tiny, templates):
    """CLIP_benchmark writes {c}; open_clip's own are functions."""
    plain = [("{} star" if callable(each) else each.replace("{c}", "{}")) for each in templates]
    expected = zero_shot_head(tiny.model, tiny.tokenizer, NAMES, plain)
    assert torch.equal(zero_shot_head(tiny.model, tiny.tokenizer, NAMES, templates), expected)


def test_a_function_may_change_the_name(tiny):
    head = zero_shot_head(tiny.model, tiny.tokenizer, ["FIRE_TRUCK", "heart"], [lambda c: f"a {c.replace('_', ' ')}"])
    assert torch.equal(head, zero_shot_head(tiny.model, tiny.tokenizer, ["fire truck", "heart"], ["a {}"]))


def test_the_names_that_imagenet_has_twice(architectures):
    clip = load_encoder("tiny", pretrained=False)
    head = zero_shot_head(clip.model, clip.tokenizer, open_clip.IMAGENET_CLASSNAMES, ["{}"])
    assert len(head) == 1000


def test_open_clips_templates_and_names(architectures):
    clip = load_encoder("tiny", pretrained=False)  # a byte-pair tokenizer: nothing is unknown to it
    names = open_clip.IMAGENET_CLASSNAMES[:2]
    head = zero_shot_head(clip.model, clip.tokenizer, names, open_clip.SIMPLE_IMAGENET_TEMPLATES)
    expected = open_clip.build_zero_shot_classifier(
        clip.model, clip.tokenizer, names, open_clip.SIMPLE_IMAGENET_TEMPLATES
    ).T
    torch.testing.assert_close(head, expected * clip.model.logit_scale.exp().item(), rtol=1e-4, atol=1e-5)


def test_a_name_with_braces_is_a_name(tiny):
    head = zero_shot_head(tiny.model, tiny.tokenizer, ["star {}", "heart"], ["a {}"])
    torch.testing.assert_close(head, zero_shot_head(tiny.model, tiny.tokenizer, ["star", "heart"], ["a {}"]))


def test_any_batch_size_gives_the_same_head(tiny):
    whole = zero_shot_head(tiny.model, tiny.tokenizer, NAMES, TEMPLATES, batch_size=1000)
    for size in (1, 2, 3, 5, 6):
        split = zero_shot_head(tiny.model, tiny.tokenizer, NAMES, TEMPLATES, batch_size=size)
        torch.testing.assert_close(split, whole, rtol=1e-6, atol=1e-6)
    with pytest.raises(ValueError, match="at least 1, not 0"):
        zero_shot_head(tiny.model, tiny.tokenizer, NAMES, TEMPLATES, batch_size=0)


@pytest.mark.parametrize("names", [["star", ""], ["star", "  "], ["star", 3]])
def test_what_is_no_name(tiny, names):
    with pytest.raises(ValueError, match="A class name is a text with a word in it"):
        zero_shot_head(tiny.model, tiny.tokenizer, names, TEMPLATES)

"""Shortened text contexts against open_clip's own `encode_text` over all places."""

import open_clip
import pytest
import torch

from lightning_robust.models.short_context import encode_texts

TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 3}
VISION = {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16}
TEXTS = ["a photo of a tench.", "cat", "a bad photo of the very large great white shark, seen from quite far away."]


def clip(kind=open_clip.CLIP, **text):
    torch.manual_seed(0)
    return kind(16, VISION, TEXT | text).eval()


def tokens(texts):
    return open_clip.get_tokenizer("ViT-B-32")(texts)


class Watch:
    """Lengths that the transformer saw."""

    def __init__(self, model):
        self.lengths = []
        inner = getattr(model, "text", model)
        inner.transformer.register_forward_pre_hook(lambda module, args: self.lengths.append(args[0].shape[1]))


@pytest.mark.parametrize("kind", [open_clip.CLIP, open_clip.CustomTextCLIP])
@pytest.mark.parametrize("pooling", [{}, {"pool_type": "eos", "eos_id": 49407}])
def test_a_causal_tower_gives_the_same_from_fewer_places(kind, pooling):
    model = clip(kind, **pooling)
    given = tokens(TEXTS)
    with torch.no_grad():
        whole = model.encode_text(given, normalize=True)
        watch = Watch(model)
        short = encode_texts(model, given)
    assert watch.lengths == [24]  # 20 tokens, rounded up to a multiple of eight
    torch.testing.assert_close(short, whole, rtol=0, atol=1e-6)
    assert (whole[0] - whole[2]).norm() > 0.01  # the texts differ, so equality says something


def test_the_model_is_left_as_it_was():
    model = clip()
    position, mask, names = model.positional_embedding, model.attn_mask, list(model.state_dict())
    with torch.no_grad():
        encode_texts(model, tokens(TEXTS))
    assert model.positional_embedding is position
    assert model.attn_mask is mask
    assert list(model.state_dict()) == names


@pytest.mark.parametrize(
    "text",
    [
        {"no_causal_mask": True},  # later places are seen
        {"pool_type": "last"},  # read behind the padding
        {"embed_cls": True},  # a token behind the padding is read
        {"context_length": 32},  # little to save
    ],
)
def test_other_towers_read_everything(text):
    model = clip(open_clip.CustomTextCLIP, **text)
    given = tokens(TEXTS)[:, : text.get("context_length", 77)]
    watch = Watch(model)
    with torch.no_grad():
        assert torch.equal(encode_texts(model, given), model.encode_text(given, normalize=True))
    assert watch.lengths[0] == watch.lengths[1]


def test_a_mask_that_is_not_causal_is_noticed():
    model = clip()
    model.attn_mask[0, 40] = 0.0
    watch = Watch(model)
    with torch.no_grad():
        encode_texts(model, tokens(TEXTS))
    assert watch.lengths == [77]


def test_a_text_that_fills_the_context_is_read_whole():
    model = clip()
    watch = Watch(model)
    with torch.no_grad():
        encode_texts(model, tokens(["word " * 100, "cat"]))
    assert watch.lengths == [77]

"""The remembered zero-shot head: the same bits as one made anew, and never that of other weights."""

import copy

import pytest
import torch
from torch import nn

from lightning_robust.models import load_encoder, zero_shot_head
from lightning_robust.models.current_head import CurrentHead

NAMES, TEMPLATES = ["star", "fire truck", "heart"], ["a photo of a {}.", "the red {}"]


@pytest.fixture
def clip(tiny_folder):
    return load_encoder(f"local-dir:{tiny_folder}")


def past_the_counters(model):
    """As Lightning's averages are swapped in."""
    model.ln_final.weight.data.copy_(model.ln_final.weight.data * 1.01)


def two_rows_swapped(model):
    """Sums and norms stay."""
    rows = model.token_embedding.weight.data
    rows[:] = rows.flip(0).clone()


def in_place(model):
    model.text_projection.detach().view(-1)[-1] += 0.5


def temperature(model):
    model.logit_scale.data += 0.25


def buffer(model):
    """Of no state dict."""
    model.attn_mask[3:, 1] = float("-inf")


def state(model):
    model.load_state_dict({name: value * 1.001 for name, value in model.state_dict().items()})


def step(model):
    optimizer = torch.optim.SGD([model.positional_embedding], lr=0.1)
    model.positional_embedding.grad = torch.ones_like(model.positional_embedding)
    optimizer.step()


def other_module(model):
    model.ln_final = nn.Identity()


def other_twin(model):
    """The same weights and another computation."""
    model.ln_final = copy.deepcopy(model.ln_final)
    model.ln_final.eps = 0.5


def precision(model):
    model.double()


CHANGES = [
    past_the_counters, two_rows_swapped, in_place, temperature, buffer, state, step, other_module, other_twin, precision
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_every_change_gives_a_new_head(clip, change):
    current = CurrentHead()
    before = current(clip.model, clip.tokenizer, NAMES, TEMPLATES)
    assert torch.equal(before, zero_shot_head(clip.model, clip.tokenizer, NAMES, TEMPLATES))
    with torch.no_grad():
        change(clip.model)
    after = current(clip.model, clip.tokenizer, NAMES, TEMPLATES)
    assert current.made == 2
    assert torch.equal(after, zero_shot_head(clip.model, clip.tokenizer, NAMES, TEMPLATES))
    assert not torch.equal(after, before)


def test_other_texts_another_tokenizer_and_another_model_give_another_head(clip, tiny_folder):
    current = CurrentHead()
    for names, templates in ((NAMES, TEMPLATES), (NAMES[::-1], TEMPLATES), (NAMES, TEMPLATES[:1])):
        head = current(clip.model, clip.tokenizer, names, templates)
        assert torch.equal(head, zero_shot_head(clip.model, clip.tokenizer, names, templates))
    assert current.made == 3
    current(clip.model, lambda texts: clip.tokenizer(texts), NAMES, TEMPLATES[:1])
    current(load_encoder(f"local-dir:{tiny_folder}").model, clip.tokenizer, NAMES, TEMPLATES[:1])
    assert current.made == 5


def test_the_same_text_tower_is_read_once_and_what_it_gives_is_the_callers_own(clip):
    current = CurrentHead()
    first = current(clip.model, clip.tokenizer, NAMES, TEMPLATES)
    expected = first.clone()
    first.zero_()
    clip.model.train()  # the mode is none of its business, nor is the image tower
    with torch.no_grad():
        clip.model.visual.conv1.weight.add_(1.0)
        clip.model.text_projection.copy_(clip.model.text_projection.clone())  # written, and the same
    with torch.inference_mode():
        again = current(clip.model, clip.tokenizer, tuple(NAMES), tuple(TEMPLATES))
    assert torch.equal(again, expected)
    assert not again.requires_grad
    assert current.made == 1
    current.forget()
    assert torch.equal(current(clip.model, clip.tokenizer, NAMES, TEMPLATES), expected)
    assert current.made == 2


def test_a_head_that_is_made_in_inference_mode_is_a_plain_tensor_outside(clip):
    current = CurrentHead()
    with torch.inference_mode():
        current(clip.model, clip.tokenizer, NAMES, TEMPLATES)
    head = current(clip.model, clip.tokenizer, NAMES, TEMPLATES)
    assert current.made == 1
    assert not head.is_inference()


def test_weights_that_are_no_numbers_are_the_same_weights(clip):
    """Only a comparison of bits knows: NaN is not equal to itself. They give no head that could be told apart."""
    current, weight = CurrentHead(), clip.model.token_embedding.weight
    with torch.no_grad():
        weight[-1] = float("nan")  # of a word that no text has
    current(clip.model, clip.tokenizer, NAMES, TEMPLATES)
    current(clip.model, clip.tokenizer, NAMES, TEMPLATES)
    assert current.made == 1


def test_a_refused_head_leaves_nothing(clip):
    current = CurrentHead()
    current(clip.model, clip.tokenizer, NAMES, TEMPLATES)
    for _ in range(2):
        with pytest.raises(ValueError, match="zebra"):
            current(clip.model, clip.tokenizer, ["zebra"], TEMPLATES)
    current(clip.model, clip.tokenizer, NAMES, TEMPLATES)
    assert current.made == 2

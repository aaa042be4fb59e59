"""One vector per image from whatever a layer returns."""

from collections import OrderedDict
from dataclasses import dataclass

import pytest
import torch

from lightning_robust.signatures.pooling import as_batch_first, first_tensor, pool_features

A, B = torch.zeros(2, 3), torch.ones(2, 3)


@dataclass
class Output:
    last_hidden_state: torch.Tensor | None = None
    pooler_output: torch.Tensor | None = None


@pytest.mark.parametrize(
    "output",
    [
        B,
        (B, A),
        (None, B),
        [B],
        Output(A, B),
        Output(B, None),
        {"logits": B, "more": A},
        OrderedDict(last_hidden_state=A, pooler_output=B),
        {"x": 3, "last_hidden_state": B},
        {"logits": A, "image_embeds": B, "text_embeds": A},
        {"text_features": A, "image_features": B},
        (None, {"a": 3}, [B], A),
    ],
)
def test_first_tensor(output):
    assert first_tensor(output) is B


def test_a_transformers_output():
    from transformers.modeling_outputs import BaseModelOutputWithPooling

    assert first_tensor(BaseModelOutputWithPooling(last_hidden_state=A, pooler_output=B)) is B
    assert first_tensor(BaseModelOutputWithPooling(last_hidden_state=B)) is B


def test_outputs_of_clip_models():
    from transformers.models.clip.modeling_clip import CLIPOutput, CLIPVisionModelOutput

    assert first_tensor(CLIPVisionModelOutput(image_embeds=B, last_hidden_state=A)) is B
    assert first_tensor(CLIPOutput(logits_per_image=A, text_embeds=A, image_embeds=B)) is B


@pytest.mark.parametrize("output", [None, 3, (1, None), {}, Output(), ([], {})])
def test_no_tensor(output):
    with pytest.raises(TypeError, match="layer 'block' gave"):
        first_tensor(output, "block")


def test_shapes():
    tokens = torch.arange(24.0).reshape(2, 3, 4)
    maps = torch.arange(48.0).reshape(2, 3, 2, 4)
    assert torch.equal(pool_features(tokens), tokens.mean(dim=1))
    assert torch.equal(pool_features(tokens, "first"), tokens[:, 0])
    assert torch.equal(pool_features(maps), maps.mean(dim=(2, 3)))
    assert torch.equal(pool_features(A, "first"), A)


def test_a_row_for_each_token_or_position():
    tokens, maps = torch.arange(24.0).reshape(2, 3, 4), torch.arange(48.0).reshape(2, 3, 2, 4)
    assert torch.equal(pool_features(tokens, "tokens"), torch.stack([tokens[i, j] for i in range(2) for j in range(3)]))
    rows = [maps[i, :, y, x] for i in range(2) for y in range(2) for x in range(4)]
    assert torch.equal(pool_features(maps, "tokens"), torch.stack(rows))
    assert torch.equal(pool_features(A, "tokens"), A)


def test_batch_first():
    state = torch.arange(120.0).reshape(2, 3, 4, 5)
    assert torch.equal(as_batch_first(state[0], "t n d")[1, 2], state[0, 2, 1])
    assert torch.equal(as_batch_first(state, "n h w c")[1, 4], state[1, :, :, 4])
    for layout, values in (("n d", A), ("n t d", state[0]), ("n c h w", state)):
        assert as_batch_first(values, layout) is values


@pytest.mark.parametrize("pool", ["mean", "first", "tokens"])
@pytest.mark.parametrize("shape", [(2, 3), (2, 4, 3), (1, 3, 1)])
def test_detached_and_independent(pool, shape):
    values = torch.ones(shape, requires_grad=True) * 1
    pooled = pool_features(values, pool)
    assert not pooled.requires_grad
    with torch.no_grad():
        values.zero_()
    assert pooled.eq(1).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_averaged_in_float32(dtype):
    tokens = torch.full((1, 4096, 1), 1.0009765625).to(dtype)
    pooled = pool_features(tokens)
    assert pooled.dtype == torch.float32
    assert float(pooled) == float(tokens[0, 0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("pool", ["first", "tokens"])
def test_half_precision_is_not_touched_where_nothing_is_averaged(dtype, pool):
    tokens = torch.randn(2, 3, 4).to(dtype)
    pooled = pool_features(tokens, pool)
    assert pooled.dtype == dtype
    assert torch.equal(pooled, tokens[:, 0] if pool == "first" else tokens.reshape(6, 4))


def test_refusals():
    with pytest.raises(TypeError, match=r"layer 'ids' gives torch\.int64|Type-check"):
        pool_features(torch.zeros(2, 3, dtype=torch.int64), layer="ids")
    with pytest.raises(ValueError, match="no first token"):
        pool_features(torch.zeros(1, 2, 3, 3), "first")
    for shape in [(3,), (1, 2, 3, 4, 5)]:
        with pytest.raises(ValueError, match=r"layer 'x' gives shape"):
            pool_features(torch.zeros(shape), layer="x")

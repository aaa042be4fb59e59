"""Features of an inner layer are ablated at every position, in every kind of layer, and nothing else changes."""

import copy

import pytest
import torch
from torch import nn

from lightning_robust.signatures.ablation import UnitValues
from lightning_robust.signatures.layer_ablation import FeatureAblation, LayerAblation, PositionMoments


def values(*mean, spread=1.0):
    middle = torch.tensor(mean, dtype=torch.float64)
    return UnitValues(middle, torch.full_like(middle, spread), middle - 3 * spread, middle + 3 * spread, n=1)


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Last(nn.Module):
    """A network whose layer gives what a test wants, and that returns what comes after it."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        self.seen = None

    def forward(self, x):
        self.seen = self.layer(x)
        return self.seen


def run(model, layer, ablation, x):
    with LayerAblation(model, layer) as hook:
        hook.current = ablation
        return model(x)


@pytest.mark.parametrize(("kind", "expected"), [("zero", 0.0), ("mean", 0.5), ("clip", None)])
def test_channels_of_a_map_at_every_position(kind, expected):
    model = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.Identity(), nn.Flatten())
    x = numbers(4, 3, 5, 5) * 3
    plain = model(x).view(4, 6, 5, 5)
    found = run(model, "0", FeatureAblation((2, 4), kind, values(0.5, 0.5, spread=0.1)), x).view(4, 6, 5, 5)
    rest = [0, 1, 3, 5]
    assert torch.equal(found[:, rest], plain[:, rest])
    wanted = plain[:, [2, 4]].clamp(0.2, 0.8) if expected is None else torch.full((4, 2, 5, 5), expected)
    assert torch.allclose(found[:, [2, 4]], wanted)
    assert torch.equal(model(x).view_as(plain), plain)  # the hook is gone
    assert not model[0]._forward_hooks


def test_features_of_every_token_also_with_the_batch_second():
    x = numbers(2, 7, 8)
    mean = FeatureAblation((3,), "mean", values(9.0))
    found = run(nn.Sequential(nn.LayerNorm(8)), "0", mean, x)
    assert found[..., 3].unique().tolist() == [9.0]
    block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=False, dropout=0.0)
    assert run(nn.Sequential(block), "0", mean, x)[..., 3].unique().tolist() == [9.0]


def test_maps_with_features_last():
    model = nn.Sequential(nn.LayerNorm(6))
    found = run(model, "0", FeatureAblation((1,), "zero", values(0.0)), numbers(2, 4, 5, 6))
    assert not found[..., 1].any()
    assert bool(found[..., 0].any())


def test_what_a_layer_reads():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2, bias=False))
    x = numbers(3, 4)
    h = model[0](x)
    h[:, 1] = 0
    zero = FeatureAblation((1,), "zero", values(0.0))
    torch.testing.assert_close(run(model, "1:input", zero, x), model[1](h))
    by_name = Last(nn.Identity())
    by_name.forward = lambda x: by_name.layer(input=x)
    assert not run(by_name, "layer:input", zero, x)[:, 1].any()


@pytest.mark.parametrize("named", [False, True])
def test_what_self_attention_reads_is_changed_in_query_key_and_value(named):
    """Of a block of open_clip that is what its first norm gives."""
    import open_clip

    torch.manual_seed(0)
    model = open_clip.transformer.VisionTransformer(32, 16, 24, 2, 2, 2.0, output_dim=8).eval()
    block = model.transformer.resblocks[0]
    if named:
        block.attention = lambda q_x, **_: block.attn(query=q_x, key=q_x, value=q_x, need_weights=False)[0]
    x, mean = numbers(3, 3, 32, 32), FeatureAblation((7,), "mean", values(2.5))
    with torch.no_grad():
        plain = model(x)
        norm = run(model, "transformer.resblocks.0.ln_1", mean, x)
        read = run(model, "transformer.resblocks.0.attn:input", mean, x)
    assert not torch.allclose(plain, norm, atol=1e-3)
    torch.testing.assert_close(read, norm, rtol=0, atol=1e-6)


def test_an_input_that_is_another_tensor_stays():
    attention = nn.MultiheadAttention(4, 2, batch_first=True).eval()
    query, key = numbers(1, 3, 4), numbers(1, 5, 4, seed=1)
    network = Last(attention)
    network.forward = lambda x: attention(x, key, key)[0]
    found = run(network, "layer:input", FeatureAblation((1,), "zero", values(0.0)), query)
    changed = query.clone()
    changed[..., 1] = 0
    torch.testing.assert_close(found, attention(changed, key, key)[0])


def test_the_first_tensor_of_several_and_what_gives_none():
    class Pair(nn.Module):
        def forward(self, x):
            return None, x, x

    zero = FeatureAblation((0,), "zero", values(0.0))
    none, first, second = run(Last(Pair()), "layer", zero, torch.ones(2, 3))
    assert none is None
    assert first[0].tolist() == [0, 1, 1]
    assert second[0].tolist() == [1, 1, 1]

    class Named(nn.Module):
        def forward(self, x):
            return {"x": x}

    with pytest.raises(TypeError, match="layer 'layer' gives dict, whose features cannot be changed"):
        run(Last(Named()), "layer", zero, torch.ones(2, 3))


def test_without_an_ablation_the_network_is_as_it_was_bitwise():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
    other, x = copy.deepcopy(model), numbers(2, 3, 6, 6)
    with LayerAblation(model, "1") as hook:
        found = model(x)
        assert hook.fired
    assert torch.equal(found, other(x))
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True))


def test_an_error_in_the_forward_removes_the_hook():
    model = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"features must lie in 0 … 1, not \[7\]"):
        run(model, "0", FeatureAblation((7,), "zero", values(0.0)), numbers(1, 2))
    assert not model[0]._forward_hooks
    with pytest.raises(ValueError, match="kind must be one of"):
        run(model, "0", FeatureAblation((0,), "noise", values(0.0)), numbers(1, 2))
    with pytest.raises(ValueError, match="no layer 'fc'"):
        LayerAblation(model, "fc")


@pytest.mark.parametrize("shape", [(11, 5), (11, 3, 5), (11, 5, 2, 3)])
def test_moments_over_positions_are_those_of_all_rows(shape):
    hidden = numbers(*shape) * 3 + 1000
    found = PositionMoments(5)
    for part in hidden.split(4):
        found.update(part)
    rows = (hidden.movedim(1, -1) if hidden.ndim == 4 else hidden).double().reshape(-1, 5)
    here = found.values([4, 1])
    torch.testing.assert_close(here.mean, rows.mean(dim=0)[[4, 1]], rtol=0, atol=1e-10)
    torch.testing.assert_close(here.std, rows.std(dim=0, correction=0)[[4, 1]], rtol=0, atol=1e-10)
    torch.testing.assert_close(here.high, here.mean + 3 * here.std)
    assert here.n == 11


def test_moments_leave_out_images_that_are_no_numbers():
    hidden = numbers(6, 4, 3)
    found, whole = PositionMoments(3), PositionMoments(3)
    whole.update(hidden)
    broken = hidden.clone()
    broken = torch.cat([broken, torch.full((1, 4, 3), torch.nan)])
    broken[-1, :3] = 1.0
    found.update(broken)
    assert found.values([0]).n == 6
    assert torch.equal(found.mean, whole.mean)
    with pytest.raises(ValueError, match="no image has finite features"):
        PositionMoments(3).values([0])
    with pytest.raises(ValueError, match="has seen 3 features, now it got 4"):
        found.update(numbers(1, 4))


def towers():
    import open_clip
    import timm
    from transformers import CLIPVisionConfig, CLIPVisionModel

    small = open_clip.transformer.VisionTransformer(32, 16, 24, 2, 2, 2.0, output_dim=8)
    blocks = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2, embed_dim=24, num_heads=2, num_classes=8)
    config = CLIPVisionConfig(
        hidden_size=24, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=16
    )
    return {
        "transformer.resblocks": small,
        "blocks": blocks,
        "vision_model.encoder.layers": CLIPVisionModel(config),
    }


@pytest.mark.parametrize("below", ["transformer.resblocks", "blocks", "vision_model.encoder.layers"])
def test_blocks_of_vision_transformers_at_every_token(below):
    """What the next block reads has the feature ablated at all five tokens, and nothing else changed."""
    torch.manual_seed(0)
    model = towers()[below].eval()
    names = dict(model.named_modules())
    below = below if below in names else below.removeprefix("vision_model.")
    layer, after = f"{below}.0", f"{below}.1:input"
    seen = []
    x = numbers(3, 3, 32, 32)
    with torch.no_grad(), LayerAblation(model, layer) as hook:
        for ablation in (None, FeatureAblation((7,), "mean", values(2.5))):
            hook.current = ablation
            handle = names[after.removesuffix(":input")].register_forward_pre_hook(
                lambda _m, args, kwargs: seen.append((args or tuple(kwargs.values()))[0].clone()), with_kwargs=True
            )
            output = model(x)
            handle.remove()
            seen.append(output if isinstance(output, torch.Tensor) else output.pooler_output)
    plain, first, changed, second = seen
    assert plain.shape[-2] == 5
    rest = [k for k in range(24) if k != 7]
    assert torch.equal(changed[..., rest], plain[..., rest])
    assert changed[..., 7].unique().tolist() == [2.5]
    assert not torch.allclose(first, second)

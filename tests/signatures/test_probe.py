"""Hooks: what they see, that they leave nothing behind, and that silence is an error."""

import pytest
import torch
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import nn

from lightning_robust.signatures import ActivationProbe, LayerForm, every_hook_fires

X = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(inplace=True), nn.Linear(6, 3))


def hooks(model):
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_forward_hooks_with_kwargs", "_forward_pre_hooks_with_kwargs")
    return sum(len(getattr(module, kind)) for module in model.modules() for kind in kinds)


def test_outputs_and_inputs():
    model = mlp()
    with ActivationProbe(model, ["0", "2:input", "", ":input"]) as probe:
        out = model(X)
        features = probe.pop()
    assert list(features) == ["0", "2:input", "", ":input"]
    assert torch.equal(features["0"], X @ model[0].weight.T + model[0].bias), "before the in-place ReLU"
    assert torch.equal(features["2:input"], features["0"].relu())
    assert torch.equal(features[""], out)
    assert torch.equal(features[":input"], X)


def test_the_model_is_not_touched():
    model, plain = mlp(), mlp()
    plain(X).square().sum().backward()
    with ActivationProbe(model, ["0", "2:input"]) as probe:
        model(X).square().sum().backward()
        assert not any(h.requires_grad for h in probe.pop().values())
    for measured, other in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.equal(measured.grad, other.grad)
    assert hooks(model) == 0


def test_hooks_are_removed_when_the_body_raises():
    model = mlp()
    with pytest.raises(ZeroDivisionError):
        leave_with_an_error(ActivationProbe(model, ["0", "2:input"]))
    assert hooks(model) == 0


def test_hooks_are_removed_when_a_hook_raises():
    model = mlp()

    def refuse(*_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), ActivationProbe(model, ["0"], on_features=refuse):
        model(X)
    assert hooks(model) == 0


def test_attach_and_remove_by_hand():
    model = mlp()
    probe = ActivationProbe(model, ["0"])
    probe.remove()
    assert probe.attach() is probe
    with pytest.raises(RuntimeError, match="attached already"):
        probe.attach()
    model(X)
    probe.remove()
    probe.remove()
    assert hooks(model) == 0
    assert probe.pop()["0"].shape == (5, 6)
    probe.attach()
    with pytest.raises(RuntimeError, match="layer '0' never fired"):
        probe.check_fired()
    probe.remove()


def test_callback_gets_every_firing():
    relu = nn.ReLU()
    model = nn.Sequential(nn.Linear(4, 3), relu, nn.Linear(3, 2), relu)
    seen = []
    with ActivationProbe(model, ["1"], on_features=lambda layer, h: seen.append((layer, h.shape))):
        model(X)
    assert seen == [("1", (5, 3)), ("1", (5, 2))]
    with ActivationProbe(model, ["1"]) as probe:
        out = model(X)
        assert torch.equal(probe.pop()["1"], out), "the last one counts"


def test_unpooled_outputs_come_after_the_features():
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    tokens, seen = torch.randn(5, 3, 4, requires_grad=True), []
    probe = ActivationProbe(
        layer,
        ["linear1", "linear1:input"],
        "first",
        on_features=lambda name, h: seen.append((name, "features", h)),
        on_hidden=lambda name, h: seen.append((name, "hidden", h)),
    )
    with probe:
        layer(tokens)
    assert [entry[:2] for entry in seen] == [
        ("linear1:input", "features"), ("linear1:input", "hidden"), ("linear1", "features"), ("linear1", "hidden")
    ]  # fmt: skip
    assert [tuple(entry[2].shape) for entry in seen] == [(5, 4), (5, 3, 4), (5, 8), (5, 3, 8)]
    assert torch.equal(seen[2][2], seen[3][2][:, 0])
    assert not any(entry[2].requires_grad for entry in seen)


def test_unpooled_outputs_without_on_features():
    model, hidden = mlp(), []
    with ActivationProbe(model, ["0"], on_hidden=lambda name, h: hidden.append(h.clone())) as probe:
        model(X)
        assert torch.equal(probe.pop()["0"], hidden[0])


def test_forms():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten())
    probe = ActivationProbe(model, ["*"], "tokens")
    assert (probe.layers, probe.forms) == (("0", "1"), {})
    with probe:
        model(torch.randn(2, 3, 6, 5))
    assert probe.forms == {
        "0": LayerForm("0", "map", 12, 4, "tokens", "n c h w"), "1": LayerForm("1", "vector", 1, 48, "tokens", "n d")
    }  # fmt: skip
    with probe:
        model(torch.randn(2, 3, 6, 5))
    assert probe.forms["0"].positions == 12
    with probe:
        model(torch.randn(2, 3, 4, 5))
    assert probe.forms["0"].words == "4 features, each of a varying number of positions a row"


def test_what_does_not_fit_the_number_of_images_is_refused():
    model = mlp()
    with ActivationProbe(model, ["0"]) as probe:
        probe.expect(5)
        model(X)
        probe.expect(4)
        with pytest.raises(ValueError, match="layer '0' gave 5 rows for 4 images"):
            model(X)
        probe.expect(None)
        model(X)
    assert hooks(model) == 0


def test_what_a_forward_returned():
    model = mlp()
    with ActivationProbe(model, ["forward", "0"]) as probe:
        probe.returned({"pooler_output": model(X) * 2})
        features = probe.pop()
    assert torch.equal(features["forward"], 2 * model(X))
    assert probe.forms["forward"].words == "3 features"
    with ActivationProbe(model, ["0"]) as probe:
        probe.returned("not watched, so not looked at")
        model(X)
    with pytest.raises(RuntimeError, match=r"layer 'forward' never fired: hand what .* probe\.returned"):
        call_only(ActivationProbe(model, ["forward", "0"]), model)
    with pytest.raises(RuntimeError, match=r"layer '' never fired: the model itself is not called; .* 'forward'"):
        call_only(ActivationProbe(model, ["", "0"]), model[0])


def call_only(probe, model, *inputs):
    with probe:
        model(*inputs or (X,))


def test_weights_that_are_used_without_a_call():
    attention = nn.MultiheadAttention(4, 2, batch_first=True)
    with (
        pytest.raises(RuntimeError, match="its weights may be used without it"),
        ActivationProbe(attention, ["out_proj"]),
    ):
        attention(X[None], X[None], X[None])


def test_silence_is_an_error():
    model = mlp()
    model.unused = nn.Linear(1, 1)
    model.forward = lambda x: model[0](x)
    with (
        pytest.raises(RuntimeError, match="layer 'unused', '2:input' never fired"),
        ActivationProbe(model, ["0", "unused", "2:input"]),
    ):
        model(X)
    with pytest.raises(RuntimeError, match="layer '0' never fired"), ActivationProbe(model, ["0"]) as probe:
        probe.pop()
    with ActivationProbe(model, ["0"]) as probe:
        model(X)
        probe.pop()
        with pytest.raises(RuntimeError, match="never fired"):
            probe.pop()


def test_inputs_given_by_keyword():
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(4, 2)

        def forward(self, x):
            return self.inner(input=x)

    model = Outer()
    with ActivationProbe(model, ["inner:input"]) as probe:
        model(x=X)
        assert torch.equal(probe.pop()["inner:input"], X)


@pytest.mark.parametrize("layer", ["layers.0", "layers.1.linear1"])
def test_tokens_of_an_encoder_that_would_fuse(layer):
    """In eval mode, with padding, an encoder hands its layers nested tensors for the fused kernels."""
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2).eval()
    tokens, padding = torch.randn(3, 5, 8), torch.zeros(3, 5, dtype=torch.bool)
    padding[0, 3:] = True
    features = {}
    for pool in ("mean", "first"):
        with torch.no_grad(), every_hook_fires(), ActivationProbe(encoder, [layer, ""], pool) as probe:
            out = encoder(tokens, src_key_padding_mask=padding)
            features[pool] = probe.pop()
    assert features["mean"][layer].shape == (3, 8 if layer == "layers.0" else 16)
    assert torch.equal(features["mean"][""], out.mean(dim=1))
    assert torch.equal(features["first"][""], out[:, 0])
    assert not torch.allclose(features["first"][layer], features["mean"][layer])


def test_which_layers_need_the_plain_path():
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)
    model = nn.ModuleDict({"encoder": encoder, "attention": nn.MultiheadAttention(8, 2), "head": nn.Linear(8, 2)})
    names = ["", "forward", "encoder", "encoder.layers.0", "encoder.layers.0.linear1:input", "attention", "head"]
    needing = [name for name in names if ActivationProbe(model, [name]).inside_fused]
    assert needing == ["encoder.layers.0", "encoder.layers.0.linear1:input"]
    assert ActivationProbe(model, names).inside_fused
    assert not ActivationProbe(model, []).inside_fused


@torch.no_grad()
def test_the_fused_path_stays_where_it_hides_nothing():
    """An open_clip block fires all its hooks, and gives the same bits as without a probe."""
    torch.manual_seed(0)
    block = ResidualAttentionBlock(32, 4).eval()
    tokens = torch.randn(7, 9, 32)
    expected = block(tokens)
    probe = ActivationProbe(block, ["", "attn", "mlp", "ln_1"])
    with every_hook_fires(fast_path=not probe.inside_fused), probe:
        assert torch.backends.mha.get_fastpath_enabled()
        out = block(tokens)
        features = probe.pop()
    assert torch.equal(out, expected)
    torch.testing.assert_close(features[""], features["attn"] + features["mlp"] + tokens.mean(dim=1))
    assert torch.equal(features["ln_1"], block.ln_1(tokens).mean(dim=1))


def test_a_fast_path_that_is_off_stays_off():
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with every_hook_fires(fast_path=True):
            assert not torch.backends.mha.get_fastpath_enabled()
        assert not torch.backends.mha.get_fastpath_enabled()
    finally:
        torch.backends.mha.set_fastpath_enabled(True)


def leave_with_an_error(guard):
    with guard:
        raise ZeroDivisionError


@pytest.mark.parametrize("enabled", [True, False])
def test_fast_path_is_restored_also_after_an_error(enabled):
    torch.backends.mha.set_fastpath_enabled(enabled)
    try:
        with pytest.raises(ZeroDivisionError):
            leave_with_an_error(every_hook_fires())
        assert torch.backends.mha.get_fastpath_enabled() is enabled
    finally:
        torch.backends.mha.set_fastpath_enabled(True)


@pytest.mark.parametrize("how", ["function", "in place", "inner"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_compiled_models(how):
    """Hooks placed after the first compiled call are ignored, unless compiled code is set aside."""
    torch.compiler.reset()
    model = mlp()
    if how == "function":
        model = torch.compile(model, backend="eager")
    elif how == "in place":
        model.compile(backend="eager")
    else:
        model[0].compile(backend="eager")
    expected = model(X)  # compiled before the hooks are there
    with every_hook_fires(), ActivationProbe(model, ["0", "2:input", ""]) as probe:
        model(X)
        features = probe.pop()
    assert features["2:input"].shape == (5, 6)
    assert torch.equal(features[""], expected)
    assert torch.equal(model(X), expected)


@torch.no_grad()
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.skipif(
    torch.__version__ < "2.10", reason="torch 2.9 traces the run-time type checks of the tests, which it cannot"
)
def test_a_compiled_tower_with_hooks_attached_late():
    torch.compiler.reset()
    torch.manual_seed(0)
    tower = VisionTransformer(32, 8, width=16, layers=2, heads=2, mlp_ratio=2.0, output_dim=6).eval()
    images = torch.randn(3, 3, 32, 32)
    layers = ["transformer.resblocks.*", "ln_post", "", "conv1"]
    with ActivationProbe(tower, layers) as probe:
        tower(images)
        plain = probe.pop()
    compiled = torch.compile(tower, backend="eager")
    compiled(images)
    with pytest.raises(RuntimeError, match=r"'ln_post', 'conv1' never fired.* runs compiled or fused code"):
        call_only(ActivationProbe(compiled, layers), compiled, images)
    with every_hook_fires(fast_path=True), ActivationProbe(compiled, layers) as probe:
        compiled(images)
        features = probe.pop()
    assert list(features) == ["transformer.resblocks.0", "transformer.resblocks.1", "ln_post", "", "conv1"]
    assert all(torch.equal(features[name], plain[name]) for name in plain)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("cast", ["weights", "autocast"])
def test_half_precision_models(dtype, cast):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(2), nn.Linear(16, 4)).eval()
    images = torch.randn(2, 3, 6, 6)
    if cast == "weights":
        model, images = model.to(dtype), images.to(dtype)
    with torch.autocast("cpu", dtype, enabled=cast == "autocast"), ActivationProbe(model, ["0", "1", "3"]) as probe:
        model(images)
        features = probe.pop()
        maps = model[0](images)
        tokens = model(images)
    assert maps.dtype == tokens.dtype == dtype
    assert {h.dtype for h in features.values()} == {torch.float32}
    for got, exact in (
        (features["0"], maps.double().flatten(2).mean(dim=2)),
        (features["1"], maps.double().relu().flatten(2).mean(dim=2)),
        (features["3"], tokens.double().mean(dim=1)),
    ):
        torch.testing.assert_close(got.double(), exact, rtol=1e-6, atol=1e-6)  # the half's own step is 1e-3 or more


def test_refusals():
    with pytest.raises(Exception, match=r"pool must be 'mean', 'first' or 'tokens', not 'max'|Type-check"):
        ActivationProbe(mlp(), ["0"], "max")
    with pytest.raises(ValueError, match="different names"):
        ActivationProbe(mlp(), ["0", "0"])
    with pytest.raises(ValueError, match="has no layer '7'"):
        ActivationProbe(mlp(), ["7"])

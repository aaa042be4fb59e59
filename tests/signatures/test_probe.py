"""Hooks: what they see, that they leave nothing behind, and that silence is an error."""

import pytest
import torch
from torch import nn

from lightning_robust.signatures import ActivationProbe, every_hook_fires

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


def test_refusals():
    with pytest.raises(ValueError, match="different names"):
        ActivationProbe(mlp(), ["0", "0"])
    with pytest.raises(ValueError, match="has no layer '7'"):
        ActivationProbe(mlp(), ["7"])

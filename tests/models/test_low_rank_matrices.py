"""Which matrices a network has, and what is read by each."""

import pytest
import timm
import torch
import transformers
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lightning_robust.models import ImageClassifier, load_encoder
from lightning_robust.models.low_rank_build import opened
from lightning_robust.models.low_rank_matrices import left_dense, matrices
from lightning_robust.models.transformers_tower import VisionTower
from lightning_robust.signatures import weight_spectra


def tiny_vit():
    return timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2, num_classes=5).eval()


def tiny_clip_tower():
    config = transformers.CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=16
    )
    return VisionTower(transformers.CLIPVisionModel(config), nn.Linear(32, 16, bias=False)).eval()


def test_names_are_those_of_the_spectra(tiny):
    for model in (tiny.model.visual, tiny_vit()):
        assert set(matrices(model)) == set(weight_spectra(model).matrices)


@pytest.mark.parametrize("build", [tiny_vit, tiny_clip_tower, "scenes-clip"])
def test_multiplications_are_those_that_torch_counts(build):
    model = load_encoder(build).model.visual if isinstance(build, str) else build()
    image = torch.zeros(1, 3, 32, 32)
    found = matrices(model, image)
    copied = opened(model)
    layers = {matrix.layer for matrix in found.values()}
    flops = {}
    for name in layers:  # each layer on the input that it has in the network
        seen = []
        hook = copied.get_submodule(name).register_forward_pre_hook(lambda _, args, seen=seen: seen.append(args[0]))
        with torch.no_grad():
            copied(image)
        hook.remove()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            copied.get_submodule(name)(seen[0])
        flops[name] = counter.get_total_flops()
    counted = dict.fromkeys(layers, 0)
    for matrix in found.values():
        counted[matrix.layer] += 2 * matrix.multiplications
    assert counted == flops


@pytest.mark.parametrize("build", [tiny_vit, tiny_clip_tower, "scenes-clip"])
def test_every_matrix_multiplies_the_input_of_its_layer(build):
    model = load_encoder(build).model.visual if isinstance(build, str) else build()
    image = torch.rand(2, 3, 32, 32)
    found, copied, seen = matrices(model, image), opened(model), {}
    for name in {matrix.layer for matrix in found.values()}:
        copied.get_submodule(name).register_forward_hook(
            lambda _, args, given, name=name: seen.update({name: (args[0], given)})
        )
    with torch.no_grad():
        torch.testing.assert_close(copied(image), model(image))
    for name, matrix in found.items():
        x, y = seen[matrix.layer]
        assert torch.equal(x, seen[matrix.reads][0])  # what is said to be the same input is
        if matrix.kind == "conv":
            layer = copied.get_submodule(matrix.layer)
            x = nn.functional.unfold(x, layer.kernel_size, layer.dilation, layer.padding, layer.stride).transpose(1, 2)
            y = y.flatten(2).transpose(1, 2)
        rows = y.shape[-1] // matrix.rows  # q, k and v of one layer stand beside each other
        part = y.chunk(rows, -1)["qkv".index(name[-2])] if rows == 3 else y
        expected = x @ matrix.weight.T + (0 if matrix.bias is None else matrix.bias)
        torch.testing.assert_close(part, expected, rtol=1e-4, atol=1e-5)
        assert x.numel() // x.shape[-1] == 2 * matrix.positions


def test_inputs_that_are_shared():
    found = matrices(tiny_clip_tower(), torch.zeros(1, 3, 32, 32))
    reads = {name: matrix.reads for name, matrix in found.items() if "layers.0.self_attn" in name}
    assert len(set(reads.values())) == 2  # q, k and v; out_proj
    pool = matrices(load_encoder("scenes-clip").model.visual, torch.zeros(1, 3, 32, 32))
    assert pool["attnpool.v_proj.weight"].reads == pool["attnpool.k_proj.weight"].reads == "attnpool.k_proj"
    assert pool["attnpool.q_proj.weight"].positions == 1  # the pooled vector is the answer at one position
    # the shortcut of a stage reads what its first convolution reads, pooled or strided, so not the same
    assert pool["layer2.0.downsample.0.weight"].reads == "layer2.0.downsample.0"


def test_a_tensor_that_changes_in_place_is_another_input():
    class Changing(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            x = x + 0
            return self.a(x) + self.b(x) + self.c(x.mul_(2))

    found = matrices(Changing(), torch.ones(1, 4))
    assert [matrix.reads for matrix in found.values()] == ["a", "a", "c"]


def test_what_stays_dense_and_why(tiny):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.plain, self.unused, self.idle = nn.Linear(4, 4), nn.Linear(4, 4), nn.Embedding(3, 4)
            self.tied = nn.Linear(4, 4)
            self.also = nn.Linear(4, 4)
            self.also.weight = self.tied.weight
            self.normed = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
            self.grouped, self.volume = nn.Conv2d(4, 4, 1, groups=2), nn.Conv3d(4, 4, 1)
            self.attention = nn.MultiheadAttention(4, 2, add_bias_kv=True)
            self.bare = nn.Parameter(torch.ones(4, 4))

        def forward(self, x):
            return self.also(self.tied(self.plain(x))) @ self.bare + nn.functional.linear(x, self.unused.weight)

    model = Odd()
    assert set(matrices(model, torch.ones(2, 4))) == {"plain.weight"}
    left = left_dense(model, torch.ones(2, 4))
    own = {name for name, p in model.named_parameters(remove_duplicate=False) if p.ndim >= 2}
    assert set(left) == own - {"plain.weight"}
    assert "tied" in left["tied.weight"]
    assert "embedding" in left["idle.weight"]
    assert "parametrised" in left["normed.parametrizations.weight.original1"]
    assert "grouped" in left["grouped.weight"]
    assert "Conv3d" in left["volume.weight"]
    assert "keys beside" in left["attention.in_proj_weight"]
    assert "another module reads" in left["unused.weight"]
    assert "a parameter that a Odd uses" in left["bare"]
    assert "unused.weight" in matrices(model)  # without images nobody knows


def test_the_text_tower_and_a_named_head_are_left(tiny):
    model = ImageClassifier(tiny.model, torch.ones(3, 16))
    found = matrices(model, torch.zeros(1, 3, 32, 32), leave=["head"])
    assert all(name.startswith("encoder.visual.") for name in found)
    assert "to be left dense" in left_dense(model, torch.zeros(1, 3, 32, 32), leave=["head"])["head.weight"]
    assert any(name.startswith("encoder.transformer.") for name in matrices(model))
    with pytest.raises(ValueError, match="no layer 'haed'"):
        matrices(model, leave=["haed"])


def test_nothing_of_the_model_is_changed(tiny):
    model = tiny.model.visual.train()
    model.layer1.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state, modes = torch.get_rng_state(), [module.training for module in model.modules()]
    found = matrices(model, torch.ones(2, 3, 32, 32))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert modes == [module.training for module in model.modules()]
    assert torch.equal(state, torch.get_rng_state())
    assert not any(module._forward_hooks for module in model.modules())
    matrix = found["layer1.0.conv2.weight"]
    assert matrix.weight.data_ptr() == model.layer1[0].conv2.weight.data_ptr()
    assert not matrix.weight.requires_grad

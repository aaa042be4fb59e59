"""Which parameters are weight matrices, how fused ones come apart, and what is said of the others."""

import inspect

import numpy as np
import pytest
import torch
from torch import nn

from lightning_robust.signatures import WeightMatrices, weight_matrices

open_clip = pytest.importorskip("open_clip")
timm = pytest.importorskip("timm")


def vit(**vision):
    config = {"image_size": 32, "patch_size": 8, "width": 16, "layers": 2, "head_width": 8, **vision}
    text = {"context_length": 8, "vocab_size": 20, "width": 12, "heads": 2, "layers": 1}
    return open_clip.model.CLIP(embed_dim=10, vision_cfg=config, text_cfg=text)


def shapes(matrices):
    return {name: tuple(W.shape) for name, W in matrices.items()}


def test_an_open_clip_tower_by_name():
    found = weight_matrices(vit().visual)
    block = {
        "attn.in_proj_weight[q]": (16, 16),
        "attn.in_proj_weight[k]": (16, 16),
        "attn.in_proj_weight[v]": (16, 16),
        "attn.out_proj.weight": (16, 16),
        "mlp.c_fc.weight": (64, 16),
        "mlp.c_proj.weight": (16, 64),
    }
    blocks = {f"transformer.resblocks.{i}.{name}": shape for i in range(2) for name, shape in block.items()}
    assert shapes(found) == {"proj": (16, 10), "conv1.weight": (16, 192), **blocks}
    assert found.left_out == {"positional_embedding": "a positional embedding, which multiplies nothing"}


def test_the_parts_of_a_fused_weight_are_what_attention_multiplies_with():
    attention = nn.MultiheadAttention(6, 2, batch_first=True, bias=False)
    found = weight_matrices(attention)
    x = torch.randn(1, 4, 6)
    q, k, v = (x @ found[f"in_proj_weight[{part}]"].T for part in "qkv")
    split = [t.reshape(1, 4, 2, 3).transpose(1, 2) for t in (q, k, v)]
    out = nn.functional.scaled_dot_product_attention(*split).transpose(1, 2).reshape(1, 4, 6)
    torch.testing.assert_close(out @ found["out_proj.weight"].T, attention(x, x, x, need_weights=False)[0])


def test_separate_projections_stay_as_they_are():
    assert set(weight_matrices(nn.MultiheadAttention(6, 2, kdim=4, vdim=5))) == {
        "q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight",
    }  # fmt: skip


def test_a_whole_clip_from_module_and_from_state_dict():
    model = vit()
    found, state = weight_matrices(model), weight_matrices(model.state_dict())
    assert list(found) == list(state)
    assert all(torch.equal(found[name], state[name]) for name in found)
    assert found.left_out == state.left_out
    assert set(found.left_out) == {"positional_embedding", "visual.positional_embedding", "token_embedding.weight"}
    assert "text_projection" in found
    for weights in (model, model.state_dict()):
        assert set(weight_matrices(weights, embeddings=True)) == {*found, "token_embedding.weight"}
        assert set(weight_matrices(weights, "token_embedding.weight")) == {"token_embedding.weight"}
        assert shapes(weight_matrices(weights, ["positional_embedding"])) == {"positional_embedding": (8, 12)}


def test_an_open_clip_resnet():
    model = vit(layers=(1, 1, 1, 1), width=8, head_width=4)
    found = weight_matrices(model.visual)
    assert shapes(found)["layer1.0.conv2.weight"] == (8, 72)
    assert {"conv1.weight", "layer4.0.downsample.0.weight", "attnpool.q_proj.weight"} <= set(found)
    assert set(found.left_out) == {"attnpool.positional_embedding"}


def test_a_torchvision_resnet():
    torchvision = pytest.importorskip("torchvision")
    model = torchvision.models.resnet18()
    found = weight_matrices(model)
    convolutions = {name for name, p in model.named_parameters() if p.ndim == 4}
    assert set(found) == convolutions | {"fc.weight"}
    torch.testing.assert_close(found["layer1.0.conv1.weight"], model.layer1[0].conv1.weight.reshape(64, 576))


def test_a_timm_vit_in_thirds():
    model = timm.create_model("vit_tiny_patch16_224", depth=1, img_size=32)
    found = weight_matrices(model)
    fused = model.blocks[0].attn.qkv.weight
    for part, third in zip("qkv", fused.chunk(3), strict=True):
        assert torch.equal(found[f"blocks.0.attn.qkv.weight[{part}]"], third)
    assert set(found.left_out) == {"cls_token", "pos_embed"}


def test_a_timm_attention_that_keeps_q_k_and_v_head_by_head():
    from timm.models.maxxvit import AttentionCl

    attention = AttentionCl(8, dim_head=4, bias=False, head_first=True)
    x = torch.randn(1, 5, 8)
    found = weight_matrices(nn.ModuleDict({"attn": attention}))
    q, k, v = (x @ found[f"attn.qkv.weight[{part}]"].T for part in "qkv")
    split = [t.reshape(1, 5, 2, 4).transpose(1, 2) for t in (q, k, v)]
    out = nn.functional.scaled_dot_product_attention(*split).transpose(1, 2).reshape(1, 5, 8)
    torch.testing.assert_close(out @ found["attn.proj.weight"].T, attention(x))


def test_fused_weights_of_other_makes_stay_whole():
    from timm.models.tiny_vit import Attention

    attention = Attention(8, 4, num_heads=2, attn_ratio=2, resolution=(2, 2))
    found = weight_matrices(nn.ModuleDict({"attn": attention}))
    assert shapes(found) == {"attn.qkv.weight": (32, 8), "attn.proj.weight": (8, 16)}
    assert set(found.left_out) == {"attn.attention_biases"}


def test_a_fused_weight_that_is_a_convolution_stays_whole():
    from timm.models.maxxvit import Attention2d

    found = weight_matrices(nn.ModuleDict({"attn": Attention2d(8, dim_head=4)}))
    assert shapes(found) == {"attn.qkv.weight": (24, 8), "attn.proj.weight": (8, 8)}


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.old, self.conv = (nn.utils.weight_norm(m) for m in (nn.Linear(3, 2), nn.Conv2d(3, 4, 3)))
        self.spectral = nn.utils.spectral_norm(nn.Linear(3, 2))
        self.new = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*spectral_norm:FutureWarning")
@pytest.mark.parametrize("form", ["module", "state dict"])
def test_the_scale_of_weight_norm_is_no_matrix(form):
    model = Normed()
    weights = model if form == "module" else model.state_dict()
    found = weight_matrices(weights)
    assert shapes(found) == {"old.weight_v": (2, 3), "spectral.weight_orig": (2, 3)}
    assert torch.equal(found["old.weight_v"], model.old.weight_v)
    for name in ("old.weight_g", "conv.weight_g"):
        assert "scale of a weight under weight_norm" in found.left_out[name]
    assert "parametrised" in found.left_out["new.parametrizations.weight.original0"]
    assert "parametrised" in found.left_out["new.parametrizations.weight.original1"]
    with pytest.raises(ValueError, match=r"old\.weight_g is the scale of a weight under weight_norm"):
        weight_matrices(weights, "old.weight_g")


def test_a_name_that_ends_like_a_scale_is_none_without_its_direction_and_shape():
    for state in ({"proj_g": torch.ones(2, 1)}, {"proj_g": torch.ones(2, 3), "proj_v": torch.zeros(2, 3)}):
        assert list(weight_matrices(state)) == list(state)


def test_what_holds_no_tensors_is_refused():
    function = inspect.unwrap(weight_matrices)
    with pytest.raises(TypeError, match=r"b is a numpy array, not a torch tensor; torch\.from_numpy makes one"):
        function({"a": torch.ones(2, 2), "b": np.ones((2, 2))})
    with pytest.raises(TypeError, match="a module or a state dict of tensors by name, not ndarray"):
        function(np.ones((2, 2)))


def test_transformers_projections_as_they_are():
    transformers = pytest.importorskip("transformers")
    tiny = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = transformers.CLIPVisionConfig(**tiny, image_size=16, patch_size=8)
    found = weight_matrices(transformers.CLIPVisionModelWithProjection(vision))
    names = {name.removeprefix("vision_model.encoder.layers.0.") for name in found}
    assert {f"self_attn.{part}_proj.weight" for part in ("q", "k", "v", "out")} <= names
    assert "visual_projection.weight" in names
    assert shapes(found)["vision_model.embeddings.patch_embedding.weight"] == (8, 192)
    assert set(found.left_out) == {"vision_model.embeddings.position_embedding.weight"}


GROUPED = nn.ModuleDict(
    {"dw": nn.Conv2d(4, 4, 3, groups=4), "pw": nn.Conv2d(4, 6, 1), "up": nn.ConvTranspose1d(4, 6, 3)}
)


def test_grouped_convolutions():
    found = weight_matrices(GROUPED)
    assert shapes(found) == {"pw.weight": (6, 4), "up.weight": (6, 12)}
    torch.testing.assert_close(found["up.weight"], GROUPED["up"].weight.transpose(0, 1).reshape(6, 12))
    assert list(found.left_out) == ["dw.weight"]
    assert "grouped convolution" in found.left_out["dw.weight"]
    for pattern in ("dw.weight", "dw.*"):
        with pytest.raises(ValueError, match=r"no matrix 'dw.*': dw\.weight is the weight of a grouped convolution"):
            weight_matrices(GROUPED, ["pw.weight", pattern])
    # a state dict does not say so
    assert shapes(weight_matrices(GROUPED.state_dict()))["dw.weight"] == (4, 9)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.a = nn.Embedding(5, 3), nn.Linear(3, 3, bias=False)
        self.b, self.head = nn.Linear(3, 3, bias=False), nn.Linear(3, 5, bias=False)
        self.b.weight = self.a.weight
        self.head.weight = self.embed.weight


@pytest.mark.parametrize("weights", [Tied(), Tied().state_dict()])
def test_tied_weights_come_once(weights):
    found = weight_matrices(weights)
    # an embedding that is a head, too, is the head
    assert list(found) in (["a.weight", "head.weight"], ["head.weight", "a.weight"])
    assert list(weight_matrices(weights, "b.weight")) == ["a.weight"]


PATTERNS = {
    "visual.transformer.*": 12,
    "*.attn.in_proj_weight[q]": 3,
    "visual.*.in_proj_weight": 6,
    "visual.transformer.resblocks.0.attn.in_proj_weight": 3,
    "visual.transformer.resblocks.?.mlp.c_fc.weight": 2,
    "text_projection": 1,
    "all": 21,
    "*": 21,
}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_names_and_wildcards(pattern):
    model = vit()
    found = weight_matrices(model, pattern)
    assert len(found) == PATTERNS[pattern]
    assert isinstance(found, WeightMatrices)
    everything = list(weight_matrices(model))
    assert list(found) == [name for name in everything if name in found]
    assert list(weight_matrices(model, [pattern, pattern])) == list(found)
    assert list(weight_matrices(model, ["all", pattern])) == everything


def test_a_compiled_model_has_the_names_of_the_plain_one():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    compiled = torch.compile(model, backend="eager")
    assert list(weight_matrices(compiled)) == list(weight_matrices(compiled.state_dict())) == ["0.weight", "1.weight"]
    assert list(weight_matrices(compiled, "_orig_mod.1.weight")) == ["1.weight"]


class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.lazy, self.empty = nn.LayerNorm((2, 3)), nn.LazyLinear(3), nn.Linear(0, 3)
        self.cube, self.flat = nn.Parameter(torch.zeros(2, 3, 4)), nn.Parameter(torch.ones(2, 3))
        self.steps = nn.Parameter(torch.zeros(2, 2, dtype=torch.int64), requires_grad=False)
        self.normed = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
        self.gru = nn.GRU(3, 4)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_what_is_no_matrix_is_left_out_and_says_why():
    found = weight_matrices(Odd())
    assert set(found) == {"flat", "gru.weight_ih_l0", "gru.weight_hh_l0"}
    reasons = {
        "norm.weight": "scale of a norm",
        "norm.bias": "scale of a norm",
        "lazy.weight": "not initialised",
        "empty.weight": "empty",
        "cube": r"shape \(2, 3, 4\)",
        "steps": "int64",
        "normed.parametrizations.weight.original1": "parametrised",
    }
    assert set(reasons) < set(found.left_out)
    for name in set(reasons) - {"normed.parametrizations.weight.original1"}:
        with pytest.raises(ValueError, match=f"no matrix '{name}': {name} is .*{reasons[name]}"):
            weight_matrices(Odd(), name)


def test_unknown_names():
    model = vit()
    with pytest.raises(ValueError, match=r"CLIP has no matrix 'text_proj'; near names: .*text_projection"):
        weight_matrices(model, ["text_proj"])
    with pytest.raises(ValueError, match=r"the state dict has no matrix 'nowhere.\*'"):
        weight_matrices(model.state_dict(), "nowhere.*")
    with pytest.raises(ValueError, match=r"no matrix 'visual\.ln_pre\.weight'"):
        weight_matrices(model, "visual.ln_pre.weight")
    assert dict(weight_matrices(nn.ReLU())) == {}


def test_matrices_are_views_without_gradient():
    model = nn.Linear(3, 2)
    found = weight_matrices(model)["weight"]
    assert not found.requires_grad
    assert found.data_ptr() == model.weight.data_ptr()

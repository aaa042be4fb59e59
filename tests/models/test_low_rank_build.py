"""Networks in which matrices are products of two, against the dense network with these products as weights."""

import copy

import open_clip
import pytest
import timm
import torch
import transformers
from open_clip.transformer import VisionTransformer
from torch import nn
from truncated import svd_factors, with_products

from lightning_robust.models import ImageClassifier, load_encoder, write_clip_folder
from lightning_robust.models.low_rank import LowRankLinear
from lightning_robust.models.low_rank_build import factorise, opened
from lightning_robust.models.low_rank_matrices import matrices
from lightning_robust.models.low_rank_structure import ranks_of
from lightning_robust.models.transformers_tower import VisionTower


def open_clip_vit(folder):
    write_clip_folder(folder, ["a", "star"], vision="vit", embed_dim=16, vision_layers=2, vision_width=32,
                      vision_head_width=16, text_width=16)  # fmt: skip
    return load_encoder(f"local-dir:{folder}", pretrained=False).model.visual


def scenes(_):
    return load_encoder("scenes-clip").model.visual


def timm_network(name, **options):
    return lambda _: timm.create_model(name, num_classes=5, **options)


def coca(_):
    """A tower with attention pooling by learnt queries, which read keys and values of another width."""
    return VisionTransformer(
        image_size=32, patch_size=16, width=32, layers=1, heads=2, mlp_ratio=2, attentional_pool=True,
        attn_pooler_heads=2, attn_pooler_queries=3, output_dim=16,
    )  # fmt: skip


def custom_blocks(_):
    return VisionTransformer(
        image_size=32, patch_size=16, width=32, layers=1, heads=2, mlp_ratio=2, output_dim=16, qk_norm=True,
        scale_fc=True,
    )  # fmt: skip


def transformers_clip(_):
    config = transformers.CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=16
    )
    return VisionTower(transformers.CLIPVisionModel(config), nn.Linear(32, 16, bias=False))


def transformers_siglip(_):
    config = transformers.SiglipVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=16
    )
    return VisionTower(transformers.SiglipVisionModel(config), None)


NETWORKS = {
    "open_clip ViT": open_clip_vit,
    "open_clip ResNet": scenes,
    "open_clip CoCa": coca,
    "open_clip custom blocks": custom_blocks,
    "timm ViT": timm_network("vit_tiny_patch16_224", img_size=32, depth=1),
    "timm ResNet": timm_network("test_resnet"),
    "timm ConvNeXt": timm_network("test_convnext"),
    "timm SigLIP": timm_network("vit_base_patch16_siglip_224", img_size=32, depth=1, embed_dim=48, num_heads=3),
    "timm EVA": timm_network("eva02_tiny_patch14_224", img_size=28, depth=1, embed_dim=48, num_heads=3),
    "timm BEiT": timm_network("beit_base_patch16_224", img_size=32, depth=1, embed_dim=48, num_heads=3),
    "timm EfficientNet": timm_network("test_efficientnet"),
    "transformers CLIP": transformers_clip,
    "transformers SigLIP": transformers_siglip,
}


@pytest.fixture(params=list(NETWORKS))
def network(request, tmp_path):
    torch.manual_seed(0)
    model = NETWORKS[request.param](tmp_path / "clip").double().eval()
    with torch.no_grad():  # as if trained: plain inits have zeros, behind which nothing shows
        for parameter in model.parameters():
            if parameter.ndim < 2:
                parameter.add_(0.1 * torch.rand_like(parameter))
    side = 28 if request.param == "timm EVA" else 32
    return model, torch.rand(2, 3, side, side, dtype=torch.float64)


def close(given, expected, tolerance=1e-9):
    scale = expected.abs().max()
    torch.testing.assert_close(given / scale, expected / scale, rtol=0, atol=tolerance)


@torch.no_grad()
def test_exact_at_full_rank_and_the_product_below(network):
    model, images = network
    found = matrices(model, images)
    before = model(images)
    close(factorise(model, svd_factors(found))(images), before)
    chosen = svd_factors(found, 0.4)
    for some in (list(chosen), list(chosen)[::2], list(chosen)[1::3]):
        factors = {name: chosen[name] for name in some}
        low = factorise(model, {**dict.fromkeys(found), **factors})
        expected = with_products(model, factors)(images)
        close(low(images), expected)
        assert {name: rank for name, rank in ranks_of(low).items() if rank is not None} == {
            name: A.shape[1] for name, (A, _) in factors.items()
        }
        assert (expected - before).abs().max() > 1e-6  # so that an untouched network would be seen
    assert torch.equal(model(images), before)


@torch.no_grad()
def test_opened_computes_the_same_and_shares_the_weights(network):
    model, images = network
    copied = opened(model)
    close(copied(images), model(images))
    places = {value.untyped_storage().data_ptr() for value in model.state_dict().values()}
    assert {value.untyped_storage().data_ptr() for value in copied.state_dict().values()} <= places


@torch.no_grad()
def test_biases_in_place_of_the_layers_own_also_where_there_is_none(network):
    model, images = network
    found = matrices(model, images)
    factors = svd_factors(found, 0.4)
    own = {name: torch.rand(each.rows, dtype=torch.float64) for name, each in found.items() if each.bias is not None}
    close(factorise(model, factors, own)(images), with_products(model, factors, own)(images))
    without = [name for name, matrix in found.items() if matrix.bias is None]
    for name in without[:3]:
        shift = torch.rand(found[name].rows, dtype=torch.float64)
        seen = []
        for each in (
            model,
            factorise(model, {}, {name: shift}),
            factorise(model, svd_factors({name: found[name]}), {name: shift}),
        ):
            copied = opened(each)
            layer = found[name].layer if each is model or name.endswith("weight") else f"{name}ection"
            copied.get_submodule(layer).register_forward_hook(lambda _, args, given, seen=seen: seen.append(given))
            copied(images)
        wide = shift if seen[0].ndim < 4 else shift[:, None, None]
        close(seen[1], seen[0] + wide)
        close(seen[2], seen[0] + wide)


def test_a_dense_entry_leaves_the_layer_bit_by_bit(tiny):
    model = ImageClassifier(tiny.model, torch.ones(3, 16)).eval()
    found = matrices(model)
    low = factorise(model, dict.fromkeys(found))
    assert [type(module) for module in low.modules()] == [type(module) for module in model.modules()]
    assert all(torch.equal(value, low.state_dict()[name]) for name, value in model.state_dict().items())
    assert ranks_of(low) == {}
    assert low.encoder.visual.conv1.weight is not model.encoder.visual.conv1.weight


def test_modes_and_gradients_are_those_of_the_dense_layers(tiny):
    model = ImageClassifier(tiny.model, torch.ones(3, 16)).train()  # its text tower is frozen
    model.encoder.visual.layer1.eval()
    model.encoder.visual.layer2.requires_grad_(False)
    low = factorise(model, svd_factors(matrices(model), 0.5))
    assert not any(module.training for module in low.encoder.visual.layer1.modules())
    assert all(module.training for module in low.encoder.visual.attnpool.modules())
    assert not any(p.requires_grad for p in low.encoder.visual.layer2.parameters())
    assert not any(p.requires_grad for p in low.encoder.transformer.parameters())
    low(torch.rand(4, 3, 32, 32)).square().sum().backward()
    trained = {name: p for name, p in low.named_parameters() if p.requires_grad}
    assert all(p.grad is not None for p in trained.values())
    moved = {name for name, p in trained.items() if p.grad.abs().max() > 0}
    assert {"encoder.visual.attnpool.kv_proj.first", "encoder.visual.layer4.0.conv2.second"} <= moved


def test_names_of_layers_and_states_are_stable(tmp_path):
    model = open_clip_vit(tmp_path / "clip")
    low = factorise(model, svd_factors(matrices(model), 0.5))
    names = set(dict(low.named_modules()))
    blocks = {f"transformer.resblocks.{i}{part}" for i in (0, 1) for part in ("", ".attn", ".mlp.c_fc", ".mlp.c_proj")}
    assert blocks | {"conv1", "ln_post", "transformer"} <= names
    own = [name for name in low.state_dict() if name.startswith("transformer.resblocks.1.attn")]
    assert own == [
        f"transformer.resblocks.1.attn.{entry}"
        for entry in (
            "in_proj.first", "in_proj.second_q", "in_proj.second_k", "in_proj.second_v", "in_proj.bias",
            "out_proj.first", "out_proj.second", "out_proj.bias",
        )
    ]  # fmt: skip
    again = copy.deepcopy(low)
    images = torch.rand(1, 3, 32, 32)
    assert torch.equal(again.eval()(images), low.eval()(images))


def test_tokens_beside_h(tmp_path):
    model = open_clip_vit(tmp_path / "clip").double().eval()
    model.output_tokens = True
    images = torch.rand(2, 3, 32, 32, dtype=torch.float64)
    for given, expected in zip(factorise(model, svd_factors(matrices(model)))(images), model(images), strict=True):
        close(given, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_factors_take_the_precision_of_the_network(tiny, dtype):
    model = tiny.model.visual.eval()
    chosen = svd_factors(matrices(model), 0.5)
    low = factorise(copy.deepcopy(model).to(dtype), chosen)
    assert {p.dtype for p in low.parameters()} == {dtype}
    images = torch.rand(2, 3, 32, 32)
    close(low(images.to(dtype)).float(), with_products(model, chosen)(images), 0.1 if dtype == torch.bfloat16 else 1e-5)


def test_autocast(tiny):
    model = tiny.model.visual.eval()
    low = factorise(model, svd_factors(matrices(model), 0.5))
    images = torch.rand(2, 3, 32, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        narrow = low(images)
    assert narrow.dtype == torch.bfloat16
    close(narrow.float(), low(images), 0.1)


@pytest.mark.parametrize("name", ["open_clip ViT", "open_clip ResNet", "timm ViT"])
def test_compiled_whole(name, tmp_path):
    model = NETWORKS[name](tmp_path / "clip").eval()
    low = factorise(model, svd_factors(matrices(model), 0.5)).eval()
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(low, backend="eager", fullgraph=True)(images), low(images))


@pytest.mark.parametrize(
    ("factors", "biases", "sentence"),
    [
        ({"0.weigth": None}, {}, r"no matrix '0.weigth'; near names: '0.weight'"),
        ({"0.weight": (torch.ones(4, 2), torch.ones(2, 5))}, {}, r"0.weight is \(4, 6\): .* not \(4, 2\) and \(2, 5\)"),
        ({"0.weight": (torch.ones(4, 2), torch.ones(3, 6))}, {}, r"A \(4, k\) and B \(k, 6\)"),
        ({}, {"0.weight": torch.ones(5)}, r"gives 4 numbers, so its bias has shape \(4,\), not \(5,\)"),
        ({}, {"1.weight": torch.ones(5)}, "no matrix '1.weight'"),
    ],
)
def test_what_does_not_fit_is_refused(factors, biases, sentence):
    with pytest.raises(ValueError, match=sentence):
        factorise(nn.Sequential(nn.Linear(6, 4), nn.ReLU()), factors, biases)


def test_a_model_that_is_one_layer():
    low = factorise(nn.Linear(3, 2), {"weight": (torch.ones(2, 1), torch.ones(1, 3))})
    assert isinstance(low, LowRankLinear)
    assert ranks_of(low) == {"weight": 1}


@pytest.mark.slow
@torch.no_grad()
def test_a_whole_vit_b_32():
    model = open_clip.create_model("ViT-B-32").visual.double().eval()
    images = torch.rand(1, 3, 224, 224, dtype=torch.float64)
    found = matrices(model, images)
    assert len(found) == 2 + 12 * 6
    whole = {name: (each.weight, torch.eye(each.columns, dtype=torch.float64)) for name, each in found.items()}
    close(factorise(model, whole)(images), model(images), 1e-10)
    chosen = {
        name: (each.weight[:, :150], torch.randn(150, each.columns).double() / 150) for name, each in found.items()
    }
    low = factorise(model, chosen)
    close(low(images), with_products(model, chosen)(images), 1e-10)
    assert sum(p.numel() for p in low.parameters()) < 0.5 * sum(p.numel() for p in model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "resnet18", "convnext_atto", "mobilenetv3_small_050"])
@torch.no_grad()
def test_whole_networks_of_timm(name):
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=7).double().eval()
    images = torch.rand(1, 3, 96, 96, dtype=torch.float64)
    images = nn.functional.interpolate(images, 224) if "vit" in name else images
    found = matrices(model, images)
    close(factorise(model, svd_factors(found))(images), model(images), 1e-8)
    chosen = svd_factors(found, 0.3)
    close(factorise(model, chosen)(images), with_products(model, chosen)(images), 1e-8)

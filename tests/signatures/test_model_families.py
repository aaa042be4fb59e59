"""Layers of real ResNets and ViTs, small and random, against forwards written out by hand."""

import open_clip
import pytest
import scipy.stats
import timm
import torch
import torchvision
import transformers
from open_clip.modified_resnet import ModifiedResNet
from open_clip.transformer import Transformer, VisionTransformer
from torch import nn

from lightning_robust.signatures import ActivationKurtosis, ActivationProbe, every_hook_fires, measure

X = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
N = len(X)


def randomised(model):
    """Random everything: fresh models hold zeros and ones behind which a wrong axis could hide."""
    generator = torch.Generator().manual_seed(1)
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        if value.is_floating_point():
            noise = torch.randn(value.shape, generator=generator)
            value.data = noise.abs() + 0.5 if name.endswith("running_var") else 0.2 * noise
    return model.eval()


@torch.no_grad()
def probed(model, layers, pool="mean", forward=None, images=N):
    hidden = {}
    probe = ActivationProbe(model, layers, pool, on_hidden=lambda layer, h: hidden.update({layer: h.clone()}))
    with every_hook_fires(fast_path=not probe.inside_fused), probe:
        probe.expect(images)
        probe.returned(model(X) if forward is None else forward(model))
        return probe.pop(), hidden, probe.forms


def same(got, expected):
    assert list(got) == list(expected)
    for layer, features in expected.items():
        torch.testing.assert_close(got[layer], features, rtol=1e-5, atol=1e-5, msg=f"{layer}: {{}}".format)


# --- open_clip -------------------------------------------------------------------------------------------------------


def clip(**vision):
    torch.manual_seed(0)
    text = {"context_length": 8, "vocab_size": 20, "width": 16, "heads": 2, "layers": 1}
    tower = {"image_size": 32, "width": 16, "head_width": 8, **vision}
    return randomised(open_clip.CLIP(12, tower, text))


def test_open_clip_modified_resnet():
    model = clip(layers=(1, 1, 1, 1), head_width=32).float()
    visual = model.visual
    assert isinstance(visual, ModifiedResNet)
    layers = [f"visual.layer{k}" for k in (1, 2, 3, 4)]
    got, hidden, forms = probed(
        model, [*layers, "visual.attnpool:input", "visual.attnpool", "visual", "", "forward"],
        forward=lambda m: m(X) and m.encode_image(X),
    )  # fmt: skip
    with torch.no_grad():
        maps = [visual.stem(X)]
        for stage in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
            maps.append(stage(maps[-1]))
        embedding = attention_pool_by_hand(visual.attnpool, maps[-1])
    expected = {f"visual.layer{k}": maps[k].mean(dim=(2, 3)) for k in (1, 2, 3, 4)}
    expected["visual.attnpool:input"] = expected["visual.layer4"]
    expected["visual.attnpool"] = expected["visual"] = embedding
    expected[""] = nn.functional.normalize(embedding, dim=-1)  # the model's own call normalises
    expected["forward"] = embedding
    same(got, expected)
    assert torch.equal(hidden["visual.layer2"], maps[2])
    assert forms["visual.layer1"].words == "64 features, mean over 64 positions"
    assert forms["visual.layer4"].words == "512 features, mean over 1 positions"
    assert (forms["visual.layer1"].layout, forms["visual"].words) == ("n c h w", "12 features")


def attention_pool_by_hand(pool, maps):
    """Softmax attention of the mean position over all of them, head by head."""
    tokens = maps.flatten(2).transpose(1, 2)
    tokens = torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1) + pool.positional_embedding
    q, k, v = pool.q_proj(tokens[:, :1]), pool.k_proj(tokens), pool.v_proj(tokens)
    heads = []
    for q_, k_, v_ in zip(*(part.chunk(pool.num_heads, dim=2) for part in (q, k, v)), strict=True):
        weights = (q_ @ k_.transpose(1, 2) / q_.shape[2] ** 0.5).softmax(dim=2)
        heads.append(weights @ v_)
    return pool.c_proj(torch.cat(heads, dim=2))[:, 0]


def vit_tokens_by_hand(visual, x=X):
    """Tokens before the first block, after every block, and after ln_post."""
    patches = visual.conv1(x).flatten(2).transpose(1, 2)
    tokens = torch.cat([visual.class_embedding.expand(len(x), 1, -1), patches], dim=1) + visual.positional_embedding
    states = [visual.ln_pre(tokens)]
    for block in visual.transformer.resblocks:
        states.append(block(states[-1]))
    return states, visual.ln_post(states[-1])


@pytest.mark.parametrize("pool", ["mean", "first", "tokens"])
def test_open_clip_vision_transformer(pool):
    model = clip(layers=2, patch_size=8)
    visual = model.visual
    assert isinstance(visual, VisionTransformer)
    names = ["visual.ln_pre", "visual.transformer.resblocks.*", "visual.transformer", "visual.ln_post", "visual"]
    got, hidden, forms = probed(model, names, pool, forward=lambda m: m.encode_image(X))
    with torch.no_grad():
        states, normed = vit_tokens_by_hand(visual)
        tokens = {
            "visual.ln_pre": states[0],
            "visual.transformer.resblocks.0": states[1],
            "visual.transformer.resblocks.1": states[2],
            "visual.transformer": states[2],
            "visual.ln_post": normed,
        }
        pooled = {name: pool_by_hand(state, pool) for name, state in tokens.items()}
        same(got, {**pooled, "visual": normed[:, 0] @ visual.proj})
    same({name: hidden[name] for name in tokens}, tokens)
    words = {"mean": "mean over 17 tokens", "first": "first of 17 tokens", "tokens": "each of 17 tokens a row"}
    assert forms["visual.transformer.resblocks.1"].words == f"16 features, {words[pool]}"
    assert forms["visual"].words == "12 features"


def pool_by_hand(state, pool):
    """Image by image, token by token."""
    rows = []
    for image in state:
        if pool == "tokens":
            rows.extend(image)
        else:
            rows.append(image[0] if pool == "first" else sum(image) / len(image))
    return torch.stack(rows)


class BatchSecond(nn.Module):
    """A tower whose blocks run (t, n, d), as OpenAI's CLIP and older open_clip have it."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(3, 16, 8, 8)
        self.transformer = Transformer(16, 2, 2, batch_first=False)

    def forward(self, x):
        return self.transformer(self.embed(x).flatten(2).transpose(1, 2))[:, 0]


@pytest.mark.parametrize("pool", ["mean", "first", "tokens"])
def test_blocks_that_run_with_the_batch_second(pool):
    model = randomised(BatchSecond())
    names = ["transformer.resblocks.*", "transformer.resblocks.1.mlp", "transformer"]
    got, hidden, forms = probed(model, names, pool)
    with torch.no_grad():
        state, states = model.embed(X).flatten(2).transpose(1, 2), []
        for block in model.transformer.resblocks:
            state = torch.cat([block(image[:, None]) for image in state], dim=1).transpose(0, 1)  # one by one
            states.append(state)
    torch.testing.assert_close(got["transformer.resblocks.0"], pool_by_hand(states[0], pool))
    torch.testing.assert_close(got["transformer.resblocks.1"], pool_by_hand(states[1], pool))
    torch.testing.assert_close(got["transformer"], got["transformer.resblocks.1"])
    torch.testing.assert_close(hidden["transformer.resblocks.0"], states[0])
    assert len(got["transformer.resblocks.1.mlp"]) == len(got["transformer"])
    assert {name: form.layout for name, form in forms.items()} == {
        "transformer.resblocks.0": "t n d", "transformer.resblocks.1": "t n d",
        "transformer.resblocks.1.mlp": "t n d", "transformer": "n t d",
    }  # fmt: skip


def test_batch_second_where_it_cannot_be_told():
    model = randomised(BatchSecond())
    with pytest.raises(ValueError, match=r"resblocks\.0' gives \(16, 3, 16\) and runs with the batch second; say"):
        probed(model, ["transformer.resblocks.0"], images=None)
    square = X.repeat(6, 1, 1, 1)[:16]
    with pytest.raises(ValueError, match=r"gives \(16, 16, 16\) for 16 images: tokens and images cannot be told"):
        probed(model, ["transformer.resblocks.0"], forward=lambda m: m(square), images=16)
    with torch.no_grad(), ActivationProbe(model, ["transformer.resblocks.0"]) as probe:
        for batch in (X, square):  # the first batch showed how the dimensions run
            probe.expect(len(batch))
            model(batch)
            assert len(probe.pop()["transformer.resblocks.0"]) == len(batch)


# --- timm and torchvision --------------------------------------------------------------------------------------------


def test_timm_resnet():
    model = randomised(timm.create_model("resnet18", num_classes=5))
    got, _, forms = probed(model, ["layer*", "layer3.1", "global_pool", "fc:input", "fc"])
    with torch.no_grad():
        state = model.maxpool(model.act1(model.bn1(model.conv1(X))))
        expected = {}
        for k, stage in enumerate((model.layer1, model.layer2, model.layer3, model.layer4), start=1):
            for block in stage:
                state = block(state)
            expected[f"layer{k}"] = state.mean(dim=(2, 3))
        expected["layer3.1"] = expected["layer3"]
        expected["global_pool"] = expected["fc:input"] = expected["layer4"]
        expected["fc"] = expected["layer4"] @ model.fc.weight.T + model.fc.bias
    same(got, expected)
    assert forms["layer1"].words == "64 features, mean over 64 positions"


@pytest.mark.parametrize("pool", ["mean", "first", "tokens"])
@pytest.mark.parametrize("global_pool", ["token", "avg"])
def test_timm_vision_transformer(global_pool, pool):
    arguments = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 4}
    model = randomised(timm.models.VisionTransformer(**arguments, global_pool=global_pool, reg_tokens=2))
    got, _, forms = probed(model, ["patch_embed", "blocks.*", "norm", "fc_norm", "head:input"], pool)
    with torch.no_grad():
        state = model.norm_pre(model._pos_embed(model.patch_embed(X)))
        expected = {"patch_embed": pool_by_hand(model.patch_embed(X), pool)}
        for index, block in enumerate(model.blocks):
            state = block(state)
            expected[f"blocks.{index}"] = pool_by_hand(state, pool)
        state = model.norm(state)
        expected["norm"] = pool_by_hand(state, pool)
        embedding = state[:, 0] if global_pool == "token" else state[:, 3:].mean(dim=1)
        expected["fc_norm"] = expected["head:input"] = model.fc_norm(embedding)
    same(got, expected)
    assert (forms["patch_embed"].positions, forms["blocks.1"].positions, forms["fc_norm"].positions) == (16, 19, 1)


@pytest.mark.parametrize("shape", [(32, 32), (64, 32)])
def test_swin_and_convnext_keep_features_last_in_some_layers(shape):
    x = torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(3))
    arguments = {"img_size": shape, "patch_size": 4, "window_size": 4, "depths": (1, 1), "num_heads": (1, 2)}
    swin = randomised(timm.models.SwinTransformer(**arguments, embed_dim=12, num_classes=0))
    layers = ["patch_embed", "layers.*", "layers.0.blocks.0.mlp", "norm"]
    got, _, forms = probed(swin, layers, forward=lambda m: m(x), images=2)
    with torch.no_grad():
        first = swin.layers[0](swin.patch_embed(x))
        second = swin.layers[1](first)
    torch.testing.assert_close(got["layers.0"], first.mean(dim=(1, 2)))
    torch.testing.assert_close(got["layers.1"], second.mean(dim=(1, 2)))
    assert [forms[layer].d for layer in got] == [12, 12, 24, 12, 24]
    assert [forms[layer].layout for layer in got] == ["n h w c", "n h w c", "n h w c", "n t d", "n h w c"]
    convnext = randomised(timm.models.ConvNeXt(depths=(1, 1, 1, 1), dims=(12, 16, 24, 32), num_classes=0))
    got, _, forms = probed(
        convnext, ["stem", "stages.*", "stages.0.blocks.0", "stages.0.blocks.0.mlp"], forward=lambda m: m(x), images=2
    )
    with torch.no_grad():
        torch.testing.assert_close(got["stages.0"], convnext.stages[0](convnext.stem(x)).mean(dim=(2, 3)))
    assert [forms[layer].layout for layer in got] == ["n c h w"] * 6 + ["n h w c"]
    assert [forms[layer].d for layer in got] == [12, 12, 16, 24, 32, 12, 12]


def test_torchvision():
    resnet = randomised(torchvision.models.resnet18(num_classes=3))
    got, _, _ = probed(resnet, ["layer2", "layer4", "avgpool", "fc:input"])
    with torch.no_grad():
        state = resnet.maxpool(resnet.relu(resnet.bn1(resnet.conv1(X))))
        second = resnet.layer2(resnet.layer1(state))
        last = resnet.layer4(resnet.layer3(second)).mean(dim=(2, 3))
    same(got, {"layer2": second.mean(dim=(2, 3)), "layer4": last, "avgpool": last, "fc:input": last})
    vit = randomised(torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=3))
    got, _, forms = probed(vit, ["encoder.layers.*", "encoder.ln", "heads:input"], "first")
    with torch.no_grad():
        state = vit._process_input(X)
        state = torch.cat([vit.class_token.expand(N, -1, -1), state], dim=1) + vit.encoder.pos_embedding
        first = vit.encoder.layers[0](state)
        second = vit.encoder.layers[1](first)
        final = vit.encoder.ln(second)[:, 0]
    name = "encoder.layers.encoder_layer_"
    same(got, {f"{name}0": first[:, 0], f"{name}1": second[:, 0], "encoder.ln": final, "heads:input": final})
    assert forms["encoder.ln"].words == "16 features, first of 17 tokens"


# --- transformers ----------------------------------------------------------------------------------------------------

TOWER = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32,
    "patch_size": 8,
}  # fmt: skip
TEXT = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 20}


def image_features(model):
    return model.get_image_features(pixel_values=X)


@pytest.mark.parametrize("pool", ["mean", "first"])
def test_transformers_clip(pool):
    config = transformers.CLIPConfig(vision_config=TOWER, text_config=TEXT, projection_dim=12)
    model = randomised(transformers.CLIPModel(config))
    layers = [
        "vision_model.encoder.layers.*", "vision_model", "visual_projection:input", "visual_projection", "forward"
    ]  # fmt: skip
    got, hidden, forms = probed(model, layers, pool, forward=image_features)
    tower = model.vision_model
    with torch.no_grad():
        state, expected = tower.pre_layrnorm(tower.embeddings(X)), {}
        for index, block in enumerate(tower.encoder.layers):
            state = block(state, attention_mask=None)
            state = state[0] if isinstance(state, tuple) else state
            expected[f"vision_model.encoder.layers.{index}"] = pool_by_hand(state, pool)
        pooled = tower.post_layernorm(state[:, 0])
        expected["vision_model"] = expected["visual_projection:input"] = pooled
        expected["visual_projection"] = expected["forward"] = pooled @ model.visual_projection.weight.T
    same(got, expected)
    assert hidden["vision_model.encoder.layers.0"].shape == (N, 17, 16)
    assert (forms["vision_model"].words, forms["forward"].words) == ("16 features", "12 features")


def test_transformers_clip_by_its_own_call():
    config = transformers.CLIPConfig(vision_config=TOWER, text_config=TEXT, projection_dim=12)
    model = randomised(transformers.CLIPModel(config))
    ids = torch.randint(0, 20, (N, 5))
    got, _, _ = probed(model, ["", "visual_projection"], forward=lambda m: m(input_ids=ids, pixel_values=X))
    torch.testing.assert_close(got[""], nn.functional.normalize(got["visual_projection"], dim=-1))
    vision = randomised(
        transformers.CLIPVisionModelWithProjection(transformers.CLIPVisionConfig(**TOWER, projection_dim=12))
    )
    got, _, _ = probed(vision, ["", "vision_model.post_layernorm", "forward"])
    with torch.no_grad():
        embeds = vision(X).image_embeds
    same(got, {
        "": embeds, "vision_model.post_layernorm": got["vision_model.post_layernorm"], "forward": embeds,
    })  # fmt: skip
    torch.testing.assert_close(got["vision_model.post_layernorm"] @ vision.visual_projection.weight.T, embeds)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_transformers_siglip(attention):
    config = transformers.SiglipConfig(vision_config=TOWER, text_config=TEXT, attn_implementation=attention)
    model = randomised(transformers.SiglipModel(config))
    layers = ["vision_model.encoder.layers.*", "vision_model.post_layernorm", "vision_model.head", "forward"]
    got, _, forms = probed(model, layers, forward=image_features)
    tower = model.vision_model
    with torch.no_grad():
        state, expected = tower.embeddings(X), {}
        for index, block in enumerate(tower.encoder.layers):
            state = block(state, attention_mask=None)
            state = state[0] if isinstance(state, tuple) else state
            expected[f"vision_model.encoder.layers.{index}"] = pool_by_hand(state, "mean")
        normed = tower.post_layernorm(state)
        expected["vision_model.post_layernorm"] = pool_by_hand(normed, "mean")
        expected["vision_model.head"] = expected["forward"] = tower.head(normed)
        torch.testing.assert_close(image_features(model).pooler_output, expected["forward"])
    same(got, expected)
    assert forms["vision_model.post_layernorm"].words == "16 features, mean over 16 tokens"


@pytest.mark.parametrize("batch", [X, {"pixel_values": X, "input_ids": torch.ones(N, 5, dtype=torch.int64)}])
@pytest.mark.parametrize("family", ["CLIP", "Siglip"])
def test_two_towers_are_measured_by_their_image_tower(family, batch):
    config = getattr(transformers, f"{family}Config")(vision_config=TOWER, text_config=TEXT)
    model = randomised(getattr(transformers, f"{family}Model")(config))
    layers = ["forward", "vision_model.encoder.layers.1"]
    result = measure(model, [batch], {layer: ActivationKurtosis() for layer in layers})
    with torch.no_grad():
        features = image_features(model)
    want = {"forward": features.pooler_output, layers[1]: features.last_hidden_state.mean(dim=1)}
    for layer in layers if family == "CLIP" else layers[:1]:  # SigLIP norms its last tokens
        kurtosis = scipy.stats.kurtosis(want[layer].double().numpy(), axis=1, fisher=False).mean()
        assert float(result[layer]["ActivationKurtosis"]["mean"]) == pytest.approx(kurtosis, rel=1e-5)
    with pytest.raises(RuntimeError, match="layer '' never fired: the model itself is not called"):
        measure(model, [batch], {"": ActivationKurtosis()})

"""Layer-wise learning rates, by hand, and as the optimiser gets them."""

import open_clip
import pytest
import timm
import torch
from timm.optim import param_groups_layer_decay
from torch import nn

from lightning_robust.models import ImageClassifier
from lightning_robust.models.image_tower import ImageTower
from lightning_robust.training import ClassifierFinetuning
from lightning_robust.training.layer_decay import layer_decay_groups, parameter_depths


def tiny_transformer():
    return open_clip.transformer.VisionTransformer(
        image_size=8, patch_size=4, width=8, layers=3, heads=2, mlp_ratio=2.0, output_dim=6
    )


def rates(groups, model):
    """Learning rate and weight decay by parameter name."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {names[id(p)]: (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}


def test_a_transformer_of_open_clip_by_hand():
    model = ImageClassifier(ImageTower(tiny_transformer()), torch.zeros(5, 6))
    found = rates(layer_decay_groups(model, lr=1.0, weight_decay=0.1, layer_decay=0.5), model)
    assert len(found) == len(list(model.parameters()))
    visual = "encoder.visual"
    by_hand = {
        f"{visual}.conv1.weight": (0.0625, 0.1),  # depth 0 of 4: 0.5 ** 4
        f"{visual}.class_embedding": (0.0625, 0.0),
        f"{visual}.positional_embedding": (0.0625, 0.1),
        f"{visual}.ln_pre.bias": (0.0625, 0.0),
        f"{visual}.transformer.resblocks.0.attn.in_proj_weight": (0.125, 0.1),
        f"{visual}.transformer.resblocks.1.ln_1.weight": (0.25, 0.0),
        f"{visual}.transformer.resblocks.2.mlp.c_fc.bias": (0.5, 0.0),
        f"{visual}.ln_post.weight": (1.0, 0.0),
        f"{visual}.proj": (1.0, 0.1),
        "head.weight": (1.0, 0.1),
    }
    assert {name: found[name] for name in by_hand} == by_hand


def test_residual_blocks_and_pooling_of_a_resnet_of_open_clip():
    visual = open_clip.model.ModifiedResNet(layers=(2, 1, 1, 1), output_dim=8, heads=2, image_size=32, width=4)
    depths, head = parameter_depths(visual)
    assert head == 6
    by_hand = {"conv3.weight": 0, "layer1.0.conv1.weight": 1, "layer1.1.bn1.bias": 2, "layer2.0.downsample.0.weight": 3,
               "layer4.0.conv3.weight": 5, "attnpool.c_proj.bias": 6, "attnpool.positional_embedding": 6}  # fmt: skip
    assert {name: depths[name] for name in by_hand} == by_hand


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "resnet18", "convnext_atto"])
def test_networks_of_timm_have_timms_own_groups(name):
    network = timm.create_model(name, num_classes=0)
    model = ImageClassifier(ImageTower(network), torch.zeros(5, network.num_features))
    found = rates(layer_decay_groups(model, lr=1.0, weight_decay=0.1, layer_decay=0.75), model)
    whole = timm.create_model(name, num_classes=5)  # timm's own groups, of the network with its classifier
    expected = {}
    for group in param_groups_layer_decay(whole, weight_decay=0.1, layer_decay=0.75):
        names = {id(p): n for n, p in whole.named_parameters()}
        expected |= {f"encoder.visual.{names[id(p)]}": group["lr_scale"] for p in group["params"]}
    common = [n for n in expected if n in found]
    assert len(common) == len(found) - 1  # all but our head, which timm calls otherwise
    assert [r for n, r in expected.items() if n not in found] == [1.0, 1.0]  # its own classifier
    assert {n: found[n][0] for n in common} == pytest.approx({n: expected[n] for n in common})
    assert found["head.weight"] == (1.0, 0.1)


def test_an_open_clip_with_a_tower_of_timm(monkeypatch):
    tower = open_clip.timm_model.TimmModel("vit_tiny_patch16_224", embed_dim=8, image_size=32, pool="", proj="linear")
    depths, head = parameter_depths(tower)
    assert head == 13
    assert depths["trunk.patch_embed.proj.weight"] == 0
    assert depths["trunk.blocks.3.norm1.weight"] == 4
    assert depths["head.proj.weight"] == 13


def test_the_optimiser_has_them_and_the_schedule_keeps_their_ratios(tiny_folder, data, trainer):
    module = ClassifierFinetuning(f"local-dir:{tiny_folder}", lr=1e-3, warmup_steps=2, layer_decay=0.5)
    run = trainer(max_epochs=2)
    run.fit(module, datamodule=data)
    (optimizer,) = run.optimizers
    depths, head = parameter_depths(module.model.encoder.visual)
    names = {id(p): name for name, p in module.model.named_parameters()}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            name = names[id(parameter)].removeprefix("encoder.visual.")
            assert group["initial_lr"] == pytest.approx(1e-3 * 0.5 ** (head - depths.get(name, head)))
    assert {group["lr"] for group in optimizer.param_groups} == {0.0}  # the cosine has ended
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert trained == {id(p) for p in module.parameters() if p.requires_grad}


def test_frozen_depths_are_left_out():
    model = ImageClassifier(ImageTower(tiny_transformer()), torch.zeros(5, 6))
    model.encoder.visual.conv1.requires_grad_(False)
    model.encoder.visual.transformer.resblocks[1].requires_grad_(False)
    found = rates(layer_decay_groups(model, lr=1.0, weight_decay=0.1, layer_decay=0.5), model)
    assert set(found) == {name for name, p in model.named_parameters() if p.requires_grad}
    model.requires_grad_(False)
    with pytest.raises(ValueError, match="Nothing to train"):
        layer_decay_groups(model, lr=1.0, weight_decay=0.1, layer_decay=0.5)


def test_unknown_architectures_and_factors_are_refused():
    with pytest.raises(ValueError, match="does not know where the blocks of Sequential are"):
        parameter_depths(nn.Sequential(nn.Linear(2, 2)))
    model = ImageClassifier(ImageTower(tiny_transformer()), torch.zeros(5, 6))
    with pytest.raises(ValueError, match=r"layer_decay lies in \(0, 1\), not 0"):
        layer_decay_groups(model, lr=1.0, weight_decay=0.1, layer_decay=0.0)

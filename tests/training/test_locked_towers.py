"""Locked towers: which parameters take no gradient, and what a fit leaves as it was."""

import open_clip
import pytest
import torch

from lightning_robust.models import load_encoder
from lightning_robust.training import ContrastivePretraining
from lightning_robust.training.locked_towers import lock_towers

VIT = {"vision": "vit", "vision_layers": 3, "vision_width": 32, "vision_head_width": 16, "text_layers": 3}


def open_parameters(model):
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.fixture
def vit(small_clip):
    return load_encoder(small_clip(**VIT), pretrained=False).model


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_groups_are_open_clips(vit, small_clip, groups):
    reference = load_encoder(small_clip(**VIT), pretrained=False).model
    reference.lock_image_tower(groups)
    reference.lock_text_tower(groups)
    lock_towers(vit, groups, groups)
    assert open_parameters(vit) == open_parameters(reference)
    assert {"logit_scale", "visual.proj", "text_projection"} <= open_parameters(vit)


@pytest.mark.parametrize(("image", "text"), [(True, False), (False, True), (True, 2)])
def test_a_whole_tower_is_locked_and_nothing_else(vit, image, text):
    before = open_parameters(vit)
    lock_towers(vit, image, text)
    closed = before - open_parameters(vit)
    visual = {name for name in before if name.startswith("visual.")}
    assert closed & visual == (visual if image else set())
    rest = before - visual - {"logit_scale"}
    assert (closed - visual == rest) == (text is True)
    assert "logit_scale" not in closed


def test_a_timm_tower_is_locked_whole_with_its_projection():
    clip = _timm_clip()
    lock_towers(clip, True, False)
    assert not any(name.startswith("visual.") for name in open_parameters(clip))
    clip = _timm_clip()
    lock_towers(clip, 1, False)
    trunk = {name for name in open_parameters(clip) if name.startswith("visual.trunk.")}
    assert trunk
    assert "visual.trunk.blocks.0.attn.qkv.weight" not in trunk


def _timm_clip():
    vision = {"timm_model_name": "test_vit", "timm_pool": "", "timm_proj": "linear", "image_size": 32}
    text = {"context_length": 8, "vocab_size": 16, "width": 16, "heads": 2, "layers": 1}
    return open_clip.model.CustomTextCLIP(8, vision, text)


@pytest.mark.parametrize(
    ("image", "text", "sentence"),
    [
        (0, False, "lock_image is true, false or a number of last groups left open, at least 1, not 0"),
        (False, -2, "lock_text is true, false or a number .*, not -2"),
        (True, True, "together leave nothing to train"),
        (9, False, "lock_image=9 leaves all of the image tower open"),
        (False, 9, "lock_text=9 leaves all of the text tower open"),
    ],
)
def test_a_lock_that_says_nothing_is_refused(vit, image, text, sentence):
    with pytest.raises(ValueError, match=sentence):
        lock_towers(vit, image, text)


def test_a_resnet_is_locked_whole_or_not_at_all(tiny_folder):
    with pytest.raises(ValueError, match="lock_image=2 leaves groups of a tower open, and this tower has none"):
        ContrastivePretraining(f"local-dir:{tiny_folder}", lock_image=2)


def test_locked_image_tuning_trains_the_text_tower_alone(tiny_folder, captioned, trainer):
    name = f"local-dir:{tiny_folder}"
    before = load_encoder(name).model.state_dict()
    module = ContrastivePretraining(name, lr=3e-3, warmup_steps=1, lock_image=True, pretrained=True, chunk_size=3)
    run = trainer(max_epochs=2)
    run.fit(module, datamodule=captioned)
    after = module.encoder.state_dict()
    moved = {entry for entry, value in after.items() if not torch.equal(value, before[entry])}
    # batch norm's statistics too are of the tower, and stay
    assert not any(entry.startswith("visual.") for entry in moved)
    assert {"token_embedding.weight", "text_projection", "logit_scale"} <= moved
    assert not module.encoder.visual.bn1.training
    assert module.train().encoder.transformer.training
    assert not module.encoder.visual.bn1.training


def test_the_untrained_control_of_a_pretrained_start_is_random(tiny_folder, captioned, trainer):
    name = f"local-dir:{tiny_folder}"
    module = ContrastivePretraining(name, lock_text=True, pretrained=True, seed=3)
    trainer(max_steps=1).fit(module, datamodule=captioned)
    control, random = module.untrained_model(), load_encoder(name, pretrained=False, seed=3).model.state_dict()
    assert all(torch.equal(value, random[entry]) for entry, value in control.encoder.state_dict().items())


def test_a_tower_locked_at_random_weights_is_warned_about(tiny_folder):
    with pytest.warns(UserWarning, match="A tower is locked at random weights: pretrained=True"):
        ContrastivePretraining(f"local-dir:{tiny_folder}", lock_image=True)

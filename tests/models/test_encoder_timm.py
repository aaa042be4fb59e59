"""Image encoders of timm: pooled features as h, timm's own preprocessing, no text."""

import random

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from lightning_robust.models import ImageClassifier, load_encoder, save_tensors, zero_shot_head
from lightning_robust.models.networks import load_network
from lightning_robust.models.weights_file import read_weights
from lightning_robust.results import file_sha256

NAMES = ["resnet10t", "vit_tiny_patch16_224", "convnext_atto", "mobilenetv3_small_050", "efficientvit_b0"]


@pytest.mark.parametrize("name", NAMES)
def test_h_is_what_the_classifier_would_read(name, tmp_path):
    torch.manual_seed(7)
    whole = timm.create_model(name).eval()
    save_tensors(tmp_path / "own.safetensors", whole.state_dict())
    encoder = load_encoder(f"timm:{name}@{tmp_path / 'own.safetensors'}")
    images = torch.rand(2, 3, 64, 64) if "vit_tiny" not in name else torch.rand(2, 3, 224, 224)
    with torch.no_grad():
        h = encoder.model.encode_image(images)
        read = whole.forward_head(whole.forward_features(images), pre_logits=True)
        torch.testing.assert_close(h, read, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(whole.get_classifier()(h), whole(images), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(encoder.model.visual(images), h)
    assert h.shape == (2, encoder.embed_dim)
    assert not encoder.has_text
    assert encoder.checkpoint_hash == file_sha256(tmp_path / "own.safetensors")
    assert ImageClassifier(encoder.model, torch.ones(3, encoder.embed_dim))(images).shape == (2, 3)


def test_its_preprocessing_is_timms_own():
    encoder = load_encoder("timm:vit_tiny_patch16_224.augreg_in21k_ft_in1k", pretrained=False)
    settings = timm.data.resolve_data_config(
        {}, pretrained_cfg=timm.get_pretrained_cfg("vit_tiny_patch16_224.augreg_in21k_ft_in1k").to_dict()
    )
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 260, 3), dtype=np.uint8))
    assert torch.equal(encoder.transform(image), timm.data.create_transform(**settings, is_training=False)(image))
    assert settings["mean"] == (0.5, 0.5, 0.5)  # not ImageNet's, which a default would give
    assert encoder.transform(image).shape == (3, 224, 224)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_images_of_every_mode(mode):
    encoder = load_encoder("timm:resnet10t", pretrained=False)
    image = Image.new("RGB", (40, 50), (200, 10, 90)).convert(mode)
    assert torch.equal(encoder.transform(image), encoder.transform(image.convert("RGB")))


def test_there_is_no_zero_shot_head():
    encoder = load_encoder("timm:resnet10t", pretrained=False)
    with pytest.raises(ValueError, match=r"TimmTower has no text tower: .* linear probe"):
        zero_shot_head(encoder.model, encoder.tokenizer, ["star"], ["a {}"])
    with pytest.raises(ValueError, match="'timm:resnet10t' has no text tower, so it reads no texts such as 'a star'"):
        encoder.tokenizer(["a star"])


@pytest.mark.parametrize("form", ["bare", "timm training", "finetuned here"])
def test_files_in_every_form(tmp_path, form):
    source = load_encoder("timm:resnet10t", pretrained=False, seed=5).model
    state = source.visual.state_dict()
    classifier = {"fc.weight": torch.ones(7, 512), "fc.bias": torch.ones(7)}  # of another number of classes
    if form == "bare":
        content = {**state, **classifier}
    elif form == "timm training":
        content = {"epoch": 3, "arch": "resnet10t", "state_dict": {**state, **classifier}, "metric": 0.5}
    else:
        own = {f"model.encoder.{name}": value for name, value in source.state_dict().items()}
        content = {"state_dict": {**own, "model.head.weight": torch.ones(3, 512)}}
    torch.save(content, tmp_path / "a.pt")
    before = (torch.get_rng_state(), random.getstate())
    loaded = load_encoder(f"timm:resnet10t@{tmp_path / 'a.pt'}").model.state_dict()
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()
    assert loaded.keys() == source.state_dict().keys()
    assert all(torch.equal(loaded[name], value) for name, value in source.state_dict().items())


@pytest.mark.parametrize("key", ["state_dict_ema", "model_ema"])
def test_averaged_weights_of_a_training_are_preferred_as_timm_does(tmp_path, key):
    last, averaged = (timm.create_model("resnet10t").state_dict() for _ in range(2))
    for name, content in {"both": averaged, "none": None}.items():
        torch.save({"arch": "resnet10t", "state_dict": last, key: content}, tmp_path / f"{name}.pth.tar")
        own = timm.create_model("resnet10t")
        timm.models.load_checkpoint(own, str(tmp_path / f"{name}.pth.tar"))
        file = f"timm:resnet10t@{tmp_path / f'{name}.pth.tar'}"
        found, network = load_encoder(file).model.visual.state_dict(), load_network(file).model.state_dict()
        assert all(torch.equal(found[entry], own.state_dict()[entry]) for entry in found)
        assert all(torch.equal(value, own.state_dict()[entry]) for entry, value in network.items())
        said = read_weights(tmp_path / f"{name}.pth.tar").taken
        assert said == (key if content is not None else "state_dict")
        assert load_network(file).origin.endswith(f", averaged weights ({key})") == (content is not None)


def test_float64_weights_take_the_models_type(tmp_path):
    source = load_encoder("timm:resnet10t", pretrained=False, seed=5).model.visual.state_dict()
    wide = {name: value.double() if value.is_floating_point() else value for name, value in source.items()}
    torch.save(wide, tmp_path / "a.pt")
    found = load_encoder(f"timm:resnet10t@{tmp_path / 'a.pt'}").model.visual.state_dict()
    assert all(found[name].dtype == value.dtype and torch.equal(found[name], value) for name, value in source.items())


def test_a_file_of_a_tag_with_the_other_activation(tmp_path):
    save_tensors(tmp_path / "a.safetensors", {"x": torch.ones(1)})
    with pytest.raises(ValueError, match=r"use 'timm:vit_base_patch32_clip_quickgelu_224\.openai'"):
        load_encoder(f"timm:vit_base_patch32_clip_224.openai@{tmp_path / 'a.safetensors'}")


def test_untrained_is_a_function_of_the_seed():
    one, again, other = (load_encoder("timm:resnet10t", pretrained=False, seed=s) for s in (5, 5, 6))
    assert one.checkpoint_hash == again.checkpoint_hash != other.checkpoint_hash
    with_file = load_encoder("timm:resnet10t@nowhere.pt", pretrained=False, seed=5)  # the untrained twin
    assert with_file.checkpoint_hash == one.checkpoint_hash


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("timm:resnet10", "timm has no network 'resnet10'; near names: .*'timm:resnet1"),
        ("timm:resnet50.a9_in1k", "timm's resnet50 has no weights 'a9_in1k'; it has '.*'a3_in1k'"),
        ("timm:resnet50.a1_in1k", r"put model\.safetensors of huggingface.co/timm/resnet50\.a1_in1k .* 'timm:.*@FILE'"),
        ("timm:resnet10t@nowhere.pt", r"there is no file nowhere\.pt"),
        ("timm:", "timm has no network ''"),
        ("timm:resnet18.", "'timm:resnet18.' ends in a point"),
        (
            "timm:vit_base_patch16_clip_224.openai",
            "with QuickGELU, .*; use 'timm:vit_base_patch16_clip_quickgelu_224.openai'",
        ),
    ],
)
def test_what_cannot_be_had(name, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        load_encoder(name)
    assert "\n" not in str(caught.value)


def test_weights_of_another_network(tmp_path):
    save_tensors(tmp_path / "a.safetensors", timm.create_model("resnet18").state_dict())
    with pytest.raises(ValueError, match=r"not states of the same architecture.*a\.safetensors"):
        load_encoder(f"timm:resnet10t@{tmp_path / 'a.safetensors'}")


def test_a_probe_takes_the_file_too_and_keeps_the_classifier(tmp_path):
    torch.manual_seed(7)
    model = timm.create_model("resnet10t").eval()
    save_tensors(tmp_path / "own.safetensors", model.state_dict())
    name = f"timm:resnet10t@{tmp_path / 'own.safetensors'}"
    network = load_network(name)
    images = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(network.model(images), model(images))
    assert network.head.shape == (1000, 512)
    untrained = load_network(name, untrained=True, seed=3)
    assert untrained.checkpoint_hash == load_network("timm:resnet10t", untrained=True, seed=3).checkpoint_hash
    with pytest.raises(ValueError, match="names a file of weights already"):
        load_network(name, weights="other.pt")

"""Networks by name: what belongs to each, and a sentence for what cannot be had."""

import pytest
import timm
import torch
import yaml

from lightning_robust.models import ImageClassifier, load_encoder, save_tensors, split_classifier_state
from lightning_robust.models.bundled import save_classifier
from lightning_robust.models.image_tower import ImageTower
from lightning_robust.models.network import blocks_of
from lightning_robust.models.networks import load_network
from lightning_robust.models.timm_network import timm_head
from lightning_robust.results import cache_folder


def test_a_clip_with_class_names_has_its_zero_shot_head():
    network = load_network("scenes-clip", class_names=["star", "heart"], templates=["a photo of a {}"])
    images = torch.rand(3, 3, 32, 32)
    h = network.model.encoder.encode_image(images, normalize=True)
    torch.testing.assert_close(network.model(images), h @ network.head.T)
    assert (network.representation_layer, network.head_layer, network.unit_norm) == ("encoder.visual", "head", True)
    assert network.blocks == tuple(f"encoder.visual.layer{k}" for k in range(1, 5))
    assert network.checkpoint_hash == load_encoder("scenes-clip").checkpoint_hash


def test_a_clip_without_class_names_has_none_and_gives_h():
    network = load_network("scenes-clip")
    images = torch.rand(2, 3, 32, 32)
    assert network.head is None
    assert network.head_layer is None
    assert network.origin == "pretrained weights"  # and nothing of a zero-shot head
    torch.testing.assert_close(network.model(images), load_encoder("scenes-clip").model.encode_image(images))


def test_untrained_is_the_same_architecture_with_other_weights():
    trained, untrained = load_network("scenes-clip"), load_network("scenes-clip", untrained=True, seed=3)
    again = load_network("scenes-clip", untrained=True, seed=3)
    assert untrained.blocks == trained.blocks
    assert untrained.checkpoint_hash == again.checkpoint_hash != trained.checkpoint_hash
    assert untrained.origin == "random weights, seed 3"
    short = load_network("untrained:scenes-clip", seed=3)
    assert short.name == untrained.name == "untrained:scenes-clip"
    assert short.checkpoint_hash == untrained.checkpoint_hash


@pytest.mark.parametrize(
    ("name", "layer", "blocks"),
    [
        ("timm:resnet10t", "fc:input", ["layer1", "layer2", "layer3", "layer4"]),
        ("timm:vit_tiny_patch16_224", "head:input", [f"blocks.{k}" for k in range(12)]),
        ("timm:convnext_atto", "head.fc:input", [f"stages.{k}" for k in range(4)]),
    ],
)
def test_networks_of_timm(name, layer, blocks):
    before = torch.get_rng_state()
    network = load_network(name, untrained=True, seed=1)
    assert torch.equal(before, torch.get_rng_state())
    assert (network.representation_layer, list(network.blocks)) == (layer, blocks)
    assert network.head.shape[0] == 1000
    assert f"{network.head_layer}:input" == layer
    assert not network.unit_norm


def test_a_network_of_timm_without_a_classifier_is_measured_at_its_output():
    torch.manual_seed(0)
    name = next(name for name in timm.list_models("resnet10t*"))
    network = load_network(f"timm:{name}", untrained=True)
    headless = timm.create_model(name, num_classes=0)
    assert timm_head(headless) == ("", None, None)
    assert network.head is not None


def test_own_weights_for_a_network_of_timm(tmp_path):
    torch.manual_seed(7)
    model = timm.create_model("resnet10t")
    save_tensors(tmp_path / "own.safetensors", model.state_dict())
    network = load_network("timm:resnet10t", weights=tmp_path / "own.safetensors")
    images = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(network.model(images), model.eval()(images))
    other = timm.create_model("resnet18")
    save_tensors(tmp_path / "other.safetensors", other.state_dict())
    with pytest.raises(ValueError, match=r"other\.safetensors does not hold the weights of 'timm:resnet10t'"):
        load_network("timm:resnet10t", weights=tmp_path / "other.safetensors")


@pytest.fixture
def run_folder(tmp_path):
    """A run's folder as `fit` leaves it, with weights that are not the bundled ones."""
    encoder = load_encoder("scenes-clip", pretrained=False, seed=5)
    classifier = ImageClassifier(encoder.model, torch.eye(4, 128)).eval()
    clip, head = split_classifier_state(classifier.state_dict())
    (tmp_path / "wise_ft").mkdir()
    save_tensors(tmp_path / "wise_ft" / "alpha=1.00.safetensors", clip)
    save_tensors(tmp_path / "wise_ft" / "alpha=1.00.head.safetensors", head)
    state = {f"model.{name}": value for name, value in classifier.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "last.ckpt")
    settings = {"model": {"class_path": "x.ClassifierFinetuning", "init_args": {"encoder": "scenes-clip"}}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    return tmp_path, classifier


@pytest.mark.parametrize("file", ["wise_ft/alpha=1.00.safetensors", "last.ckpt"])
def test_files_of_a_run(run_folder, file):
    folder, classifier = run_folder
    network = load_network(str(folder / file))
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(network.model(images), classifier(images))
    assert network.head.shape == (4, 128)
    assert network.origin == "finetuned from scenes-clip by a run of fit"


def test_a_pretraining_checkpoint_has_a_head_from_class_names_only(run_folder):
    folder, classifier = run_folder
    state = {f"encoder.{name}": value for name, value in classifier.encoder.state_dict().items()}
    torch.save({"state_dict": state}, folder / "last.ckpt")
    settings = {"model": {"class_path": "x.ContrastivePretraining", "init_args": {"encoder": "scenes-clip"}}}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    network = load_network(str(folder / "last.ckpt"))
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(network.model(images), classifier.encoder.encode_image(images))
    assert network.head is None
    assert network.origin == "pretrained from random weights by a run of fit, architecture of scenes-clip"
    named = load_network(str(folder / "last.ckpt"), class_names=["star", "heart"])
    assert named.head.shape == (2, 128)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("scenes-clop", {}, "Unknown encoder 'scenes-clop'; near names: 'scenes-clip'.*'timm:NAME'.*Or a run's file"),
        ("timm:resnet10", {}, "timm has no network 'resnet10'; near names: .*timm:resnet1"),
        ("scenes-clip", {"weights": "x.pt"}, "weights= is for trained networks of timm"),
        ("timm:resnet10t", {"weights": "x.pt", "untrained": True}, "weights= is for trained networks of timm"),
        ("timm:resnet10t", {"weights": "x.pt"}, "there is no file x.pt with weights"),
        (
            "timm:resnet10t",
            {"untrained": True, "class_names": ["a"]},
            "class names are for the zero-shot head of a CLIP",
        ),
        ("scenes-supervised", {"class_names": ["a"]}, "'scenes-supervised' has a head of its own"),
        ("nowhere/last.ckpt", {}, "there is no file nowhere/last.ckpt"),
        ("nowhere/last.ckpt", {"untrained": True}, "is a trained checkpoint"),
        ("wise_ft/alpha=1.00.head.safetensors", {}, "is a head; give the model beside it"),
    ],
)
def test_what_cannot_be_had_is_one_sentence(name, options, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        load_network(name, **options)
    assert "\n" not in str(caught.value)


def test_files_that_lie_in_no_run(run_folder, tmp_path_factory):
    folder, _ = run_folder
    (folder / "config.yaml").write_text("trainer: {}\n")
    with pytest.raises(ValueError, match=r"names no encoder at model\.init_args\.encoder"):
        load_network(str(folder / "last.ckpt"))
    (folder / "config.yaml").unlink()
    with pytest.raises(ValueError, match=r"lies in no run of 'fit': there is no .*config\.yaml"):
        load_network(str(folder / "last.ckpt"))
    elsewhere = tmp_path_factory.mktemp("foreign")
    (elsewhere / "config.yaml").write_text(yaml.safe_dump({"model": {"init_args": {"encoder": "scenes-clip"}}}))
    torch.save({"net.weight": torch.ones(2)}, elsewhere / "last.ckpt")
    with pytest.raises(ValueError, match=r"was not written by a training of this package: it holds 'net\.weight'"):
        load_network(str(elsewhere / "last.ckpt"))
    save_tensors(elsewhere / "half.safetensors", {"logit_scale": torch.ones(())})
    with pytest.raises(ValueError, match="does not hold the weights of 'scenes-clip'"):
        load_network(str(elsewhere / "half.safetensors"))


@pytest.mark.parametrize(
    ("head", "sentence"),
    [
        ({"weight": torch.eye(4, 128), "bias": torch.ones(4)}, r"is to be one matrix.* and holds .*bias \(4,\)"),
        ({"w": torch.eye(4, 128)}, r"is to be one matrix.* and holds w \(4, 128\)"),
        ({"weight": torch.eye(4, 64)}, "reads 64 features and 'scenes-clip' gives 128"),
    ],
)
def test_a_head_that_is_more_or_other_than_a_matrix_of_the_towers_width_is_refused(run_folder, head, sentence):
    folder, _ = run_folder
    save_tensors(folder / "wise_ft" / "alpha=1.00.head.safetensors", head)
    with pytest.raises(ValueError, match=sentence):
        load_network(str(folder / "wise_ft" / "alpha=1.00.safetensors"))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_files_of_another_type_run_as_the_tower_does(run_folder, dtype):
    folder, classifier = run_folder
    clip, head = split_classifier_state(classifier.state_dict())
    for kind, state in (("", clip), (".head", head)):
        changed = {name: value.to(dtype) if value.is_floating_point() else value for name, value in state.items()}
        save_tensors(folder / "wise_ft" / f"alpha=1.00{kind}.safetensors", changed)
    network = load_network(str(folder / "wise_ft" / "alpha=1.00.safetensors"))
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(network.model(images), classifier(images), atol=0.02, rtol=0.02)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("- 1\n", "names no encoder"),
        ("model: str\n", "names no encoder"),
        ("model: {init_args: 3}\n", "names no encoder"),
        ("model: [\n", "Cannot read the run's config .*config.yaml: "),
    ],
)
def test_a_config_that_is_damaged_is_one_sentence(run_folder, text, sentence):
    folder, _ = run_folder
    (folder / "config.yaml").write_text(text)
    with pytest.raises(ValueError, match=sentence) as caught:
        load_network(str(folder / "last.ckpt"))
    assert "\n" not in str(caught.value)


def test_names_of_classes_come_from_the_checkpoint_of_the_run(run_folder):
    folder, _ = run_folder
    files = [str(folder / name) for name in ("last.ckpt", "wise_ft/alpha=1.00.safetensors")]
    assert [load_network(file).class_names for file in files] == [None, None]
    content = torch.load(folder / "last.ckpt", weights_only=True)
    torch.save({**content, "class_names": ["a", "b", "c", "d"]}, folder / "last.ckpt")
    assert [load_network(file).class_names for file in files] == [("a", "b", "c", "d")] * 2


def test_supervised_models_have_no_text_tower(run_folder):
    folder, classifier = run_folder
    wanted = ("encoder.visual", "head")
    kept = {name: value for name, value in classifier.state_dict().items() if name.startswith(wanted)}
    torch.save({"state_dict": {f"model.{name}": value for name, value in kept.items()}}, folder / "last.ckpt")
    images = torch.rand(2, 3, 32, 32)
    settings = {"model": {"class_path": "x.SupervisedPretraining", "init_args": {"encoder": "scenes-clip"}}}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    network = load_network(str(folder / "last.ckpt"))
    torch.testing.assert_close(network.model(images), classifier(images))
    assert network.origin == "supervised from random weights by a run of fit, architecture of scenes-clip"


def test_a_saved_classifier(tmp_path):
    tower = ImageTower(load_encoder("scenes-clip").model.visual)
    model = ImageClassifier(tower, torch.eye(3, 128)).eval()
    save_classifier(tmp_path / "own", model, encoder="scenes-clip", class_names=["a", "b", "c"])
    network = load_network(str(tmp_path / "own"))
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(network.model(images), model(images))
    assert network.origin == "supervised, 3 classes"
    assert network.class_names == ("a", "b", "c")
    with pytest.raises(ValueError, match="is a trained checkpoint"):
        load_network(str(tmp_path / "own"), untrained=True)


def test_an_unknown_architecture_has_no_blocks():
    assert blocks_of(torch.nn.Sequential(torch.nn.Linear(2, 2)), "") == ()


def test_the_head_of_many_texts_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("lightning_robust.models.networks._WORTH_KEEPING", 4)
    few = load_network("scenes-clip", class_names=["star", "heart"], templates=["a photo of a {}"])
    cached = list(cache_folder().glob("head-*"))
    many = load_network("scenes-clip", class_names=["star", "heart"], templates=["a photo of a {}", "a {}"])
    again = load_network("scenes-clip", class_names=["star", "heart"], templates=["a photo of a {}", "a {}"])
    assert cached == []
    assert len(list(cache_folder().glob("head-*"))) == 1
    assert torch.equal(many.head, again.head)
    assert not torch.equal(few.head, many.head)


def test_an_image_tower_alone_is_measured_without_a_head(tmp_path):
    state = {name: value for name, value in load_encoder("scenes-clip").model.state_dict().items() if "visual." in name}
    torch.save(state, tmp_path / "tower.pt")
    name = f"scenes-clip@{tmp_path / 'tower.pt'}"
    network = load_network(name)
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(network.model(images), load_encoder("scenes-clip").model.encode_image(images))
    assert network.origin == f"weights of {tmp_path / 'tower.pt'}"
    with pytest.raises(ValueError, match="no text tower"):
        load_network(name, class_names=["star"])
    untrained = load_network(name, untrained=True, seed=2)
    assert untrained.checkpoint_hash == load_network("scenes-clip", untrained=True, seed=2).checkpoint_hash


def test_a_files_name_is_no_run_file(run_folder):
    folder, classifier = run_folder
    network = load_network(f"scenes-clip@{folder / 'last.ckpt'}", class_names=["star", "heart"])
    images = torch.rand(2, 3, 32, 32)
    h = classifier.encoder.encode_image(images, normalize=True)
    torch.testing.assert_close(network.model(images), h @ network.head.T)
    with pytest.raises(ValueError, match=r"there is no file gone\.ckpt with weights"):
        load_network("scenes-clip@gone.ckpt")

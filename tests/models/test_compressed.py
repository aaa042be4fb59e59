"""Compressed networks as folders: what is loaded is what was saved, in a process that has nothing else."""

import dataclasses
import json

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from processes import run_script
from truncated import svd_factors

from lightning_robust.models import ImageClassifier, load_encoder, write_clip_folder
from lightning_robust.models.checkpoint_files import load_tensors, save_tensors
from lightning_robust.models.compressed import is_compressed, load_compressed, save_compressed
from lightning_robust.models.encoder_transformers import ImageProcessing
from lightning_robust.models.low_rank_build import factorise
from lightning_robust.models.low_rank_matrices import matrices
from lightning_robust.models.low_rank_structure import ranks_of
from lightning_robust.models.network import Network, blocks_of
from lightning_robust.models.networks import load_network, takes_class_names
from lightning_robust.models.transformers_tower import TransformersClip
from lightning_robust.results import file_sha256

NAMES = ["star", "heart", "moon"]
VISION = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32,
    "patch_size": 16,
}  # fmt: skip
TEXT = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 30}


def picture(side=70):
    return Image.fromarray((np.random.default_rng(0).random((side, 50, 3)) * 255).astype("uint8"))


def compressed(network, share=0.4, biases=True):
    """Some matrices of low rank, the head dense, and biases where the dense layer has none."""
    image = network.transform(picture())[None]
    found = matrices(network.model, image, leave=[network.head_layer] if network.head_layer else [])
    some = {name: factors for i, (name, factors) in enumerate(svd_factors(found, share).items()) if i % 4}
    shifts = {n: torch.full((found[n].rows,), 0.25).to(found[n].weight) for n in list(found)[1:6]} if biases else {}
    return factorise(network.model, some, shifts).eval(), image


def run_of_finetuning(folder):
    """A file of a path, as Wise-FT writes it, with its head beside it."""
    model = load_encoder("scenes-clip").model
    save_tensors(folder / "wise_ft" / "alpha=0.50.safetensors", model.state_dict())
    save_tensors(folder / "wise_ft" / "alpha=0.50.head.safetensors", {"weight": torch.rand(3, 128)})
    (folder / "config.yaml").write_text(
        "model:\n  class_path: x.ClassifierFinetuning\n  init_args:\n    encoder: scenes-clip\n"
    )
    return load_network(str(folder / "wise_ft" / "alpha=0.50.safetensors"))


def vit(folder):
    words = ["a", "photo", "of", *NAMES]
    write_clip_folder(folder / "vit", words, vision="vit", embed_dim=16, vision_layers=2, vision_width=32,
                      vision_head_width=16, text_width=16, mean=(0.4, 0.5, 0.6))  # fmt: skip
    load = load_encoder(f"local-dir:{folder / 'vit'}", pretrained=False, seed=3)
    save_tensors(folder / "vit" / "open_clip_model.safetensors", load.model.state_dict())
    return load_network(f"local-dir:{folder / 'vit'}", class_names=NAMES)


def timm_tower(folder):
    """What our trainings write of a timm network: its tower, with a head of ours."""
    encoder = load_encoder("timm:test_vit", pretrained=False, seed=2)
    state = {f"model.encoder.{name}": value for name, value in encoder.model.state_dict().items()}
    torch.save({"state_dict": {**state, "model.head.weight": torch.rand(3, encoder.embed_dim)}}, folder / "last.ckpt")
    (folder / "config.yaml").write_text(
        "model:\n  class_path: x.SupervisedPretraining\n  init_args:\n    encoder: timm:test_vit\n"
    )
    return load_network(str(folder / "last.ckpt"))


def of_transformers(family, config, processor):
    """A CLIP or SigLIP as `load_network` makes it, without the tokenizer that no image needs."""
    torch.manual_seed(5)
    tower = TransformersClip(getattr(transformers, family)(config))
    d = tower.encode_image(torch.zeros(1, 3, 32, 32)).shape[1]
    model = ImageClassifier(tower, torch.rand(3, d)).eval()
    return Network(
        name=f"transformers:{family}", model=model, transform=ImageProcessing(processor), unit_norm=True,
        representation_layer="encoder.visual", blocks=blocks_of(model, "encoder.visual"), origin="random",
        head=model.head.weight.detach().clone(), head_layer="head", checkpoint_hash="0",
        architecture={"transformers": config.to_dict()},
    )  # fmt: skip


def clip_of_transformers(_):
    config = transformers.CLIPConfig(
        vision_config={**VISION, "projection_dim": 16}, text_config={**TEXT, "projection_dim": 16}, projection_dim=16
    )
    size = {"height": 32, "width": 32}
    processor = transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size, image_mean=[0.1, 0.2, 0.3])
    return of_transformers("CLIPModel", config, processor)


def siglip_of_transformers(_):
    config = transformers.SiglipConfig(vision_config=VISION, text_config={**TEXT, "projection_size": 32})
    processor = transformers.SiglipImageProcessor(size={"height": 32, "width": 32})
    return of_transformers("SiglipModel", config, processor)


SOURCES = {
    "the bundled CLIP with a head": lambda _: load_network("scenes-clip", class_names=NAMES),
    "the bundled CLIP without a head": lambda _: load_network("scenes-clip"),
    "the supervised model": lambda _: load_network("scenes-supervised"),
    "a run's file": run_of_finetuning,
    "a ViT of open_clip": vit,
    "an architecture's twin with QuickGELU": lambda _: load_network("untrained:tiny-quickgelu", class_names=NAMES),
    "a network of timm": lambda _: load_network("timm:test_resnet", untrained=True),
    "a transformer of timm": lambda _: load_network("timm:test_vit", untrained=True),
    "a tower of timm": timm_tower,
    "a CLIP of transformers": clip_of_transformers,
    "a SigLIP of transformers": siglip_of_transformers,
}


@pytest.fixture(params=list(SOURCES))
def source(request, tmp_path, architectures):
    return SOURCES[request.param](tmp_path)


@torch.no_grad()
def test_what_is_loaded_is_what_was_saved(source, tmp_path):
    model, image = compressed(source)
    save_compressed(tmp_path / "c", source, model)
    state = torch.get_rng_state()
    loaded = load_network(str(tmp_path / "c"))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(loaded.transform(picture())[None], image)
    assert torch.equal(loaded.model(image), model(image))
    for field in ("representation_layer", "head_layer", "blocks", "unit_norm", "class_names"):
        assert getattr(loaded, field) == getattr(source, field), field
    assert (loaded.head is None) == (source.head is None)
    if source.head is not None:
        assert torch.equal(loaded.head, source.head)
    assert loaded.ranks == ranks_of(loaded.model) == ranks_of(model)
    assert loaded.checkpoint_hash == file_sha256(tmp_path / "c" / "model.safetensors")
    assert source.name in loaded.origin
    mine = {name: value for name, value in model.state_dict().items() if name in loaded.model.state_dict()}
    assert all(torch.equal(value, mine[name]) for name, value in loaded.model.state_dict().items())
    assert not any("text" in name or name == "encoder.logit_scale" for name in loaded.model.state_dict())


@torch.no_grad()
def test_a_compressed_network_can_be_saved_again(tmp_path):
    source = load_network("scenes-clip", class_names=NAMES)
    model, image = compressed(source)
    save_compressed(tmp_path / "c", source, model)
    once = load_network(str(tmp_path / "c"))
    save_compressed(tmp_path / "again", once, once.model)
    assert torch.equal(load_network(str(tmp_path / "again")).model(image), model(image))


def test_a_fresh_process_needs_the_folder_alone(tmp_path):
    source = vit(tmp_path)
    model, _ = compressed(source)
    save_compressed(tmp_path / "c", source, model)
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        save_tensors(tmp_path / "expected.safetensors", {"images": images, "logits": model(images)})
    for file in (tmp_path / "vit").iterdir():  # neither weights nor configuration of the source
        file.unlink()
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, torch\n"
        "from lightning_robust.models import load_tensors\n"
        "from lightning_robust.models.networks import load_network\n"
        "known = load_tensors(sys.argv[2])\n"
        "with torch.no_grad():\n"
        "    given = load_network(sys.argv[1]).model(known['images'])\n"
        "torch.testing.assert_close(given, known['logits'], rtol=1e-5, atol=1e-6)\n"
    )
    run_script(script, tmp_path / "c", tmp_path / "expected.safetensors", folder=tmp_path)


def test_a_head_of_low_rank_is_given_as_its_product(tmp_path):
    source = load_network("scenes-clip", class_names=NAMES)
    found = matrices(source.model)
    model = factorise(source.model, svd_factors({"head.weight": found["head.weight"]}, 0.5))
    save_compressed(tmp_path / "c", source, model)
    head = load_network(str(tmp_path / "c")).head
    torch.testing.assert_close(head, model.head.second.detach() @ model.head.first.detach())
    assert torch.linalg.matrix_rank(head) == 2


@torch.no_grad()
def test_precision_is_kept(tmp_path):
    source = load_network("scenes-clip", class_names=NAMES)
    model, image = compressed(source)
    save_compressed(tmp_path / "c", source, model.to(torch.bfloat16))
    loaded = load_network(str(tmp_path / "c"))
    assert {value.dtype for value in loaded.model.parameters()} == {torch.bfloat16}
    assert torch.equal(loaded.model(image.bfloat16()), model(image.bfloat16()))


def test_a_loaded_network_trains(tmp_path):
    source = load_network("scenes-clip", class_names=NAMES)
    model, image = compressed(source)
    save_compressed(tmp_path / "c", source, model)
    loaded = load_network(str(tmp_path / "c")).model.train()
    loaded(image.repeat(4, 1, 1, 1) + torch.rand(4, 3, 32, 32)).square().sum().backward()
    assert all(p.grad is not None for p in loaded.encoder.visual.parameters())


def test_class_names_have_no_effect_on_it(tmp_path):
    source = load_network("scenes-clip", class_names=NAMES)
    save_compressed(tmp_path / "c", source, source.model)  # nothing is of low rank: it is whole all the same
    name = str(tmp_path / "c")
    assert is_compressed(name)
    assert not takes_class_names(name)
    with pytest.raises(ValueError, match="has a head of its own"):
        load_network(name, class_names=NAMES)
    with pytest.raises(ValueError, match="is a trained checkpoint"):
        load_network(name, untrained=True)


@pytest.fixture
def folder(tmp_path):
    source = load_network("scenes-clip", class_names=NAMES)
    model, _ = compressed(source)
    save_compressed(tmp_path / "c", source, model)
    return tmp_path / "c"


def edited(folder, **changes):
    facts = json.loads((folder / "compressed.json").read_text())
    (folder / "compressed.json").write_text(json.dumps(facts | changes))


def facts_of(folder):
    return json.loads((folder / "compressed.json").read_text())


DAMAGES = {
    "no weights": lambda f: (f / "model.safetensors").unlink(),
    "half the weights": lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:5000]),
    "weights of another": lambda f: save_tensors(f / "model.safetensors", {"w": torch.ones(2)}),
    "an entry less": lambda f: save_tensors(
        f / "model.safetensors", dict(list(load_tensors(f / "model.safetensors").items())[1:])
    ),
    "no JSON": lambda f: (f / "compressed.json").write_text("{"),
    "another JSON": lambda f: (f / "compressed.json").write_text('{"schema_version": 1, "name": "x"}'),
    "a newer version": lambda f: edited(f, schema_version=99),
    "another kind": lambda f: edited(f, kind="pruning"),
    "another form": lambda f: edited(f, form="sausage"),
    "no such matrix": lambda f: edited(f, ranks={"encoder.visual.conv9.weight": 3}),
    "a rank of none": lambda f: edited(f, ranks=facts_of(f)["ranks"] | {"encoder.visual.conv3.weight": 0}),
    "another rank": lambda f: edited(f, ranks=facts_of(f)["ranks"] | {"encoder.visual.conv3.weight": 9}),
    "a text for a rank": lambda f: edited(f, ranks={"encoder.visual.conv3.weight": "3"}),
    "no architecture": lambda f: edited(f, architecture={}),
    "an unknown architecture": lambda f: edited(f, architecture={"keras": {}}),
    "a broken architecture": lambda f: edited(f, architecture={"open_clip": {"model_cfg": {"vision_cfg": 3}}}),
    "a network of timm that is none": lambda f: edited(
        f, form="network", architecture={"timm": {"architecture": "resnot", "data": {}}}
    ),
    "a precision that is none": lambda f: edited(f, dtype="nn"),
    "three sizes of a head": lambda f: edited(f, head=[3, 128, 1]),
    "a head's layer that is none": lambda f: edited(f, head_layer="tail"),
    "a layer that is none": lambda f: edited(f, representation_layer="encoder.audio"),
}


@pytest.mark.parametrize("damage", list(DAMAGES))
def test_a_damaged_folder_is_one_sentence(folder, damage):
    DAMAGES[damage](folder)
    with pytest.raises(ValueError, match=str(folder)) as caught:
        load_compressed(str(folder))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_what_is_wrong_with_a_rank_is_said_to_the_end(folder):
    DAMAGES["no such matrix"](folder)
    with pytest.raises(ValueError, match=r"near names: '[\w.]+'(, '[\w.]+weight')*\.$"):
        load_compressed(str(folder))


def test_a_source_that_does_not_say_its_architecture_is_refused(tmp_path):
    source = dataclasses.replace(load_network("scenes-clip"), architecture={})
    with pytest.raises(ValueError, match="scenes-clip does not say of which architecture it is"):
        save_compressed(tmp_path / "c", source, source.model)
    assert not (tmp_path / "c").exists()


def test_a_file_where_the_folder_should_be(tmp_path):
    source = load_network("scenes-clip")
    (tmp_path / "c").write_text("")
    with pytest.raises(ValueError, match="Cannot write"):
        save_compressed(tmp_path / "c", source, source.model)

"""CLIP and SigLIP of transformers: equal to transformers' own features, tokens and pixels."""

import json
import random
import re

import numpy as np
import pytest
import torch
import transformers
from open_clip.tokenizer import bytes_to_unicode
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from lightning_robust.models import ImageClassifier, load_encoder, save_tensors, zero_shot_head
from lightning_robust.models.checkpoint_files import state_hash
from lightning_robust.models.networks import load_network
from lightning_robust.results import file_sha256
from lightning_robust.signatures import ActivationProbe

TEXTS = ["a photo of a star", "a heart", "the red fire truck, seen from far away and through a very long window pane"]
VISION = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32,
    "patch_size": 16,
}  # fmt: skip
TEXT = {"intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 16}


def clip_tokenizer():
    """CLIP's byte-pair tokenizer without merges: every letter is a token."""
    letters = list(bytes_to_unicode().values())
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return transformers.CLIPTokenizer(vocab={word: index for index, word in enumerate(words)}, merges=[])


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    folder, tokenizer = tmp_path_factory.mktemp("hf") / "clip", clip_tokenizer()
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    text = {**TEXT, "hidden_size": 24, "projection_dim": 16, "vocab_size": len(tokenizer), **ends}
    config = transformers.CLIPConfig(
        vision_config={**VISION, "projection_dim": 16}, text_config=text, projection_dim=16
    )
    torch.manual_seed(3)
    transformers.CLIPModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    size = {"height": 32, "width": 32}
    transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def siglip_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hf") / "siglip"
    config = transformers.SiglipConfig(
        vision_config=VISION, text_config={**TEXT, "hidden_size": 32, "vocab_size": 30, "projection_size": 32}
    )
    torch.manual_seed(4)
    model = transformers.SiglipModel(config)
    with torch.no_grad():
        model.logit_scale.fill_(1.5)
        model.logit_bias.fill_(-10.0)
    model.save_pretrained(folder)
    vocabulary = {token: index for index, token in enumerate(["<pad>", "</s>", "<unk>"])}
    for word in sorted({word for text in TEXTS for word in text.replace(",", "").split()}):
        vocabulary[word] = len(vocabulary)
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    raw.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    transformers.SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


@pytest.fixture(params=["clip", "siglip"])
def folder(request):
    return request.getfixturevalue(f"{request.param}_folder")


@pytest.fixture
def picture():
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8))


def own(folder):
    """The model and processors, as a user of transformers has them."""
    model = transformers.AutoModel.from_pretrained(folder).eval()
    return (
        model,
        transformers.AutoTokenizer.from_pretrained(folder),
        transformers.AutoImageProcessor.from_pretrained(folder),
    )


def test_features_tokens_and_pixels_are_transformers_own(folder, picture):
    model, tokenizer, processor = own(folder)
    encoder = load_encoder(f"transformers:{folder}")
    pixels = processor(images=picture, return_tensors="pt")["pixel_values"]
    assert torch.equal(encoder.transform(picture)[None], pixels)
    texts = [text.replace(",", "") for text in TEXTS]
    tokens = tokenizer(texts, padding="max_length", max_length=16, truncation=True, return_tensors="pt")
    assert torch.equal(encoder.tokenizer(texts), tokens["input_ids"])
    with torch.no_grad():
        h = encoder.model.encode_image(pixels)
        torch.testing.assert_close(h, model.get_image_features(pixels).pooler_output, rtol=1e-6, atol=1e-6)
        theirs = model.get_text_features(input_ids=tokens["input_ids"]).pooler_output
        torch.testing.assert_close(encoder.model.encode_text(encoder.tokenizer(texts)), theirs, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(encoder.model.encode_image(pixels, normalize=True).norm(dim=1), torch.ones(1))
    assert encoder.embed_dim == h.shape[1] == (16 if folder.name == "clip" else 32)
    assert encoder.has_text
    assert encoder.checkpoint_hash == file_sha256(folder / "model.safetensors")
    assert not any(module.training for module in encoder.model.modules())


def test_clips_padding_enters_nothing(clip_folder):
    model, tokenizer, _ = own(clip_folder)
    encoder = load_encoder(f"transformers:{clip_folder}")
    with torch.no_grad():
        shortest = tokenizer(TEXTS[:2], padding=True, truncation=True, max_length=16, return_tensors="pt")
        theirs = model.get_text_features(**shortest).pooler_output
        torch.testing.assert_close(
            encoder.model.encode_text(encoder.tokenizer(TEXTS[:2])), theirs, rtol=1e-4, atol=1e-5
        )


def test_logits_of_a_zero_shot_classifier_are_the_models_up_to_siglips_bias(folder, picture):
    model, tokenizer, processor = own(folder)
    encoder = load_encoder(f"transformers:{folder}")
    names = ["star", "heart", "truck"]
    head = zero_shot_head(encoder.model, encoder.tokenizer, names, ["the {}"])
    classifier = ImageClassifier(encoder.model, head)
    pixels = processor(images=picture, return_tensors="pt")["pixel_values"]
    tokens = tokenizer([f"the {name}" for name in names], padding="max_length", max_length=16, return_tensors="pt")
    with torch.no_grad():
        theirs = model(input_ids=tokens["input_ids"], pixel_values=pixels).logits_per_image
        bias = getattr(model, "logit_bias", torch.zeros(1))
        torch.testing.assert_close(classifier(pixels) + bias, theirs, rtol=1e-4, atol=1e-4)


def test_its_state_loads_strictly_in_plain_transformers(folder):
    state = load_encoder(f"transformers:{folder}").model.state_dict()
    model = own(folder)[0]
    renamed = {name.removeprefix("visual."): value for name, value in state.items()}
    assert renamed.keys() == model.state_dict().keys()
    assert all(torch.equal(renamed[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("form", ["own", "transformers", "finetuned"])
def test_weights_from_a_file(folder, tmp_path, form):
    changed = load_encoder(f"transformers:{folder}", pretrained=False, seed=9).model.state_dict()
    names = {
        "own": lambda name: name,
        "transformers": lambda name: name.removeprefix("visual."),
        "finetuned": lambda name: f"model.encoder.{name}",
    }
    state = {names[form](name): value for name, value in changed.items()}
    if form == "finetuned":
        state["model.head.weight"] = torch.ones(3, 16)
    torch.save({"state_dict": state}, tmp_path / "last.ckpt")
    loaded = load_encoder(f"transformers:{folder}@{tmp_path / 'last.ckpt'}").model.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in changed.items())


def test_untrained_is_a_function_of_the_seed_and_touches_no_random_state(folder):
    before = (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy())  # noqa: NPY002
    one, again, other = (load_encoder(f"transformers:{folder}", pretrained=False, seed=s) for s in (5, 5, 6))
    load_encoder(f"transformers:{folder}")
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()
    assert (before[2] == np.random.get_state()[1]).all()  # noqa: NPY002
    assert one.checkpoint_hash == again.checkpoint_hash != other.checkpoint_hash


def test_a_probe_finds_its_blocks(folder):
    network = load_network(f"transformers:{folder}", class_names=["star", "heart"], templates=["the {}"])
    assert network.blocks == tuple(f"encoder.visual.vision_model.encoder.layers.{k}" for k in range(2))
    images = torch.rand(2, 3, 32, 32)
    layers = [network.representation_layer, *network.blocks]
    with ActivationProbe(network.model, layers) as probe, torch.no_grad():
        logits = network.model(images)
    seen = probe.pop()
    assert set(seen) == set(layers)
    assert logits.shape == (2, 2)
    assert torch.equal(seen["encoder.visual"], network.model.encoder.encode_image(images))


def test_an_unknown_word_of_a_word_level_tokenizer_is_an_error(siglip_folder, clip_folder):
    encoder = load_encoder(f"transformers:{siglip_folder}")
    with pytest.raises(ValueError, match="does not know the word 'zebra'"):
        zero_shot_head(encoder.model, encoder.tokenizer, ["star", "zebra"], ["the {}"])
    encoder = load_encoder(f"transformers:{clip_folder}")  # byte pairs know everything
    assert zero_shot_head(encoder.model, encoder.tokenizer, ["star", "zebra 熊"], ["the {}"]).shape == (2, 16)


def copied(folder, target):
    target.mkdir()
    for file in folder.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("config.json", "its configuration could not be read .* put config.json, model.safetensors"),
        ("model.safetensors", "its weights could not be read .* put config.json, model.safetensors"),
        ("preprocessor_config.json", "its image processor could not be read .* put config.json, model.safetensors"),
        ("tokenizer.json", "its tokenizer knows . tokens and its text tower 514"),  # transformers makes up an empty one
    ],
)
def test_missing_files_are_named(clip_folder, tmp_path, file, sentence):
    target = copied(clip_folder, tmp_path / "part")
    (target / file).unlink()
    with pytest.raises(ValueError, match=sentence) as caught:
        load_encoder(f"transformers:{target}")
    assert "\n" not in str(caught.value)


def test_a_preprocessing_of_another_size_is_refused(clip_folder, tmp_path):
    target = copied(clip_folder, tmp_path / "other")
    size = {"height": 48, "width": 48}
    transformers.CLIPImageProcessor(size={"shortest_edge": 48}, crop_size=size).save_pretrained(target)
    with pytest.raises(ValueError, match=r"gives images of shape \(3, 48, 48\) and its tower takes \(3, 32, 32\)"):
        load_encoder(f"transformers:{target}")


def test_weights_that_are_not_whole_are_refused(clip_folder, tmp_path):
    target = copied(clip_folder, tmp_path / "half")
    state = load_encoder(f"transformers:{clip_folder}").model.state_dict()
    state = {name.removeprefix("visual."): value for name, value in state.items() if "projection" not in name}
    save_tensors(target / "model.safetensors", state, {"format": "pt"})
    with pytest.raises(ValueError, match="the weights lack 2 entries of the architecture, such as text_projection"):
        load_encoder(f"transformers:{target}")


def test_surplus_weights_are_refused(clip_folder, tmp_path):
    target = copied(clip_folder, tmp_path / "more")
    state = {**transformers.CLIPModel.from_pretrained(clip_folder).state_dict(), "adapter.weight": torch.ones(2)}
    save_tensors(target / "model.safetensors", state, {"format": "pt"})
    with pytest.raises(ValueError, match="the weights hold 1 entries that the architecture lacks, such as adapter"):
        load_encoder(f"transformers:{target}")


def test_weights_in_pieces_are_not_named_by_a_stray_file(clip_folder, tmp_path):
    transformers.CLIPModel.from_pretrained(clip_folder).save_pretrained(tmp_path / "s", max_shard_size="20KB")
    target = copied(clip_folder, tmp_path / "t")
    (target / "model.safetensors").unlink()
    for file in (tmp_path / "s").glob("model*"):
        (target / file.name).write_bytes(file.read_bytes())
    (target / "pytorch_model.bin").write_bytes(b"stray")
    encoder = load_encoder(f"transformers:{target}")
    assert encoder.checkpoint_hash == state_hash(encoder.model.state_dict())


def test_other_families_are_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "siglip2"}))
    with pytest.raises(ValueError, match=r"is a 'siglip2'; .*of SigLIP 2 the ones in fixed resolution"):
        load_encoder(f"transformers:{tmp_path}")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ValueError, match=r"is a 'bert'; of transformers, models of the types 'clip' and 'siglip'"):
        load_encoder(f"transformers:{tmp_path}")


def test_a_repository_that_is_not_here_and_a_folder_that_is_not():
    with pytest.raises(ValueError, match=re.escape("(HF_HUB_OFFLINE is set); without a network, put config.json")):
        load_encoder("transformers:openai/clip-vit-base-patch32")
    with pytest.raises(ValueError, match=re.escape("there is no folder './nowhere'")):
        load_encoder("transformers:./nowhere")


@pytest.mark.parametrize(
    ("identifier", "activation"), [("openai/clip-x", "gelu"), ("laion/CLIP-ViT-B-16-laion2B-s34B-b88K", "quick_gelu")]
)
def test_a_known_repository_with_the_other_activation_is_refused(clip_folder, monkeypatch, identifier, activation):
    config = transformers.AutoConfig.from_pretrained(clip_folder)
    config.vision_config.hidden_act = activation
    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", lambda *_, **__: config)
    with pytest.raises(ValueError, match=f"would compute wrong features.*hidden_act='{activation}'"):
        load_encoder(f"transformers:{identifier}")


def test_siglips_own_tokenizer(siglip_folder, tmp_path):
    sentencepiece = pytest.importorskip("sentencepiece")
    (tmp_path / "text.txt").write_text("\n".join(TEXTS * 20))
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "text.txt"), model_prefix=str(tmp_path / "spiece"), vocab_size=30, hard_vocab_limit=False,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=9,
    )  # fmt: skip
    target = copied(siglip_folder, tmp_path / "sp")
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (target / name).unlink(missing_ok=True)
    transformers.SiglipTokenizer(str(tmp_path / "spiece.model"), model_max_length=16).save_pretrained(target)
    encoder = load_encoder(f"transformers:{target}")
    tokens = encoder.tokenizer(["A star!", "a star"])
    assert tokens.shape == (2, 16)
    assert torch.equal(tokens[0], tokens[1])  # lower case and without punctuation, as SigLIP was trained
    assert zero_shot_head(encoder.model, encoder.tokenizer, ["star", "heart"], ["a {}"]).shape == (2, 32)

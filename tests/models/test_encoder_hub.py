"""Repositories of the Hub: the cache of this machine first, one quick question to the network, then a sentence."""

import json
import re
import shutil
import time

import open_clip
import pytest
import torch
from huggingface_hub import constants
from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

from lightning_robust.models import load_encoder
from lightning_robust.models.encoder_hub import NotFetchedError, fetched
from lightning_robust.results import file_sha256

ID, COMMIT = "someone/tiny-clip", 40 * "a"


@pytest.fixture
def repository(tiny_folder, tmp_path, monkeypatch):
    """The tiny CLIP as a repository in a cache of the Hub's own form."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(tmp_path))
    root = tmp_path / "models--someone--tiny-clip"
    snapshot = root / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(COMMIT)
    for file in tiny_folder.iterdir():
        (snapshot / file.name).write_bytes(file.read_bytes())
    # on the Hub a tokenizer is named by its repository; here it is the file of the folder
    config = json.loads((snapshot / "open_clip_config.json").read_text())
    config["model_cfg"]["text_cfg"]["hf_tokenizer_name"] = str(snapshot)
    (snapshot / "open_clip_config.json").write_text(json.dumps(config))
    return snapshot


def test_a_repository_in_the_cache_is_the_model_without_a_network(repository, tiny):
    loaded = load_encoder(f"hf-hub:{ID}")
    images, texts = torch.rand(2, 3, 32, 32), ["a photo of a star"]
    with torch.no_grad():
        assert torch.equal(loaded.model.encode_image(images), tiny.model.encode_image(images))
        assert torch.equal(
            loaded.model.encode_text(loaded.tokenizer(texts)), tiny.model.encode_text(tiny.tokenizer(texts))
        )
    assert loaded.checkpoint_hash == file_sha256(repository / "open_clip_model.safetensors")
    assert (loaded.name, loaded.folder, loaded.has_text, loaded.embed_dim) == (f"hf-hub:{ID}", repository, True, 16)


def test_untrained_needs_no_weights(repository):
    (repository / "open_clip_model.safetensors").unlink()
    one, again = (load_encoder(f"hf-hub:{ID}", pretrained=False, seed=4) for _ in range(2))
    assert one.checkpoint_hash == again.checkpoint_hash
    with pytest.raises(ValueError, match=r"open_clip_model\.safetensors of it could not be found"):
        load_encoder(f"hf-hub:{ID}")


def test_a_file_for_a_repositorys_architecture(repository, tmp_path):
    other = load_encoder(f"hf-hub:{ID}", pretrained=False, seed=9).model.state_dict()
    torch.save(other, tmp_path / "own.pt")
    loaded = load_encoder(f"hf-hub:{ID}@{tmp_path / 'own.pt'}").model.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in other.items())


def test_a_repository_whose_configuration_contradicts_its_name(repository, tmp_path):
    root = tmp_path / "models--someone--tiny-quickgelu"
    (tmp_path / "models--someone--tiny-clip").rename(root)
    with pytest.raises(ValueError, match=r"would compute wrong features.*says quick_gelu=False"):
        load_encoder("hf-hub:someone/tiny-quickgelu")


def test_weights_of_another_architecture(repository):
    file = repository / "open_clip_config.json"
    config = json.loads(file.read_text())
    config["model_cfg"]["embed_dim"] = 24
    file.write_text(json.dumps(config))
    with pytest.raises(ValueError, match="not of the architecture"):
        load_encoder(f"hf-hub:{ID}")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [("{", "no readable JSON"), ("[]", "lacks the key 'model_cfg'"), ('{"model_cfg": {}}', "lacks 'embed_dim'")],
)
def test_a_broken_configuration(repository, tiny_folder, tmp_path, content, sentence):
    (repository / "open_clip_config.json").write_text(content)
    with pytest.raises(ValueError, match=sentence):
        load_encoder(f"hf-hub:{ID}")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "open_clip_config.json").write_text(content)
    with pytest.raises(ValueError, match=sentence):
        load_encoder(f"local-dir:{tmp_path / 'folder'}")


@pytest.mark.parametrize(
    "name",
    ["hf-hub:laion/CLIP-x", "hf-hub:bad id", "hf-hub:", "ViT-B-32/laion2b_s34b_b79k", "roberta-ViT-B-32",
     "ViT-B-16-SigLIP", "timm:resnet50.a1_in1k", "transformers:laion/CLIP-x"],
)  # fmt: skip
def test_offline_every_source_says_within_seconds_which_files_to_put_where(name, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    start = time.perf_counter()
    with pytest.raises(
        ValueError, match=r"put .* load '(local-dir:FOLDER|transformers:FOLDER|timm:.*@FILE)'"
    ) as caught:
        load_encoder(name, pretrained=name not in ("roberta-ViT-B-32", "ViT-B-16-SigLIP"))
    assert "\n" not in str(caught.value)
    assert time.perf_counter() - start < 10


@pytest.mark.parametrize("what", ["cut", "pickled", "key", "heads", "tokenizer", "timm", "text"])
def test_a_folder_that_cannot_be_built_is_one_sentence_without_a_network(tiny_folder, tmp_path, online, what):
    folder = tmp_path / "folder"
    shutil.copytree(tiny_folder, folder)
    config = json.loads((folder / "open_clip_config.json").read_text())
    weights, model = folder / "open_clip_model.safetensors", config["model_cfg"]
    if what == "cut":
        weights.write_bytes(weights.read_bytes()[:-50])
    elif what == "pickled":
        weights.unlink()
        torch.save({"state_dict": torch.nn.Linear(1, 1)}, folder / "open_clip_pytorch_model.bin")
    elif what == "tokenizer":
        (folder / "tokenizer.json").write_text("{")
    changes = {
        "key": ("text_cfg", {"no_such_key": 1}),
        "heads": ("text_cfg", {"heads": 7}),
        "timm": ("vision_cfg", {"timm_model_name": "no_such_network"}),
        "text": ("text_cfg", {"hf_model_name": "someone/no-such-model"}),
    }
    if what in changes:
        model[changes[what][0]].update(changes[what][1])
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"^Encoder 'local-dir:.*(could not be built|not of the arch)") as caught:
        load_encoder(f"local-dir:{folder}", download=False)
    assert "\n" not in str(caught.value)
    assert online.asked == []


@pytest.mark.parametrize("form", ["safetensors", "bin"])
def test_interpolated_position_embeddings_are_said(tiny_folder, tmp_path, tiny, form):
    folder = tmp_path / "folder"
    shutil.copytree(tiny_folder, folder)
    if form == "bin":
        (folder / "open_clip_model.safetensors").unlink()
        torch.save(tiny.model.state_dict(), folder / "open_clip_pytorch_model.bin")
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["model_cfg"]["text_cfg"]["context_length"] += 3
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.warns(UserWarning, match=r"positional_embedding has shape .* was interpolated to") as caught:
        load_encoder(f"local-dir:{folder}")
    assert len(caught) == 1


class Loader:
    """Fails offline as the Hub's own functions do, and works online."""

    def __init__(self, error=None, online="content"):
        self.error = error or LocalEntryNotFoundError("not in the cache")
        self.online, self.calls = online, []

    def __call__(self):
        self.calls.append(constants.HF_HUB_OFFLINE)
        if constants.HF_HUB_OFFLINE:
            raise self.error
        if isinstance(self.online, Exception):
            raise self.online
        return self.online


class Session:
    def __init__(self, error=None):
        self.error, self.asked = error, []

    def head(self, url, timeout):
        self.asked.append((url, timeout))
        if self.error:
            raise self.error


@pytest.fixture
def online(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    session = Session()
    monkeypatch.setattr("huggingface_hub.utils.get_session", lambda: session)
    return session


def test_the_cache_is_asked_first_then_the_network_once(online):
    loader = Loader()
    assert fetched(loader, download=True) == "content"
    assert loader.calls == [True, False]
    assert len(online.asked) == 1
    assert online.asked[0][1] <= 5
    assert not constants.HF_HUB_OFFLINE


def test_what_is_here_asks_nobody(online):
    assert fetched(lambda: "here", download=True) == "here"
    assert online.asked == []


def test_a_hub_that_does_not_answer_is_asked_once(online):
    online.error = ConnectionError("no route\nand a long story")
    loader = Loader()
    with pytest.raises(NotFetchedError, match=r"does not answer, ConnectionError: no route$"):
        fetched(loader, download=True)
    assert loader.calls == [True]
    assert len(online.asked) == 1


def test_nothing_is_asked_where_nothing_may_be(online, monkeypatch):
    with pytest.raises(NotFetchedError, match=r"^download=False$"):
        fetched(Loader(), download=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(NotFetchedError, match=r"^HF_HUB_OFFLINE is set$"):
        fetched(Loader(), download=True)
    assert online.asked == []


def test_an_error_of_another_kind_is_not_hidden_behind_the_network(online):
    with pytest.raises(NotFetchedError, match=r"^ValueError: the file is damaged$"):
        fetched(Loader(error=ValueError("the file is damaged")), download=False)
    with pytest.raises(NotFetchedError, match=r"^RuntimeError: 404$"):
        fetched(Loader(online=RuntimeError("404")), download=True)
    wrapped = FileNotFoundError("Failed to download")
    wrapped.__context__ = OfflineModeIsEnabled("offline")  # as open_clip raises it
    with pytest.raises(NotFetchedError, match=r"^download=False$"):
        fetched(Loader(error=wrapped), download=False)


def test_download_false_is_passed_on(tmp_path, online, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    for name in ("hf-hub:laion/CLIP-x", "RN50-quickgelu/openai", "timm:resnet50.a1_in1k", "transformers:laion/CLIP-x"):
        with pytest.raises(ValueError, match=re.escape("(download=False)")):
            load_encoder(name, download=False)
    assert online.asked == []
    assert open_clip.get_model_config("RN50-quickgelu")["quick_gelu"]

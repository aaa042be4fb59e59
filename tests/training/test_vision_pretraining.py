"""Pretraining without language, by the command line: a tower of timm learns extra data, and is finetuned after it."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import transformers
import yaml
from tokenizers import Tokenizer, models
from vision_photos import COLOURS, settings, write_photos

from lightning_robust.cli.main import main
from lightning_robust.models import load_classifier, load_encoder
from lightning_robust.models.networks import load_network
from lightning_robust.results import read_curves, read_run
from lightning_robust.results.evaluation_record import read_evaluation

pytestmark = [
    pytest.mark.filterwarnings("ignore:effective robustness is an extrapolation"),
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*is smaller than the logging interval"),
]
STEPS = [0, 1, 2, 3]
FILES = ("classifier/model.safetensors", "steps/step=000003.safetensors", "last.ckpt")


def fit(config, name):
    """A run of `fit`, as from the command line; its folder."""
    Path(f"{name}.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    assert main(["fit", "--config", f"{name}.yaml", "--run_name", "a"]) == 0
    return Path("checkpoints") / name / "a"


def pretrained(encoder, blocks, name="pretrain"):
    given = {"reference": "extra", "fractions": [0.6, 0.2, 0.2], "blocks": blocks}
    return fit(settings("SupervisedPretraining", given, encoder=encoder, lr=1e-3, export_to="classifier"), name)


def finetuned(encoder, blocks, name="finetune"):
    given = {"reference": "reference", "fractions": [0.8, 0.1, 0.1], "blocks": blocks}
    return fit(settings("ClassifierFinetuning", given, encoder=encoder, lr=1e-4, head="linear-probe"), name)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with photos, in which commands are given."""
    folder = tmp_path_factory.mktemp("vision")
    write_photos(folder / "photos")
    return folder


@pytest.fixture(scope="module")
def runs(place):
    """A ViT of timm: pretrained on the extra data, and from its export finetuned on the reference."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        first = pretrained("timm:test_vit", [".blocks.5"])
        then = finetuned(f"timm:test_vit@{first}/{FILES[0]}", [".blocks.5"])
    return SimpleNamespace(first=first, then=then)


@pytest.fixture(autouse=True)
def here(place, monkeypatch):
    monkeypatch.chdir(place)


@pytest.mark.parametrize(("which", "reference"), [("first", "extra"), ("then", "reference")])
def test_every_monitor_has_a_point_at_every_step(runs, which, reference):
    rows = read_curves(getattr(runs, which) / "signatures.csv")
    h = "model.encoder.visual"
    for tag in (
        f"kurtosis/{h}", f"kurtosis/{h}.blocks.5", f"outliers/{h}/features", f"spectrum/{h}/rankme",
        f"importance/{h}/centred/privileged", "weights/model.head.weight/stable_rank", f"kurtosis/{h}/untrained",
        f"concepts/{h}/singular_vectors/mean_best_ap", "er/sketch", "er/mean/low",
    ):  # fmt: skip
        assert [row.step for row in rows if row.tag == tag] == STEPS, tag
    record = read_run(getattr(runs, which) / "results.json")
    assert record.kind == ("SupervisedPretraining" if which == "first" else "ClassifierFinetuning")
    assert f"{reference}: the folder {reference} (" in str(record.data)


def test_export_last_step_and_checkpoint_are_one_network_that_knows_its_classes(runs):
    exported = load_classifier(str(runs.first / "classifier"))
    assert exported.class_names == tuple(sorted(COLOURS))
    images = torch.rand(3, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = exported.model(images)
        for name in ("classifier", *FILES[1:]):
            network = load_network(str(runs.first / name))
            assert torch.equal(network.model(images), expected)
            assert network.class_names == exported.class_names
            assert network.blocks == tuple(f"encoder.visual.blocks.{k}" for k in range(6))
            assert network.head.shape == (4, 64)
        towers = [load_encoder(f"timm:test_vit@{runs.first / file}") for file in FILES]
        networks = [load_network(f"timm:test_vit@{runs.first / file}") for file in FILES]
        h = exported.model.encode(images)
        assert all(torch.equal(tower.model.encode_image(images), h) for tower in towers)
        assert all(torch.equal(network.model(images), h) for network in networks)
    assert not any(tower.has_text for tower in towers)
    assert {network.representation_layer for network in networks} == {"encoder.visual"}


def test_the_second_run_begins_with_the_tower_that_the_first_exported(runs):
    exported = load_classifier(str(runs.first / "classifier"))
    start, end = (load_network(str(runs.then / f"steps/step={step:06}.safetensors")) for step in (0, 3))
    tower = exported.model.encoder.state_dict()
    assert all(torch.equal(value, tower[name]) for name, value in start.model.encoder.state_dict().items())
    assert not torch.equal(end.model.encoder.visual.pos_embed, start.model.encoder.visual.pos_embed)
    assert start.head.shape == (3, 64)
    assert start.class_names == ("brick", "grass", "sea")


@pytest.mark.parametrize("which", ["first", "then"])
def test_probe_reads_a_step_and_the_folder_of_all(runs, which, capsys):
    run, few = getattr(runs, which), ["--images", "photos/sketch", "--max_images", "12", "--device", "cpu"]
    step = str(run / "steps" / "step=000003.safetensors")
    assert main(["probe", "--model", step, "--run_name", f"step-{which}", *few]) == 0
    assert main(["probe", "--model", str(run / "steps"), "--run_name", f"steps-{which}", *few]) == 0
    assert "timm:test_vit" in capsys.readouterr().out


def test_evaluate_reads_the_export(runs):
    data = {"class_path": "lightning_robust.data.ImageFolderDataModule"}
    data["init_args"] = {"root": "photos", "reference": "extra", "shifts": ["sketch"], "batch_size": 8}
    Path("judge.yaml").write_text(yaml.safe_dump({"data": data}), encoding="utf-8")
    exported = str(runs.first / "classifier")
    assert main(["evaluate", "--model", exported, "--data", "judge.yaml", "--device", "cpu", "--run_name", "x"]) == 0
    (file,) = Path().rglob("evaluate/x/results.json")
    (judged,) = read_evaluation(file).models
    assert judged.checkpoint_hash == load_classifier(exported).checkpoint_hash
    assert [row.images for row in judged.rows] == [8, 15]


@pytest.mark.slow
def test_a_network_with_batch_norm_takes_the_same_two_commands(runs):
    first = pretrained("timm:test_resnet", [".layer4"], "pretrain_resnet")
    then = finetuned(f"timm:test_resnet@{first}/{FILES[0]}", [".layer4"], "finetune_resnet")
    for run in (first, then):
        tags = {row.tag for row in read_curves(run / "signatures.csv") if row.step == 3}
        assert {"kurtosis/model.encoder.visual.layer4", "er/mean"} <= tags
        assert load_network(str(run / "last.ckpt")).blocks[-1] == "encoder.visual.layer4"


@pytest.mark.slow
def test_the_image_tower_of_a_siglip_of_transformers_takes_the_same_two_commands(place):
    text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = {**text, "image_size": 32, "patch_size": 16}
    text |= {"vocab_size": 4, "max_position_embeddings": 8, "projection_size": 16}
    transformers.SiglipModel(transformers.SiglipConfig(vision_config=vision, text_config=text)).save_pretrained("sig")
    raw = Tokenizer(models.WordLevel({"<pad>": 0, "<unk>": 1, "star": 2}, unk_token="<unk>"))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", unk_token="<unk>")
    tokenizer.save_pretrained("sig")
    transformers.SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained("sig")
    block = ".vision_model.encoder.layers.0"
    first = pretrained("transformers:sig", [block], "pretrain_siglip")
    then = finetuned(f"transformers:sig@{first}/{FILES[0]}", [block], "finetune_siglip")
    tower = load_classifier(str(first / "classifier")).model.encoder.state_dict()
    start = load_network(str(then / "steps/step=000000.safetensors"))
    assert all(torch.equal(value, tower[name]) for name, value in start.model.encoder.state_dict().items())
    assert f"spectrum/model.encoder.visual{block}/rankme" in {r.tag for r in read_curves(then / "signatures.csv")}

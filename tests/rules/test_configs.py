"""Every shipped config becomes Trainer, model and data; those for large data also train some steps on tiny copies."""

import re
from math import prod
from pathlib import Path

import imagenet_trees
import pytest
import torch
import yaml
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningCLI
from repository import ROOT

from lightning_robust.cli.fit import RobustCLI
from lightning_robust.data.imagenet.classes import class_names
from lightning_robust.models import load_encoder, write_clip_folder
from lightning_robust.models.checkpoint_files import save_tensors

EVERY = sorted((ROOT / "configs").rglob("*.yaml"))
STUDIES = [path for path in EVERY if "models" in yaml.safe_load(path.read_text(encoding="utf-8"))]  # read by `study`
CONFIGS = [path for path in EVERY if path not in STUDIES]
ZOO = {path.stem.split("_")[1]: path for path in CONFIGS if path.match("study/imagenet_*")}  # of the paper's study
IMAGENET = [path for path in CONFIGS if path.name.startswith("imagenet_") and path not in ZOO.values()]
VISION = {path.name.partition("_")[0]: path for path in CONFIGS if path.name.endswith("_vision_1gpu.yaml")}
PRETRAINING = [path for path in CONFIGS if path.name.startswith("pretrain_") and path not in VISION.values()]
OTHERS = [path for path in CONFIGS if path not in [*IMAGENET, *PRETRAINING, *VISION.values(), *ZOO.values()]]
RECIPE = ROOT / "configs" / "imagenet_finetune_8gpu.yaml"
HARDWARE = {"1gpu": (1, 1), "8gpu": (8, 1), "4nodes": (8, 4)}
HERE = {"accelerator": "cpu", "devices": 1, "num_nodes": 1, "strategy": "auto", "precision": "32-true"}
TRAINING_IMAGES = 1_281_167 - 10_000  # without the held-out part

pytestmark = [
    pytest.mark.filterwarnings("ignore:.* images here, .* are published:UserWarning"),
    pytest.mark.filterwarnings("ignore:LightningCLI's args parameter:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*is smaller than the logging interval"),
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists"),
    pytest.mark.filterwarnings("ignore:effective robustness is an extrapolation"),  # of models that know nothing
]


class Parsed(RobustCLI):
    """The classes of a config, without a run and its folder."""

    def before_instantiate_classes(self):
        pass

    def instantiate_trainer(self, **kwargs):
        return LightningCLI.instantiate_trainer(self, **kwargs)


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """A small vision transformer of twelve blocks that knows ImageNet's names."""
    folder = tmp_path_factory.mktemp("clip") / "vit"
    words = [*class_names(), "a photo of the"]
    write_clip_folder(
        folder, words, vision="vit", embed_dim=8, vision_layers=12, vision_width=8, vision_head_width=4,
        patch_size=16, text_width=8,
    )  # fmt: skip
    state = load_encoder(f"local-dir:{folder}", pretrained=False).model.state_dict()
    save_tensors(folder / "open_clip_model.safetensors", state)
    return f"local-dir:{folder}"


@pytest.fixture(scope="session")
def tree(tmp_path_factory):
    return imagenet_trees.everything(tmp_path_factory.mktemp("imagenet"))


@pytest.fixture
def opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def open_config(path, **settings):
        options = {f"trainer.{name}": value for name, value in (HERE | {"default_root_dir": tmp_path}).items()}
        arguments = [f"--{name}={value}" for name, value in (options | settings).items()]
        return Parsed(
            LightningModule, LightningDataModule, subclass_mode_model=True, subclass_mode_data=True,
            auto_configure_optimizers=False, seed_everything_default=0, save_config_callback=None, run=False,
            args=["--config", str(path), *arguments],
        )  # fmt: skip

    return open_config


def of_imagenet(clip, tree):
    templates = "['a photo of a {}.']"
    return {"model.init_args.encoder": clip, "data.init_args.root": tree, "model.init_args.templates": templates}


@pytest.fixture(scope="session")
def shards(tmp_path_factory):
    """Two tar shards of 16 captioned images in all."""
    folder = tmp_path_factory.mktemp("shards")
    for n in range(2):
        pairs = [(f"{8 * n + k:05}", class_names()[8 * n + k], imagenet_trees.picture(8 * n + k)) for k in range(8)]
        members = [(f"{key}.png", picture) for key, _, picture in pairs]
        members += [(f"{key}.txt", f"a photo of the {name}".encode()) for key, name, _ in pairs]
        imagenet_trees.tar(folder / f"{n:05}.tar", dict(sorted(members)))
    return f"webdataset:{folder}/{{00000..00001}}.tar"


def of_pretraining(clip, tree, shards):
    return {
        "data.init_args.evaluation.init_args.root": tree, "data.init_args.source": shards,
        "model.init_args.encoder": clip, "model.init_args.templates": "['a photo of a {}.']",
    }  # fmt: skip


def hardware_of(path):
    return HARDWARE[path.stem.rpartition("_")[2]]


def described(path):
    """What the comment under the first line says, and what the settings say: factors, and their product."""
    said = re.match(r"# Batch ([^=]*) = (\d+)", path.read_text(encoding="utf-8").splitlines()[1])
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    trainer = settings["trainer"]
    given = (trainer["devices"], trainer.get("num_nodes", 1), trainer.get("accumulate_grad_batches", 1))
    factors = [int(number) for number in re.findall(r"\d+", said[1])]
    return factors, int(said[2]), settings["data"]["init_args"]["batch_size"] * prod(given), settings


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: path.name)
def test_a_config_becomes_objects(path, opened):
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    if path.name == "folder_finetune.yaml":
        cli = opened(path, **{"model.init_args.encoder": "scenes-clip"})
    elif settings["data"]["class_path"].endswith("ImageFolderDataModule"):
        folder = {"data.init_args.root": Path(ROOT).parent / "shared" / "data" / "pacs"}
        if not folder["data.init_args.root"].is_dir():
            pytest.skip("the folder of photos is not there")
        cli = opened(path, **folder)
    else:
        cli = opened(path)
    assert cli.datamodule.transform is cli.model.transform


@pytest.mark.parametrize(
    ("encoder", "classes"), [("scenes-clip", ("star", "fish")), ("vit", ("goldfish", "hammerhead"))]
)
def test_own_folders_and_any_clip_need_the_names_of_both_alone(encoder, classes, opened, clip, tmp_path):
    for domain in ("web", "phone"):
        colours = {name: k for k, name in enumerate(classes)}
        imagenet_trees.fill(tmp_path / "photos" / domain, colours, per_class=10)
    own = {"model.init_args.encoder": clip if encoder == "vit" else encoder, "data.init_args.root": "photos"}
    short = {"trainer.max_epochs": 1, "trainer.logger": False, "data.init_args.batch_size": 4}
    cli = opened(ROOT / "configs" / "folder_finetune.yaml", **own | short)
    cli.trainer.fit(cli.model, cli.datamodule)
    found = {type(callback).__name__: callback for callback in cli.trainer.callbacks}
    assert [entry["epoch"] for entry in found["SignatureMonitor"].history] == [0, 1]
    assert set(found["WiseFT"].path.rows[0].shifts) == {"phone"}


@pytest.mark.parametrize("path", IMAGENET, ids=lambda path: path.name)
def test_the_batch_is_what_the_comment_says(path):
    factors, total, computed, settings = described(path)
    assert prod(factors) == total == computed == 512
    assert (settings["trainer"]["devices"], settings["trainer"].get("num_nodes", 1)) == hardware_of(path)
    images = 1000 * settings["data"]["init_args"].get("shots", 0) or TRAINING_IMAGES
    assert settings["model"]["init_args"]["warmup_steps"] < settings["trainer"]["max_epochs"] * (images // total) / 2


@pytest.mark.parametrize("path", IMAGENET, ids=lambda path: path.name)
def test_a_config_of_imagenet_becomes_objects(path, opened, clip, tree):
    options = of_imagenet(clip, tree)
    if "lp_ft" in path.name:
        options.pop("model.init_args.templates")
    cli = opened(path, **options)
    assert cli.datamodule.transform is cli.model.transform
    assert cli.datamodule.batch_size == described(path)[3]["data"]["init_args"]["batch_size"]


_MARKS = {True: pytest.mark.slow, False: pytest.mark.long}


@pytest.mark.parametrize(
    "path", [pytest.param(path, marks=_MARKS["flyp" in path.name], id=path.name) for path in IMAGENET]
)
def test_a_config_of_imagenet_trains_and_judges_its_path(path, opened, clip, tree):
    options = of_imagenet(clip, tree) | {
        "data.init_args.n_val": 100, "data.init_args.n_val_shift": 50, "data.init_args.num_workers": 0,
        "data.init_args.batch_size": 64, "trainer.max_epochs": 1, "trainer.limit_train_batches": 3,
        "model.init_args.warmup_steps": 1,
    }  # fmt: skip
    if "lp_ft" in path.name:
        options.pop("model.init_args.templates")
        options["model.init_args.l2"] = 1.0
    if "few_shot" in path.name:
        options["data.init_args.shots"] = 1
        options["data.init_args.n_val"] = 1
    cli = opened(path, **options)
    cli.trainer.fit(cli.model, cli.datamodule)
    (judged,) = [c for c in cli.trainer.callbacks if type(c).__name__ == "WiseFT"]
    assert len(judged.path.rows) == 11
    assert set(judged.path.rows[0].shifts) == {"v2", "r", "sketch", "objectnet", "a"}


@pytest.mark.parametrize("path", PRETRAINING, ids=lambda path: path.name)
def test_the_contrast_is_over_as_many_pairs_as_the_comment_says(path):
    factors, total, computed, settings = described(path)
    assert prod(factors) == total == computed
    assert (settings["trainer"]["devices"], settings["trainer"].get("num_nodes", 1)) == hardware_of(path)
    assert "accumulate_grad_batches" not in settings["trainer"]  # enlarges no contrast
    pairs = int(re.search(r" on (\d+) million ", path.read_text(encoding="utf-8").splitlines()[0])[1]) * 1_000_000
    assert settings["model"]["init_args"]["warmup_steps"] < settings["trainer"]["max_epochs"] * (pairs // total) / 10


@pytest.mark.parametrize("path", PRETRAINING, ids=lambda path: path.name)
def test_a_config_of_pretraining_becomes_objects(path, opened, clip, tree, shards):
    cli = opened(path, **of_pretraining(clip, tree, shards))
    assert cli.datamodule.transform is cli.datamodule.evaluation.transform is cli.model.transform
    assert len(cli.datamodule.class_names) == 1000


@pytest.mark.parametrize(
    "path", [pytest.param(path, marks=_MARKS["1gpu" in path.name], id=path.name) for path in PRETRAINING]
)
def test_a_config_of_pretraining_trains_and_is_measured_at_log_spaced_steps(path, opened, clip, tree, shards, tmp_path):
    small = {"data.init_args.batch_size": 4, "data.init_args.num_workers": 0, "model.init_args.warmup_steps": 1}
    judged = {"n_val": 100, "n_val_shift": 50, "num_workers": 0, "batch_size": 100}
    small |= {f"data.init_args.evaluation.init_args.{name}": value for name, value in judged.items()}
    if "chunk_size" in described(path)[3]["model"]["init_args"]:
        small["model.init_args.chunk_size"] = 2
    cli = opened(path, **of_pretraining(clip, tree, shards) | small | {"trainer.max_epochs": 1})
    cli.trainer.fit(cli.model, cli.datamodule)
    found = {type(callback).__name__: callback for callback in cli.trainer.callbacks}
    assert found["LogSteps"].done == [0, 1, 2, 3, 4]
    assert [entry["step"] for entry in found["SignatureMonitor"].history] == [0, 1, 2, 3, 4]
    assert any(tag.startswith("er/") for tag in cli.trainer.callback_metrics)
    assert load_encoder(f"local-dir:{tmp_path / 'clip'}").has_text
    assert len([*tmp_path.rglob("last.ckpt")]) == 1  # also of a run shorter than every_n_train_steps


@pytest.mark.parametrize(("name", "total"), [("finetune", 512), ("captions", 1024)])
def test_the_batch_of_a_training_of_the_zoo_is_what_the_comment_says(name, total):
    factors, said, computed, settings = described(ZOO[name])
    assert prod(factors) == said == computed == total
    assert (settings["trainer"]["devices"], settings["trainer"].get("num_nodes", 1)) == hardware_of(ZOO[name])


def test_a_clip_of_the_zoo_is_finetuned_by_the_recipe_that_ships():
    recipe, own = (yaml.safe_load(path.read_text(encoding="utf-8")) for path in (RECIPE, ZOO["finetune"]))
    assert own["model"] == recipe["model"]
    assert own["data"]["init_args"].items() >= recipe["data"]["init_args"].items()
    for setting in ("max_epochs", "devices", "precision", "gradient_clip_val"):
        assert own["trainer"][setting] == recipe["trainer"][setting]


def test_a_clip_of_the_zoo_is_finetuned_and_its_path_written(opened, clip, tree, tmp_path):
    small = {"data.init_args.n_val": 100, "data.init_args.num_workers": 0, "data.init_args.batch_size": 64}
    short = {"trainer.max_epochs": 1, "trainer.limit_train_batches": 2, "model.init_args.warmup_steps": 1}
    cli = opened(ZOO["finetune"], **of_imagenet(clip, tree) | small | short)
    cli.trainer.fit(cli.model, cli.datamodule)
    written = sorted(path.name for path in tmp_path.rglob("alpha=*.safetensors") if ".head." not in path.name)
    assert written == [f"alpha={alpha}.safetensors" for alpha in ("0.00", "0.25", "0.50", "0.75", "1.00")]


@pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no")  # it is judged by the study
def test_the_control_of_the_zoo_is_pretrained_on_captions_and_exported(opened, clip, shards, tmp_path):
    small = {"data.init_args.source": shards, "data.init_args.batch_size": 4, "data.init_args.num_workers": 0}
    own = {"model.init_args.encoder": clip, "model.init_args.warmup_steps": 1, "trainer.max_epochs": 1}
    cli = opened(ZOO["captions"], **small | own)
    cli.trainer.fit(cli.model, cli.datamodule)
    assert load_encoder(f"local-dir:{tmp_path / 'clip'}").has_text


@pytest.fixture(scope="session")
def extra(tmp_path_factory):
    """A small ImageNet-21k, three classes of it ImageNet's, and some images of ImageNet and three shifts of those."""
    folder = tmp_path_factory.mktemp("extra")
    both = [k for k in imagenet_trees.R if k in imagenet_trees.A][:3]
    few = {name: k for name, k in imagenet_trees.by_wnid().items() if k in both}
    imagenet_trees.fill(folder / "imagenet21k", few | {"n00007846": 700, "n00017222": 900}, per_class=10)
    for name in ("val", "imagenet-r", "sketch", "imagenet-a"):
        imagenet_trees.fill(folder / "imagenet" / name, few, per_class=2)
    return folder


@pytest.mark.parametrize("path", VISION.values(), ids=lambda path: path.name)
def test_the_batch_of_a_vision_config_is_what_the_comment_says(path):
    factors, total, computed, settings = described(path)
    assert prod(factors) == total == computed
    assert (settings["trainer"]["devices"], settings["trainer"].get("num_nodes", 1)) == hardware_of(path)
    said = re.search(r" on (\d+) million ", path.read_text(encoding="utf-8").splitlines()[0])
    images = int(said[1]) * 1_000_000 if said else TRAINING_IMAGES
    assert settings["model"]["init_args"]["warmup_steps"] < settings["trainer"]["max_epochs"] * (images // total) / 10


def test_finetuning_after_vision_pretraining_begins_from_what_the_first_config_exports():
    first, then = (yaml.safe_load(VISION[name].read_text(encoding="utf-8")) for name in ("pretrain", "finetune"))
    known = first["model"]["init_args"]
    file = f"checkpoints/{VISION['pretrain'].stem}/001/{known['export_to']}/model.safetensors"
    assert then["model"]["init_args"]["encoder"] == f"{known['encoder']}@{file}"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:effective robustness against 'imagenet' is measured on")
def test_the_vision_configs_pretrain_with_the_monitors_and_finetune_what_came_out(opened, extra, tree, tmp_path):
    (tmp_path / "imagenet21k").symlink_to(extra / "imagenet21k")
    (tmp_path / "imagenet").symlink_to(extra / "imagenet")
    small = {"data.init_args.batch_size": 4, "data.init_args.num_workers": 0, "model.init_args.warmup_steps": 1}
    short = {"trainer.max_epochs": 1, "trainer.limit_train_batches": 8, "trainer.logger": False}
    sizes = {"model.init_args.encoder": "timm:vit_tiny_patch16_224", "data.init_args.fractions": "[0.8, 0.1, 0.1]"}
    cli = opened(VISION["pretrain"], **small | short | sizes)
    cli.trainer.fit(cli.model, cli.datamodule)
    found = {type(callback).__name__: callback for callback in cli.trainer.callbacks}
    assert [entry["step"] for entry in found["SignatureMonitor"].history] == found["LogSteps"].done == [0, 1, 2]
    assert {f"er/{name}" for name in ("r", "sketch", "a", "mean")} <= set(cli.trainer.callback_metrics)
    masks = {record.name: record.classes for record in cli.datamodule.shifts}
    assert {len(classes) for classes in masks.values()} == {3}
    exported = load_encoder(f"timm:vit_tiny_patch16_224@{tmp_path / 'classifier' / 'model.safetensors'}")
    state = cli.model.model.encoder.state_dict()
    assert all(torch.equal(state[name], value) for name, value in exported.model.state_dict().items())

    cli = opened(VISION["finetune"], **{"model.init_args.encoder": exported.name, "data.init_args.root": tree})
    assert cli.datamodule.transform is cli.model.transform
    start = cli.model.loaded.model.state_dict()
    assert all(torch.equal(state[name], value) for name, value in start.items())


@pytest.mark.long
def test_the_vision_config_of_finetuning_trains_and_judges_its_path(opened, tree):
    small = {
        "model.init_args.encoder": "timm:test_vit", "model.init_args.pretrained": False, "model.init_args.l2": 1.0,
        "model.init_args.warmup_steps": 1, "data.init_args.root": tree, "data.init_args.n_val": 100,
        "data.init_args.n_val_shift": 50, "data.init_args.num_workers": 0, "data.init_args.batch_size": 64,
        "trainer.max_epochs": 1, "trainer.limit_train_batches": 3,
    }  # fmt: skip
    cli = opened(VISION["finetune"], **small)
    cli.trainer.fit(cli.model, cli.datamodule)
    found = {type(callback).__name__: callback for callback in cli.trainer.callbacks}
    assert [entry["epoch"] for entry in found["SignatureMonitor"].history] == [0, 1]
    assert len(found["WiseFT"].path.rows) == 11

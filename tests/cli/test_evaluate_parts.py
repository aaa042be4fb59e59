"""Parts of `evaluate` by themselves: loaders in order, processes, progress, published accuracies, baselines."""

import io
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
from torch.utils.data import DataLoader, TensorDataset

from lightning_robust.cli import evaluate_progress
from lightning_robust.cli.evaluate_answers import ModelAnswers, SetAnswers, pack, unpack
from lightning_robust.cli.evaluate_baseline import chosen_baseline
from lightning_robust.cli.evaluate_outcome import evaluation_of
from lightning_robust.cli.evaluate_progress import EvaluationProgress
from lightning_robust.cli.evaluate_published import of_other_size, published_accuracies, unlike_published
from lightning_robust.cli.evaluate_sets import evaluation_rules, evaluation_sets, ordered_loaders
from lightning_robust.cli.processes import processes
from lightning_robust.data import DistributionShift, ScenesDataModule, UnrepeatedSampler
from lightning_robust.data.imagenet.protocols import reference_record, shift_record
from lightning_robust.data.reading import TolerantLoader, UnreadableImageError
from lightning_robust.errors import UserError
from lightning_robust.robustness.comparable import IMAGENET_DATA
from lightning_robust.robustness.published import published_models


def data_of(*loaders):
    return SimpleNamespace(test_dataloader=lambda: list(loaders), val_dataloader=lambda: loaders[0])


PAIRS = TensorDataset(torch.arange(10.0)[:, None], torch.arange(10))


class Gaps(TensorDataset):
    def __getitem__(self, index):
        if index in (3, 4):
            raise UnreadableImageError(f"image {index}")
        return super().__getitem__(index)


@pytest.mark.parametrize("size", [None, 1, 4, 100])
def test_places_are_those_of_the_images(size):
    plain = DataLoader(PAIRS, batch_size=3, sampler=UnrepeatedSampler(PAIRS))
    loaders = data_of(plain, TolerantLoader(Gaps(*PAIRS.tensors), 3))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "An image is left out")
        found, tolerant = ordered_loaders(loaders, "test", 1, size)
        rows = [[torch.cat(part) for part in zip(*loader.batches, strict=True)] for loader in (found, tolerant)]
    for images, targets, places in rows:
        assert torch.equal(targets, places)
        assert torch.equal(images[:, 0].long(), places)
    assert rows[1][2].tolist() == [0, 1, 2, 5, 6, 7, 8, 9]
    assert tolerant.unreadable == ("image 3", "image 4")
    assert [(loader.images, loader.share) for loader in (found, tolerant)] == [(10, 10)] * 2


def test_one_loader_may_stand_alone():
    (found,) = ordered_loaders(data_of(DataLoader(PAIRS, batch_size=3)), "val", 1)
    assert [batch[2].tolist() for batch in found.batches] == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]


class Own(DataLoader):
    pass


@pytest.mark.parametrize(
    ("loader", "world", "size", "sentence"),
    [
        (DataLoader(PAIRS, shuffle=True, generator=torch.Generator()), 1, None, "fixed order"),
        ([1, 2], 1, None, "not a list"),
        (DataLoader(PAIRS), 2, None, "2 processes would each count every image"),
        (Own(PAIRS), 1, 4, "no effect on a Own"),
    ],
)
def test_loaders_that_cannot_be_used(loader, world, size, sentence):
    with pytest.raises(UserError, match=sentence):
        ordered_loaders(data_of(loader), "test", world, size)


def test_sets_of_a_data_module():
    data = ScenesDataModule()
    assert [one.name for one in evaluation_sets(data, "test")] == data.val_loader_names
    fewer = SimpleNamespace(
        val_loader_names=["photo"], test_loader_names=["photo", "art"], shifts=(DistributionShift("art", "x"),),
        description="pictures",
    )  # fmt: skip
    assert [one.name for one in evaluation_sets(fewer, "val")] == ["photo"]
    assert evaluation_sets(fewer, "test")[0].source == "pictures"
    fewer.test_loader_names = ["photo", "art", "sketch"]
    with pytest.raises(UserError, match="'sketch' and no shift of that name"):
        evaluation_sets(fewer, "test")


def test_equal_groups_share_a_mask():
    r, again = (DistributionShift(name, "x", groups=((0,), (2,))) for name in ("r", "again"))
    rules = evaluation_rules([DistributionShift("reference", "x"), r, again])
    assert rules["reference"].mask is None
    assert rules["r"].mask is rules["again"].mask is not None


def test_one_process_gathers_from_itself():
    with processes() as here:
        assert (here.first, here.world, here.gather({"a": 1}), here.agree(2)) == (True, 1, [{"a": 1}], 2)


@pytest.mark.parametrize("count", [1, 7, 8, 1001])
def test_flags_are_packed_and_unpacked(count):
    flags = np.random.default_rng(0).random(count) < 0.5
    assert np.array_equal(unpack(pack(flags), count), flags)
    with pytest.raises(ValueError, match="flags are"):
        unpack(pack(flags), count + 8)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_for_terminals(monkeypatch, capsys):
    out = Terminal()
    monkeypatch.setattr(evaluate_progress.sys, "stderr", out)
    with EvaluationProgress(True, 1, 4) as progress:
        progress.images("scenes-clip", 100)
        progress.seen(40)
        progress.seen(60)
        progress.models(1)
        progress._bars.refresh()
    assert "2/4" in out.getvalue()
    assert "100/100" in out.getvalue()
    assert "images/s" in out.getvalue()
    with EvaluationProgress(True, 1, 4) as progress:
        progress.images("runs/a [red]/x[/old].ckpt", 100)
        progress._bars.refresh()
    assert "runs/a [red]/x[/old].ckpt" in out.getvalue()
    monkeypatch.setattr(evaluate_progress.sys, "stderr", io.StringIO())
    for first, stream in ((True, io.StringIO()), (False, Terminal())):
        monkeypatch.setattr(evaluate_progress.sys, "stderr", stream)
        with EvaluationProgress(first, 0, 4) as progress:
            progress.images("scenes-clip", 100)
            progress.seen(40)
        assert stream.getvalue() == ""


def imagenet_sets(protocol="wise-ft", v2="matched-frequency"):
    shifts = (shift_record(name, protocol, v2) for name in ("v2", "r", "sketch", "objectnet", "a"))
    return (reference_record(), *shifts)


def test_published_accuracies_are_those_that_are_counted_alike():
    known = published_accuracies("ViT-B-32-quickgelu/openai", imagenet_sets())
    published = {model.name: model for model in published_models("imagenet_zero_shot")}["ViT-B-32-quickgelu/openai"]
    assert known == {"reference": published.reference} | {k: published.shifts[k] for k in ("v2", "r", "sketch", "a")}
    own_names = published_accuracies("ViT-B-32-quickgelu/openai", imagenet_sets("clip_benchmark"))
    assert own_names == known | {"objectnet": published.shifts["objectnet"]}
    assert "v2" not in published_accuracies("ViT-B-32-quickgelu/openai", imagenet_sets(v2="top-images"))
    assert "reference" in published_accuracies("timm:resnet18.tv_in1k", imagenet_sets())
    by_name = {model.name: model.reference for model in published_models("imagenet_timm")}
    for bare in ("resnet50", "densenet121"):  # the testbed has torchvision's under these names
        weights = f"{bare}.{timm.get_pretrained_cfg(bare).tag}"
        assert published_accuracies(f"timm:{bare}", imagenet_sets())["reference"] == by_name[weights]
    for unknown in (
        "timm:fbresnet152",
        "timm:densenet201.mine",
        "timm:nothing",
        "ViT-B-32/mine",
        "scenes-clip",
        "untrained:ViT-B-32-quickgelu/openai",
        "a/b/last.ckpt",
    ):
        assert published_accuracies(unknown, imagenet_sets()) == {}


@pytest.mark.parametrize("name", ["timm:resnet50.a1_in1k", "timm:resnet50"])
def test_figures_of_images_of_another_size_are_not_compared(name):
    assert published_accuracies(name, imagenet_sets(), 288)["reference"] > 0.79
    assert of_other_size(name, 288) is None
    assert published_accuracies(name, imagenet_sets(), 224) == {}
    said = of_other_size(name, 224)
    assert f"{name}: accuracies are published at 288 px, and it is judged at 224 px here" in said
    for other in ("timm:nothing", "timm:resnet50.a1_in1k@x.bin", "ViT-B-32/openai", "scenes-clip"):
        assert of_other_size(other, 224) is None


def answers(correct, images=1000):
    flags = np.arange(images) < correct
    one = SetAnswers(set="reference", images=images, read=pack(np.ones(images, bool)), correct=pack(flags))
    return ModelAnswers(name="m", origin="o", checkpoint_hash="c", alpha=None, sets=(one,))


@pytest.mark.parametrize(("correct", "warned"), [(500, 0), (509, 0), (491, 0), (511, 1), (489, 1)])
def test_more_than_a_point_is_warned_about(correct, warned):
    model = evaluation_of(answers(correct), imagenet_sets()[:1], published={"reference": 0.5})
    found = unlike_published(model)
    assert len(found) == warned
    assert all("QuickGELU" in sentence and "published are 50.0 %" in sentence for sentence in found)


OF_IMAGENET = {"description": IMAGENET_DATA, "class_names": [str(k) for k in range(1000)]}
PACS = {"description": "photo: folder photo", "class_names": [str(k) for k in range(7)]}


def test_which_baseline():
    imagenet = SimpleNamespace(shifts=[shift_record("r")], **OF_IMAGENET)
    assert chosen_baseline(None, "imagenet:here", imagenet).name == "imagenet"
    assert chosen_baseline("none", "imagenet:here", imagenet) is None
    assert chosen_baseline(None, "own.yaml", imagenet) is None
    other = SimpleNamespace(shifts=[DistributionShift("photo", "x")], **OF_IMAGENET)
    assert chosen_baseline(None, "imagenet:here", other) is None
    with pytest.raises(UserError, match="the data have photo: fit one on these data"):
        chosen_baseline("imagenet", "own.yaml", other)


def test_another_v2_is_left_out_and_said():
    data = SimpleNamespace(shifts=[shift_record("v2", v2="top-images"), shift_record("sketch")], **OF_IMAGENET)
    for name in (None, "imagenet"):
        with pytest.warns(UserWarning, match="leaves out v2: it is top-images here and matched-frequency"):
            assert chosen_baseline(name, "imagenet:here", data).shifts == ("sketch",)
    alone = SimpleNamespace(shifts=data.shifts[:1], **OF_IMAGENET)
    with pytest.warns(UserWarning, match="no effective robustness: .* it is top-images here"):
        assert chosen_baseline(None, "imagenet:here", alone) is None
    with pytest.raises(UserError, match="no line for these data"):
        chosen_baseline("imagenet", "imagenet:here", alone)


def test_a_baseline_of_other_data_is_refused():
    pacs = SimpleNamespace(shifts=[DistributionShift("sketch", "x")], **PACS)
    for name, data in (("imagenet", pacs), ("imagenet", ScenesDataModule()), ("scenes", pacs)):
        with pytest.raises(UserError, match="cannot judge models on"):
            chosen_baseline(name, "own.yaml", data)


def test_validation_images_of_imagenet_come_from_train():
    data = SimpleNamespace(shifts=[shift_record("r")], **OF_IMAGENET)
    with pytest.warns(UserWarning, match="reference images from ImageNet train.* left out"):
        assert chosen_baseline(None, "imagenet:here", data, "val") is None
    with pytest.warns(UserWarning, match="would come out too low$"):
        assert chosen_baseline("imagenet", "imagenet:here", data, "val").name == "imagenet"


def test_options_of_the_line():
    data = SimpleNamespace(shifts=[shift_record("r")], **OF_IMAGENET)
    found = chosen_baseline(None, "imagenet:here", data, options={"x": "matched", "scale": None, "aggregate": None})
    assert (found.x, found.scale) == ("matched", "logit")
    with pytest.raises(UserError, match="--scale has no effect without a baseline"):
        chosen_baseline("none", "imagenet:here", data, options={"scale": "probit"})

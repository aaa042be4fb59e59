"""Accuracies per loader, their names and the texts of the classes."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from processes import run_script

from lightning_robust.data.shifts import DistributionShift
from lightning_robust.models.class_mask import ClassMask
from lightning_robust.training import ContrastivePretraining, SupervisedPretraining
from lightning_robust.training.loader_accuracy import LoaderAccuracy, class_masks, class_texts, loader_names

SCRIPT = Path(__file__).with_name("accuracy_processes.py")


def one_hot(classes):
    return torch.eye(3)[torch.tensor(classes)]


def test_accuracies_are_shares_of_all_images_and_the_shifts_mean_leaves_the_reference_out():
    accuracy = LoaderAccuracy(["reference", "sketch", "art", "unused"], num_classes=3)
    accuracy.update(0, one_hot([0, 1, 2]), torch.tensor([0, 1, 1]))
    accuracy.update(0, one_hot([0]), torch.tensor([0]))  # a smaller batch weighs less
    accuracy.update(1, one_hot([0, 0]), torch.tensor([0, 1]))
    accuracy.update(2, one_hot([0]), torch.tensor([1]))
    values = {tag: value.item() for tag, value in accuracy.compute("val").items()}
    assert values == {
        "val/reference/accuracy": 0.75,
        "val/sketch/accuracy": 0.5,
        "val/art/accuracy": 0.0,
        "val/shifts/accuracy": 0.25,
    }
    accuracy.update(0, one_hot([1]), torch.tensor([0]))
    assert accuracy.compute("test") == {"test/reference/accuracy": torch.tensor(0.0)}  # started afresh


def test_names_come_from_the_data_module():
    module = SimpleNamespace(val_loader_names=["a", "b"])
    assert loader_names(module, "val", 2) == loader_names(module, "test", 2) == ["a", "b"]
    assert loader_names(SimpleNamespace(val_loader_names=["a"], test_loader_names=["c", "d"]), "test", 2) == ["c", "d"]
    with pytest.raises(ValueError, match=r"names 2 val loaders \['a', 'b'\] but has 3"):
        loader_names(module, "val", 3)
    with pytest.raises(ValueError, match="different names"):
        LoaderAccuracy(["a", "a"], 2)


def test_class_texts_as_given_win_over_the_data_modules():
    module = SimpleNamespace(class_names=("x", "y"), templates=("{}",))
    assert class_texts(module, None, None) == (["x", "y"], ["{}"])
    assert class_texts(module, ["z"], None) == (["z"], ["{}"])
    with pytest.raises(ValueError, match="No class_names and no templates: give them to the model"):
        class_texts(None, None, None)


def test_a_shift_is_counted_over_its_own_labels():
    accuracy = LoaderAccuracy(["reference", "objects"], 4, masks={"objects": ClassMask([(2, 0), (1,)])})
    logits = torch.tensor([[5.0, 1.0, 2.0, 9.0], [0.0, 3.0, 1.0, 9.0], [0.0, 2.0, 1.0, 9.0]])
    targets = torch.tensor([2, 1, 2])  # canonical: class 0 counts as 2
    for loader in (0, 1):
        accuracy.update(loader, logits, targets)
    values = accuracy.compute("val")
    assert values["val/reference/accuracy"] == 0.0  # everything is taken for class 3
    assert values["val/objects/accuracy"] == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match=r"labels of 'b' name class 7, but .* 0 … 2"):
        LoaderAccuracy(["a", "b"], 3, masks={"b": ClassMask([(7,)])})


def test_masks_come_from_the_records_of_the_shifts():
    whole, part = DistributionShift("a", "x"), DistributionShift("b", "x", groups=((1,), (0, 2)))
    assert class_masks(SimpleNamespace(shifts=(whole,)), ["r", "a"]) == {}
    assert {n: m.groups for n, m in class_masks(SimpleNamespace(shifts=(whole, part)), ["r", "a", "b"]).items()} == {
        "b": ((1,), (0, 2))
    }
    assert class_masks(None, ["r", "a"]) == class_masks(SimpleNamespace(shifts=["of another kind"]), ["r"]) == {}
    assert list(class_masks(SimpleNamespace(shifts=(whole, part)), ["r", "b", "a"])) == ["b"]  # by name
    assert class_masks(SimpleNamespace(shifts=(whole, part)), ["r"]) == {}  # a data module may leave shifts out
    with pytest.raises(ValueError, match=r"no record of 'c' among its shifts \['a', 'b'\]"):
        class_masks(SimpleNamespace(shifts=(whole, part)), ["r", "a", "c"])
    named = DistributionShift("c", "x", protocol="own prompts", groups=((0,),), class_names=("thing",))
    with pytest.raises(ValueError, match=r"'c' \(own prompts\) is prompted with class names of its own"):
        class_masks(SimpleNamespace(shifts=(named,)), ["r", "c"])


@pytest.mark.parametrize("stage", ["val", "test"])
def test_a_loader_may_not_have_the_name_of_the_mean(stage, data, trainer, tiny_folder):
    setattr(data, f"{stage}_loader_names", ["reference", "shifts", "rendition"])
    for module in (
        SupervisedPretraining(f"local-dir:{tiny_folder}"),
        ContrastivePretraining(f"local-dir:{tiny_folder}"),
    ):
        with pytest.raises(ValueError, match=r"of a loader named 'shifts' .* give it another name"):
            trainer().fit(module, datamodule=data)


@pytest.mark.slow
def test_two_processes_log_the_accuracies_of_one_without_a_warning(tiny_folder, tmp_path):
    """The last process has fewer images; Lightning's advice to synchronise would be an error here."""
    found = []
    for devices in (1, 2):
        run_script(SCRIPT, tmp_path, f"local-dir:{tiny_folder}", devices, processes=devices, timeout=600)
        found += [json.loads((tmp_path / f"{devices}.{rank}.json").read_text()) for rank in range(devices)]
    one, first, second = found
    assert one == first == second
    assert len(one["val"]) == 4
    assert len(set(one["val"].values())) > 1

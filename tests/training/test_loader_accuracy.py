"""Accuracies per loader, their names and the texts of the classes."""

from types import SimpleNamespace

import pytest
import torch

from lightning_robust.training.loader_accuracy import LoaderAccuracy, class_texts, loader_names


def test_accuracies_are_shares_of_all_images_and_the_shifts_mean_leaves_the_reference_out():
    accuracy = LoaderAccuracy(["reference", "sketch", "art", "unused"], num_classes=3)
    accuracy.update(0, torch.tensor([0, 1, 2]), torch.tensor([0, 1, 1]))
    accuracy.update(0, torch.tensor([0]), torch.tensor([0]))  # a smaller batch weighs less
    accuracy.update(1, torch.tensor([0, 0]), torch.tensor([0, 1]))
    accuracy.update(2, torch.tensor([0]), torch.tensor([1]))
    values = {tag: value.item() for tag, value in accuracy.compute("val").items()}
    assert values == {
        "val/reference/accuracy": 0.75,
        "val/sketch/accuracy": 0.5,
        "val/art/accuracy": 0.0,
        "val/shifts/accuracy": 0.25,
    }
    accuracy.update(0, torch.tensor([1]), torch.tensor([0]))
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

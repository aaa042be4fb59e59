"""Validation and test over the labels that each shift has, in every module, against a naive count."""

import pytest
import torch

from lightning_robust.data.shifts import DistributionShift
from lightning_robust.training import ClassifierFinetuning, ContrastivePretraining, SupervisedPretraining

ONE = {"sketch": None, "rendition": ((2, 1), (0,))}
PARTS = {"sketch": ((0,), (2,)), "rendition": ((2, 1), (0,))}


def records(groups):
    return tuple(DistributionShift(name, "tiny", groups=group) for name, group in groups.items())


def count(logits, targets, groups):
    """Right predictions, one image at a time."""
    right = 0
    for row, target in zip(logits.tolist(), targets.tolist(), strict=True):
        labels = groups or tuple((index,) for index in range(len(row)))
        scores = [max(row[index] for index in label) for label in labels]
        right += labels[scores.index(max(scores))][0] == target
    return right / len(targets)


def prepared(data, groups):
    """Only images of the shift's classes, under their canonical class."""
    data.shifts = records(groups)
    for place, labels in enumerate(groups.values(), start=2):
        if labels is not None:
            images, targets = data.sets[place]
            first = {index: label[0] for label in labels for index in label}
            kept = torch.tensor([int(t) in first for t in targets])
            data.sets[place] = images[kept], torch.tensor([first[int(t)] for t in targets[kept]])
    return data


@pytest.mark.parametrize("groups", [PARTS, ONE], ids=["both", "one"])
@pytest.mark.parametrize("kind", [ClassifierFinetuning, SupervisedPretraining])
def test_a_classifier(kind, groups, data, trainer, tiny_folder):
    module = kind(f"local-dir:{tiny_folder}")
    prepared(data, groups)
    found = trainer().validate(module, datamodule=data, verbose=False)
    tested = trainer().test(module, datamodule=data, verbose=False)
    values = {tag: value for part in found + tested for tag, value in part.items()}
    module.eval()
    for name, (images, targets) in zip(data.val_loader_names, data.sets[1:], strict=True):
        with torch.no_grad():
            expected = count(module(images), targets, groups.get(name))
        assert values[f"val/{name}/accuracy"] == pytest.approx(expected)
        assert values[f"test/{name}/accuracy"] == pytest.approx(expected)


def test_a_zero_shot_clip(data, trainer, tiny_folder):
    module = ContrastivePretraining(f"local-dir:{tiny_folder}", seed=3)
    prepared(data, PARTS)
    values = {
        tag: value for part in trainer().validate(module, datamodule=data, verbose=False) for tag, value in part.items()
    }
    head = module._head
    for name, (images, targets) in zip(data.val_loader_names, data.sets[1:], strict=True):
        with torch.no_grad():
            logits = module.encoder.eval().encode_image(images, normalize=True) @ head.T
        assert values[f"val/{name}/accuracy"] == pytest.approx(count(logits, targets, PARTS.get(name)))


@pytest.mark.parametrize("kind", [ClassifierFinetuning, SupervisedPretraining, ContrastivePretraining])
def test_names_of_its_own_are_refused_before_anything_runs(kind, data, trainer, tiny_folder):
    data.shifts = (DistributionShift("sketch", "tiny", class_names=("a", "b", "c")), *records({"rendition": None}))
    with pytest.raises(ValueError, match="judge the trained model with 'evaluate'"):
        trainer().fit(kind(f"local-dir:{tiny_folder}"), datamodule=data)

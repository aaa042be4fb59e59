"""Under bf16-mixed what decides an accuracy is in float32: logits that differ by a thousandth are no tie."""

import pytest
import torch
from torch.nn import functional

from lightning_robust.training import ContrastiveFinetuning, ContrastivePretraining, SupervisedPretraining, flyp
from lightning_robust.training.precision import full, full_precision


def near_rows(h):
    """A head whose second class is a thousandth above the first, the third far below, for representations like h."""
    mean = functional.normalize(functional.normalize(h, dim=1).mean(dim=0), dim=0)
    assert (h @ mean > 0).all()
    return torch.stack([50 * mean, 50.05 * mean, -50 * mean])


def only_the_second(data):
    data.sets = [(images, torch.ones_like(targets)) for images, targets in data.sets]
    return torch.cat([images for images, _ in data.sets[1:]])


def accuracies(run):
    return {name: value.item() for name, value in run.callback_metrics.items() if name.startswith("val/")}


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true"])
def test_zero_shot_logits_of_a_validation_are_no_ties(tiny_folder, captioned, trainer, precision, monkeypatch):
    images = only_the_second(captioned)
    module = ContrastivePretraining(f"local-dir:{tiny_folder}").eval()
    with torch.no_grad():
        head = near_rows(module(images))
    monkeypatch.setattr(module, "head_weight", lambda: head)
    run = trainer(precision=precision)
    run.validate(module, datamodule=captioned, verbose=False)
    assert accuracies(run) == dict.fromkeys(accuracies(run), 1.0)
    assert len(accuracies(run)) == 4


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_logits_of_a_classifier_are_no_ties(tiny_folder, data, trainer, precision):
    images = only_the_second(data)
    module = SupervisedPretraining(f"local-dir:{tiny_folder}")
    trainer().validate(module, datamodule=data, verbose=False)  # which builds the model
    with torch.no_grad():
        module.model.head.weight.copy_(near_rows(module.eval().model.encode(images)))
    run = trainer(precision=precision)
    run.validate(module, datamodule=data, verbose=False)
    assert accuracies(run) == dict.fromkeys(accuracies(run), 1.0)


def test_finetuning_contrasts_captions_in_float32(tiny_folder, data, trainer, monkeypatch):
    info_nce, seen = flyp.info_nce, []

    def watched(images, texts, scale, tokens=None):
        seen.append((images.dtype, texts.dtype, scale.dtype, torch.is_autocast_enabled("cpu")))
        return info_nce(images, texts, scale, tokens)

    monkeypatch.setattr(flyp, "info_nce", watched)
    module = ContrastiveFinetuning(f"local-dir:{tiny_folder}", warmup_steps=1)
    trainer(max_steps=2, limit_val_batches=0, precision="bf16-mixed").fit(module, datamodule=data)
    assert seen == [(torch.float32, torch.float32, torch.float32, False)] * 2


def test_only_what_is_shorter_than_float32_is_made_longer():
    for dtype in (torch.bfloat16, torch.float16):
        assert full(torch.ones(2, dtype=dtype)).dtype == torch.float32
    for dtype in (torch.float32, torch.float64):
        values = torch.ones(2, dtype=dtype)
        assert full(values) is values
    with torch.autocast("cpu", torch.bfloat16), full_precision(torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32

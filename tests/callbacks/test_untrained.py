"""The untrained control has batch-norm statistics of the images that it is measured on; nothing else changes."""

import copy

import pytest
import torch
from callback_cases import (
    CONCEPT,
    LAYER,
    OWN,
    REFERENCE,
    Data,
    Ours,
    draw,
    eval_features,
    loader,
    same_state,
    seed_all,
    trainer,
)
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_robust.callbacks import ConceptMonitor, KurtosisMonitor, SignatureMonitor, SpectrumMonitor
from lightning_robust.errors import UserError
from lightning_robust.models.batch_norm import batch_norms
from lightning_robust.signatures import activation_kurtosis


def fit(tmp_path, *monitors, module=None, data=None, **options):
    module = module or Ours()
    run = trainer(tmp_path, callbacks=list(monitors), max_epochs=1, **options)
    run.fit(module, datamodule=data or Data())
    return module


def by_hand(name, n, own=None):
    """Mean kurtosis of the control on a set: statistics by sums over all its images."""
    x = draw(name, n)[0]
    control = Ours(seed=99)
    if own is None:
        own = x
    with torch.no_grad():
        inputs = control.stem(own).double()
    control.norm.running_mean, control.norm.running_var = inputs.mean(0), inputs.var(0)
    return activation_kurtosis(torch.tensor(eval_features(control.state_dict(), x))).mean().item()


def test_figures_are_those_of_the_statistics_of_all_images(tmp_path):
    own = loader(OWN, 41, batch=8)  # the last image is a batch of its own, which the statistics leave out
    monitors = [
        KurtosisMonitor(untrained=True),
        KurtosisMonitor(images=own, prefix="own", untrained=True),
    ]
    fit(tmp_path, *monitors)
    for monitor, prefix, expected in (
        (monitors[0], "", by_hand(REFERENCE, 30)),
        (monitors[1], "own/", by_hand(OWN, 41, draw(OWN, 41)[0][:40])),
    ):
        assert monitor.reference[f"{prefix}kurtosis/{LAYER}/untrained"] == pytest.approx(expected, rel=1e-4)


def test_images_of_a_limited_validation_are_those_that_are_measured(tmp_path):
    monitor = KurtosisMonitor(untrained=True)
    fit(tmp_path, monitor, limit_val_batches=1)
    x = draw(REFERENCE, 30)[0][:16]
    control = Ours(seed=99)
    with torch.no_grad():
        inputs = control.stem(x).double()
    control.norm.running_mean, control.norm.running_var = inputs.mean(0), inputs.var(0)
    expected = activation_kurtosis(torch.tensor(eval_features(control.state_dict(), x))).mean().item()
    assert monitor.reference[f"kurtosis/{LAYER}/untrained"] == pytest.approx(expected, rel=1e-4)


def test_a_control_that_is_given_is_taken_as_it_is(tmp_path):
    control = Ours(seed=99)
    before = copy.deepcopy(control.state_dict())
    given, made = KurtosisMonitor(untrained=control), KurtosisMonitor(prefix="made", untrained=True)
    fit(tmp_path, given, made)
    assert same_state(before, control.state_dict())
    expected = activation_kurtosis(torch.tensor(eval_features(before, draw(REFERENCE, 30)[0]))).mean().item()
    assert given.reference[f"kurtosis/{LAYER}/untrained"] == pytest.approx(expected, rel=1e-4)
    assert made.reference[f"made/kurtosis/{LAYER}/untrained"] != pytest.approx(expected, rel=1e-2)


class Layered(Ours):
    """No batch norm, as a ViT has none."""

    def __init__(self, seed=0):
        super().__init__(seed)
        self.norm = nn.LayerNorm(40)

    def untrained_model(self):
        return Layered(seed=99)


def test_without_batch_norm_the_images_are_read_once_and_figures_are_bitwise_those_of_a_given_control(tmp_path):
    seen = []

    class Counted(Layered):
        def untrained_model(self):
            seen.append(Layered(seed=99))
            return seen[-1]

    found = []
    for options in ({"untrained": True}, {"untrained": Layered(seed=99)}):
        monitor = SignatureMonitor(**options)
        fit(tmp_path, monitor, module=Counted())
        found.append(monitor.reference)
    assert found[0] == found[1]
    assert [entry[1] for entry in seen[0].forwards] == [REFERENCE] * 2


def test_training_is_bitwise_what_it_is_without_the_control(tmp_path):
    states = []
    for monitors in ([], [KurtosisMonitor(untrained=True), ConceptMonitor(untrained=True)]):
        seed_all()
        states.append(fit(tmp_path, *monitors).state_dict())
    assert same_state(*states)


def test_batches_that_only_forward_understands(tmp_path):
    x = draw(OWN, 32)[0]
    images = [{"first": x[:16], "second": x[16:]}]

    def forward(module, batch):
        return module(torch.cat([batch["first"], batch["second"]]))

    monitor = KurtosisMonitor(images=images, forward=forward, untrained=True)
    fit(tmp_path, monitor)
    assert monitor.reference[f"kurtosis/{LAYER}/untrained"] == pytest.approx(by_hand(OWN, 32), rel=1e-4)


def test_images_that_cannot_give_statistics_are_an_error_before_training(tmp_path):
    images = DataLoader(TensorDataset(*draw(OWN, 4)), batch_size=1)
    with pytest.raises(UserError, match="use larger batches"):
        fit(tmp_path, KurtosisMonitor(images=images, untrained=True))


def test_a_random_resnet_tells_images_apart(tmp_path, tiny_folder):
    from lightning_robust.data import ScenesDataModule
    from lightning_robust.training import ClassifierFinetuning

    module = ClassifierFinetuning(f"local-dir:{tiny_folder}")
    data = ScenesDataModule(batch_size=32, n_train=32, n_val=96, n_val_shift=8, transform=module.transform)
    monitor = SpectrumMonitor(untrained=True)
    run = trainer(tmp_path, callbacks=[monitor], max_epochs=1)
    run.fit(module, datamodule=data)
    control = module.untrained_model()
    images = [batch[0] for batch in run.val_dataloaders[0]]
    for model, low, high in ((copy.deepcopy(control), 0, 1.5), (in_train_mode(control, torch.cat(images)), 3, 16)):
        with torch.no_grad():
            h = model.model.encoder.encode_image(torch.cat(images)).double()
        share = torch.linalg.svdvals(h) / torch.linalg.svdvals(h).sum()
        rankme = float((-(share * share.clamp_min(1e-300).log()).sum()).exp())
        assert low < rankme < high
    found = monitor.reference["spectrum/model.encoder.visual/rankme/untrained"]
    assert found == pytest.approx(rankme, rel=0.1)  # statistics by torch, in one batch


def in_train_mode(model, images):
    for layer in batch_norms(model).values():
        layer.train()
        layer.momentum = 1.0
    with torch.no_grad():
        model(images)
    return model.eval()


def test_concepts_are_counted_on_their_own_images(tmp_path):
    made = []

    class Watched(Ours):
        def untrained_model(self):
            made.append(Ours(seed=99))
            return made[-1]

    fit(tmp_path, ConceptMonitor(untrained=True), module=Watched())
    (control,) = made
    with torch.no_grad():
        inputs = control.stem(draw(CONCEPT, 60)[0])
    torch.testing.assert_close(control.norm.running_mean, inputs.mean(0))
    torch.testing.assert_close(control.norm.running_var, inputs.var(0))

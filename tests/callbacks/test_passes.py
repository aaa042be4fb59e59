"""How often the model is run for a measurement, when, and on which images."""

import pytest
import torch
from callback_cases import CONCEPT, LAYER, OWN, REFERENCE, SHIFT, TRAIN, Data, NoValidation, Ours, loader, trainer

from lightning_robust.callbacks import ConceptMonitor, KurtosisMonitor, SignatureMonitor, SpectrumMonitor

VALIDATION = [REFERENCE, REFERENCE, SHIFT, SHIFT]  # two batches of each


class Counting(Ours):
    """Notes every forward, and when training begins."""

    def on_train_epoch_start(self):
        self.forwards.append("epoch")

    def seen(self):
        """Loaders of the forwards before the first epoch, then in each epoch, training batches left out."""
        parts = [[]]
        for entry in self.forwards:
            if entry == "epoch":
                parts.append([])
            elif entry[1] != TRAIN:
                assert not entry[0], "measured in train mode"
                parts[-1].append(entry[1])
        return parts


def run(tmp_path, *monitors, **options):
    module = Counting()
    trainer(tmp_path, callbacks=list(monitors), **options).fit(module, datamodule=Data())
    return module.seen()


def steps(monitor):
    return [entry["step"] for entry in monitor.history]


def test_validation_is_listened_to_and_only_epoch_0_costs_a_pass(tmp_path):
    monitors = [KurtosisMonitor(), SpectrumMonitor(), SignatureMonitor(["kurtosis", "spectrum"], ["norm", "stem"])]
    assert run(tmp_path, *monitors) == [[REFERENCE] * 2, VALIDATION, VALIDATION]
    assert all(steps(monitor) == [0, 3, 6] for monitor in monitors)


def test_monitors_of_the_same_own_images_share_every_pass(tmp_path):
    images = loader(OWN, 20)
    monitors = [
        KurtosisMonitor(images=images),
        SpectrumMonitor(images=images),
        KurtosisMonitor(layers=["norm"], images=images),
    ]
    own = [OWN] * 2
    before, *epochs = run(tmp_path, *monitors)
    assert before == own
    assert [sorted(epoch) for epoch in epochs] == [sorted(own + VALIDATION)] * 2


def test_different_images_are_different_passes(tmp_path):
    monitors = [
        KurtosisMonitor(),
        ConceptMonitor(),
        ConceptMonitor(layers=["norm"]),
        SpectrumMonitor(images=loader(OWN, 20)),
    ]
    before, first, _ = run(tmp_path, *monitors)
    assert sorted(before) == sorted([REFERENCE] * 2 + [CONCEPT] * 4 + [OWN] * 2)
    assert sorted(first) == sorted(VALIDATION + [CONCEPT] * 4 + [OWN] * 2)


def test_monitors_with_one_control_share_its_pass_too(tmp_path, monkeypatch):
    made = []

    def control(module):
        made.append(Ours(seed=99))
        return made[-1]

    monkeypatch.setattr(Ours, "untrained_model", control)
    monitors = [KurtosisMonitor(untrained=True), SpectrumMonitor(), SignatureMonitor(layers=["norm"], untrained=True)]
    assert run(tmp_path, *monitors, max_epochs=1)[0] == [REFERENCE] * 2
    # a batch to see which batch norms are reached, a pass for their statistics, a pass to measure
    assert [entry[1] for module in made for entry in module.forwards] == [REFERENCE] * 5
    assert len(made) == 1


def test_a_shared_pass_is_no_shared_schedule(tmp_path):
    often = KurtosisMonitor(every_n_steps=1, every_n_epochs=0)
    seldom, never = SpectrumMonitor(every_n_epochs=2), KurtosisMonitor(layers=["norm"], every_n_epochs=0)
    run(tmp_path, often, seldom, never, max_epochs=4)
    assert steps(often) == list(range(13))
    assert steps(seldom) == [0, 6, 12]
    assert steps(never) == [0]


def test_own_images_are_measured_by_each_monitor_s_own_schedule(tmp_path):
    images = loader(OWN, 20)
    often = KurtosisMonitor(images=images, every_n_steps=2)
    seldom = SpectrumMonitor(images=images, every_n_epochs=2)
    run(tmp_path, often, seldom)
    assert steps(often) == [0, 2, 3, 4, 6]
    assert steps(seldom) == [0, 6]


def test_a_step_that_was_measured_is_not_measured_again_by_its_validation(tmp_path):
    monitor = KurtosisMonitor(every_n_steps=3)
    run(tmp_path, monitor)
    assert steps(monitor) == [0, 3, 6]
    assert [entry["epoch"] for entry in monitor.history] == [0, 1, 2]


def test_steps_are_optimiser_steps_under_accumulation(tmp_path):
    monitor = KurtosisMonitor(every_n_steps=1, every_n_epochs=0)
    run(tmp_path, monitor, accumulate_grad_batches=2)
    assert steps(monitor) == [0, 1, 2, 3, 4]  # three batches are two steps


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"val_check_interval": 1 / 3}, [(0, 0), (0, 1), (0, 2), (1, 3), (1, 4), (1, 5), (2, 6)]),
        ({"check_val_every_n_epoch": 2, "max_epochs": 4}, [(0, 0), (2, 6), (4, 12)]),
        ({"max_steps": 5, "max_epochs": -1}, [(0, 0), (1, 3)]),
        ({"max_steps": 6, "max_epochs": -1}, [(0, 0), (1, 3), (2, 6)]),
        ({"limit_train_batches": 2}, [(0, 0), (1, 2), (2, 4)]),
        ({"check_val_every_n_epoch": None, "val_check_interval": 4}, [(0, 0), (1, 4)]),
    ],
    ids=str,
)
def test_epochs_and_steps_in_other_loops(options, expected, tmp_path):
    monitor = KurtosisMonitor()
    run(tmp_path, monitor, **options)
    assert [(entry["epoch"], entry["step"]) for entry in monitor.history] == expected


def test_a_sanity_check_is_not_measured(tmp_path):
    monitor = KurtosisMonitor()
    before, *_ = run(tmp_path, monitor, num_sanity_val_steps=1)
    assert before == [REFERENCE, SHIFT, REFERENCE, REFERENCE]
    assert steps(monitor) == [0, 3, 6]


def test_validation_images_are_as_many_as_the_trainer_runs(tmp_path):
    monitor = KurtosisMonitor(every_n_steps=1)
    before, first, _ = run(tmp_path, monitor, limit_val_batches=1)
    assert before == [REFERENCE]
    assert first == [REFERENCE] * 3 + [REFERENCE, SHIFT]


def test_own_images_without_a_validation_loop(tmp_path):
    monitor = KurtosisMonitor(layers=[LAYER], images=loader(OWN, 20))
    trainer(tmp_path, callbacks=[monitor]).fit(NoValidation(), loader(TRAIN, 48))
    assert [(entry["epoch"], entry["step"]) for entry in monitor.history] == [(0, 0), (1, 3), (2, 6)]


def test_validate_and_test_are_not_measured(tmp_path):
    monitor = KurtosisMonitor()
    pl_trainer = trainer(tmp_path, callbacks=[monitor])
    pl_trainer.validate(Ours(), datamodule=Data(), verbose=False)
    assert monitor.history == []


def test_a_second_fit_starts_afresh_and_a_longer_one_goes_on(tmp_path):
    monitor, module, data = KurtosisMonitor(), Ours(), Data()
    first = trainer(tmp_path, callbacks=[monitor], max_epochs=1)
    first.fit(module, datamodule=data)
    first.fit_loop.max_epochs = 2
    first.fit(module, datamodule=data)
    assert steps(monitor) == [0, 3, 6]
    trainer(tmp_path, callbacks=[monitor], max_epochs=1).fit(Ours(), datamodule=data)
    assert steps(monitor) == [0, 3]


def test_several_monitors_that_listen_leave_the_fused_path_on(tmp_path):
    run(tmp_path, KurtosisMonitor(), SpectrumMonitor(), KurtosisMonitor(layers=["norm"]))
    assert torch.backends.mha.get_fastpath_enabled()

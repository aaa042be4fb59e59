"""The Wise-FT path against a baseline: effective robustness of every α, class masks, and curves in TensorBoard."""

import numpy as np
import pytest
import torch
from callback_cases import (
    LAYER,
    TEST,
    TEST_SHIFT,
    Data,
    Noisy,
    Ours,
    draw,
    loader,
    made_up_baseline,
    seed_all,
    trainer,
)
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.data import DataLoader, TensorDataset

from lightning_robust.callbacks import SignatureMonitor, WiseFT
from lightning_robust.callbacks.path_scalars import path_scalars
from lightning_robust.data.shifts import DistributionShift
from lightning_robust.errors import UserError
from lightning_robust.robustness import Baseline, ModelAccuracies


def fit(tmp_path, wise, *others, module=None, data=None, **options):
    seed_all()
    trainer(tmp_path, callbacks=[wise, *others], **options).fit(module or Ours(), datamodule=data or Data())


GROUPS = ((1, 0), (3,))


class Covered(Data):
    """Its shift covers three of the five classes, two of which count as one; targets are canonical."""

    shifts = (DistributionShift("sketch", "some classes", protocol="two labels", groups=GROUPS),)

    def test_dataloader(self):
        x, y = draw(TEST_SHIFT, 25)
        kept = (y == 0) | (y == 1) | (y == 3)
        targets = torch.where(y == 0, 1, y)[kept]
        return [loader(TEST, 45), DataLoader(TensorDataset(x[kept], targets), batch_size=4)]


def naive_accuracy(state, x, y, labels):
    """Right answers among labels, each a group of classes of which any counts, in float64 by numpy."""
    model = Noisy()
    model.load_state_dict(state)
    with torch.no_grad():
        logits = model.eval()(x).numpy()
    right = []
    for row, target in zip(logits, y.tolist(), strict=True):
        group = next((g for g in labels if target in g), None)
        if group is not None:
            best = max(labels, key=lambda g: max(row[c] for c in g))
            right.append(best == group)
    return right


def test_a_shift_of_some_classes_is_judged_over_these(tmp_path):
    wise = WiseFT([0.25], module="", replicates=5)
    fit(tmp_path, wise, data=Covered(), max_epochs=3)
    assert wise.path.images["sketch"] == 15
    everything = [(c,) for c in range(5)]
    restricted = []
    for row in wise.path.rows:
        state = load_file(wise.files[row.alpha][0])
        x, y = draw(TEST_SHIFT, 25)
        kept = naive_accuracy(state, x, y, GROUPS)
        assert len(kept) == 15
        assert row.shifts["sketch"] == pytest.approx(np.mean(kept))
        assert row.reference == pytest.approx(np.mean(naive_accuracy(state, *draw(TEST, 45), everything)))
        covered = torch.tensor([target in (0, 1, 3) for target in y.tolist()])
        restricted.append(np.mean(kept) - np.mean(naive_accuracy(state, x[covered], y[covered], everything)))
    assert any(restricted)


def test_effective_robustness_of_every_alpha(tmp_path):
    baseline = made_up_baseline()
    wise = WiseFT([0.25], module="", replicates=40, seed=3, baseline=baseline)
    logger = [TensorBoardLogger(tmp_path / "tb"), CSVLogger(tmp_path / "csv")]
    fit(tmp_path, wise, SignatureMonitor(), max_epochs=2, logger=logger)
    for row in wise.path.rows:
        found = baseline.effective_robustness(
            row.reference, row.shifts, {"reference": 45, "sketch": 25}, replicates=40, seed=3
        )
        assert row.effective_robustness == found
        line, x = baseline.lines["sketch"], np.log(row.reference / (1 - row.reference))
        expected = 1 / (1 + np.exp(-line.intercept - line.slope * x))
        assert row.effective_robustness.mean.estimate == pytest.approx(row.shifts["sketch"] - expected)
    assert len({row.effective_robustness.mean.estimate for row in wise.path.rows}) > 1

    (file,) = (tmp_path / "tb").rglob("events.out.tfevents*")
    log = EventAccumulator(str(file), size_guidance={"scalars": 0}).Reload()
    tags = {tag for tag in log.Tags()["scalars"] if tag.startswith("wise_ft/")}
    assert tags == set(path_scalars(wise.path.rows[0]))
    assert {
        "wise_ft/val/reference/accuracy", "wise_ft/test/sketch/accuracy", "wise_ft/test/shifts/accuracy",
        "wise_ft/er/sketch/low", "wise_ft/er/mean", "wise_ft/er/mean/prediction_high", "wise_ft/er/extrapolated",
        f"wise_ft/kurtosis/{LAYER}", f"wise_ft/spectrum/{LAYER}/rankme",
    } <= tags  # fmt: skip
    for tag in tags:
        assert [event.step for event in log.Scalars(tag)] == [0, 25, 50, 100]
        expected = [path_scalars(row)[tag] for row in wise.path.rows]
        np.testing.assert_array_equal([event.value for event in log.Scalars(tag)], np.float32(expected))
    assert "wise_ft" not in next((tmp_path / "csv").rglob("metrics.csv")).read_text()


def test_alphas_finer_than_percent_have_steps_of_their_own(tmp_path):
    wise = WiseFT([0.123, 0.1234], module="", replicates=2)
    fit(tmp_path, wise, max_epochs=1, logger=TensorBoardLogger(tmp_path / "tb"))
    (file,) = (tmp_path / "tb").rglob("events.out.tfevents*")
    events = EventAccumulator(str(file)).Reload().Scalars("wise_ft/test/reference/accuracy")
    assert [event.step for event in events] == [0, 1230, 1234, 5000, 10000]


def matched_baseline():
    rng = np.random.default_rng(1)
    models = [
        ModelAccuracies(f"m{k}", a, {"sketch": a - 0.1}, {"sketch": a + 0.03 * rng.random()})
        for k, a in enumerate(np.linspace(0.15, 0.95, 12).tolist())
    ]
    return Baseline.fit(models, n={"reference": 100, "sketch": 100, "matched/sketch": 100}, x="matched")


def test_a_baseline_of_matched_classes_gets_the_reference_on_them(tmp_path):
    wise = WiseFT([0.25], module="", replicates=20, baseline=matched_baseline())
    fit(tmp_path, wise, data=Covered(), max_epochs=3)
    for row in wise.path.rows:
        state = load_file(wise.files[row.alpha][0])
        right = naive_accuracy(state, *draw(TEST, 45), GROUPS)
        assert len(right) == 27
        found = matched_baseline().effective_robustness(
            {"reference": row.reference, "sketch": float(np.mean(right))}, row.shifts,
            {"reference": 45, "sketch": 15, "matched/sketch": 27}, replicates=20,
        )  # fmt: skip
        assert row.effective_robustness == found


class Prompted(Data):
    shifts = (DistributionShift("sketch", "own words", groups=((0,), (1,)), class_names=("a", "b")),)


REFUSALS = {
    "no shift of the baseline": (
        lambda: WiseFT(module="", baseline=made_up_baseline(shifts=("art",))), Data,
        "speaks of art, and the data of sketch",
    ),
    "matched classes that nobody knows": (
        lambda: WiseFT(module="", baseline=matched_baseline()), Data, "the data module has no record of them",
    ),
    "matched classes without logits": (
        lambda: WiseFT(module="", baseline=matched_baseline(), predict=lambda m, b: (b[1], b[1])), Covered,
        "gives no logits to restrict",
    ),
    "prompts of a shift's own": (lambda: WiseFT(module=""), Prompted, "prompted with class names of its own"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_work_is_refused_before_any_step(name, tmp_path):
    make, data, match = REFUSALS[name]
    module = Ours()
    with pytest.raises(UserError, match=match):
        fit(tmp_path, make(), module=module, data=data())
    assert module.losses == []


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"baseline": "no such"}, "no baseline named 'no such'"),
        ({"baseline": made_up_baseline(), "evaluate": False}, "no effect with evaluate=False"),
    ],
)
def test_a_baseline_that_cannot_be_used(options, match):
    with pytest.raises(UserError, match=match):
        WiseFT(module="", **options)


def test_a_loader_that_breaks_leaves_the_finetuned_weights(tmp_path):
    class Breaking(Data):
        def test_dataloader(self):
            broken = DataLoader([(torch.zeros(12), 0), None], batch_size=1)
            return [loader(TEST, 45), broken]

    plain, module = Ours(), Ours()
    seed_all()
    trainer(tmp_path, max_epochs=1).fit(plain, datamodule=Data())
    with pytest.raises(TypeError):
        fit(tmp_path, WiseFT(module="", replicates=2), module=module, data=Breaking(), max_epochs=1)
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in module.state_dict().items())

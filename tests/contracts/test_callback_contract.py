"""What every callback keeps: training is bitwise the same with it, whatever happens, and nothing stays behind."""

import functools

import pytest
import torch
from callback_cases import (
    LAYER,
    OWN,
    QUIET,
    Data,
    Noisy,
    Ours,
    Scored,
    hooks,
    loader,
    made_up_baseline,
    random_states,
    same_state,
    seed_all,
    trainer,
)
from lightning.pytorch import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from made_up_table import made_up_calibration, save

from lightning_robust.callbacks import (
    ConceptMonitor,
    ConfidenceMonitor,
    CurveRecorder,
    Diagnosis,
    EffectiveRobustness,
    KurtosisMonitor,
    LogSteps,
    RandomStates,
    SignatureMonitor,
    SpectrumMonitor,
    WiseFT,
)
from lightning_robust.signatures import ActivationKurtosis, MassiveActivations

pytestmark = QUIET


@functools.cache
def made_up_diagnoses():
    return made_up_calibration()


def diagnosis(folder, **options):
    return Diagnosis(save(made_up_diagnoses(), folder), layers=["norm", LAYER], **options)


def own_images():
    return loader(OWN, 20, shuffle=True)  # its order is drawn from the global random state


def everything(folder, **options):
    return [
        RandomStates(),
        SignatureMonitor(layers=[LAYER, "norm"], weights=["fc.weight"], untrained=True, **options),
        ConceptMonitor(untrained=True, **options),
        ConfidenceMonitor(untrained=True, **options),
        KurtosisMonitor(images=own_images(), prefix="own", **options),
        WiseFT([0.5], module="", replicates=10, baseline=made_up_baseline()),
        EffectiveRobustness(made_up_baseline(), replicates=10),
        diagnosis(folder, **options),
        CurveRecorder(folder / "curves.csv"),
    ]


CALLBACKS = {
    "kurtosis": lambda folder: [KurtosisMonitor()],
    "spectrum": lambda folder: [SpectrumMonitor(weights=["stem.weight"])],
    "concepts": lambda folder: [ConceptMonitor()],
    "confidence": lambda folder: [ConfidenceMonitor()],
    "confidence on own images": lambda folder: [ConfidenceMonitor(images=own_images(), every_n_steps=1)],
    "own images": lambda folder: [KurtosisMonitor(images=own_images())],
    "steps on validation": lambda folder: [KurtosisMonitor(every_n_steps=1)],
    "steps on own images": lambda folder: [SignatureMonitor(images=own_images(), every_n_steps=2, every_n_epochs=0)],
    "untrained": lambda folder: [KurtosisMonitor(untrained=True)],
    "every layer by wildcard": lambda folder: [SignatureMonitor(layers=["*", "*:input"], pool="tokens")],
    "controls of importance": lambda folder: [SpectrumMonitor(controls=True, weights=["all"])],
    "several rotations": lambda folder: [ConceptMonitor(rotations=3)],
    "functions for batches": lambda folder: [
        ConceptMonitor(images_from_batch=lambda b: b[0], labels_from_batch=lambda b: b[1]),
        KurtosisMonitor(images_from_batch=lambda b: b[0] + 0 * torch.rand((), device=b[0].device), prefix="a"),
    ],
    "a forward that draws": lambda folder: [
        KurtosisMonitor(images=own_images(), forward=lambda m, b: m(b[0] + torch.rand((), device=b[0].device)))
    ],
    "wise-ft": lambda folder: [WiseFT([0.5], module="", replicates=10)],
    "wise-ft against a baseline": lambda folder: [WiseFT([0.5], module="", replicates=10, baseline=made_up_baseline())],
    "effective robustness": lambda folder: [EffectiveRobustness(made_up_baseline(), replicates=10)],
    "diagnosis": lambda folder: [diagnosis(folder)],
    "diagnosis on own images": lambda folder: [diagnosis(folder, images=own_images(), every_n_steps=1)],
    "random states": lambda folder: [RandomStates()],
    "recorder": lambda folder: [CurveRecorder(folder / "curves.csv")],
    "everything": everything,
    "everything at every step": lambda folder: everything(folder, every_n_steps=1),
}
LOOPS = {
    "plain": {},
    "sanity check": {"num_sanity_val_steps": -1},
    "validation inside the epoch": {"val_check_interval": 0.5},
    "accumulation, seldom validated": {"accumulate_grad_batches": 3, "check_val_every_n_epoch": 2},
    "max steps": {"max_steps": 4, "max_epochs": -1},
    "mixed precision": {"precision": "bf16-mixed"},
}


def train(folder, callbacks=(), **options):
    seed_all()
    module = Scored()
    run = trainer(folder, callbacks=list(callbacks), **options)
    run.fit(module, datamodule=Data())
    return module, random_states()


@pytest.fixture(scope="module")
def without(tmp_path_factory):
    return {name: train(tmp_path_factory.mktemp("off"), **options) for name, options in LOOPS.items()}


def assert_same_training(on, off):
    assert torch.backends.mha.get_fastpath_enabled()
    (module, states), (plain, plain_states) = on, off
    assert module.losses == plain.losses
    assert same_state(module.state_dict(), plain.state_dict())
    assert states == plain_states
    assert hooks(module) == 0
    assert [m.training for m in module.modules()] == [m.training for m in plain.modules()]


@pytest.mark.parametrize("name", CALLBACKS)
def test_training_is_bitwise_the_same(name, tmp_path, without):
    assert_same_training(train(tmp_path, CALLBACKS[name](tmp_path)), without["plain"])


NO_VALIDATION = {"limit_val_batches": 0}
STEPPED = {
    "validations": lambda folder: [LogSteps(folder=folder / "steps")],
    "checkpoints alone": lambda folder: [LogSteps(validate=False, folder=folder / "steps")],
    "everything": lambda folder: [LogSteps(folder=folder / "steps"), *everything(folder)],
    "everything, and at every step": lambda folder: [*everything(folder, every_n_steps=1), LogSteps(first=2)],
}
STEPPED_LOOPS = {
    "accumulation": {"accumulate_grad_batches": 3},
    "max steps": {"max_steps": 4, "max_epochs": -1},
    "mixed precision": {"precision": "bf16-mixed"},
}


@pytest.mark.parametrize(
    ("name", "loop"), [*((name, "plain") for name in STEPPED), *(("everything", loop) for loop in STEPPED_LOOPS)]
)
def test_validations_at_log_spaced_steps_leave_training_as_it_is_without_any(name, loop, tmp_path):
    """Its loaders draw from the global random state at each validation, and there are many of them."""
    options = STEPPED_LOOPS.get(loop, {})
    off = train(tmp_path, **options, **NO_VALIDATION)
    given = NO_VALIDATION if name == "checkpoints alone" else {}
    assert_same_training(train(tmp_path, STEPPED[name](tmp_path), **options, **given), off)


@pytest.mark.parametrize("loop", [name for name in LOOPS if name != "plain"])
def test_training_is_bitwise_the_same_in_every_kind_of_loop(loop, tmp_path, without):
    callbacks = everything(tmp_path, every_n_steps=1)
    assert_same_training(train(tmp_path, callbacks, **LOOPS[loop]), without[loop])


def test_training_is_bitwise_the_same_with_figures_drawn(tmp_path, without):
    on = train(tmp_path, everything(tmp_path), logger=TensorBoardLogger(tmp_path))
    assert_same_training(on, without["plain"])


def test_the_training_that_is_compared_uses_every_random_state(tmp_path):
    """Otherwise equal weights would prove nothing."""
    first, states = train(tmp_path, max_epochs=1)
    seed_all()
    fresh = random_states()
    assert all(a != b for a, b in zip(states[:2], fresh[:2], strict=True))
    assert states[3] != fresh[3]
    assert first.norm.num_batches_tracked == 3


class Boom(RuntimeError):
    pass


def raise_on_call(monkeypatch, owner, name, when):
    """Let the call number `when` of a method raise."""
    plain, calls = getattr(owner, name), []

    def raising(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == when:
            raise Boom
        return plain(self, *args, **kwargs)

    monkeypatch.setattr(owner, name, raising)


class Moment(Callback):
    """Note what a measurement could have changed, just before it."""

    def on_train_start(self, trainer, pl_module):
        self.note(pl_module)

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.note(pl_module)

    def note(self, module):
        self.modes = [m.training for m in module.modules()]
        self.gradients = [
            (p.requires_grad, p.grad, None if p.grad is None else p.grad.clone()) for p in module.parameters()
        ]
        self.buffers = [b.clone() for b in module.buffers()]
        self.states = random_states()

    def assert_unchanged(self, module):
        assert [m.training for m in module.modules()] == self.modes
        assert random_states() == self.states
        assert all(torch.equal(b, old) for b, old in zip(module.buffers(), self.buffers, strict=True))
        for p, (required, grad, value) in zip(module.parameters(), self.gradients, strict=True):
            assert p.requires_grad == required
            assert p.grad is grad
            assert value is None or torch.equal(p.grad, value)


def assert_nothing_left(module, monitor):
    assert hooks(module) == 0
    assert torch.backends.mha.get_fastpath_enabled()
    assert monitor._listening is None


@pytest.mark.parametrize("images", ["validation", "own"])
@pytest.mark.parametrize(
    ("owner", "method", "when"),
    [
        (ActivationKurtosis, "update", 2),
        (ActivationKurtosis, "compute", 1),
        (ActivationKurtosis, "update", 5),
        (MassiveActivations, "update", 4),
        (MassiveActivations, "merge_state", 2),
    ],
    ids=[
        "an update before training",
        "a result before training",
        "an update after a step",
        "an update inside a forward",
        "a merge after a batch",
    ],
)
def test_a_measurement_that_raises_leaves_nothing_behind(images, owner, method, when, tmp_path, monkeypatch):
    raise_on_call(monkeypatch, owner, method, when)
    monitor = KurtosisMonitor(images=own_images() if images == "own" else images, every_n_steps=1)
    moment, module = Moment(), Ours()
    seed_all()
    with pytest.raises(Boom):
        trainer(tmp_path, callbacks=[moment, monitor], accumulate_grad_batches=2).fit(module, datamodule=Data())
    assert_nothing_left(module, monitor)
    moment.assert_unchanged(module)


class RaisingForward(Ours):
    calls, when = 0, 0

    def forward(self, x):
        self.calls += not self.training
        torch.rand(2)
        if not self.training and self.calls == self.when:
            raise Boom
        return super().forward(x)


def test_a_forward_that_raises_leaves_nothing_behind(tmp_path):
    module, monitor, moment = RaisingForward(), KurtosisMonitor(every_n_steps=1), Moment()
    module.when = 4  # two batches before training, then the second after the first step
    with pytest.raises(Boom):
        trainer(tmp_path, callbacks=[moment, monitor]).fit(module, datamodule=Data())
    assert len(module.losses) == 1
    assert_nothing_left(module, monitor)
    moment.assert_unchanged(module)


@pytest.mark.parametrize("what", ["metric", "hidden", "forward", "result"])
def test_what_raises_while_a_monitor_listens_leaves_no_hooks(what, tmp_path, monkeypatch):
    module, monitor = RaisingForward(), KurtosisMonitor()
    if what == "forward":
        module.when = 4
    else:
        method, when = ("compute", 2) if what == "result" else ("update", 4)
        raise_on_call(monkeypatch, MassiveActivations if what == "hidden" else ActivationKurtosis, method, when)
    with pytest.raises(Boom):
        trainer(tmp_path, callbacks=[monitor]).fit(module, datamodule=Data())
    assert len(module.losses) == 3
    assert_nothing_left(module, monitor)


def test_a_keyboard_interrupt_leaves_no_hooks(tmp_path, monkeypatch):
    module, monitor = Noisy(), KurtosisMonitor(layers=[LAYER])

    def interrupted(batch, batch_idx, dataloader_idx=0):
        assert hooks(module) == 1
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "validation_step", interrupted)
    with pytest.raises(SystemExit):
        trainer(tmp_path, callbacks=[monitor]).fit(module, datamodule=Data())
    assert_nothing_left(module, monitor)


def test_a_run_after_one_that_broke_off_is_as_if_it_were_the_first(tmp_path, monkeypatch, without):
    monitor = KurtosisMonitor()
    with monkeypatch.context() as patch:
        raise_on_call(patch, ActivationKurtosis, "update", 4)
        with pytest.raises(Boom):
            train(tmp_path, [monitor])
    assert_same_training(train(tmp_path, [monitor]), without["plain"])
    assert [entry["step"] for entry in monitor.history] == [0, 3, 6]

"""Loops of other people's: manual optimisation, accumulation, mixed precision, compiled modules, fused attention."""

import lightning.pytorch as pl
import numpy as np
import pytest
import scipy.stats
import torch
from callback_cases import (
    CLASSES,
    INPUTS,
    LAYER,
    OWN,
    REFERENCE,
    TRAIN,
    Data,
    Noisy,
    draw,
    hooks,
    loader,
    seed_all,
    trainer,
)
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from lightning_robust.callbacks import ConceptMonitor, KurtosisMonitor, SignatureMonitor, SpectrumMonitor
from lightning_robust.errors import UserError


def kurtosis(h):
    return scipy.stats.kurtosis(h.double().numpy(), axis=1, fisher=False, bias=True).mean()


def steps(monitor):
    return [entry["step"] for entry in monitor.history]


class Manual(Noisy):
    """Two optimisers that step by hand, every second batch."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        self.manual_backward(functional.cross_entropy(self(batch[0]), batch[1]) / 2)
        if batch_idx % 2:
            for optimizer in self.optimizers():
                optimizer.step()
                optimizer.zero_grad()

    def configure_optimizers(self):
        return [torch.optim.SGD(part.parameters(), lr=0.1) for part in (self.stem, self.fc)]


@pytest.mark.parametrize(("every", "expected"), [(1, [0, 2, 4, 6, 8]), (2, [0, 2, 4, 6, 8]), (3, [0, 4, 6])])
def test_optimiser_steps_by_hand(every, expected, tmp_path):
    """A batch may take several steps, so the n-th may fall inside one; four batches an epoch take four steps."""
    monitor = KurtosisMonitor(layers=[LAYER], every_n_steps=every, every_n_epochs=0)
    trainer(tmp_path, callbacks=[monitor]).fit(Manual(), loader(TRAIN, 64), loader(REFERENCE, 20))
    assert steps(monitor) == expected


def test_accumulated_batches_are_one_step(tmp_path):
    monitor = KurtosisMonitor(layers=[LAYER], every_n_steps=2, every_n_epochs=0)
    run = trainer(tmp_path, callbacks=[monitor], accumulate_grad_batches=2)
    run.fit(Noisy(), loader(TRAIN, 128), loader(REFERENCE, 20))
    assert steps(monitor) == [0, 2, 4, 6, 8]


class Listed(Noisy):
    """Keeps what its head reads in each validation batch, and in which precision the forward runs."""

    def __init__(self):
        super().__init__()
        self.read = []

    def forward(self, x):
        h = torch.relu(self.norm(self.stem(x)))
        if not self.training:
            self.read.append(h.detach().float())
        return self.fc(h)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "32-true"])
def test_figures_are_of_what_the_validation_computes_in_its_precision(precision, tmp_path):
    monitor, module = SignatureMonitor(layers=[LAYER], head="fc"), Listed()
    trainer(tmp_path, callbacks=[monitor], precision=precision, max_epochs=1).fit(
        module, loader(TRAIN, 32), loader(REFERENCE, 20)
    )
    h = torch.cat(module.read[-2:])
    assert len(h) == 20
    scalars = monitor.history[-1]["scalars"]
    assert scalars[f"kurtosis/{LAYER}"] == pytest.approx(kurtosis(h), rel=1e-12)
    moment = (h.double().T @ h.double() / len(h)).numpy()
    root = np.sqrt(np.clip(np.linalg.eigvalsh(moment), 0, None))
    p = root[root > 1e-7 * root.max()] / root.sum()
    assert scalars[f"spectrum/{LAYER}/rankme"] == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-5)
    assert monitor.history[-1]["images"] == 20


def dicts(name, n):
    x, y = draw(name, n)
    labels = torch.stack([y == 0, y == 1], dim=1).to(torch.int8)
    return DataLoader(
        [
            {"id": k, "features": a, "class": b, "marks": c}
            for k, (a, b, c) in enumerate(zip(x, y, labels, strict=True))
        ],
        batch_size=10,
    )


class Dicts(Noisy):
    """Batches under names that nobody can guess."""

    def training_step(self, batch, batch_idx):
        return super().training_step((batch["features"], batch["class"]), batch_idx)

    def validation_step(self, batch, batch_idx):
        return super().validation_step((batch["features"], batch["class"]), batch_idx)


def test_a_batch_of_any_form_by_two_functions(tmp_path):
    found = {"images_from_batch": lambda batch: batch["features"], "labels_from_batch": lambda batch: batch["marks"]}
    monitor = SignatureMonitor(("kurtosis", "concepts"), [LAYER], head="fc", **found)
    own = SignatureMonitor(("kurtosis", "concepts"), [LAYER], dicts(OWN, 30), head="fc", prefix="own", **found)
    run = trainer(tmp_path, callbacks=[monitor, own], max_epochs=1)
    run.fit(Dicts(), dicts(TRAIN, 20), dicts(REFERENCE, 40))
    assert [entry["images"] for entry in monitor.history] == [40, 40]
    assert [entry["images"] for entry in own.history] == [30, 30]
    plain = SignatureMonitor(("kurtosis", "concepts"), [LAYER], head="fc", prefix="own", images=[
        (batch["features"], batch["marks"]) for batch in dicts(OWN, 30)
    ])  # fmt: skip
    trainer(tmp_path, callbacks=[plain], max_epochs=1).fit(Dicts(), dicts(TRAIN, 20), dicts(REFERENCE, 40))
    np.testing.assert_equal(plain.history[0]["scalars"], own.history[0]["scalars"])


class Compiled(pl.LightningModule):
    """A tower that is compiled inside the module, and has run compiled before any hook is placed."""

    def __init__(self, *, compiled=True):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            net = nn.Sequential(nn.Linear(INPUTS, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU())
            self.fc = nn.Linear(40, CLASSES)
        self.tower = torch.compile(net, backend="eager") if compiled else net
        self.losses = []

    def forward(self, x):
        return self.fc(self.tower(x))

    def training_step(self, batch, batch_idx):
        loss = functional.cross_entropy(self(batch[0]), batch[1])
        self.losses.append(loss.item())
        return loss

    def validation_step(self, batch, batch_idx):
        self(batch[0])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.fixture
def _fresh_dynamo():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.usefixtures("_fresh_dynamo")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch's, of its own tracing
@pytest.mark.parametrize("whole", [False, True], ids=["a part", "the LightningModule"])
def test_layers_inside_compiled_code(whole, tmp_path):
    layers = ["tower.0", "tower.2", "fc:input"]
    histories, losses = [], []
    for compiled in (False, True):
        module = Compiled(compiled=compiled and not whole)
        with torch.no_grad():
            module(draw(OWN, 10)[0])  # hooks placed after a first compiled call are ignored
        monitors = [KurtosisMonitor(layers=layers), SpectrumMonitor(layers=layers, images=loader(OWN, 20))]
        given = torch.compile(module, backend="eager") if compiled and whole else module
        trainer(tmp_path, callbacks=monitors, max_epochs=2).fit(given, loader(TRAIN, 32), loader(REFERENCE, 20))
        histories.append([entry["scalars"] for monitor in monitors for entry in monitor.history])
        losses.append(module.losses)
        assert hooks(module) == 0
    assert losses[0] == losses[1]
    assert len(histories[0]) == 6
    np.testing.assert_equal(histories[1], histories[0])


class Attention(Noisy):
    """A transformer encoder, whose fused path calls no submodule in eval mode."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            layer = nn.TransformerEncoderLayer(INPUTS, 2, 16, dropout=0.0, batch_first=True)
            self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.paths = []

    def forward(self, x):
        if not self.training:
            self.paths.append(torch.backends.mha.get_fastpath_enabled())
        return super().forward(self.encoder(x[:, None].repeat(1, 3, 1)).mean(dim=1))


@pytest.mark.parametrize(
    ("layer", "fused"), [("encoder.layers.0.linear1", False), ("encoder.layers.*", False), (LAYER, True)]
)
def test_fused_attention(layer, fused, tmp_path):
    """The fused path is left only where a layer inside it is watched."""
    monitor, module = KurtosisMonitor(layers=[layer]), Attention()
    trainer(tmp_path, callbacks=[monitor], max_epochs=1).fit(module, loader(TRAIN, 32), loader(REFERENCE, 20))
    assert module.paths == [fused] * 4
    assert torch.backends.mha.get_fastpath_enabled()
    scalars = monitor.history[-1]["scalars"]
    assert sum(tag.startswith("kurtosis/") and tag.count("/") == 1 for tag in scalars) == (2 if "*" in layer else 1)
    assert all(np.isfinite(value) for tag, value in scalars.items() if tag.startswith("kurtosis/"))


def test_a_wildcard_stands_for_the_layers_it_matches_and_forms_are_stated(tmp_path):
    monitor, module = SignatureMonitor(["kurtosis"], ["encoder.layers.*", "f*:input"], pool="tokens"), Attention()
    run = trainer(tmp_path, callbacks=[monitor], max_epochs=1)
    run.fit(module, loader(TRAIN, 32), loader(REFERENCE, 20))
    for entry in monitor.history:
        assert set(entry["forms"]) == {"encoder.layers.0", "encoder.layers.1", "fc:input"}
        form = entry["forms"]["encoder.layers.1"]
        assert (form["kind"], form["positions"], form["d"], form["pool"]) == ("tokens", 3, INPUTS, "tokens")
        assert form["axis"] == "features"
        assert entry["images"] == 20
    assert monitor.forms["encoder.layers.1"] == "12 features, each of 3 tokens a row"
    assert monitor.forms["fc:input"] == "40 features"
    with pytest.raises(UserError, match=r"no layer that matches 'blocks.\*'"):
        trainer(tmp_path, callbacks=[KurtosisMonitor(layers=["blocks.*"])]).fit(Attention(), datamodule=Data())


class Twice(Noisy):
    """Runs its layers twice in each validation batch, the second time on other images."""

    def validation_step(self, batch, batch_idx):
        self(batch[0] * 100)
        return super().validation_step(batch, batch_idx)


def test_a_layer_that_runs_twice_counts_once(tmp_path):
    figures = []
    for cls in (Noisy, Twice):
        seed_all()
        monitor = SignatureMonitor(layers=["stem", "stem:input"])
        trainer(tmp_path, callbacks=[monitor], max_epochs=1).fit(cls(), loader(TRAIN, 32), loader(REFERENCE, 20))
        figures.append(monitor.history[-1])
    assert figures[0]["images"] == 20
    np.testing.assert_equal(figures[1], figures[0])


class Broken(Noisy):
    """Some images have features that are not finite."""

    def forward(self, x):
        spoilt = x[:, 1] > 1.5
        return super().forward(torch.where(spoilt[:, None] & (not self.training), torch.inf, x))


def test_what_is_not_finite_is_counted_named_once_and_left_out(tmp_path):
    x, y = draw(REFERENCE, 40)
    n = int((x[:, 1] > 1.5).sum())
    assert 0 < n < 20
    monitors = [KurtosisMonitor(layers=["stem"]), SpectrumMonitor(layers=["stem"])]
    with pytest.warns(UserWarning, match=f"layer 'stem': {n} of 40 images have a NaN or infinite feature") as caught:
        trainer(tmp_path, callbacks=monitors).fit(Broken(), loader(TRAIN, 32), loader(REFERENCE, 40))
    assert sum("infinite feature" in str(w.message) for w in caught) == 2  # one from each monitor, in two epochs
    clean = [KurtosisMonitor(layers=["stem"]), SpectrumMonitor(layers=["stem"])]
    kept = x[:, 1] <= 1.5
    trainer(tmp_path, callbacks=clean).fit(
        Noisy(), loader(TRAIN, 32), DataLoader(TensorDataset(x[kept], y[kept]), batch_size=10)
    )
    for monitor, plain, kind in zip(monitors, clean, ("kurtosis", "spectrum"), strict=True):
        scalars, expected = monitor.history[0]["scalars"], plain.history[0]["scalars"]
        assert scalars.pop(f"not_finite/stem/{kind}") == n
        assert expected.pop(f"not_finite/stem/{kind}") == 0
        for found in (scalars, expected):
            found.pop("not_finite/stem/massive", None)
        assert scalars == pytest.approx(expected, rel=1e-5, nan_ok=True)


class BrokenHead(Noisy):
    """The head has no figures after the second epoch."""

    def on_validation_epoch_start(self):
        if self.current_epoch == 1:
            with torch.no_grad():
                self.fc.weight[0, 0] = torch.nan


def test_a_head_that_is_no_longer_finite_does_not_end_the_run(tmp_path):
    monitor = SpectrumMonitor(layers=[LAYER], head="fc")
    with pytest.warns(UserWarning, match="the head holds NaN or infinite values"):
        trainer(tmp_path, callbacks=[monitor], max_epochs=2).fit(BrokenHead(), loader(TRAIN, 32), loader(REFERENCE, 40))
    importance = [sum(tag.startswith("importance") for tag in entry["scalars"]) for entry in monitor.history]
    assert importance == [4, 4, 0]
    assert all(np.isfinite(entry["scalars"][f"spectrum/{LAYER}/rankme"]) for entry in monitor.history)


def test_concepts_in_several_rotations(tmp_path):
    monitor = ConceptMonitor(layers=[LAYER], head="fc", rotations=3)
    trainer(tmp_path, callbacks=[monitor], max_epochs=1).fit(Noisy(), datamodule=Data())
    scalars = monitor.history[0]["scalars"]
    names = ["random_rotation", "random_rotation_2", "random_rotation_3"]
    best = [scalars[f"concepts/{LAYER}/{name}/mean_best_ap"] for name in names]
    assert len(set(best)) == 3
    assert not any("unique_0.95" in tag or "unique_0.55" in tag for tag in scalars)


def test_controls_of_importance_are_logged(tmp_path):
    from documented_tags import documented

    monitor = SpectrumMonitor(layers=[LAYER], head="fc", controls=True)
    trainer(tmp_path, callbacks=[monitor], max_epochs=1).fit(Noisy(), datamodule=Data())
    plain = documented(SpectrumMonitor, "Logged tags", layer=[LAYER], name=[])
    extra = documented(SpectrumMonitor, "With `controls=True`", layer=[LAYER], form=["raw", "centred"])
    assert len(extra) == 20
    for entry in monitor.history:
        assert set(entry["scalars"]) == plain | extra
        assert all(np.isfinite(entry["scalars"][tag]) for tag in extra)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: SpectrumMonitor(labels_from_batch=len), "labels_from_batch= has no effect"),
        (lambda: SpectrumMonitor(rotations=2), "rotations= has no effect"),
        (lambda: KurtosisMonitor(controls=True), "controls= has no effect"),
        (lambda: ConceptMonitor(pool="tokens"), "labels of images, not of tokens"),
        (lambda: ConceptMonitor(rotations=0), "at least 1; got 0"),
        (lambda: KurtosisMonitor(layers=["forward"]), "layer 'forward' is what a pass of the monitor's own returns"),
    ],
)
def test_what_cannot_be_is_refused(make, match):
    with pytest.raises(UserError, match=match):
        make()

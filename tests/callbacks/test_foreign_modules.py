"""Monitors on modules that know nothing of this package, and a plain PyTorch loop."""

import lightning.pytorch as pl
import pytest
import scipy.stats
import timm
import torch
import torchvision
from callback_cases import (
    CLASSES,
    LAYER,
    OWN,
    REFERENCE,
    TRAIN,
    Data,
    Noisy,
    NoValidation,
    draw,
    hooks,
    loader,
    trainer,
)
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from lightning_robust import signatures
from lightning_robust.callbacks import ConceptMonitor, KurtosisMonitor, SignatureMonitor, SpectrumMonitor
from lightning_robust.errors import UserError


class Dicts(pl.LightningModule):
    """Batches are dicts, the network is called by a name of its own, and there is no `forward`."""

    def __init__(self, network=None):
        super().__init__()
        self.backbone = network if network is not None else nn.Sequential(nn.Linear(12, 40), nn.ReLU())
        self.classify = nn.Linear(40, CLASSES)

    def logits(self, batch):
        return self.classify(self.backbone(batch["pixels"]))

    def training_step(self, batch, batch_idx):
        return functional.cross_entropy(self.logits(batch), batch["label"])

    def validation_step(self, batch, batch_idx):
        self.log("loss", functional.cross_entropy(self.logits(batch), batch["label"]), batch_size=len(batch["label"]))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def dicts(name, n):
    x, y = draw(name, n)
    return DataLoader([{"pixels": a, "label": b} for a, b in zip(x, y, strict=True)], batch_size=10)


def run_dicts(module, batch):
    return module.logits(batch)


class Vision(pl.LightningModule):
    """A torchvision or timm network in a loop of one's own."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        return self.network(images)

    def training_step(self, batch, batch_idx):
        return functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch, batch_idx):
        self.log("accuracy", (self(batch[0]).argmax(dim=1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


def pictures(n, seed=0, size=32):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(n, 3, size, size, generator=generator)
    return DataLoader(TensorDataset(images, torch.arange(n) % 4), batch_size=4)


def kurtosis(h):
    return scipy.stats.kurtosis(h.double().numpy(), axis=1, fisher=False, bias=True).mean()


def test_dict_batches_with_a_forward_of_their_own(tmp_path):
    monitor = SignatureMonitor(
        layers=["classify:input"], head="classify", weights=["classify.weight"], forward=run_dicts
    )
    own = KurtosisMonitor(layers=["backbone"], images=dicts(OWN, 20), forward=run_dicts)
    module = Dicts()
    run = trainer(tmp_path, callbacks=[monitor, own], max_epochs=2)
    run.fit(module, dicts(TRAIN, 20), dicts(REFERENCE, 20))
    assert [entry["step"] for entry in monitor.history] == [0, 2, 4]
    assert [entry["step"] for entry in own.history] == [0, 2, 4]
    with torch.no_grad():
        h = module.backbone(draw(REFERENCE, 20)[0])
    assert monitor.history[-1]["scalars"]["kurtosis/classify:input"] == pytest.approx(kurtosis(h), rel=1e-5)
    assert monitor.history[-1]["scalars"]["importance/classify:input/raw/max_over_median"] >= 1


@pytest.mark.parametrize(
    ("network", "layers", "head"),
    [
        (lambda: torchvision.models.resnet18(num_classes=4), ["layer3", "layer4", "fc:input"], "fc"),
        (
            lambda: timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2, num_classes=4),
            ["blocks.0", "blocks.1", "head:input"],
            "head",
        ),
    ],
    ids=["torchvision", "timm"],
)
def test_anybody_s_network(network, layers, head, tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module, control = Vision(network()), Vision(network())
    monitor = SignatureMonitor(
        layers=[f"network.{layer}" for layer in layers],
        head=f"network.{head}",
        weights=[f"network.{head}.weight"],
        untrained=control,
    )
    trainer(tmp_path, callbacks=[monitor], max_epochs=1).fit(module, pictures(8), pictures(8, seed=1))
    for which, tag in ((module, ""), (control, "/untrained")):
        captured = {}
        wanted = which.get_submodule(f"network.{head}")
        handle = wanted.register_forward_pre_hook(lambda _, args, captured=captured: captured.update(h=args[0]))
        with torch.no_grad():
            which.eval()(torch.cat([images for images, _ in pictures(8, seed=1)]))
        handle.remove()
        figure = monitor.history[-1]["scalars"][f"kurtosis/network.{head}:input{tag}"]
        assert figure == pytest.approx(kurtosis(captured["h"]), rel=1e-3)
    assert [entry["epoch"] for entry in monitor.history] == [0, 1]
    assert {f"spectrum/network.{layer}/rankme" for layer in layers} <= set(monitor.history[0]["scalars"])


@pytest.mark.parametrize("form", ["list", "dict", "single"])
def test_validation_loaders_in_any_form(form, tmp_path):
    reference, other = loader(REFERENCE, 20), loader(OWN, 20)
    loaders = {"list": [reference, other], "dict": {"a": reference, "b": other}, "single": reference}[form]
    monitor, module = KurtosisMonitor(layers=[LAYER]), Noisy()
    trainer(tmp_path, callbacks=[monitor], max_epochs=1).fit(module, loader(TRAIN, 32), loaders)
    seen = [name for training, name, _ in module.forwards if not training]
    assert seen == [REFERENCE] * 4 + ([] if form == "single" else [OWN] * 2)
    assert [entry["step"] for entry in monitor.history] == [0, 2]


def test_batches_are_prepared_as_for_a_validation(tmp_path):
    """Many modules augment in `on_after_batch_transfer` when the Trainer trains."""

    class Augmenting(Noisy):
        def on_after_batch_transfer(self, batch, dataloader_idx):
            if self.trainer.training:
                return [batch[0] * 1000, batch[1]]
            return batch

    class Plain(Noisy):
        pass

    first = []
    for cls in (Augmenting, Plain):
        monitor = SpectrumMonitor(layers=["stem:input"])
        trainer(tmp_path, callbacks=[monitor], max_epochs=1).fit(cls(), loader(TRAIN, 32), loader(REFERENCE, 20))
        first.append(monitor.history[0]["scalars"]["spectrum/stem:input/rankme"])
    assert first[0] == first[1]


def test_a_plain_pytorch_loop_measures_by_itself():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(12, 40), nn.ReLU(), nn.Dropout(), nn.Linear(40, CLASSES))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    metrics = {"3:input": [signatures.ActivationKurtosis(), signatures.OutlierFeatures()]}
    curve = []
    for _ in range(2):
        for x, y in loader(TRAIN, 32):
            optimizer.zero_grad()
            functional.cross_entropy(network(x), y).backward()
            optimizer.step()
        found = signatures.measure(network, loader(REFERENCE, 20), metrics)
        curve.append(float(found["3:input"]["ActivationKurtosis"]["mean"]))
        with torch.no_grad():
            h = network[:2](draw(REFERENCE, 20)[0])
        assert curve[-1] == pytest.approx(kurtosis(h), rel=1e-5)
        assert network.training
    assert curve[0] != curve[1]


def fit(tmp_path, *monitors, module=None, **options):
    trainer(tmp_path, callbacks=list(monitors), **options).fit(module or Noisy(), datamodule=Data())


REFUSALS = {
    "no layers": (lambda: KurtosisMonitor(), "give the monitor layers=.*Noisy names no representation_layer; it has"),
    "unknown layer": (lambda: KurtosisMonitor(layers=["fcc:input"]), "no layer 'fcc:input'; near names: fc"),
    "layers as text": (lambda: KurtosisMonitor(layers="fc"), r"layers=\['fc'\]"),
    "empty layers": (lambda: KurtosisMonitor(layers=[]), "layers is empty"),
    "unknown head": (lambda: SpectrumMonitor(layers=[LAYER], head="head"), "'head' is no linear head of Noisy.*fc"),
    "head of another width": (lambda: SpectrumMonitor(layers=["fc"], head="fc"), r"reads \(40\).*'fc:input'"),
    "unknown weight": (lambda: SpectrumMonitor(layers=[LAYER], weights=["fc.wait"]), "no matrix 'fc.wait'.*fc.weight"),
    "a vector as weight": (lambda: SpectrumMonitor(layers=[LAYER], weights=["norm.bias"]), "no matrix 'norm.bias'"),
    "no control": (lambda: KurtosisMonitor(layers=[LAYER], untrained=True), r"Noisy.untrained_model\(\)"),
    "unknown signature": (lambda: SignatureMonitor(["kurtosys"]), "kurtosis, spectrum, concepts.*kurtosys"),
    "no signature": (lambda: SignatureMonitor([]), "kurtosis, spectrum, concepts"),
    "a signature twice": (lambda: SignatureMonitor(["kurtosis", "kurtosis"]), "each once"),
    "unknown images": (lambda: KurtosisMonitor(images="train"), "'validation', 'concepts' or a loader; got 'train'"),
    "images that run out": (lambda: KurtosisMonitor(images=iter(loader(OWN, 20))), "can be read once only"),
    "no images": (lambda: KurtosisMonitor(layers=[LAYER], images=[]), "gave no batch"),
    "negative epochs": (lambda: KurtosisMonitor(every_n_epochs=-1), "got -1 and None"),
    "zero steps": (lambda: KurtosisMonitor(every_n_steps=0), "got 1 and 0"),
    "idle weights": (lambda: KurtosisMonitor(weights=["fc.weight"]), "weights= has no effect"),
    "idle head": (lambda: KurtosisMonitor(head="fc"), "head= has no effect"),
    "idle categories": (lambda: SpectrumMonitor(categories=["a"]), "categories= has no effect"),
    "class labels as concepts": (
        lambda: ConceptMonitor(layers=[LAYER], images="validation"),
        r"concepts need labels \(n, C\).*found of shape \(16,\)",
    ),
    "no labels": (
        lambda: ConceptMonitor(layers=[LAYER], images=[draw(OWN, 20)[0]]),
        "concepts need labels.*found none",
    ),
    "batches of another form": (
        lambda: KurtosisMonitor(layers=[LAYER], images=[{"x": 1}]),
        "a batch is dict with the keys 'x', in which no images were found; give images_from_batch=",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_work_gets_one_sentence_before_any_step(name, tmp_path):
    make, match = REFUSALS[name]
    module = Noisy()
    with pytest.raises(UserError, match=match):
        fit(tmp_path, make(), module=module)
    assert module.losses == []


def test_two_monitors_do_not_share_a_tag(tmp_path):
    monitors = [KurtosisMonitor(layers=[LAYER]), SignatureMonitor(layers=[LAYER], images=loader(OWN, 20))]
    with pytest.raises(UserError, match=r"two monitors log kurtosis of 'fc:input'.*give one of them a prefix="):
        fit(tmp_path, *monitors)


def test_a_module_without_forward_is_told_of_forward(tmp_path):
    monitor = KurtosisMonitor(layers=["backbone"], images=loader(OWN, 20))
    with pytest.raises(UserError, match="Dicts has no forward of its own: give the monitor forward="):
        trainer(tmp_path, callbacks=[monitor]).fit(Dicts(), dicts(TRAIN, 20), dicts(REFERENCE, 20))


@pytest.mark.parametrize("options", [{}, {"limit_val_batches": 0}], ids=["no loader", "no batches"])
def test_no_validation_to_listen_to(options, tmp_path):
    module = Noisy() if options else NoValidation()
    loaders = [loader(TRAIN, 32), *([loader(REFERENCE, 20)] if options else [])]
    monitor = KurtosisMonitor(layers=[LAYER])
    with pytest.raises(UserError, match="this Trainer runs none; give it one, or images="):
        trainer(tmp_path, callbacks=[monitor], **options).fit(module, *loaders)


def test_no_concept_set(tmp_path):
    monitor = ConceptMonitor(layers=[LAYER])
    with pytest.raises(UserError, match=r"needs a data module with concept_dataloader\(\)"):
        trainer(tmp_path, callbacks=[monitor]).fit(Noisy(), loader(TRAIN, 32), loader(REFERENCE, 20))


def test_a_layer_whose_first_dimension_is_not_the_batch(tmp_path):
    class Tokens(Noisy):
        def __init__(self):
            super().__init__()
            self.turn = nn.Identity()

        def forward(self, x):
            self.turn(x.repeat(3, 1))
            return super().forward(x)

    with pytest.raises(ValueError, match="'turn' gave 48 rows for 16 images"):
        fit(tmp_path, KurtosisMonitor(layers=["turn"]), module=Tokens())


def test_a_layer_that_is_never_run(tmp_path):
    class Idle(Noisy):
        def __init__(self):
            super().__init__()
            self.idle = nn.Linear(3, 3)

    with pytest.raises(UserError, match="'idle' never fired"):
        fit(tmp_path, KurtosisMonitor(layers=["idle"]), module=Idle())


def test_a_layer_that_a_validation_never_runs(tmp_path):
    class Late(Noisy):
        def __init__(self):
            super().__init__()
            self.late = nn.Identity()

        def forward(self, x):
            return super().forward(x if self.losses else self.late(x))

    module = Late()
    with pytest.raises(UserError, match="'late' never fired"):
        fit(tmp_path, KurtosisMonitor(layers=["late"]), module=module)
    assert hooks(module) == 0


def test_an_error_of_the_module_itself_keeps_its_kind(tmp_path):
    class Broken(Noisy):
        def forward(self, x):
            raise RuntimeError("the module's own")

    module = Broken()
    with pytest.raises(RuntimeError, match="the module's own"):
        fit(tmp_path, KurtosisMonitor(layers=[LAYER]), module=module)
    assert hooks(module) == 0

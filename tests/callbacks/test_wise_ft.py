"""Wise-FT: what is on disk, what the path says, and what is refused."""

import lightning.pytorch as pl
import numpy as np
import open_clip
import pytest
import torch
from callback_cases import (
    LAYER,
    OWN,
    REFERENCE,
    TEST,
    TEST_SHIFT,
    TRAIN,
    Data,
    Noisy,
    NoValidation,
    Ours,
    draw,
    hooks,
    loader,
    same_state,
    seed_all,
    trainer,
)
from lightning.pytorch.callbacks import Callback, EarlyStopping
from safetensors.torch import load_file
from torch.utils.data import DataLoader, TensorDataset

from lightning_robust.callbacks import ConceptMonitor, KurtosisMonitor, SignatureMonitor, WiseFT
from lightning_robust.errors import UserError
from lightning_robust.training import ClassifierFinetuning

GRID = [0.0, 0.25, 0.5, 1.0]


def fit(tmp_path, wise, *others, module=None, data=None, **options):
    """A run, with the state from before it."""
    seed_all()
    module = module or Ours()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    trainer(tmp_path, callbacks=[wise, *others], **options).fit(module, datamodule=data or Data())
    return module, before


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("judged")
    wise = WiseFT([0.25], module="", replicates=50)
    monitors = [SignatureMonitor(), ConceptMonitor(), KurtosisMonitor(images=loader(OWN, 20), prefix="own")]
    module, before = fit(folder, wise, *monitors, max_epochs=3)
    return folder, wise, monitors, module, before


def test_the_ends_are_bitwise_the_weights_before_and_after(judged):
    folder, wise, _, module, before = judged
    written = sorted(path.name for path in (folder / "wise_ft").iterdir())
    assert written == [f"alpha={alpha:.2f}.safetensors" for alpha in GRID]
    assert list(wise.files) == GRID
    assert same_state(load_file(folder / "wise_ft/alpha=0.00.safetensors"), before)
    assert same_state(load_file(folder / "wise_ft/alpha=1.00.safetensors"), module.state_dict())
    assert not torch.equal(before["fc.weight"], module.fc.weight)
    assert before["norm.num_batches_tracked"] == 0
    assert module.norm.num_batches_tracked == 9


def test_between_them_every_float_is_interpolated(judged):
    _, wise, _, module, before = judged
    after = module.state_dict()
    for alpha in (0.25, 0.5):
        (file,) = wise.files[alpha]
        for name, value in load_file(file).items():
            if value.is_floating_point():
                expected = (1 - alpha) * before[name].double() + alpha * after[name].double()
                torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-7)
            else:
                assert torch.equal(value, after[name])


def test_the_path_s_accuracies_equal_a_naive_loop_s(judged):
    _, wise, _, _, _ = judged
    sets = {"val": draw(REFERENCE, 30), "reference": draw(TEST, 45), "sketch": draw(TEST_SHIFT, 25)}
    correct = {}
    for row in wise.path.rows:
        model = Noisy()
        model.load_state_dict(load_file(wise.files[row.alpha][0]))
        with torch.no_grad():
            right = {name: model.eval()(x).argmax(dim=1) == y for name, (x, y) in sets.items()}
        correct[row.alpha] = right
        assert row.val_reference == pytest.approx(right["val"].double().mean().item())
        assert row.reference == pytest.approx(right["reference"].double().mean().item())
        assert row.shifts == pytest.approx({"sketch": right["sketch"].double().mean().item()})
        assert row.shifts_mean == row.shifts["sketch"]
    assert [row.alpha for row in wise.path.rows] == GRID
    assert len({row.reference for row in wise.path.rows}) > 1
    choice = wise.path.choice
    hits = np.array([int(correct[alpha]["val"].sum()) for alpha in GRID])
    assert choice.alpha_star == GRID[int(np.argmax(hits.max() - hits <= 0.01 * 30))]
    assert choice.images == 30
    assert wise.path.images == {"reference (validation)": 30, "reference": 45, "sketch": 25}
    difference = correct[0.5]["reference"].double().mean() - correct[0.0]["reference"].double().mean()
    interval = wise.path.intervals["reference: α=0.5 − α=0"]
    assert interval.estimate == pytest.approx(difference.item())
    assert interval.low <= interval.estimate <= interval.high


def test_signatures_along_the_path_are_those_of_each_checkpoint(judged, tmp_path):
    """Monitors that watch the validation look at test images; the others at their own."""
    _, wise, _, _, _ = judged
    for row in wise.path.rows:
        model = Ours()
        model.load_state_dict(load_file(wise.files[row.alpha][0]))
        monitors = [
            SignatureMonitor(images=loader(TEST, 45)),
            ConceptMonitor(),
            KurtosisMonitor(images=loader(OWN, 20), prefix="own"),
        ]
        trainer(tmp_path, callbacks=monitors, max_epochs=1).fit(model, datamodule=Data())
        alone = {tag: value for monitor in monitors for tag, value in monitor.history[0]["scalars"].items()}
        assert set(row.signatures) == set(alone)
        changes = {tag for tag in alone if tag.rpartition("/")[2] in ("persisted", "appeared", "vanished")}
        found = {tag: value for tag, value in row.signatures.items() if tag not in changes}
        assert found == pytest.approx({tag: alone[tag] for tag in found}, rel=1e-6, nan_ok=True)
    figures = [row.signatures[f"kurtosis/{LAYER}"] for row in wise.path.rows]
    assert len(set(figures)) == len(GRID)


def test_the_module_is_left_as_it_was_trained(tmp_path):
    plain = Ours()
    seed_all()
    trainer(tmp_path, max_epochs=2).fit(plain, datamodule=Data())
    module, _ = fit(tmp_path, WiseFT(module="", replicates=5), SignatureMonitor(), max_epochs=2)
    assert same_state(module.state_dict(), plain.state_dict())
    assert module.training
    assert hooks(module) == 0


def test_each_image_is_read_once_for_the_accuracies(tmp_path):
    read = []

    class Reading(TensorDataset):
        def __getitem__(self, index):
            read.append(index)
            return super().__getitem__(index)

    tests = {"test": DataLoader(Reading(*draw(TEST, 20)), batch_size=7)}
    fit(tmp_path, WiseFT(module="", tests=tests, replicates=5), max_epochs=1)
    assert sorted(read) == list(range(20))


def test_a_submodule_alone_can_be_interpolated(tmp_path):
    wise = WiseFT([0.5], module="fc", evaluate=False)
    module, before = fit(tmp_path, wise, max_epochs=1)
    assert list(load_file(wise.files[0.0][0])) == ["weight"]
    assert torch.equal(load_file(wise.files[0.0][0])["weight"], before["fc.weight"])
    assert torch.equal(load_file(wise.files[1.0][0])["weight"], module.fc.weight)


def test_a_foreign_module_with_a_predict_hook(tmp_path):
    class Named(Noisy):
        """Batches that only it understands."""

        def training_step(self, batch, batch_idx):
            return super().training_step((batch["x"], batch["y"]), batch_idx)

        def validation_step(self, batch, batch_idx):
            super().validation_step((batch["x"], batch["y"]), batch_idx)

    def named(name, n):
        x, y = draw(name, n)
        return DataLoader([{"x": a, "y": b} for a, b in zip(x, y, strict=True)], batch_size=8)

    def predict(module, batch):
        return module(batch["x"]).argmax(dim=1), batch["y"]

    wise = WiseFT([0.5], module="", tests={"here": named(TEST, 20)}, predict=predict, replicates=5)
    module = Named()
    trainer(tmp_path, callbacks=[wise], max_epochs=1).fit(module, named(TRAIN, 32), named(REFERENCE, 20))
    x, y = draw(TEST, 20)
    with torch.no_grad():
        right = (module.eval()(x).argmax(dim=1) == y).double().mean().item()
    assert wise.path.rows[-1].reference == pytest.approx(right)
    assert wise.path.rows[-1].shifts == {}
    assert np.isnan(wise.path.rows[-1].shifts_mean)


def test_without_evaluation_the_files_alone_are_written(tmp_path):
    wise = WiseFT(module="", evaluate=False, folder=tmp_path / "elsewhere")
    trainer(tmp_path, callbacks=[wise], max_epochs=1).fit(NoValidation(), loader(TRAIN, 32))
    assert wise.path is None
    assert len(list((tmp_path / "elsewhere").glob("alpha=*.safetensors"))) == 11


def test_file_names_tell_all_alphas_apart(tmp_path):
    wise = WiseFT([0.123, 0.1234, 0.5], module="", evaluate=False)
    fit(tmp_path, wise, max_epochs=1)
    names = sorted(path.name for path in (tmp_path / "wise_ft").iterdir())
    assert names == [f"alpha={a}.safetensors" for a in ("0.0000", "0.1230", "0.1234", "0.5000", "1.0000")]


def test_early_stopping_judges_the_weights_of_then(tmp_path):
    wise = WiseFT([0.5], module="", replicates=5)
    stop = EarlyStopping(f"kurtosis/{LAYER}", mode="max", patience=1, min_delta=1e9)
    module, _ = fit(tmp_path, wise, KurtosisMonitor(), stop, max_epochs=9)
    assert module.norm.num_batches_tracked == 6
    assert same_state(load_file(wise.files[1.0][0]), module.state_dict())


def test_a_second_fit_starts_from_its_own_weights(tmp_path):
    wise = WiseFT([0.5], module="", evaluate=False)
    fit(tmp_path, wise, max_epochs=1)
    _, before = fit(tmp_path, wise, module=Ours(seed=5), max_epochs=1)
    assert same_state(load_file(wise.files[0.0][0]), before)


class Break(Callback):
    def __init__(self, error, step):
        self.error, self.step = error, step

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            raise self.error


@pytest.mark.parametrize(("error", "seen"), [(RuntimeError("broken"), RuntimeError), (KeyboardInterrupt(), SystemExit)])
def test_a_run_that_is_interrupted_writes_nothing(error, seen, tmp_path):
    wise = WiseFT(module="")
    with pytest.raises(seen):
        fit(tmp_path, wise, Break(error, 4))
    assert not (tmp_path / "wise_ft").exists()
    assert wise.path is None
    assert wise.files == {}


def test_writing_that_fails_leaves_whole_files_only(tmp_path, monkeypatch):
    from lightning_robust.models import checkpoint_files

    plain, calls = checkpoint_files.save_file, []

    def failing(tensors, path, metadata=None):
        plain(tensors, path, metadata=metadata)
        calls.append(path)
        if len(calls) == 2:
            raise OSError("disk full")

    monkeypatch.setattr(checkpoint_files, "save_file", failing)
    with pytest.raises(OSError, match="disk full"):
        fit(tmp_path, WiseFT([0.5], module="", evaluate=False), max_epochs=1)
    assert [path.name for path in (tmp_path / "wise_ft").iterdir()] == ["alpha=0.00.safetensors"]


@pytest.mark.parametrize("alphas", [[-0.1], [0.5, 1.01], [float("nan")]])
def test_alpha_outside_its_range(alphas):
    with pytest.raises(UserError, match=r"each α lies in \[0, 1\]"):
        WiseFT(alphas)


class NoTests(Data):
    test_dataloader = pl.LightningDataModule.test_dataloader


class Misnamed(Data):
    test_loader_names = ("reference",)


class TestDict(Data):
    __test__ = False

    def test_dataloader(self):
        return {"a": loader(TEST, 20), "b": loader(TEST_SHIFT, 20)}


REFUSALS = {
    "an unknown submodule": (
        lambda: WiseFT(),
        Data,
        "Ours has no submodule 'model'.*'stem', 'norm'.*or '' for the whole",
    ),
    "a parameter as submodule": (lambda: WiseFT(module="fc.weight"), Data, "no submodule 'fc.weight'"),
    "no test images": (lambda: WiseFT(module=""), NoTests, r"give tests=\{name: loader\}"),
    "empty test images": (lambda: WiseFT(module="", tests={}), Data, r"give tests=\{name: loader\}"),
    "names that do not fit": (lambda: WiseFT(module=""), Misnamed, r"names its 2 test loaders \['reference'\]"),
    "an iterator": (lambda: WiseFT(module="", tests={"a": iter([])}), Data, "'a' are read several times"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_work_is_refused_before_any_step(name, tmp_path):
    make, data, match = REFUSALS[name]
    module = Ours()
    with pytest.raises(UserError, match=match):
        fit(tmp_path, make(), module=module, data=data())
    assert module.losses == []


def test_choosing_without_validation_images_is_refused_before_any_step(tmp_path):
    module = Ours()
    with pytest.raises(UserError, match="this Trainer runs none"):
        fit(tmp_path, WiseFT(module=""), module=module, limit_val_batches=0)
    assert module.losses == []


def test_test_loaders_in_a_dict_keep_their_names(tmp_path):
    wise = WiseFT([0.5], module="", replicates=5)
    fit(tmp_path, wise, data=TestDict(), max_epochs=1)
    assert wise.path.images == {"a (validation)": 30, "a": 20, "b": 20}


def test_resuming_without_the_weights_from_before_is_refused(tmp_path):
    first = trainer(tmp_path, max_epochs=1)
    first.fit(Ours(), datamodule=Data())
    first.save_checkpoint(tmp_path / "a.ckpt")
    used = WiseFT(module="", evaluate=False)
    fit(tmp_path, used, max_epochs=1)
    for wise in (WiseFT(module=""), used):  # also one that knows another run's
        with pytest.raises(UserError, match=r"a\.ckpt was written without WiseFT"):
            trainer(tmp_path, callbacks=[wise]).fit(
                Ours(), datamodule=Data(), ckpt_path=tmp_path / "a.ckpt", weights_only=True
            )


class Pictures(pl.LightningDataModule):
    class_names, templates = ("star", "heart", "truck"), ("a photo of a {}.",)
    val_loader_names = ("reference", "sketch")

    def _loader(self, seed, n=9):
        generator = torch.Generator().manual_seed(seed)
        targets = torch.arange(n) % 3
        images = torch.randn(n, 3, 32, 32, generator=generator)
        images[torch.arange(n), targets] += 2.0
        return DataLoader(TensorDataset(images, targets), batch_size=4)

    def train_dataloader(self):
        return self._loader(0, 12)

    def val_dataloader(self):
        return [self._loader(1), self._loader(2)]

    def test_dataloader(self):
        return [self._loader(3), self._loader(4)]


def test_a_clip_s_checkpoints_load_strictly_in_plain_open_clip(tiny_folder, tmp_path):
    module = ClassifierFinetuning(f"local-dir:{tiny_folder}", lr=3e-3, warmup_steps=1)
    wise, monitor = WiseFT([0.5], replicates=5), SignatureMonitor()
    trainer(tmp_path, callbacks=[wise, monitor], max_epochs=1).fit(module, datamodule=Pictures())
    data = Pictures()
    pretrained, _, _ = open_clip.create_model_and_transforms(f"local-dir:{tiny_folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{tiny_folder}")
    zero_shot = open_clip.build_zero_shot_classifier(pretrained.eval(), tokenizer, data.class_names, data.templates)
    for row in wise.path.rows:
        file, head_file = wise.files[row.alpha]
        assert file.name == f"alpha={row.alpha:.2f}.safetensors"
        assert head_file.name == f"alpha={row.alpha:.2f}.head.safetensors"
        clip, _, _ = open_clip.create_model_and_transforms(f"local-dir:{tiny_folder}")
        clip.load_state_dict(load_file(file), strict=True)
        head = torch.nn.Linear(16, 3, bias=False)
        head.load_state_dict(load_file(head_file), strict=True)
        for name, images in zip(data.val_loader_names, data.test_dataloader(), strict=True):
            x, y = images.dataset.tensors
            with torch.no_grad():
                right = head(clip.eval().encode_image(x, normalize=True)).argmax(dim=1) == y
            figure = row.reference if name == "reference" else row.shifts[name]
            assert figure == pytest.approx(right.double().mean().item())
    theta0, theta1 = load_file(wise.files[0.0][0]), load_file(wise.files[1.0][0])
    assert same_state(theta0, pretrained.state_dict())
    head = load_file(wise.files[0.0][1])["weight"]
    torch.testing.assert_close(head, zero_shot.T * pretrained.logit_scale.exp())
    assert same_state(theta1, module.model.clip_state_dict())
    assert not torch.equal(theta0["visual.conv1.weight"], theta1["visual.conv1.weight"])
    assert {"kurtosis/model.encoder.visual", "importance/model.encoder.visual/centred/privileged"} <= set(
        wise.path.rows[0].signatures
    )

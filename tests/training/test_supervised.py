"""Supervised pretraining in real runs of a few steps."""

import pytest
import torch
import yaml
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from lightning_robust.callbacks import SignatureMonitor
from lightning_robust.cli.main import main
from lightning_robust.data import ScenesDataModule
from lightning_robust.models import load_classifier, load_encoder
from lightning_robust.results import read_curves, read_run
from lightning_robust.results.evaluation_record import read_evaluation
from lightning_robust.training import SupervisedPretraining


@pytest.fixture
def module(tiny_folder):
    return SupervisedPretraining(f"local-dir:{tiny_folder}", lr=3e-3, warmup_steps=2, seed=4)


def test_it_starts_as_the_clips_untrained_tower_with_random_rows_of_one_length(module, data, trainer, tiny_folder):
    trainer().validate(module, datamodule=data, verbose=False)
    clip = load_encoder(f"local-dir:{tiny_folder}", pretrained=False, seed=4).model
    images = data.sets[0][0]
    with torch.no_grad():
        h = clip.visual(images)
        W = module.eval().head_weight()
        torch.testing.assert_close(module.model.encode(images), h)
        torch.testing.assert_close(module(images), functional.normalize(h, dim=1) @ W.T, rtol=1e-5, atol=1e-5)
    assert W.shape == (3, 16)
    torch.testing.assert_close(W.norm(dim=1), torch.full((3,), 1 / 0.07))
    other = SupervisedPretraining(f"local-dir:{tiny_folder}", seed=5)
    trainer().validate(other, datamodule=data, verbose=False)
    assert not torch.equal(other.head_weight(), W)


def test_a_run_learns_and_logs_what_the_docstring_says(module, data, trainer):
    run = trainer(max_epochs=20)  # batch norm needs some steps to forget its start
    run.fit(module, datamodule=data)
    shifts = ["sketch", "rendition"]
    tags = {f"val/{name}/accuracy" for name in ["reference", *shifts, "shifts"]}
    assert set(run.callback_metrics) == {"train/loss"} | tags
    assert run.callback_metrics["val/reference/accuracy"] > 0.9
    (tested,) = [{k: v for part in run.test(module, datamodule=data, verbose=False) for k, v in part.items()}]
    assert set(tested) == {tag.replace("val/", "test/") for tag in tags}
    for name, (images, targets) in zip(data.val_loader_names, data.sets[1:], strict=True):
        with torch.no_grad():
            right = (module.eval()(images).argmax(dim=1) == targets).float().mean().item()
        assert tested[f"test/{name}/accuracy"] == pytest.approx(right)


def test_every_parameter_learns_and_no_text_tower_comes_along(module, data, trainer, tiny_folder):
    trainer().validate(module, datamodule=data, verbose=False)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    trainer().fit(module, datamodule=data)
    after = module.state_dict()
    still = {name for name in before if torch.equal(before[name], after[name])}
    assert not still & {f"model.{name}" for name, p in module.model.named_parameters() if p.ndim >= 2}
    visual = load_encoder(f"local-dir:{tiny_folder}").model.visual.state_dict()
    assert set(after) == {f"model.encoder.visual.{name}" for name in visual} | {"model.head.weight"}


def test_a_checkpoint_loads_without_a_data_module_and_without_unpickling(module, data, trainer, tmp_path):
    run = trainer()
    run.fit(module, datamodule=data)
    run.save_checkpoint(tmp_path / "a.ckpt")
    loaded = SupervisedPretraining.load_from_checkpoint(tmp_path / "a.ckpt", weights_only=True)
    assert loaded.class_names == data.class_names
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in module.state_dict().items())
    images = data.sets[2][0]
    with torch.no_grad():
        expected = module.eval()(images)
    for batches in (DataLoader(images, batch_size=24), DataLoader(TensorDataset(images, images), batch_size=24)):
        torch.testing.assert_close(torch.cat(trainer().predict(loaded, batches)), expected)


def test_a_stopped_and_resumed_run_equals_the_whole_one(data, trainer, tiny_folder, stop_after, tmp_path):
    def fresh():
        return SupervisedPretraining(f"local-dir:{tiny_folder}", warmup_steps=2, label_smoothing=0.1)

    whole, first, second = fresh(), fresh(), fresh()
    trainer(max_epochs=3).fit(whole, datamodule=data)
    stopped = trainer(max_epochs=3, callbacks=[stop_after(2)])
    stopped.fit(first, datamodule=data)
    stopped.save_checkpoint(tmp_path / "last.ckpt")
    trainer(max_epochs=3).fit(second, datamodule=data, ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in whole.state_dict().items())
    assert not torch.equal(first.model.head.weight, whole.model.head.weight)


def test_the_untrained_control_is_the_start(module, data, trainer):
    trainer().validate(module, datamodule=data, verbose=False)
    start = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    trainer().fit(module, datamodule=data)
    rng = torch.get_rng_state()
    module.hparams["_instantiator"] = "of LightningCLI"  # which adds it to every module that it makes
    control = module.untrained_model()
    assert all(torch.equal(start[name], value) for name, value in control.state_dict().items())
    assert not torch.equal(control.head_weight(), module.head_weight())
    assert not control.training
    assert torch.equal(rng, torch.get_rng_state())


def test_monitors_measure_it_and_change_nothing(data, trainer, tiny_folder):
    def fresh():
        return SupervisedPretraining(f"local-dir:{tiny_folder}", warmup_steps=2)

    watched, alone = fresh(), fresh()
    monitor = SignatureMonitor(
        signatures=["kurtosis", "spectrum"],
        layers=["model.encoder.visual", "model.encoder.visual.layer4"],
        weights=["model.head.weight"],
        untrained=True,
    )
    trainer(max_epochs=1, callbacks=[monitor]).fit(watched, datamodule=data)
    trainer(max_epochs=1).fit(alone, datamodule=data)
    assert all(torch.equal(value, alone.state_dict()[name]) for name, value in watched.state_dict().items())
    scalars = monitor.history[-1]["scalars"]
    for tag in ("importance/model.encoder.visual/raw/max_over_median", "weights/model.head.weight/stable_rank"):
        assert scalars[tag] > 0
        assert f"{tag}/untrained" in scalars
    assert scalars["spectrum/model.encoder.visual.layer4/rankme"] > 1


def test_what_it_exports_loads_as_the_same_classifier(data, trainer, tiny_folder, tmp_path):
    module = SupervisedPretraining(f"local-dir:{tiny_folder}", warmup_steps=2, export_to="out")
    trainer(max_epochs=1).fit(module, datamodule=data)  # below the Trainer's folder
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["model.safetensors"]
    loaded = load_classifier(str(tmp_path / "out"))
    assert loaded.class_names == tuple(data.class_names)
    assert not loaded.model.training
    images = data.sets[1][0]
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(images), module.eval()(images))


@pytest.mark.slow
def test_a_network_of_timm_trains_from_random_weights_and_is_judged_from_its_export(trainer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sizes = {"n_train": 16, "n_val": 8, "n_val_shift": 8, "n_test": 12, "n_concepts": 16, "batch_size": 8}
    config = {"data": {"class_path": "lightning_robust.data.ScenesDataModule", "init_args": sizes}}
    (tmp_path / "few.yaml").write_text(yaml.safe_dump(config))
    module = SupervisedPretraining("timm:resnet10t", warmup_steps=1, export_to="exported")
    data = ScenesDataModule(module.transform, **sizes)
    trainer(max_epochs=1).fit(module, datamodule=data)
    loaded = load_classifier("exported")
    batches = next(iter(data.test_dataloader()[0]))
    with torch.no_grad():
        logits = loaded.model(batches[0])
        torch.testing.assert_close(logits, module.eval()(batches[0]), rtol=1e-4, atol=1e-5)
    right = int((logits.argmax(dim=1) == batches[1]).sum())
    assert (
        main(["evaluate", "--model", "exported", "--data", "few.yaml", "--device", "cpu", "--run_name", "judged"]) == 0
    )
    (file,) = tmp_path.rglob("evaluate/judged/results.json")
    (judged,) = read_evaluation(file).models
    assert judged.checkpoint_hash == loaded.checkpoint_hash
    assert (judged.rows[0].correct, judged.rows[0].images) == (right, len(logits))


@pytest.mark.filterwarnings("ignore:.*`isinstance.treespec, LeafSpec.` is deprecated")
def test_the_shipped_config_trains_measures_and_exports(tmp_path, monkeypatch):
    """Cut to two steps."""
    monkeypatch.chdir(tmp_path)
    sizes = {"n_train": 256, "n_val": 60, "n_val_shift": 40, "n_test": 40, "n_concepts": 300}
    tiny = [f"--data.init_args.{name}={n}" for name, n in sizes.items()]
    assert main(["fit", "--config", "supervised.yaml", "--trainer.max_epochs=1", "--run_name=a", *tiny]) == 0
    folder = tmp_path / "checkpoints" / "supervised" / "a"
    assert len(load_classifier(str(folder / "classifier")).class_names) == 20
    tags = {row.tag for row in read_curves(folder / "signatures.csv")}
    assert any(tag.startswith("concepts/") for tag in tags)
    assert any(tag.startswith("importance/model.encoder.visual/centred") for tag in tags)
    assert read_run(folder / "results.json").kind == "SupervisedPretraining"


def test_the_head_is_ready_for_names_given_by_hand(tiny_folder, data, trainer):
    module = SupervisedPretraining(f"local-dir:{tiny_folder}", class_names=["fire truck", "anything"])
    images, targets = data.sets[0]
    trainer(max_epochs=1).fit(module, DataLoader(TensorDataset(images, targets % 2), batch_size=8))
    assert module.model.head.weight.shape == (2, 16)


def test_what_does_not_fit_is_refused(module, data, trainer, tiny_folder, tmp_path):
    with pytest.raises(ValueError, match=r"\[0, 1\), not 1"):
        SupervisedPretraining(f"local-dir:{tiny_folder}", label_smoothing=1.0)
    with pytest.raises(ValueError, match="No class_names"):
        trainer().fit(module, data.train_dataloader())
    for call in (module.untrained_model, lambda: module.export(tmp_path / "x")):
        with pytest.raises(ValueError, match="not known yet"):
            call()
    with pytest.raises(ValueError, match="through the Trainer"):
        module.validation_step(data.sets[0], 0)
    with pytest.raises(ValueError, match="not written by SupervisedPretraining"):
        module.on_load_checkpoint({"state_dict": {}})
    run = trainer(max_epochs=1)
    run.fit(module, datamodule=data)
    run.save_checkpoint(tmp_path / "a.ckpt")
    other = type(data)()
    other.class_names = ["star", "heart"]
    with pytest.raises(ValueError, match="the data module has the 2 classes"):
        trainer().validate(module, datamodule=other, verbose=False)
    fresh = SupervisedPretraining(f"local-dir:{tiny_folder}")
    with pytest.raises(ValueError, match="trained on other classes"):
        trainer().fit(fresh, datamodule=other, ckpt_path=tmp_path / "a.ckpt", weights_only=True)

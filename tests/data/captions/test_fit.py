"""A real Trainer learns from captions in files, is judged by another data module, and goes on where it stopped."""

import pytest
from lightning import Trainer
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_robust.callbacks import RandomStates
from lightning_robust.cli.main import main
from lightning_robust.data import CaptionsDataModule, ScenesDataModule
from lightning_robust.data.scenes.vocabulary import CLASSES
from lightning_robust.results import read_curves, read_run
from lightning_robust.training import ContrastivePretraining

from .conftest import picture, write_tar

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*is smaller than the logging interval"),
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`, callbacks"),
]


def scenes():
    return ScenesDataModule(n_val=40, n_val_shift=20, n_test=20, n_concepts=20)


def files(folder, n=40):
    """As many pairs in a table as in two shards, with captions of words that the scenes tokenizer knows."""
    captions = [f"a picture of a {CLASSES[k % len(CLASSES)]}" for k in range(n)]
    for k in range(n):
        (folder / f"{k}.jpg").write_bytes(picture(5 * k, size=(40, 36)))
    rows = [f"{k}.jpg\t{caption}" for k, caption in enumerate(captions)]
    (folder / "pairs.csv").write_text("\n".join(["filepath\ttitle", *rows]))
    for shard in range(2):
        members = []
        for k in range(shard, n, 2):
            members += [(f"{k}.jpg", picture(5 * k, size=(40, 36))), (f"{k}.txt", captions[k].encode())]
        write_tar(folder / f"s-{shard}.tar", members)
    return [f"csv:{folder}/pairs.csv", f"webdataset:{folder}/s-{{0..1}}.tar"]


class Seen(Callback):
    """Every caption and image that a batch held."""

    def __init__(self):
        self.batches = []

    def on_train_batch_start(self, trainer, module, batch, index):
        self.batches.append((batch[0].double().sum().item(), tuple(batch[1])))


def trainer(folder, **options):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return Trainer(
        accelerator="cpu", default_root_dir=folder, num_sanity_val_steps=0,
        **{"max_epochs": 2, "enable_checkpointing": False, **quiet, **options},
    )  # fmt: skip


def test_a_table_and_shards_train_a_clip_that_the_scenes_judge(tmp_path):
    module = ContrastivePretraining("scenes-clip", warmup_steps=1)
    data = CaptionsDataModule(files(tmp_path), scenes(), module.transform, batch_size=16)
    seen, run = Seen(), trainer(tmp_path)
    run.callbacks.append(seen)
    run.fit(module, datamodule=data)
    assert run.global_step == len(seen.batches) == 2 * (80 // 16)
    assert {"val/reference/accuracy", "val/shifts/accuracy"} <= set(run.callback_metrics)
    once = sorted(caption for _, captions in seen.batches[:5] for caption in captions)
    assert once == sorted([f"a picture of a {CLASSES[k % len(CLASSES)]}" for k in range(40)] * 2)
    assert data.val_loader_names == ["reference", *(shift.name for shift in data.shifts)]
    assert len(data.test_dataloader()) == len(data.val_dataloader()) == len(data.val_loader_names)
    assert data.description == data.evaluation.description
    assert data.class_names == list(CLASSES)
    assert len(next(iter(data.concept_dataloader()))) == 3


def test_without_evaluation_it_only_trains(tmp_path):
    module = ContrastivePretraining("scenes-clip", warmup_steps=1)
    data = CaptionsDataModule(files(tmp_path)[0], transform=module.transform, batch_size=16)
    run = trainer(tmp_path, max_epochs=1)
    with pytest.warns(UserWarning, match="no `val_dataloader`. Skipping val loop"):  # and none of an empty one
        run.fit(module, datamodule=data)
    assert run.global_step == 2
    assert set(run.callback_metrics) == {"train/loss", "train/logit_scale"}
    assert not hasattr(data, "concept_dataloader")
    with pytest.raises(ValueError, match="has no images to evaluate on"):
        data.test_dataloader()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_broken_off_in_an_epoch_goes_on_with_the_same_batches(tmp_path, workers):
    def build():
        module = ContrastivePretraining("scenes-clip", warmup_steps=1)
        source = files(tmp_path)
        return module, CaptionsDataModule(source, scenes(), module.transform, batch_size=16, num_workers=workers)

    whole, unbroken = Seen(), trainer(tmp_path, limit_val_batches=0)
    unbroken.callbacks.append(whole)
    module, data = build()
    unbroken.fit(module, datamodule=data)

    first, broken = Seen(), trainer(tmp_path, max_steps=3, limit_val_batches=0)
    kept = ModelCheckpoint(tmp_path / "kept", "part", every_n_train_steps=3)
    broken.callbacks.extend([first, RandomStates(), kept])
    partly, data = build()
    broken.fit(partly, datamodule=data)
    rest, resumed = Seen(), trainer(tmp_path, limit_val_batches=0)
    resumed.callbacks.extend([rest, RandomStates()])
    again, data = build()
    resumed.fit(again, datamodule=data, ckpt_path=tmp_path / "kept" / "part.ckpt", weights_only=False)
    assert first.batches + rest.batches == whole.batches
    assert len(whole.batches) == 10


def test_to_evaluate_no_pairs_are_opened(tmp_path):
    module = ContrastivePretraining("scenes-clip")
    data = CaptionsDataModule("csv:none.csv", scenes(), module.transform)
    trainer(tmp_path).validate(module, datamodule=data, verbose=False)
    with pytest.raises(ValueError, match=r"No file none\.csv"):
        trainer(tmp_path).fit(module, datamodule=data)


CONFIG = """\
trainer:
  max_epochs: 1
  accelerator: cpu
  num_sanity_val_steps: 0
  log_every_n_steps: 1
  enable_progress_bar: false
  callbacks:
    - class_path: lightning.pytorch.callbacks.ModelCheckpoint
      init_args: {{filename: last, save_top_k: 1, enable_version_counter: false}}
model:
  class_path: lightning_robust.training.ContrastivePretraining
  init_args: {{encoder: scenes-clip, warmup_steps: 1}}
data:
  class_path: lightning_robust.data.CaptionsDataModule
  init_args:
    source: {source}
    batch_size: 16
    evaluation:
      class_path: lightning_robust.data.ScenesDataModule
      init_args: {{n_val: 40, n_val_shift: 20, n_test: 20, n_concepts: 20}}
"""


def test_the_command_line_builds_the_nested_evaluation_and_hands_it_the_transform(tmp_path, monkeypatch):
    (tmp_path / "captions.yaml").write_text(CONFIG.format(source=files(tmp_path)))
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "--config", "captions.yaml", "--run_name=001"]) == 0
    rows = read_curves(tmp_path / "checkpoints" / "captions" / "001" / "signatures.csv")
    assert {row.step for row in rows if row.tag == "val/reference/accuracy"} == {5}
    read = read_run(tmp_path / "checkpoints" / "captions" / "001" / "results.json").data.training
    assert "pairs.csv" in read
    assert "2 shards" in read
    assert main(["fit", "--config", "captions.yaml", "--ckpt_path=last", "--trainer.max_epochs=2"]) == 0
    rows = read_curves(tmp_path / "checkpoints" / "captions" / "001" / "signatures.csv")
    assert {row.step for row in rows if row.tag == "val/reference/accuracy"} == {5, 10}


EVERY_STEP = [f"--trainer.callbacks.init_args.{setting}" for setting in (
    "every_n_train_steps=1", "save_top_k=-1", "filename={step}", "auto_insert_metric_name=false")]  # fmt: skip


def test_inside_an_epoch_the_command_line_does_not_go_on_with_other_processes(tmp_path, monkeypatch, capsys):
    (tmp_path / "captions.yaml").write_text(CONFIG.format(source=files(tmp_path)))
    monkeypatch.chdir(tmp_path)
    fit = ["fit", "--config", "captions.yaml", "--trainer.limit_val_batches=0", "--trainer.callbacks+=ModelCheckpoint"]
    assert main([*fit, *EVERY_STEP, "--run_name=001"]) == 0
    folder = tmp_path / "checkpoints" / "captions" / "001"
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    for step in (3, 5):  # after the last batch Lightning would begin the next epoch in its middle
        two = [f"--ckpt_path={folder}/{step}.ckpt", "--trainer.devices=2", "--trainer.strategy=ddp"]
        assert main([*fit, *EVERY_STEP, "--trainer.max_epochs=2", *two]) == 2
        assert "inside an epoch that was trained on 1 process, now there would be 2" in capsys.readouterr().err
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_the_command_line_says_in_one_sentence_what_is_wrong_with_a_source(tmp_path, monkeypatch, capsys):
    (tmp_path / "captions.yaml").write_text(CONFIG.format(source="csv:none.csv"))
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "--config", "captions.yaml"]) == 2
    assert "No file none.csv: it has to be a list" in capsys.readouterr().err
    assert not (tmp_path / "checkpoints" / "captions" / "001").exists()

"""The main job as a user types it, cut to a few steps: what it writes, what it says, and going on after a stop."""

import json

import open_clip
import pytest
import torch
from huggingface_hub import ModelCard
from lightning.pytorch import Callback
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_robust.cli.main import main
from lightning_robust.data.scenes.vocabulary import caption_words
from lightning_robust.models import write_clip_folder
from lightning_robust.results import file_sha256, read_curves, read_run
from lightning_robust.results.codec import encode

TINY = [f"--data.init_args.{name}={n}" for name, n in
        (("n_train", 384), ("n_val", 100), ("n_val_shift", 60), ("n_test", 60), ("n_concepts", 300))]  # fmt: skip
FIT = [
    "fit",
    "--config",
    "finetune.yaml",
    "--trainer.max_epochs=2",
    "--model.init_args.warmup_steps=2",
    "--trainer.accelerator=cpu",
    *TINY,
]  # runs are compared bit for bit
#: A checkpoint after every second step beside the one of each epoch: the fourth of six lies inside the second epoch.
OFTEN = ["--trainer.callbacks+=ModelCheckpoint", *(f"--trainer.callbacks.init_args.{setting}" for setting in
         ("every_n_train_steps=2", "filename=last", "save_top_k=1", "enable_version_counter=false"))]  # fmt: skip

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*is smaller than the logging interval"),
    pytest.mark.filterwarnings("ignore:.*Checkpoint directory .* exists and is not empty"),
]


class Interruption(RuntimeError):
    """A stop that nobody planned."""


class Interrupt(Callback):
    """Breaks a run off after some steps, once the checkpoint of that step is written."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == self.step:
            raise Interruption


class InterruptEnd(Callback):
    """Breaks a run off after its last epoch, before its path is judged."""

    def on_train_end(self, *_):
        raise Interruption


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A whole run, and the folder that it ran in."""
    here = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        assert main([*FIT, *OFTEN, "--run_name=whole"]) == 0
    return here / "checkpoints" / "finetune" / "whole"


def test_everything_is_where_the_readme_says(finished):
    names = {path.name for path in finished.iterdir()}
    files = {"README.md", "config.yaml", "last.ckpt", "signatures.csv", "signatures.png", "results.json"}
    assert files | {"wise_ft"} <= names
    alphas = [f"alpha={k / 10:.2f}" for k in range(11)]
    expected = {f"{alpha}{ending}" for alpha in alphas for ending in (".safetensors", ".head.safetensors")}
    assert {path.name for path in (finished / "wise_ft").iterdir()} == expected | {"README.md"}


def test_cards_say_what_the_results_say(finished):
    record = read_run(finished / "results.json")
    chosen = next(row for row in record.wise_ft if row.alpha == record.choice.alpha_star)
    for folder, row in ((finished, record.wise_ft[-1]), (finished / "wise_ft", chosen)):
        card = ModelCard((folder / "README.md").read_text(encoding="utf-8"))
        found = {
            one.dataset_config: one.metric_value for one in card.data.eval_results if one.metric_type == "accuracy"
        }
        assert found["reference"] == pytest.approx(row.reference, abs=1e-6)
        assert found["mean of the shifts"] == pytest.approx(row.shifts_mean, abs=1e-6)
        assert card.data.license is None
    assert file_sha256(finished / "last.ckpt") in (finished / "README.md").read_text(encoding="utf-8")


def test_every_alpha_loads_in_plain_open_clip(finished):
    folder = json.loads((finished / "results.json").read_text())["config"]["model"]["init_args"]["encoder"]
    assert folder == "scenes-clip"
    from lightning_robust.models import load_encoder

    bundled = load_encoder("scenes-clip")
    model = open_clip.create_model(f"local-dir:{bundled.folder}")
    for path in sorted((finished / "wise_ft").glob("alpha=?.??.safetensors")):
        model.load_state_dict(load_file(path), strict=True)
    zero = load_file(finished / "wise_ft" / "alpha=0.00.safetensors")
    assert all(torch.equal(zero[name], value) for name, value in bundled.model.state_dict().items())


def test_alpha_one_is_what_training_ended_with(finished):
    last = torch.load(finished / "last.ckpt", weights_only=True)["state_dict"]
    one = load_file(finished / "wise_ft" / "alpha=1.00.safetensors")
    assert one.keys() == {name.removeprefix("model.encoder.") for name in last if name.startswith("model.encoder.")}
    assert all(torch.equal(value, last[f"model.encoder.{name}"]) for name, value in one.items())
    head = load_file(finished / "wise_ft" / "alpha=1.00.head.safetensors")
    assert torch.equal(head["weight"], last["model.head.weight"])


def test_curves_and_event_file_agree_at_every_epoch(finished):
    rows = read_curves(finished / "signatures.csv")
    by_tag = {}
    for row in rows:
        by_tag.setdefault(row.tag, []).append(row)
    assert {"val/reference/accuracy", "val/shifts/accuracy", "kurtosis/model.encoder.visual"} <= by_tag.keys()
    assert all([row.epoch for row in found] == [0, 1, 2] for found in by_tag.values())
    events = EventAccumulator(str(finished)).Reload()
    for tag, found in by_tag.items():
        logged = events.Scalars(tag)
        assert [row.step for row in found] == [0, 3, 6]
        # Lightning logs a validation under the step before the one that it follows
        assert [event.step for event in logged] == ([0, 2, 5] if tag.startswith("val/") else [0, 3, 6])
        for event, row in zip(logged, found, strict=True):
            assert event.value == pytest.approx(row.value, rel=1e-6, nan_ok=True)
    figures = events.Tags()["images"]
    assert "importance/model.encoder.visual/raw/directions" in figures
    assert "spectrum/model.encoder.visual/eigenvalues" in figures


def test_the_record_says_what_is_needed_to_trust_it(finished):
    record = read_run(finished / "results.json")
    assert [row.alpha for row in record.wise_ft] == [k / 10 for k in range(11)]
    assert record.seeds == {"everything": 0, "model": 0, "data": 0}
    assert record.data.images["sketch"] == 60
    assert torch.__version__.startswith(record.provenance.packages["torch"])
    assert record.data.dataset == "scenes world, version 1"
    assert record.data.images["concepts"] == 300
    assert len(record.checkpoints) == 23
    assert any("excluded" in line and "style:neon" in line for line in record.conventions)
    assert record.reference_lines["untrained"]["kurtosis/model.encoder.visual"] > 0
    assert any("Pearson" in line for line in record.conventions)


def test_show_prints_a_run_again(finished, capsys):
    (finished / "signatures.png").unlink()
    assert main(["show", "run", str(finished)]) == 0
    assert "From zero-shot" in capsys.readouterr().out
    assert (finished / "signatures.png").is_file()


@pytest.mark.parametrize("step", [4, pytest.param(3, marks=pytest.mark.slow)])
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(finished, step, tmp_path, monkeypatch):
    """Stopped inside an epoch (the checkpoint of step 4) and right after one (that of step 3, at the epoch's end)."""
    monkeypatch.chdir(tmp_path)
    stop = f"--trainer.callbacks.init_args.step={step}"
    with pytest.raises(Interruption):
        main([*FIT, *OFTEN, "--run_name=cut", f"--trainer.callbacks+={__name__}.Interrupt", stop])
    cut = tmp_path / "checkpoints" / "finetune" / "cut"
    before = (cut / "config.yaml").read_bytes()
    saved = torch.load(cut / "last.ckpt", weights_only=True)["global_step"]
    assert saved == step
    assert main([*FIT, *OFTEN, "--run_name=cut", "--ckpt_path=last"]) == 0
    assert (cut / "config.yaml").read_bytes() == before
    for path in (finished / "wise_ft").glob("*.safetensors"):
        whole, resumed = load_file(path), load_file(cut / "wise_ft" / path.name)
        assert all(torch.equal(value, resumed[name]) for name, value in whole.items()), path.name
    assert (cut / "signatures.csv").read_text() == (finished / "signatures.csv").read_text()
    # as text, in which a figure that is not defined equals itself
    path, unbroken = (json.dumps(encode(read_run(run / "results.json").wise_ft)) for run in (cut, finished))
    assert path == unbroken
    events = EventAccumulator(str(cut)).Reload()
    assert [event.step for event in events.Scalars("kurtosis/model.encoder.visual")] == [0, 3, 6]


@pytest.mark.slow
def test_the_shipped_config_keeps_a_checkpoint_of_each_epoch(finished, tmp_path, monkeypatch):
    """And a run that was stopped while the path was judged makes up for it."""
    monkeypatch.chdir(tmp_path)
    stop = [f"--trainer.callbacks+={__name__}.InterruptEnd"]
    with pytest.raises(Interruption):
        main([*FIT, "--run_name=cut", *stop])
    cut = tmp_path / "checkpoints" / "finetune" / "cut"
    assert [path.name for path in cut.glob("*.ckpt")] == ["last.ckpt"]
    assert not (cut / "results.json").exists()
    assert main([*FIT, "--run_name=cut", "--ckpt_path=last"]) == 0
    # as text, in which a figure that is not defined equals itself
    path, unbroken = (json.dumps(encode(read_run(run / "results.json").wise_ft)) for run in (cut, finished))
    assert path == unbroken


def test_a_finished_run_is_left_alone(finished, monkeypatch, capsys):
    monkeypatch.chdir(finished.parents[2])
    before = (finished / "results.json").read_bytes()
    assert main([*FIT, "--run_name=whole", "--ckpt_path=last"]) == 2
    assert "finished after 2 epochs" in capsys.readouterr().err
    assert (finished / "results.json").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--data.init_args.batch_size=64"], "data.init_args.batch_size: 128, now 64"),
        (["--model.init_args.lr=1e-2"], "model.init_args.lr: 0.0003, now 0.01"),
    ],
)
def test_other_settings_are_refused_on_resuming(finished, arguments, sentence, monkeypatch, capsys):
    monkeypatch.chdir(finished.parents[2])
    assert main([*FIT, *arguments, "--run_name=whole", "--ckpt_path=last"]) == 2
    assert sentence in capsys.readouterr().err


def test_testing_a_run_and_what_it_refuses(finished, monkeypatch, capsys):
    monkeypatch.chdir(finished.parents[2])
    test = ["test", *FIT[1:]]
    assert main([*test, "--run_name=whole", "--ckpt_path=last"]) == 0
    shown = capsys.readouterr().out
    assert "test/reference" in shown
    assert "test/shifts" in shown
    assert main([*test, "--ckpt_path=gone.ckpt"]) == 2
    assert main([*test, "--run_name=gone", "--ckpt_path=last"]) == 2
    assert main([*test, "--run_name=whole"]) == 2
    assert not (finished.parents[2] / "lightning_logs").exists()


def test_a_checkpoint_of_another_architecture(finished, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(finished.parents[2])
    words = caption_words()
    write_clip_folder(tmp_path / "wide", words, embed_dim=64)
    encoder = [f"--model.init_args.encoder=local-dir:{tmp_path / 'wide'}", "--model.init_args.pretrained=false"]
    assert main(["test", *FIT[1:], *encoder, "--run_name=whole", "--ckpt_path=last"]) == 2
    assert "model.head.weight" in capsys.readouterr().err


def test_a_name_that_is_taken_is_refused_before_anything_is_written(finished, monkeypatch, capsys):
    monkeypatch.chdir(finished.parents[2])
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    assert main([*FIT, "--run_name=whole"]) == 2
    assert "'whole' exists already" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


def test_an_unknown_layer_leaves_nothing_behind(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    layer = ["--trainer.callbacks+=lightning_robust.callbacks.KurtosisMonitor",
             "--trainer.callbacks.init_args.layers=[model.encoder.visual.layer9]"]  # fmt: skip
    assert main([*FIT, *layer]) == 2
    assert "layer9" in capsys.readouterr().err
    assert list(tmp_path.glob("checkpoints/finetune/*")) == []

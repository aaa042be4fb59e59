"""`interpolate` and `soup`: what a person types, what is written, and that nothing is half-written."""

import gc
import json
import shutil
from importlib import resources
from pathlib import Path

import open_clip
import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file

from lightning_robust.cli import interpolate as command
from lightning_robust.cli.main import main
from lightning_robust.data.scenes import ScenesDataModule
from lightning_robust.models import (
    ImageClassifier,
    interpolate,
    load_encoder,
    save_tensors,
    write_clip_folder,
    zero_shot_head,
)
from lightning_robust.models import merging_files as files
from lightning_robust.models.fisher import diagonal_fisher, fisher_soup
from lightning_robust.models.networks import load_network
from lightning_robust.models.soups import uniform_soup
from lightning_robust.results import file_sha256
from lightning_robust.results.merge_record import read_merge

IMAGES = ["--data", "scenes", "--encoder", "scenes-clip", "--device", "cpu"]


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def disturbed(theta, seed, size=0.1):
    """Every weight matrix a little off; statistics of batch norms and integers too."""
    generator = torch.Generator().manual_seed(seed)

    def one(name, value):
        if not value.is_floating_point():
            return value + seed
        noise = torch.randn(value.shape, generator=generator)
        return value + size * value.abs().mean() * noise if value.ndim > 1 else value * (1 + size * seed)

    return {name: one(name, value) for name, value in theta.items()}


@pytest.fixture(scope="module")
def clip():
    return load_encoder("scenes-clip").model.state_dict()


@pytest.fixture(scope="module")
def originals(clip, tmp_path_factory):
    """θ0, an open_clip training checkpoint, a third model, and two files of Wise-FT with heads."""
    made = tmp_path_factory.mktemp("originals")
    save_tensors(made / "start.safetensors", clip)
    end = {f"module.{name}": value for name, value in disturbed(clip, 1).items()}
    torch.save({"epoch": 2, "name": "x", "state_dict": end, "optimizer": {}}, made / "end.pt")
    torch.save(disturbed(clip, 2), made / "third.pt")
    for k, name in enumerate(("a", "b")):
        save_tensors(made / f"{name}.safetensors", disturbed(clip, k))
        head = torch.randn(20, 128, generator=torch.Generator().manual_seed(k))
        save_tensors(made / f"{name}.head.safetensors", {"weight": head})
    return made


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch, originals):
    """A working directory with models to merge."""
    monkeypatch.chdir(tmp_path)
    for name in ("start.safetensors", "end.pt", "third.pt"):
        shutil.copy(originals / name, name)
    return tmp_path


@pytest.fixture
def classifiers(folder, originals):
    """Two files of Wise-FT, heads beside them."""
    for file in originals.glob("[ab].*"):
        shutil.copy(file, folder)


def run(*arguments):
    return main([str(argument) for argument in arguments])


def path(*arguments):
    return run("interpolate", "--start", "start.safetensors", "--end", "end.pt", "--out", "path", *arguments)


def contents():
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in Path().rglob("*") if path.is_file()}


def refused(capsys, *arguments):
    """Exit status 2 with one sentence; nothing new lies there."""
    before = contents()
    capsys.readouterr()
    assert run(*arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("lightning-robust: error: ")
    assert said.count("\n") == 1
    assert contents() == before
    return said


def test_a_path_from_an_open_clip_training_loads_strictly_in_open_clip(folder, clip, capsys):
    assert path() == 0
    names = [f"alpha={k / 10:.2f}.safetensors" for k in range(11)]
    assert sorted(p.name for p in (folder / "path").iterdir()) == ["README.md", *names, "path.json"]
    end = disturbed(clip, 1)
    model = open_clip.create_model(
        f"local-dir:{resources.files('lightning_robust.checkpoints') / 'scenes-clip'}", load_weights=False
    )
    for k, name in enumerate(names):
        found = load_file(folder / "path" / name)
        assert same(found, interpolate(clip, end, k / 10))
        model.load_state_dict(found, strict=True)
    said = capsys.readouterr().out
    assert "[6/11] alpha = 0.5: alpha=0.50.safetensors" in said
    assert said.endswith("wrote 11 points and path.json to path\n")


def test_the_record_says_where_the_path_comes_from(folder):
    assert path("--alphas", 1, 0.25) == 0
    record = read_merge("path/path.json")
    assert [(one.file, one.checkpoint_hash) for one in record.inputs] == [
        ("start.safetensors", file_sha256("start.safetensors")), ("end.pt", file_sha256("end.pt"))
    ]  # fmt: skip
    assert record.inputs[1].form == "training checkpoint, without the prefix module."
    assert [(one.alpha, one.file) for one in record.outputs] == [
        (0.25, "alpha=0.25.safetensors"), (1.0, "alpha=1.00.safetensors")
    ]  # fmt: skip
    assert all(one.checkpoint_hash == file_sha256(f"path/{one.file}") for one in record.outputs)
    assert record.provenance.packages["torch"] == torch.__version__.partition("+")[0]
    assert record.data is None


@pytest.mark.usefixtures("classifiers")
def test_heads_are_interpolated_along_and_written_beside(folder):
    assert run("interpolate", "--start", "a.safetensors", "--end", "b.safetensors", "--alphas", 0.3, "--out", "p") == 0
    heads = [load_file(f"{name}.head.safetensors") for name in ("a", "b")]
    assert same(load_file("p/alpha=0.30.head.safetensors"), interpolate(*heads, 0.3))
    models = [load_file(f"{name}.safetensors") for name in ("a", "b")]
    assert same(load_file("p/alpha=0.30.safetensors"), interpolate(*models, 0.3))
    record = json.loads((folder / "p" / "path.json").read_text())
    assert record["outputs"][0]["head_hash"] == file_sha256("p/alpha=0.30.head.safetensors")
    # the path is one of files that interpolate reads again
    assert run("interpolate", "--start", "a.safetensors", "--end", "p/alpha=0.30.safetensors", "--out", "q") == 0


def test_other_types_are_written_as_asked(clip):
    assert path("--alphas", 0.5, "--dtype", "bfloat16") == 0
    found = load_file("path/alpha=0.50.safetensors")
    exact = interpolate(clip, disturbed(clip, 1), 0.5)
    assert same(found, {n: v.to(torch.bfloat16) if v.is_floating_point() else v for n, v in exact.items()})


def test_ends_of_different_types_need_a_word_of_which_to_write(capsys, clip):
    torch.save({name: v.half() if v.is_floating_point() else v for name, v in disturbed(clip, 1).items()}, "half.pt")
    arguments = ["interpolate", "--start", "start.safetensors", "--end", "half.pt", "--alphas", 0.5, "--out", "p"]
    assert "say with --dtype" in refused(capsys, *arguments)
    assert run(*arguments, "--dtype", "float32") == 0
    half = load_file("p/alpha=0.50.safetensors")["visual.conv1.weight"]
    exact = interpolate(clip, disturbed(clip, 1), 0.5)["visual.conv1.weight"]
    torch.testing.assert_close(half, exact, rtol=1e-2, atol=1e-4)


def test_recalibration_sets_the_statistics_between_the_ends_alone(clip):
    assert path("--alphas", 0, 0.5, 1, "--recalibrate", *IMAGES, "--max_images", 200) == 0
    end = disturbed(clip, 1)
    assert same(load_file("path/alpha=0.00.safetensors"), clip)
    assert same(load_file("path/alpha=1.00.safetensors"), end)
    found, plain = load_file("path/alpha=0.50.safetensors"), interpolate(clip, end, 0.5)
    changed = {name for name, value in found.items() if not torch.equal(value, plain[name])}
    assert changed == {name for name in clip if name.endswith(("running_mean", "running_var"))}
    # the first layer's statistics are those of its inputs on the first 256 training images
    encoder = load_encoder("scenes-clip")
    images = [batch[0] for batch, _ in zip(ScenesDataModule(encoder.transform).train_dataloader(), "ab", strict=False)]
    with torch.no_grad():
        x = torch.nn.functional.conv2d(torch.cat(images), plain["visual.conv1.weight"], stride=2, padding=1)
    torch.testing.assert_close(found["visual.bn1.running_mean"], x.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found["visual.bn1.running_var"], x.var((0, 2, 3)), rtol=1e-4, atol=1e-5)
    record = read_merge("path/path.json")
    assert record.images == {"recalibration of each point": 256}
    assert "scenes world" in record.data


@pytest.mark.usefixtures("classifiers")
def test_files_of_a_run_need_no_word_of_their_architecture(folder, capsys):
    run_folder = folder / "run" / "wise_ft"
    run_folder.mkdir(parents=True)
    settings = (
        "model:\n  class_path: lightning_robust.training.ClassifierFinetuning\n  init_args: {encoder: scenes-clip}\n"
    )
    (run_folder.parent / "config.yaml").write_text(settings)
    for k, name in enumerate(("a", "b")):
        for kind in ("", ".head"):
            shutil.copy(f"{name}{kind}.safetensors", run_folder / f"alpha={k}.00{kind}.safetensors")
    ends = ["--start", run_folder / "alpha=0.00.safetensors", "--end", run_folder / "alpha=1.00.safetensors"]
    images = ["--recalibrate", "--data", "scenes", "--max_images", 100, "--device", "cpu"]
    assert run("interpolate", *ends, "--alphas", 0.5, "--out", "p", *images) == 0
    found = files.read_checkpoint("p/alpha=0.50.safetensors").state
    plain = interpolate(*(files.read_checkpoint(end).state for end in ends[1::2]), 0.5)
    assert not torch.equal(found["encoder.visual.bn1.running_var"], plain["encoder.visual.bn1.running_var"])
    assert torch.equal(found["head.weight"], plain["head.weight"])
    # the head's classes are not those of other data
    (folder / "few.yaml").write_text("data:\n  class_path: nothing.Here\n")
    assert "nothing.Here" in refused(capsys, "interpolate", *ends, "--out", "q", "--recalibrate", "--data", "few.yaml")


def flyp_files(root, clip):
    """The ends of two runs of ContrastiveFinetuning as Wise-FT writes them: each head is that of its own text tower."""
    encoder, data = load_encoder("scenes-clip"), ScenesDataModule(None)
    for k in (1, 2):
        run_folder = root / f"run{k}"
        (run_folder / "wise_ft").mkdir(parents=True)
        (run_folder / "config.yaml").write_text(
            "model:\n  class_path: lightning_robust.training.ContrastiveFinetuning\n"
            "  init_args: {encoder: scenes-clip}\n"
        )
        encoder.model.load_state_dict(disturbed(clip, k))
        head = zero_shot_head(encoder.model, encoder.tokenizer, data.class_names, data.templates)
        save_tensors(run_folder / "wise_ft" / "alpha=1.00.safetensors", encoder.model.state_dict())
        save_tensors(run_folder / "wise_ft" / "alpha=1.00.head.safetensors", {"weight": head})
        yield run_folder / "wise_ft" / "alpha=1.00.safetensors"


def test_heads_that_text_towers_made_are_not_mixed_but_made_anew(folder, clip):
    one, two = flyp_files(folder, clip)
    assert run("soup", one, two, "--out", "s/soup.safetensors") == 0
    assert run("interpolate", "--start", one, "--end", two, "--alphas", 0.5, "--out", "p") == 0
    middle = interpolate(load_file(one), load_file(two), 0.5)
    encoder, data = load_encoder("scenes-clip"), ScenesDataModule(None)
    encoder.model.load_state_dict(middle)
    for file in ("s/soup.safetensors", "p/alpha=0.50.safetensors"):
        assert same(load_file(file), middle)
        assert not Path(file).with_suffix(".head.safetensors").exists()
        network = load_network(file, class_names=data.class_names, templates=data.templates)
        head = zero_shot_head(encoder.model, encoder.tokenizer, data.class_names, data.templates)
        torch.testing.assert_close(network.head, head)
    assert "without its head, which its text tower makes" in read_merge("p/path.json").inputs[0].form


def test_an_output_that_is_taken_is_refused_and_other_files_are_never_replaced(folder, capsys):
    (folder / "path").mkdir()
    assert path("--alphas", 0, 1) == 0  # an empty folder will do
    assert "--overwrite replaces it" in refused(capsys, *_path())
    assert path("--alphas", 0.5, "--overwrite") == 0
    assert sorted(p.name for p in (folder / "path").iterdir()) == ["README.md", "alpha=0.50.safetensors", "path.json"]
    (folder / "path" / "notes.txt").write_text("mine")
    assert "holds other files (notes.txt)" in refused(capsys, *_path(), "--overwrite")
    assert "is a file" in refused(capsys, *_path()[:-1], "end.pt")
    assert "cannot be written" in refused(capsys, *_path()[:-1], "end.pt/p")


def _path():
    return ["interpolate", "--start", "start.safetensors", "--end", "end.pt", "--out", "path"]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_what_breaks_off_leaves_what_was_there(folder, monkeypatch, error):
    assert path("--alphas", 0, 1) == 0
    before = {p.name: p.read_bytes() for p in (folder / "path").iterdir()}
    written, original = [], files.write_merged

    def breaking(target, state):
        if written:
            raise error
        written.append(target)
        return original(target, state)

    monkeypatch.setattr(files, "write_merged", breaking)
    if isinstance(error, KeyboardInterrupt):
        assert path("--overwrite") == 130
    else:
        with pytest.raises(OSError, match="disk full"):
            path("--overwrite")
    assert {p.name: p.read_bytes() for p in (folder / "path").iterdir()} == before
    assert sorted(p.name for p in folder.iterdir()) == ["end.pt", "path", "start.safetensors", "third.pt"]


def test_a_full_disk_is_seen_before(capsys, monkeypatch):
    full = shutil.disk_usage(".")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    assert "0.0 GB are free" in refused(capsys, *_path())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--end", "absent.pt"], "No file absent.pt"),
        (["--end", "start.safetensors"], "hold the same weights"),
        (["--end", "end.pt", "--alphas", "1.5"], "--alphas lie in [0, 1]"),
        (["--end", "end.pt", "--alphas", "nan"], "--alphas lie in [0, 1]"),
        (["--end", "end.pt", "--alphas", "half"], "invalid float value"),
        (["--end", "end.pt", "--dtype", "int8"], "invalid choice"),
        (["--end", "end.pt", "--data", "scenes"], "--data has no effect"),
        (["--end", "end.pt", "--recalibrate"], "give --data"),
        (["--end", "end.pt", "--recalibrate", "--data", "scenes"], "with --encoder"),
        (["--end", "end.pt", "--recalibrate", "--data", "nowhere", "--encoder", "scenes-clip"], "no data 'nowhere'"),
        (
            ["--end", "end.pt", "--recalibrate", "--data", "scenes", "--encoder", "local-dir:vit"],
            "not states of the same",
        ),
        (["--end", "end.pt", "--recalibrate", "--data", "scenes", "--encoder", "nothing"], "nothing"),
        (["--end", "text.pt"], "cannot be read as plain tensors"),
        (["--end", "module.pt"], "save its state_dict()"),
        (["--end", "smaller.pt"], "only in start.safetensors"),
        (["--end", "a.safetensors"], "a.safetensors has a classification head and start.safetensors has none"),
        (["--end", "a.head.safetensors"], "give the model beside it"),
    ],
)
@pytest.mark.usefixtures("classifiers")
def test_bad_input_is_one_sentence_and_nothing_is_written(arguments, said, clip, capsys, folder):
    (folder / "text.pt").write_text("no weights")
    write_clip_folder("vit", ["a"], vision="vit", embed_dim=16, vision_layers=1, vision_width=64, text_width=16)
    torch.save(torch.nn.Linear(2, 2), "module.pt")
    torch.save({name: value for name, value in clip.items() if "ln_final" not in name}, "smaller.pt")
    out = ["--out", "deep/path"]
    assert said in refused(capsys, "interpolate", "--start", "start.safetensors", *arguments, *out)
    assert not (folder / "deep").exists()


def test_a_vision_transformer_has_no_batch_norms_to_recalibrate(capsys, tmp_path):
    write_clip_folder("vit", ["a"], vision="vit", embed_dim=16, vision_layers=1, vision_width=64, text_width=16)
    for seed in (0, 1):
        save_tensors(
            f"{seed}.safetensors", load_encoder("local-dir:vit", pretrained=False, seed=seed).model.state_dict()
        )
    ends = ["interpolate", "--start", "0.safetensors", "--end", "1.safetensors", "--alphas", 0.5, "--out", "p"]
    images = ["--recalibrate", "--data", "scenes", "--encoder", "local-dir:vit", "--device", "cpu"]
    assert "no batch norm" in refused(capsys, *ends, *images)
    assert run(*ends) == 0
    model = load_encoder("local-dir:vit", pretrained=False, seed=2).model
    model.load_state_dict(load_file("p/alpha=0.50.safetensors"), strict=True)


def live_bytes():
    storages = {}
    for thing in gc.get_objects():
        if type(thing) is torch.Tensor and thing.device.type == "cpu":
            storages[thing.untyped_storage().data_ptr()] = thing.untyped_storage().nbytes()
    return sum(storages.values())


def test_memory_is_that_of_both_ends_and_one_working_copy(monkeypatch, clip):
    size, seen = sum(value.nbytes for value in clip.values()), []
    gc.collect()
    before, original = live_bytes(), files.write_merged

    def watching(target, state):
        seen.append((live_bytes() - before) / size)
        return original(target, state)

    monkeypatch.setattr(files, "write_merged", watching)
    assert path("--alphas", 0, 0.3, 0.5, 1) == 0
    assert 2.9 < max(seen) < 3.05  # states of θ0, θ1 and the working copy


def soup(*arguments, out="soup.safetensors"):
    return run("soup", "start.safetensors", "end.pt", "third.pt", "--out", out, *arguments)


def test_a_uniform_soup_is_the_mean(clip, capsys):
    assert soup() == 0
    states = [clip, disturbed(clip, 1), disturbed(clip, 2)]
    found = load_file("soup.safetensors")
    assert same(found, uniform_soup(states))
    load_encoder("scenes-clip", pretrained=False).model.load_state_dict(found, strict=True)
    record = read_merge("soup.json")
    assert [one.file for one in record.inputs] == ["start.safetensors", "end.pt", "third.pt"]
    assert record.outputs[0].checkpoint_hash == file_sha256("soup.safetensors")
    assert "wrote soup.safetensors, soup.json" in capsys.readouterr().out
    assert record.outputs[0].checkpoint_hash in Path("soup.md").read_text()


def test_a_card_is_written_beside_merged_weights_and_never_over_somebodys_own(folder, capsys):
    assert path("--alphas", 0, 1) == 0
    card = folder / "path" / "README.md"
    assert read_merge("path/path.json").outputs[0].checkpoint_hash in ModelCard(card.read_text()).text
    card.write_text("mine")
    assert "holds other files (README.md)" in refused(capsys, *_path(), "--overwrite")
    Path("soup.md").write_text("mine")
    assert soup() == 0
    assert "soup.md was written or edited by somebody" in capsys.readouterr().err
    assert Path("soup.md").read_text() == "mine"


def test_a_greedy_soup_chooses_by_validation_images_of_the_reference(clip, capsys):
    torch.save(disturbed(clip, 5, size=1.0), "third.pt")  # one that is far off
    assert soup("--method", "greedy", "--max_images", 300, *IMAGES) == 0
    record = read_merge("soup.json")
    encoder = load_encoder("scenes-clip")
    data = ScenesDataModule(encoder.transform)
    images, targets, *_ = (torch.cat(parts)[:300] for parts in zip(*_two(data), strict=True))

    def accuracy(state):
        encoder.model.load_state_dict(state)
        head = zero_shot_head(encoder.model, encoder.tokenizer, data.class_names, data.templates)
        with torch.no_grad():
            return (ImageClassifier(encoder.model, head)(images).argmax(1) == targets).float().mean().item()

    alone = [accuracy(state) for state in (clip, disturbed(clip, 1), disturbed(clip, 5, size=1.0))]
    assert [one.score for one in record.inputs] == pytest.approx(alone)
    assert not record.inputs[2].kept
    assert record.outputs[0].score == pytest.approx(accuracy(load_file("soup.safetensors")))
    assert record.outputs[0].score >= max(alone) - 1e-9
    assert record.images == {"validation images of the reference": 300}
    assert "left out" in capsys.readouterr().out


def test_a_collapsed_model_is_left_out_of_a_greedy_soup_with_a_word(clip, capsys):
    collapsed = {**clip, "text_projection": torch.zeros_like(clip["text_projection"])}  # every class has the same row
    torch.save(collapsed, "third.pt")
    assert soup("--method", "greedy", "--max_images", 100, *IMAGES) == 0
    said = capsys.readouterr().err
    assert said.startswith("lightning-robust: warning: third.pt cannot be judged and is left out: The text tower gives")
    assert said.count("\n") == 1
    inputs = read_merge("soup.json").inputs
    assert (inputs[2].score, inputs[2].kept) == (None, False)
    assert inputs[0].score > 0.5
    torch.save(collapsed, "end.pt")
    save_tensors("start.safetensors", collapsed | {"logit_scale": clip["logit_scale"] + 1})
    refusal = refused(capsys, "soup", "start.safetensors", "end.pt", "--out", "q.safetensors", "--method", "greedy",
                      "--max_images", 10, *IMAGES)  # fmt: skip
    assert "no model can be judged: The text tower gives" in refusal


def test_a_soup_that_collapses_is_said_and_no_model_is_blamed(clip, capsys):
    mirrored = {**clip, "text_projection": -clip["text_projection"]}  # the mean of both is zero
    torch.save(mirrored, "third.pt")
    save_tensors("start.safetensors", clip)
    given = ["start.safetensors", "third.pt", "--out", "s.safetensors", "--method", "greedy", "--max_images", 100]
    assert run("soup", *given, *IMAGES) == 0
    said = capsys.readouterr()
    sentence = "the soup with third.pt cannot be judged and is left out: The text tower gives"
    assert said.err.startswith(f"lightning-robust: warning: {sentence}")
    assert said.err.count("\n") == 1
    assert "inf" not in said.out
    one, other = read_merge("s.json").inputs
    assert one.score > 0.5 > other.score
    assert (one.kept, other.kept) == (True, False)


def _two(data):
    loader = data.val_dataloader()[0]
    return [batch[:2] for batch, _ in zip(loader, "ab", strict=False)]


@pytest.mark.usefixtures("classifiers")
def test_a_fisher_soup_of_classifiers_weights_towers_and_heads(clip):
    arguments = ["--method", "fisher", "--max_images", 20, "--seed", 3, *IMAGES]
    assert run("soup", "a.safetensors", "b.safetensors", "--out", "soup.safetensors", *arguments) == 0
    encoder = load_encoder("scenes-clip")
    batch = next(iter(ScenesDataModule(encoder.transform, seed=3).train_dataloader()))
    models = []
    for name in ("a", "b"):
        state = files.read_checkpoint(f"{name}.safetensors").state
        model = ImageClassifier(encoder.model, state["head.weight"]).eval()
        model.load_state_dict(state)
        models.append((state, diagonal_fisher(model, [batch], seed=3, max_images=20), 1.0))
    found, exact = files.read_checkpoint("soup.safetensors").state, fisher_soup(models)
    torch.testing.assert_close(found, exact, rtol=1e-4, atol=1e-6)
    assert not same(found, uniform_soup(state for state, *_ in models))


@pytest.mark.slow
def test_a_fisher_soup_of_clips_leaves_the_text_tower_to_the_mean(clip):
    assert soup("--method", "fisher", "--max_images", 20, *IMAGES) == 0
    found, mean = load_file("soup.safetensors"), uniform_soup([clip, disturbed(clip, 1), disturbed(clip, 2)])
    for name, value in found.items():
        if not name.startswith("visual."):
            torch.testing.assert_close(value, mean[name])
    assert not torch.allclose(found["visual.conv1.weight"], mean["visual.conv1.weight"], rtol=1e-3)


@pytest.mark.usefixtures("classifiers")
def test_a_soup_replaces_all_that_an_earlier_one_wrote(folder, capsys):
    assert run("soup", "a.safetensors", "b.safetensors", "--out", "soup.safetensors") == 0
    assert (folder / "soup.head.safetensors").is_file()
    again = ["soup", "start.safetensors", "end.pt", "--out", "soup.safetensors"]
    assert "--overwrite replaces it" in refused(capsys, *again)
    assert run(*again, "--overwrite", "--dtype", "float16") == 0
    assert not (folder / "soup.head.safetensors").exists()
    assert load_file("soup.safetensors")["visual.conv1.weight"].dtype == torch.float16


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["start.safetensors"], "two models or more"),
        (["start.safetensors", "./start.safetensors"], "given twice"),
        (["start.safetensors", "absent.pt"], "No file absent.pt"),
        (["start.safetensors", "end.pt", "smaller.pt"], "only in start.safetensors"),
        (["start.safetensors", "end.pt", "--data", "scenes"], "--data has no effect"),
        (["start.safetensors", "end.pt", "--method", "greedy"], "give --data"),
        (["start.safetensors", "end.pt", "--method", "greedy", *IMAGES, "--labels", "given"], "--labels has no effect"),
        (["start.safetensors", "end.pt", "--method", "best"], "invalid choice"),
        (["start.safetensors", "end.pt", "--out", "soup.pt"], "call it ….safetensors"),
        (["a.safetensors", "b.safetensors", "--method", "greedy", *IMAGES], "classifies into 20 classes"),
    ],
)
@pytest.mark.usefixtures("classifiers")
def test_bad_soups_are_one_sentence_and_nothing_is_written(arguments, said, clip, capsys, monkeypatch):
    torch.save({name: value for name, value in clip.items() if "ln_final" not in name}, "smaller.pt")
    monkeypatch.setattr("lightning_robust.data.scenes.datamodule.CLASSES", ("star", "heart"))
    out = [] if "--out" in arguments else ["--out", "soup.safetensors"]
    assert said in refused(capsys, "soup", *arguments, *out)


def test_help_answers_without_torch(monkeypatch, capsys):
    monkeypatch.setattr(command, "run", None)
    for name in ("interpolate", "soup"):
        with pytest.raises(SystemExit) as left:
            run(name, "--help")
        assert left.value.code == 0
        assert "--overwrite" in capsys.readouterr().out


def test_an_interrupt_between_the_renames_loses_nothing(folder, monkeypatch):
    from lightning_robust.cli.merged_output import staged_folder

    (folder / "path").mkdir()
    (folder / "path" / "old").touch()
    rename = Path.rename

    def interrupted(self, target):
        if self.suffix == ".tmp":
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt), staged_folder(folder / "path") as staged:
        (staged / "new").touch()
    assert [path.name for path in (folder / "path").iterdir()] == ["old"]
    assert not [path for path in folder.iterdir() if path.name.startswith(".path")]


def test_a_model_of_no_numbers_is_in_no_soup(folder, capsys):
    broken = {**torch.load("third.pt", weights_only=True)}
    broken["logit_scale"] = torch.tensor(float("nan"))
    torch.save(broken, "broken.pt")
    assert main(["soup", "start.safetensors", "broken.pt", "--out", "soup.safetensors"]) == 2
    assert "broken.pt is no model to average: logit_scale holds values that are no numbers" in capsys.readouterr().err

"""`fit-baseline`: from evaluations to a file that load_baseline takes, and a sentence for whatever does not fit."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from evaluations import evaluated, evaluation

from lightning_robust.cli.main import main
from lightning_robust.results import read_baseline, write_evaluation
from lightning_robust.robustness import load_baseline

FEW = "needs at least 12 standard models, got 6: evaluate more, or allow it by --few"


@pytest.fixture
def evaluations(tmp_path):
    """Two folders of evaluate, six models in each."""
    folders = []
    for start in (0, 6):
        folder = tmp_path / f"run{start}"
        folder.mkdir()
        write_evaluation(evaluation([evaluated(k) for k in range(start, start + 6)]), folder / "results.json")
        folders.append(folder)
    return folders


def test_from_folders_and_files(evaluations, tmp_path, capsys):
    out = tmp_path / "mine.json"
    assert main(["fit-baseline", str(evaluations[0]), str(evaluations[1] / "results.json"), "--out", str(out)]) == 0
    baseline = load_baseline(out)
    assert [model.name for model in baseline.models] == [f"m{k}" for k in range(12)]
    assert (baseline.name, baseline.scale, baseline.x) == ("mine", "logit", "full")
    assert baseline.description == "12 standard models on made-up photos"
    assert baseline.dataset == "made-up photos"
    assert baseline.images == {"reference": 1000, "sketch": 1000, "art": 1000, "matched/art": 400}
    assert (tmp_path / "mine.png").read_bytes().startswith(b"\x89PNG")
    said = capsys.readouterr().out
    assert f"{baseline.lines['sketch'].slope:.4f}" in said
    assert str(out) in said
    record = read_baseline(out)
    assert record.models[3].checkpoint_hash == f"{3:064x}"
    assert record.provenance.packages["lightning_robust"]


def test_options_are_kept(evaluations, tmp_path):
    out, figure = tmp_path / "mine.json", tmp_path / "other.svg"
    options = ["--scale", "probit", "--x", "matched", "--aggregate", "accuracy", "--name", "photos"]
    arguments = ["fit-baseline", *map(str, evaluations), "--out", str(out), "--figure", str(figure), *options]
    assert main(arguments) == 0
    baseline = load_baseline(out)
    assert (baseline.name, baseline.scale, baseline.x, baseline.aggregate) == (
        "photos",
        "probit",
        "matched",
        "accuracy",
    )
    assert load_baseline(out, scale="linear", x="full").scale == "linear"
    assert figure.read_text().startswith("<?xml")
    assert not (tmp_path / "mine.png").exists()


def test_few_models_are_asked_for_and_said(evaluations, tmp_path, capsys):
    arguments = ["fit-baseline", str(evaluations[0]), "--out", str(tmp_path / "mine.json")]
    assert main(arguments) == 2
    assert FEW in capsys.readouterr().err
    assert not (tmp_path / "mine.json").exists()
    assert main([*arguments, "--few"]) == 0
    assert "fewer than 12" in load_baseline(tmp_path / "mine.json").description
    assert "fewer than 12" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{0}", "{0}", "--out", "{t}/b.json"], "results.json is named twice"),
        (["{0}", "{0}/results.json", "--out", "{t}/b.json"], "results.json is named twice"),
        (["{0}", "{1}", "--out", "{0}/results.json"], "--out would overwrite the evaluation"),
        (["{t}/none", "--out", "{t}/b.json"], "no results at"),
        (["{0}", "{1}", "--out", "{t}/b.yaml"], "ends in .json, not"),
        (["{0}", "{1}", "--out", "{t}/none/b.json"], "there is no folder"),
        (["{0}", "{1}", "--out", "{t}/b.json", "--figure", "{t}/b.gif"], ".png, .svg or .pdf"),
        (["{0}", "{1}", "--out", "{t}/b.json", "--figure", "{t}/none/b.png"], "there is no folder"),
        (["{0}", "{1}", "--out", "{t}/folder.json"], "it is a folder"),
        (["{0}", "{1}", "--out", "{t}/b.json", "--scale", "log"], "invalid choice: 'log'"),
        (["{t}/broken.json", "--out", "{t}/b.json"], "is not"),
        (["--out", "{t}/b.json"], "EVALUATION"),
        (["{0}", "{1}"], "--out"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_written(evaluations, tmp_path, capsys, arguments, message):
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "folder.json").mkdir()
    before = sorted(tmp_path.rglob("*"))
    filled = [text.format(*evaluations, t=tmp_path) for text in arguments]
    assert main(["fit-baseline", *filled]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_zero_shot_model_among_standard_ones_is_warned_of(evaluations, tmp_path, capsys):
    clip = evaluation([evaluated(12, name="clip", origin="pretrained weights; the head is zero-shot")])
    (tmp_path / "clip").mkdir()
    write_evaluation(clip, tmp_path / "clip" / "results.json")
    places = [str(place) for place in (*evaluations, tmp_path / "clip")]
    assert main(["fit-baseline", *places, "--out", str(tmp_path / "b.json")]) == 0
    error = capsys.readouterr().err
    assert "warning: clip has a zero-shot head" in error
    assert error.count("warning") == 1


def test_validation_images_are_said_and_warned_of(tmp_path, capsys):
    write_evaluation(evaluation([evaluated(k) for k in range(12)], split="val"), tmp_path / "results.json")
    assert main(["fit-baseline", str(tmp_path), "--out", str(tmp_path / "b.json")]) == 0
    assert "warning: the evaluations are of validation images" in capsys.readouterr().err
    baseline = load_baseline(tmp_path / "b.json")
    assert baseline.description == "12 standard models on made-up photos, validation images (--split val)"
    assert baseline.dataset == "made-up photos"


@pytest.mark.parametrize("name", ["reference", "mean"])
def test_a_shift_with_the_name_of_another_figure(tmp_path, capsys, name):
    models = []
    for k in range(12):
        ref, sketch, _ = evaluated(k).rows
        models.append(evaluated(k, rows=(ref, replace(sketch, set=name))))
    write_evaluation(evaluation(models), tmp_path / "results.json")
    assert main(["fit-baseline", str(tmp_path), "--out", str(tmp_path / "b.json")]) == 2
    assert f"no shift can be called '{name}'" in capsys.readouterr().err
    assert not (tmp_path / "b.json").exists()


def test_files_that_cannot_be_named_or_read(evaluations, tmp_path, capsys):
    long, loop, deep = "x" * 300, tmp_path / "loop.json", tmp_path / "deep.json"
    loop.symlink_to(loop)
    deep.write_text("[" * 100_000)
    out = str(tmp_path / "b.json")
    both = [str(folder) for folder in evaluations]
    for arguments, message in (
        ([str(loop), "--out", out], "loop.json"),
        ([str(deep), "--out", out], "nested too deeply"),
        ([long, "--out", out], "File name too long"),
        ([*both, "--out", str(tmp_path / f"{long}.json")], "File name too long"),
        ([*both, "--out", str(tmp_path / f"{'x' * 245}.json")], "File name too long"),
    ):
        assert main(["fit-baseline", *arguments]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert not list(tmp_path.glob("*.png"))


def test_models_of_one_accuracy_have_no_line(tmp_path, capsys):
    same = [evaluated(3, name=f"m{k}", checkpoint_hash=f"{k:064x}") for k in range(12)]
    write_evaluation(evaluation(same), tmp_path / "results.json")
    assert main(["fit-baseline", str(tmp_path), "--out", str(tmp_path / "b.json")]) == 2
    assert "at least 2 different reference accuracies" in capsys.readouterr().err
    assert not (tmp_path / "b.json").exists()


def test_a_results_file_of_something_else(tmp_path, capsys):
    (tmp_path / "results.json").write_text(json.dumps({"schema_version": 1, "kind": "probe"}))
    assert main(["fit-baseline", str(tmp_path), "--out", str(tmp_path / "b.json")]) == 2
    assert "results.json" in capsys.readouterr().err


def test_help_loads_no_torch():
    code = (
        "import sys\nfrom lightning_robust.cli.main import main\n"
        "try:\n    main(['fit-baseline', '--help'])\nexcept SystemExit:\n    sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "at least 12 standard models" in done.stdout

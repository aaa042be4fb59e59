"""`show run` of a pruning and a compression, and of what is neither."""

import json
import shutil

import pytest
from compression_record import compress_record
from prune_data import pruned, record, twin
from study_data import made_up

from lightning_robust.cli.main import main
from lightning_robust.cli.show_measured import show_measured
from lightning_robust.results.compress_record import write_compression
from lightning_robust.results.prune_record import write_pruning
from lightning_robust.results.study_record import write_study


def show(folder, capsys):
    code = main(["show", "run", str(folder)])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_pruning_is_printed_and_drawn_again_from_its_record_alone(tmp_path, capsys):
    write_pruning(record(pruned(), twin()), tmp_path / "results.json")
    code, out, err = show(tmp_path, capsys)
    assert (code, err) == (0, "")
    for words in (
        "what can be pruned for 1 point",
        "most important kept",
        "scenes-clip: what this says",
        str(tmp_path),
    ):
        assert words in out
    names = {file.name for file in tmp_path.iterdir()}
    assert names == {"results.json", "curves.png", "curves.svg", "headlines.png", "headlines.svg"}


def test_a_compression_is_printed_and_drawn_again(tmp_path, capsys):
    write_compression(compress_record(n=100), tmp_path / "results.json")
    code, out, err = show(tmp_path, capsys)
    assert (code, err) == (0, "")
    assert str(tmp_path) in out.replace("\n", "")
    assert {"accuracy.png", "accuracy.svg"} <= {file.name for file in tmp_path.iterdir()}


def test_a_study_is_printed_and_drawn_again_from_its_table(tmp_path, capsys):
    write_study(made_up(), tmp_path / "study.json")
    code, out, err = show(tmp_path, capsys)
    assert (code, err) == (0, "")
    assert "between CLIPs" in out
    assert {"correlations.csv", "signatures.png", "study.json"} <= {file.name for file in tmp_path.iterdir()}
    (tmp_path / "study.json").write_text("{}")
    code, out, err = show(tmp_path, capsys)
    assert (code, err.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"models": None}, "results.models should be a list"),
        ({"schema_version": 99}, "newer lightning-robust"),
        ({"strange": 1}, "does not know: strange"),
    ],
)
def test_a_damaged_record_of_a_pruning_is_one_sentence_and_draws_nothing(tmp_path, capsys, change, words):
    file = tmp_path / "results.json"
    write_pruning(record(pruned()), file)
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    code, out, err = show(tmp_path, capsys)
    assert (code, out) == (2, "")
    assert words in err
    assert len(err.strip().splitlines()) == 1
    assert [one.name for one in tmp_path.iterdir()] == ["results.json"]


@pytest.mark.parametrize(
    "text", [None, "[]", "{", '{"kind": 3, "schema_version": 1}', '{"kind": "x"}', b"\xff\xfe\x00"]
)
def test_what_is_none_of_these_is_left_to_the_reader_of_trainings(tmp_path, capsys, text):
    file = tmp_path / "results.json"
    if text is not None:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert not show_measured(tmp_path, file)
    code, out, err = show(tmp_path, capsys)
    assert (code, out) == (2, "")
    assert len(err.strip().splitlines()) == 1
    assert "Traceback" not in err


def test_a_folder_that_went_away_is_one_sentence(tmp_path, capsys):
    folder = tmp_path / "run"
    folder.mkdir()
    write_pruning(record(pruned()), folder / "results.json")
    (folder / "curves.png").mkdir()  # nothing can be written there
    code, _, err = show(folder, capsys)
    assert code == 2
    assert "curves.png" in err
    assert "Traceback" not in err
    shutil.rmtree(folder)
    code, _, err = show(folder, capsys)
    assert code == 2
    assert "no results at" in err

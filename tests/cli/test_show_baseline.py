"""`show baseline`: table, zoo, scatter and CSV, and a sentence for bad input."""

import csv

import pytest

from lightning_robust.cli.main import main


def test_the_lines_of_imagenet(capsys):
    assert main(["show", "baseline", "imagenet"]) == 0
    said = capsys.readouterr().out
    for figure in ("0.9316", "-1.6019", "0.8911", "1.2311", "3.1986", "0.9471"):
        assert figure in said


def test_options_change_the_line(capsys):
    assert main(["show", "baseline", "imagenet", "--scale", "probit", "--x", "matched", "--aggregate", "accuracy"]) == 0
    said = capsys.readouterr().out
    assert "probit scale, x = matched" in said
    assert "3.1986" not in said


def test_the_zoo_as_table_file_and_scatter(tmp_path, capsys):
    assert main(["show", "baseline", "imagenet", "--zoo", "--out", str(tmp_path / "zoo.csv")]) == 0
    assert "ViT-B-32/openai" in capsys.readouterr().out
    with (tmp_path / "zoo.csv").open() as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    assert len(rows) == 121
    assert float(rows["RN50/openai"]["mean/er"]) == pytest.approx(0.2301, abs=5e-5)
    assert main(["show", "baseline", "imagenet", "--zoo", "--out", str(tmp_path / "zoo.svg")]) == 0
    assert "OpenAI CLIP" in (tmp_path / "zoo.svg").read_text()


def test_models_of_the_baseline_as_a_file(tmp_path):
    assert main(["show", "baseline", "imagenet", "--out", str(tmp_path / "models.csv")]) == 0
    with (tmp_path / "models.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 81


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cifar"], "no baseline named 'cifar' and no such file: what ships is imagenet"),
        (["imagenet", "--x", "matched", "--zoo"], "take --x full"),
        (["imagenet", "--out", "scatter.gif"], "a scatter (.png, .svg, .pdf) or a table (.csv), got scatter.gif"),
        (["imagenet", "--out", "none/scatter.png"], "there is no folder none"),
        (["imagenet", "--scale", "log"], "invalid choice"),
        ([], "NAME"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(["show", "baseline", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []

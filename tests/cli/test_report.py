"""The command `report`."""

import pytest
from page_data import evaluation_folder, probe_folder, run_folder

from lightning_robust.cli.main import main


@pytest.fixture
def runs(tmp_path):
    run_folder(tmp_path / "checkpoints" / "finetune" / "001")
    evaluation_folder(tmp_path / "checkpoints" / "evaluate" / "001")
    return tmp_path / "checkpoints"


def test_the_page_lies_in_the_runs_folder_and_has_what_was_measured_on_its_weights(runs, capsys):
    assert main(["report", str(runs / "finetune" / "001")]) == 0
    page = runs / "finetune" / "001" / "report.html"
    kilobytes = round(page.stat().st_size / 1e3)
    assert 100 < kilobytes < 1000
    assert f"{page} ({kilobytes} kB)" in capsys.readouterr().out
    text = page.read_text(encoding="utf-8")
    assert "<h1>finetune/001</h1>" in text
    assert "Evaluation: evaluate/001" in text


def test_alone_it_has_no_more_than_was_named(runs, tmp_path):
    out = tmp_path / "one.html"
    assert main(["report", str(runs / "finetune" / "001"), "--alone", "--out", str(out)]) == 0
    assert "Evaluation: evaluate/001" not in out.read_text(encoding="utf-8")
    other = probe_folder(tmp_path / "elsewhere" / "probe" / "007")
    arguments = ["report", str(runs / "finetune" / "001"), "--alone", "--with", str(other), "--out", str(out)]
    assert main(arguments) == 0
    assert "Signatures: probe/007" in out.read_text(encoding="utf-8")


def test_two_models(runs, tmp_path):
    second = probe_folder(tmp_path / "elsewhere" / "probe" / "007")
    out = tmp_path / "two.html"
    assert main(["report", str(runs / "finetune" / "001"), str(second), "--out", str(out)]) == 0
    assert "<h1>finetune/001 beside probe/007</h1>" in out.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{runs}/none"], "there is no folder"),
        (["{runs}"], "no results in"),
        (["{runs}/finetune/001", "--out", "page.pdf"], "ends in .html"),
        (["{runs}/finetune/001", "--out", "{runs}/none/page.html"], "there is no folder"),
        (["{runs}/finetune/001", "--below", "{runs}/none"], "to look below"),
        (["{runs}/finetune/001", "--below", "{runs}", "--alone"], "not allowed with"),
        (["{runs}/finetune/001", "--with", "{runs}/none"], "there is no folder"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(runs, capsys, arguments, said):
    filled = [argument.format(runs=runs) for argument in arguments]
    try:
        status = main(["report", *filled])
    except SystemExit as stopped:
        status = stopped.code
    assert status == 2
    assert said in capsys.readouterr().err
    assert not list(runs.rglob("*.html"))

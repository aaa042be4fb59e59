"""The benchmark of evaluation runs and writes what it promises; how fast is judged at its full size only."""

import json
import runpy
from pathlib import Path

import torch

SCRIPT = Path(__file__).with_name("bench_evaluate.py")


def test_it_writes_the_ratio_bar_and_hardware(tmp_path, capsys, monkeypatch):
    written = tmp_path / "evaluate.json"
    monkeypatch.setattr("sys.argv", [str(SCRIPT), "--small", "--rounds", "1", "--json", str(written)])
    threads = torch.get_num_threads()
    try:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    finally:
        torch.set_num_threads(threads)
    result = json.loads(written.read_text(encoding="utf-8"))
    output = capsys.readouterr()
    assert json.loads(output.out) == result
    assert "one_pass_over_eleven" in output.err
    assert result["predictions_equal"] is True
    assert (result["images"], result["alphas"]) == (20, 11)
    assert 0 < result["ratios"]["one_pass_over_eleven"] < 1.5
    assert set(result["met"]) == set(result["bars"])
    assert result["processor"]

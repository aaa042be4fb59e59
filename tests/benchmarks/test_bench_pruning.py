"""The benchmark of pruning runs in small and writes what it promises; how fast is judged at its full size only."""

import json
import runpy
from pathlib import Path

import torch

SCRIPT = Path(__file__).with_name("bench_pruning.py")


def test_it_writes_ratios_bars_and_equal_predictions(tmp_path, capsys, monkeypatch):
    written = tmp_path / "pruning.json"
    monkeypatch.setattr("sys.argv", [str(SCRIPT), "--small", "--rounds", "2", "--json", str(written)])
    threads = torch.get_num_threads()
    try:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    finally:
        torch.set_num_threads(threads)
    result = json.loads(written.read_text(encoding="utf-8"))
    output = capsys.readouterr()
    assert json.loads(output.out) == result
    assert set(result["bars"]) < set(result["ratios"])
    assert all(name in output.err for name in result["bars"])
    assert all(len(times) == 2 and min(times) > 0 for times in result["seconds"].values())
    assert (result["classes"], result["r"], result["sampled_k"]) == (50, 32, 9)
    differ = result["share_of_predictions_that_differ"]
    assert differ["naive_float64"] == differ["head_alone_float64"] == 0
    assert differ["naive_float32"] < 0.05
    assert result["sampled_equal"]
    assert result["unpruned_equal"]
    assert result["headline_seconds"] > 0
    assert result["provenance"]["threads"] == 1
    assert result["processor"]

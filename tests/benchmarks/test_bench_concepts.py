"""The benchmark of concepts runs and writes what it promises; how fast is judged at its full size only."""

import json
import runpy
from pathlib import Path

import torch

SCRIPT = Path(__file__).with_name("bench_concepts.py")


def test_it_writes_ratios_bars_and_hardware(tmp_path, capsys, monkeypatch):
    written = tmp_path / "concepts.json"
    monkeypatch.setattr("sys.argv", [str(SCRIPT), "--small", "--json", str(written)])
    threads = torch.get_num_threads()
    try:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    finally:
        torch.set_num_threads(threads)
    result = json.loads(written.read_text(encoding="utf-8"))
    output = capsys.readouterr()
    assert json.loads(output.out) == result
    assert "sklearn_over_ours" in output.err
    assert all(ratio > 0 for ratio in result["ratios"].values())
    assert result["largest_relative_difference_from_sklearn"] < 1e-12
    assert (result["concepts"], result["directions"]) == (1197, 20)
    assert 9 < result["positives"] / result["images"] < 11
    assert set(result["met"]) == set(result["bars"])
    assert result["provenance"]["threads"] == 1
    assert result["processor"]

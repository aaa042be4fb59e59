"""The benchmark of interpolation runs in small and says what it promises; not how fast."""

import json
import logging
import runpy
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).with_name("bench_interpolate.py")
KEPT = SCRIPT.parents[2] / "docs" / "benchmarks" / "interpolate.json"


def test_it_runs_in_small(monkeypatch, tmp_path, capsys):
    threads, disabled, file = torch.get_num_threads(), logging.root.manager.disable, tmp_path / "interpolate.json"
    monkeypatch.setattr("sys.argv", [str(SCRIPT), "--small", "--rounds", "2", "--json", str(file)])
    try:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    finally:
        torch.set_num_threads(threads)
        logging.disable(disabled)
    result = json.loads(file.read_text(encoding="utf-8"))
    assert set(result["seconds"]) == {"copy_", "interpolate_into", "lerp alone", "formula"}
    assert all(took > 0 for times in result["seconds"].values() for took in times)
    assert [len(times) for times in result["seconds"].values()] == [2] * 4
    assert 0 <= result["largest_error_over_largest_value"] < 1e-6
    assert result["provenance"]["packages"]["torch"]
    assert "× copy_" in capsys.readouterr().out


def test_the_kept_figures_are_of_a_whole_vit_b_32_and_meet_the_bar():
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    assert kept["parameters"] == 151_277_313
    assert kept["threads"] == 1
    bar = kept["bars"]["interpolate_into: time over copy_"]
    assert bar["met"]
    assert bar["value"] == pytest.approx(kept["times_copy_"]["interpolate_into"]["median"])
    assert bar["value"] <= 1.6
    assert kept["largest_error_over_largest_value"] < 1e-6

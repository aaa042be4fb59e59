"""The benchmark of monitors runs and writes what it promises; how fast is judged at its full size only."""

import json
import runpy
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).with_name("bench_monitors.py")


def test_it_writes_paired_ratios_bars_and_hardware(tmp_path, capsys, monkeypatch):
    written = tmp_path / "monitors.json"
    monkeypatch.setattr("sys.argv", [str(SCRIPT), "--small", "--rounds", "2", "--json", str(written)])
    threads = torch.get_num_threads()
    try:
        with torch.random.fork_rng():
            runpy.run_path(str(SCRIPT), run_name="__main__")
    finally:
        torch.set_num_threads(threads)
    result = json.loads(written.read_text(encoding="utf-8"))
    output = capsys.readouterr()
    assert json.loads(output.out) == result
    assert "with_concepts" in output.err
    assert (result["images"], result["rounds"], len(result["layers"])) == (48, 2, 3)
    assert set(result["met"]) == set(result["bars"]) == set(result["ratios"]) == {"monitors", "with_concepts"}
    assert all(len(seconds) == 2 and min(seconds) > 0 for seconds in result["seconds"].values())
    for arm, ratio in result["ratios"].items():
        by_hand = [a / b for a, b in zip(result["seconds"][arm], result["seconds"]["without"], strict=True)]
        assert ratio["ratios"] == pytest.approx(by_hand)
        assert ratio["interval"][0] <= ratio["median"] <= ratio["interval"][1]
    assert set(result["ratios_of_processor_time"]) == set(result["ratios"])
    assert result["figures"]["kurtosis and spectrum"] > 40
    assert result["figures"]["concepts"] > 20
    assert result["provenance"]["threads"] == 1
    assert result["processor"]

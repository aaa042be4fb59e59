"""The benchmark of the zero-shot head runs and writes what it promises; how fast is judged at its full size only."""

import json
import runpy
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).with_name("bench_zero_shot.py")


@pytest.mark.long
def test_it_writes_times_memory_and_hardware(tmp_path, capsys, monkeypatch):
    written = tmp_path / "zero_shot.json"
    monkeypatch.setattr("sys.argv", [str(SCRIPT), "--small", "--rounds", "1", "--json", str(written)])
    monkeypatch.setenv("LIGHTNING_ROBUST_CACHE", str(tmp_path))  # the script sets its own; this one is given back
    threads = torch.get_num_threads()
    try:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    finally:
        torch.set_num_threads(threads)
    result = json.loads(written.read_text(encoding="utf-8"))
    output = capsys.readouterr()
    assert json.loads(output.out) == result
    assert "cached_over_made" in output.err
    assert result["texts"] == result["classes"] * result["prompts"] == 80
    assert set(result["seconds_per_text_by_batch_size"]) == {"16", "64"}
    assert 0 < result["seconds_from_the_cache"] < result["seconds"]
    assert (
        result["figures"]["memory_mib_of_a_batch_of_256"] > result["memory_mib_above_the_model_by_batch_size"]["16"] > 0
    )
    assert set(result["met"]) == set(result["bars"]) == set(result["figures"])
    assert result["provenance"]["threads"] == 1

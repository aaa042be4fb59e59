"""The benchmark of decoding runs and writes what it promises; how fast is judged at its full size only."""

import json
import runpy
from pathlib import Path

import torch

SCRIPT = Path(__file__).with_name("bench_decoding.py")


def test_it_writes_ratios_bars_and_hardware(tmp_path, capsys, monkeypatch):
    written = tmp_path / "decoding.json"
    # an empty folder: images are generated
    arguments = ["--small", "--rounds", "1", "--folder", str(tmp_path), "--json", str(written)]
    monkeypatch.setattr("sys.argv", [str(SCRIPT), *arguments])
    threads = torch.get_num_threads()
    try:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    finally:
        torch.set_num_threads(threads)
    result = json.loads(written.read_text(encoding="utf-8"))
    output = capsys.readouterr()
    assert json.loads(output.out) == result
    assert "2 workers" in output.err
    assert all(ratio > 0 for ratio in result["ratios"].values())
    assert all(run["same_pixels_and_labels"] for run in result["runs"])
    assert all(run["torchvision_over_ours_in_processor_time"] > 0 for run in result["runs"])
    for run in result["runs"]:
        between = run["torchvision_over_ours_over_rounds"]
        assert between["least"] <= run["torchvision_over_ours"] <= between["greatest"]
    assert set(result["met"]) == set(result["bars"]) == {"0_workers", "2_workers"}
    assert [len(run["seconds"]["ours"]) for run in result["runs"]] == [1, 1]
    assert result["kind"].startswith("generated")
    assert result["provenance"]["threads"] == 1

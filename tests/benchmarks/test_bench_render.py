"""The rendering benchmark runs and prints what it promises; how fast is not judged here."""

import json
import runpy
from pathlib import Path

import torch

SCRIPT = Path(__file__).with_name("bench_render.py")


def test_it_prints_rates_hardware_and_versions(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", [str(SCRIPT), "--images", "20", "--repetitions", "1"])
    threads = torch.get_num_threads()
    try:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    finally:
        torch.set_num_threads(threads)
    result = json.loads(capsys.readouterr().out)
    assert set(result["results"]) == {"broad", "reference"}
    for rates in result["results"].values():
        assert 0 < rates["slowest"] <= rates["images_per_second"] <= rates["fastest"]
        assert rates["images_per_processor_second"] > 0
    assert result["processor"]
    assert result["cores"] >= 1
    assert result["provenance"]["packages"]["torch"]
    assert result["provenance"]["threads"] == 1

"""The benchmark of spectra runs in small, with and without WeightWatcher, and says what it promises; not how fast."""

import importlib.util
import json
import logging
import runpy
import warnings
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).with_name("bench_spectra.py")


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    threads, disabled = torch.get_num_threads(), logging.root.manager.disable

    def run():
        file = tmp_path / "spectra.json"
        monkeypatch.setattr("sys.argv", [str(SCRIPT), "--small", "--rounds", "1", "--json", str(file)])
        with warnings.catch_warnings():
            runpy.run_path(str(SCRIPT), run_name="__main__")
        return json.loads(file.read_text(encoding="utf-8")), capsys.readouterr().out

    yield run
    torch.set_num_threads(threads)
    logging.disable(disabled)


def judge(result):
    assert result["matrices"] == 14
    bars = result["bars"]
    exact = [name for name in bars if name.startswith("singular values")]
    assert exact
    assert all(bars[name]["met"] and 0 <= bars[name]["value"] <= 1e-6 for name in exact)
    sketch = result["sketch"]
    assert sketch["largest_error_of_leading_values"] < 0.1
    assert sketch["largest_error_of_frobenius"] < 1e-6
    assert int(sketch["effective_rank_inside_its_interval"].split()[0]) >= 12
    assert all(took > 0 for times in result["seconds"].values() for took in times)
    assert result["provenance"]["packages"]["torch"]
    assert result["processor"]


def test_without_weightwatcher(run, monkeypatch):
    original = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "weightwatcher" else original(name, *rest)
    )
    result, printed = run()
    judge(result)
    assert result["weightwatcher"] is None
    assert "WeightWatcher is not installed" in printed


@pytest.mark.skipif(importlib.util.find_spec("weightwatcher") is None, reason="WeightWatcher is not installed")
def test_with_weightwatcher(run):
    result, printed = run()
    judge(result)
    assert len([name for name in result["bars"] if "WeightWatcher" in name]) == 2
    assert result["weightwatcher"]["matrices_compared"] == 6
    assert "not installed" not in printed

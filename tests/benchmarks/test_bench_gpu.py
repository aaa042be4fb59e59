"""The benchmark of a GPU runs in small on a CPU and writes what it promises; what is kept was measured on a GPU."""

import json
import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("bench_gpu.py")
KEPT = SCRIPT.parents[2] / "docs" / "benchmarks" / "gpu.json"
PARTS = ("card", "forward", "pretraining", "compress", "monitors", "concepts")


@pytest.mark.slow
def test_it_runs_in_small(tmp_path, capsys, monkeypatch):
    written = tmp_path / "gpu.json"
    monkeypatch.syspath_prepend(SCRIPT.parent)
    arguments = ["--small", "--here", "--limit", "3000", "--device", "cpu", "--json", str(written)]
    monkeypatch.setattr("sys.argv", [str(SCRIPT), *arguments, "--parts", *PARTS])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    result = json.loads(written.read_text(encoding="utf-8"))
    assert json.loads(capsys.readouterr().out) == result
    assert not any("error" in result[part] for part in PARTS)
    assert set(result["card"]["tflops_per_second"]) == {"float32", "tf32", "bf16"}
    (tower,) = result["forward"]["towers"]
    assert all(tower[mode]["images_per_second"] > 0 for mode in ("default", "float32", "tf32", "bf16", "training_bf16"))
    assert [case.get("error") for case in result["pretraining"]["cases"]] == [None, None]
    assert [case["forward_passes"] for case in result["pretraining"]["cases"]] == [4, 3]
    networks = [one["network"] for one in result["compress"]["times"]]
    assert networks == ["dense", "uniform"] * 4
    for part in ("monitors", "concepts"):
        assert result[part]["figures"] > 30
        assert [len(seconds) for seconds in result[part]["seconds"].values()] == [2, 2]


def test_what_is_kept_says_its_card_and_what_was_not_measured():
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    assert not kept["small"]
    assert kept["device"].startswith("NVIDIA")
    assert kept["card"]["tflops_per_second"]["bf16"] > kept["card"]["tflops_per_second"]["float32"]
    measured = {part for part in (*PARTS, "zero_shot") if part in kept}
    assert measured | set(kept["not_measured"]) == {*PARTS, "zero_shot"}
    assert not measured & set(kept["not_measured"])
    for counted in kept["agreement_with_the_cpu"].values():
        assert counted["differ"] <= counted["figures"]

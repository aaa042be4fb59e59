"""What commands find on a GPU is what they find on the CPU; what is drawn by the order of figures may differ."""

import json
import math

import pytest
import torch

from lightning_robust.cli.main import main

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that CUDA sees")

#: Counts of what is above a bound, and choices among what is nearly equal: a rounding can move one.
CHOSEN = ("privileged", "alpha", "permuted", "concepts", "directions_for_90", "features", "share_of_norm", "massive",
          "accuracy", "overconfidence", "ece")  # fmt: skip


def found(folder, name):
    return json.loads((folder / "checkpoints" / "probe" / name / "results.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("model", ["scenes-clip", "scenes-supervised", "untrained:scenes-clip"])
def test_probe(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for device in ("cuda", "cpu"):
        arguments = ["--concepts", "scenes", "--max_images", "300", "--device", device, "--run_name", device]
        assert main(["probe", "--model", model, *arguments]) == 0
    gpu, cpu = (found(tmp_path, name)["scalars"] for name in ("cuda", "cpu"))
    assert gpu.keys() == cpu.keys()
    compared = [tag for tag in cpu if not any(word in tag for word in CHOSEN) and isinstance(cpu[tag], float)]
    assert len(compared) > 40
    for tag in compared:
        assert math.isclose(gpu[tag], cpu[tag], rel_tol=2e-3, abs_tol=1e-6), (tag, gpu[tag], cpu[tag])


def test_evaluate_counts_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for device in ("cuda", "cpu"):
        arguments = ["--data", "scenes", "--device", device, "--run_name", device]
        assert main(["evaluate", "--model", "scenes-clip", *arguments]) == 0
    rows = []
    for device in ("cuda", "cpu"):
        path = tmp_path / "checkpoints" / "evaluate" / device / "results.json"
        (model,) = json.loads(path.read_text(encoding="utf-8"))["models"]
        rows.append({row["set"]: row["correct"] for row in model["rows"]})
    assert rows[0].keys() == rows[1].keys()
    assert all(abs(rows[0][name] - rows[1][name]) <= 1 for name in rows[0]), rows

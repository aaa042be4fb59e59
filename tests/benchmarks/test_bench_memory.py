"""The benchmark of memory runs; states in bytes are the same on any machine, so they are judged here too."""

import json
import runpy
from pathlib import Path

import pytest
import torch

import lightning_robust.signatures as signatures
from lightning_robust.signatures.mergeable import MergeableMetric

SCRIPT = Path(__file__).with_name("bench_memory.py")


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    written = tmp_path_factory.mktemp("bench") / "memory.json"
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", [str(SCRIPT), "--small", "--json", str(written)])
        try:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        finally:
            torch.set_num_threads(threads)
    return json.loads(written.read_text(encoding="utf-8"))


def test_every_metric_is_there(result):
    ours = [cls for cls in MergeableMetric.__subclasses__() if cls.__module__.startswith(f"{signatures.__name__}.")]
    assert set(result["results"]) == {cls.__name__ for cls in ours}


def test_states_do_not_grow_but_with_the_features_of_concepts(result):
    for name, found in result["results"].items():
        sizes = set(found["state_bytes"].values())
        assert (len(sizes) == 1) == (name != "ConceptAveragePrecision"), name
        assert found["met"], name
    assert result["met"]


def test_known_sizes(result):
    kurtosis = result["results"]["ActivationKurtosis"]["state_bytes"]["1"]
    assert kurtosis == 65_536 * 8 + 32_768 * 8 + 5 * 8
    spectrum = result["results"]["FeatureSpectrum"]["state_bytes"]["1"]
    assert spectrum == 49 * 49 * 8 + 8

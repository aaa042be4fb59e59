"""Two real processes share each global batch of one."""

import json
from pathlib import Path

import pytest
from processes import run_script

from .conftest import write_parquet, write_shards

SCRIPT = Path(__file__).with_name("caption_processes.py")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["shards", "stream"])
def test_two_processes_share_the_batches_of_one(kind, tmp_path):
    source = (
        write_shards(tmp_path / "set", [40, 3, 2]) if kind == "shards" else write_parquet(tmp_path / "set", [23, 22])
    )
    source = source.replace("parquet:", "hub-stream:")
    for devices, workers in ((1, 0), (2, 2)):
        run_script(SCRIPT, tmp_path, source, devices, workers, processes=devices, timeout=600)
    alone, first, second = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("1.0", "2.0", "2.1"))
    assert len(alone) == len(first) == len(second) == 2 * (40 // 12)
    for (epoch, whole), (_, one), (_, two) in zip(alone, first, second, strict=True):
        assert epoch in (0, 1)
        assert len(one) == len(two) == 6
        assert set(one) | set(two) == set(whole)

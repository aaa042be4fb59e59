"""A path may take longer to judge than the processes' collectives may take."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).with_name("waiting_processes.py")


def test_the_others_wait_past_the_timeout_of_the_process_group(tmp_path):
    paths = os.pathsep.join([str(SCRIPT.parents[1] / "contracts"), str(SCRIPT.parents[2])])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": paths}
    done = subprocess.run(
        [sys.executable, SCRIPT, tmp_path], capture_output=True, text=True, timeout=300, env=environment
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert [(tmp_path / f"rank{rank}").read_text() for rank in range(2)] == ["3", "0"]
    assert len(list((tmp_path / "wise_ft").iterdir())) == 3

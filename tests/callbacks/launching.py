"""Starts a script of several processes and reads what each of them left."""

import json
import os
import subprocess
import sys
from pathlib import Path

from processes import run_script

HERE = Path(__file__).parent


def launch(script, folder, *arguments, timeout=300):
    """Run a script of this folder as `script FOLDER ARGUMENTS…`, as a user does; an error when it fails."""
    paths = os.pathsep.join([str(HERE.parent / "contracts"), str(HERE.parents[1])])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": paths}
    environment.pop("LOCAL_RANK", None)
    folder.mkdir(exist_ok=True)
    command = [sys.executable, HERE / script, folder, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def launched(script, folder, devices, *arguments, timeout=300):
    """Run it on so many processes, `script FOLDER DEVICES ARGUMENTS…`; their `rank<r>.json`, in order."""
    folder.mkdir(exist_ok=True)
    run_script(HERE / script, folder, devices, *arguments, processes=devices, timeout=timeout)
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(devices)]

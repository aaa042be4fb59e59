"""A path may take longer to judge than the processes' collectives may take."""

import pytest
from launching import launch

pytestmark = pytest.mark.slow


def test_the_others_wait_past_the_timeout_of_the_process_group(tmp_path):
    launch("waiting_processes.py", tmp_path)
    assert [(tmp_path / f"rank{rank}").read_text() for rank in range(2)] == ["3", "0"]
    assert len(list((tmp_path / "wise_ft").iterdir())) == 3

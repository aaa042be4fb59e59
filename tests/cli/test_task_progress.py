"""How far a task is and what it said last, from what it prints."""

import pytest

from lightning_robust.cli.task_progress import last_lines, share_done

BAR = "Epoch {}:  45%|████▌     | {}/160 [00:10<00:12,  6.9it/s, train/loss=3.21]"


def test_how_far_a_run_is_stands_in_its_last_training_bar(tmp_path):
    log = tmp_path / "log"
    log.write_text(f"{'=' * 20} earlier\n{BAR.format(9, 160)}\n{'=' * 20} now\n")
    assert share_done(log, 15) is None
    with log.open("a") as file:
        file.write(f"\r{BAR.format(0, 10)}\r{BAR.format(3, 72)}\rValidation DataLoader 0:  50%|██  | 4/8 [00:01<00:01]")
    assert share_done(log, 15) == pytest.approx((3 + 72 / 160) / 15)
    assert share_done(log, None) is None


def test_last_lines_are_without_the_states_of_bars(tmp_path):
    log = tmp_path / "log"
    log.write_text("begun\n" + "".join(f"\r{BAR.format(0, k)}" for k in range(9)) + "\nTraceback\n\n  ValueError: no\n")
    assert last_lines(log).splitlines() == ["begun", BAR.format(0, 8), "Traceback", "  ValueError: no"]

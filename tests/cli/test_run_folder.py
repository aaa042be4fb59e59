"""The folder of a run: numbered, named, found again, never used twice."""

import os

import pytest

from lightning_robust.cli.run_folder import check_checkpoint, new_run_folder, old_run_folder, shared_run_folder
from lightning_robust.errors import UserError


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_unnamed_runs_get_the_next_free_number(here):
    assert new_run_folder("finetune", None) == here / "checkpoints" / "finetune" / "001"
    (here / "checkpoints" / "finetune" / "007").mkdir()
    assert new_run_folder("finetune", None).name == "008"
    assert new_run_folder("pretrain", None).name == "001"


def test_numbers_past_a_thousand_sort_as_numbers(here):
    for name in ("999", "1000"):
        folder = here / "checkpoints" / "finetune" / name
        folder.mkdir(parents=True)
        (folder / "last.ckpt").touch()
    assert old_run_folder("finetune", None).name == "1000"
    assert new_run_folder("finetune", None).name == "1001"


def test_a_name_is_used_once():
    new_run_folder("finetune", "mine")
    with pytest.raises(UserError, match=r"'mine' exists already .* --ckpt_path last"):
        new_run_folder("finetune", "mine")


@pytest.mark.parametrize("name", ["a/b", "..", ".", ""])
def test_a_name_is_one_folder(name):
    with pytest.raises(UserError, match="one folder name"):
        new_run_folder("finetune", name)


def test_going_on_needs_a_checkpoint():
    with pytest.raises(UserError, match="no numbered run"):
        old_run_folder("finetune", None)
    folder = new_run_folder("finetune", None)
    with pytest.raises(UserError, match=r"last\.ckpt does not exist"):
        old_run_folder("finetune", None)
    (folder / "last.ckpt").touch()
    assert old_run_folder("finetune", None) == folder
    assert old_run_folder("finetune", "001") == folder


def test_a_checkpoint_that_is_not_there(here):
    with pytest.raises(UserError, match="no checkpoint"):
        check_checkpoint("nothing.ckpt")
    (here / "x.ckpt").touch()
    check_checkpoint("x.ckpt")


def test_processes_of_one_run_share_its_folder(here, monkeypatch):
    for key in ("RANK", "SLURM_PROCID", "LOCAL_RANK", "LIGHTNING_ROBUST_RUN_FOLDER"):
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(UserError, match="--run_name"):
        shared_run_folder("finetune", None)
    assert shared_run_folder("finetune", "mine") == here / "checkpoints" / "finetune" / "mine"
    monkeypatch.setenv("LOCAL_RANK", "0")
    first = shared_run_folder("finetune", None)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert shared_run_folder("finetune", None) == first
    assert [path.name for path in (here / "checkpoints" / "finetune").iterdir()] == ["001"]


def test_a_place_that_cannot_be_written(here):
    (here / "checkpoints").write_text("a file, not a folder")
    with pytest.raises(UserError, match="cannot write a run"):
        new_run_folder("finetune", None)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(here):
    here.chmod(0o500)
    try:
        with pytest.raises(UserError, match="cannot write a run"):
            new_run_folder("finetune", None)
    finally:
        here.chmod(0o700)

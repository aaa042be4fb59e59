"""Atomic writing: whole or not at all."""

import os

import pytest

from lightning_robust.results import atomic_path, atomic_write


def test_text_and_bytes(tmp_path):
    with atomic_write(tmp_path / "a.txt") as file:
        file.write("κ ≫ 3\n")
    assert (tmp_path / "a.txt").read_bytes() == "κ ≫ 3\n".encode()
    with atomic_write(tmp_path / "a.bin", "wb") as file:
        file.write(b"\x00\xff")
    assert (tmp_path / "a.bin").read_bytes() == b"\x00\xff"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.bin", "a.txt"]


def test_a_failing_block_leaves_what_was_there(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("before")

    def write_half():
        with atomic_write(target) as file:
            file.write("half of it")
            file.flush()
            assert target.read_text() == "before"
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        write_half()
    assert target.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_the_target_appears_only_at_the_end(tmp_path):
    with atomic_path(tmp_path / "model.safetensors") as temporary:
        temporary.write_bytes(b"weights")
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".safetensors"
        assert not (tmp_path / "model.safetensors").exists()
    assert (tmp_path / "model.safetensors").read_bytes() == b"weights"


def test_permissions_are_those_of_any_new_file(tmp_path):
    (tmp_path / "plain").touch()
    with atomic_write(tmp_path / "atomic"):
        pass
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_link_is_followed(tmp_path):
    (tmp_path / "real").write_text("before")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with atomic_write(tmp_path / "link") as file:
        file.write("after")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "after"


def test_data_reach_the_disk_before_the_name(tmp_path, monkeypatch):
    calls = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append((tmp_path / "a").exists()), real(fd))[1])
    with atomic_write(tmp_path / "a") as file:
        file.write("x")
    assert calls == [False, True]  # the file before it is renamed, the folder after


def test_refusals(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"folder .* does not exist"), atomic_write(tmp_path / "no" / "a"):
        pass
    with pytest.raises(FileNotFoundError, match="nothing was written"), atomic_path(tmp_path / "a"):
        pass
    with pytest.raises(ValueError, match="'a'"):
        atomic_write(tmp_path / "a", "a")  # type: ignore[call-overload]

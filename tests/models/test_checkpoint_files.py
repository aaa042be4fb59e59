"""Files: whole or not at all, never unpickled, shared memory written out."""

import pickle

import pytest
import safetensors.torch
import torch

from lightning_robust.models import load_metadata, load_tensors, load_theta, save_tensors
from lightning_robust.models.checkpoint_files import state_hash


def test_a_file_round_trips_bitwise_with_shared_and_strided_tensors(tmp_path):
    base = torch.arange(12.0).reshape(3, 4)
    tensors = {"base": base, "same": base, "row": base[1], "turned": base.T, "half": base.bfloat16()}
    tensors |= {"int": torch.tensor(7), "none": torch.empty(0)}
    path = tmp_path / "new" / "a.safetensors"
    save_tensors(path, tensors, {"alpha": "0.50"})
    for loaded in (load_tensors(path), safetensors.torch.load_file(path)):
        assert loaded.keys() == tensors.keys()
        assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)
        assert loaded["half"].dtype == torch.bfloat16
    assert load_metadata(path) == {"alpha": "0.50"}


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    save_tensors(path, {"a": torch.ones(1)})

    def dies(_tensors, filename, metadata=None):
        with open(filename, "wb") as file:  # noqa: PTH123
            file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("lightning_robust.models.checkpoint_files.save_file", dies)
    with pytest.raises(OSError, match="disk full"):
        save_tensors(path, {"a": torch.zeros(1)})
    assert [file.name for file in tmp_path.iterdir()] == ["a.safetensors"]
    assert load_tensors(path)["a"] == 1


def test_the_file_is_as_readable_as_any_other(tmp_path):
    (tmp_path / "plain").touch()
    save_tensors(tmp_path / "a.safetensors", {"a": torch.ones(1)})
    assert (tmp_path / "a.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_what_cannot_be_saved_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"'alpha': 0\.5"):
        save_tensors(tmp_path / "a", {"a": torch.ones(1)}, {"alpha": 0.5})
    with pytest.raises(ValueError, match=r"'a' \(int\)"):
        save_tensors(tmp_path / "a", {"a": 1})
    assert not list(tmp_path.iterdir())


def test_theta_comes_from_safetensors_lightning_checkpoints_and_plain_states(tmp_path):
    theta = {"w": torch.randn(3)}
    save_tensors(tmp_path / "a.safetensors", theta)
    torch.save(theta, tmp_path / "a.pt")
    torch.save({"state_dict": theta, "epoch": 3}, tmp_path / "a.ckpt")
    for name in ("a.safetensors", "a.pt", "a.ckpt"):
        assert torch.equal(load_theta(tmp_path / name)["w"], theta["w"])


class Trap:
    def __reduce__(self):
        return exec, ("raise SystemExit('unpickled')",)


def test_nothing_is_unpickled_and_bad_files_get_one_sentence(tmp_path):
    (tmp_path / "trap.ckpt").write_bytes(pickle.dumps(Trap()))
    torch.save({"trap": Trap()}, tmp_path / "trap.pt")
    (tmp_path / "cut.safetensors").write_bytes(b"\x08")
    torch.save([1, 2], tmp_path / "list.pt")
    for name, match in [
        ("trap.ckpt", "cannot be read"), ("trap.pt", "cannot be read"), ("cut.safetensors", "not a whole"),
        ("list.pt", "no state dict"), ("missing.ckpt", "No file .*missing.ckpt"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=match) as caught:
            load_theta(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="not a whole"):
        load_metadata(tmp_path / "cut.safetensors")


def test_the_state_hash_sees_names_shapes_types_and_bytes():
    base = {"a": torch.zeros(4), "b": torch.tensor(1)}
    variants = [
        {"a": torch.zeros(4), "c": torch.tensor(1)}, {"a": torch.zeros(2, 2), "b": torch.tensor(1)},
        {"a": torch.zeros(4).int(), "b": torch.tensor(1)}, {"a": -torch.zeros(4), "b": torch.tensor(1)},
    ]  # fmt: skip
    assert len({state_hash(state) for state in [base, *variants]}) == 5
    assert state_hash(base) == state_hash(dict(reversed(base.items())))


def test_an_empty_file_is_one_sentence(tmp_path):
    (tmp_path / "a.pt").touch()
    with pytest.raises(ValueError, match=r"a\.pt cannot be read as plain tensors: \w+"):
        load_theta(tmp_path / "a.pt")

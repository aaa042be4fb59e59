"""Members of tars as Python's own module reads them; indices are kept, and made again when a shard changes."""

import io
import json
import os
import tarfile

import numpy as np
import pytest

from lightning_robust.data.captions.tar_headers import tar_members
from lightning_robust.data.captions.tar_index import index_shard

from .conftest import picture, write_tar

LONG = "a/" * 90 + "long.jpg"


def reference(path):
    with tarfile.open(path, "r:") as tar:
        return [(member.name, member.offset_data, member.size) for member in tar if member.isreg()]


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_are_those_of_tarfile(kind, tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=kind) as tar:
        names = ["0.jpg", "b/0.txt", "empty.txt", "last.jpg", ("d" * 90 + "/") + "f" * 90]
        names += [] if kind == tarfile.USTAR_FORMAT else [LONG, "ü" * 60 + ".txt"]
        for k, name in enumerate(names):
            info = tarfile.TarInfo(name)
            info.size = 0 if name.startswith("empty") else 700 * k + 1
            info.mtime = 1.5 if kind == tarfile.PAX_FORMAT else 1  # webdataset's writer has such times
            tar.addfile(info, io.BytesIO(b"x" * info.size))
            folder = tarfile.TarInfo(f"folder{k}")
            folder.type = tarfile.DIRTYPE if k % 2 else tarfile.SYMTYPE
            tar.addfile(folder)
    assert [tuple(member) for member in tar_members(path)] == reference(path)
    assert len(reference(path)) == len(names)


def test_a_size_in_binary_is_understood(tmp_path):
    path = write_tar(tmp_path / "a.tar", [("0.txt", b"x" * 600), ("1.txt", b"y")])
    content = bytearray(path.read_bytes())
    content[124:136] = b"\x80" + (600).to_bytes(11, "big")
    content[148:156] = b" " * 8
    content[148:156] = b"%06o\0 " % sum(content[:512])
    path.write_bytes(content)
    assert (
        [tuple(member) for member in tar_members(path)] == reference(path) == [("0.txt", 512, 600), ("1.txt", 2048, 1)]
    )


def test_items_by_their_names_up_to_the_first_dot_in_any_order(tmp_path):
    image, text = picture(1), b"a dog"
    path = write_tar(tmp_path / "a.tar", [
        ("x/1.jpg", image), ("y/1.JPEG", image), ("y/1.txt", text), ("x/1.txt", text),  # one name in two folders
        ("2.seg.png", image), ("2.webp", image), ("2.json", text), ("2.jpg", image),  # .seg.png is none, webp is first
        ("3.png", image), ("3.txt", text), ("3.json", text),  # .txt goes before .json
        (".4.jpg", image), (".4.txt", text), ("__MACOSX/._5.jpg", image), ("note.cls", text),  # nothing
        ("6.jpg", image), ("7.txt", text), ("8.txt", b""), ("8.jpg", image),  # incomplete
        ("9.jpg", image), ("9.txt", text), ("9.txt", text), ("9.jpg", image),  # two items of one name
    ])  # fmt: skip
    index = index_shard(path)
    place = {}
    for name, offset, size in reference(path):
        place.setdefault(name, []).append((offset, size))
    expected = [("x/1.jpg", "x/1.txt", 0), ("y/1.JPEG", "y/1.txt", 0), ("2.webp", "2.json", 1), ("3.png", "3.txt", 0)]
    rows = [(*place[a][0], *place[b][0], is_json) for a, b, is_json in expected]
    rows += [(*place["9.jpg"][k], *place["9.txt"][k], 0) for k in range(2)]
    assert list(map(tuple, index.places.tolist())) == rows
    assert index.incomplete == 3
    assert index.named == ("6 has no caption", "7 has no image", "8 has no caption")
    assert index_shard(path, json_only=True).places[:, 4].tolist() == [1, 1]


def test_an_index_is_kept_until_the_shard_changes(tmp_path, cache, monkeypatch):
    path = write_tar(tmp_path / "a.tar", [("1.jpg", picture(1)), ("1.txt", b"one"), ("2.jpg", picture(1))])
    first = index_shard(path)
    with monkeypatch.context() as patch:
        patch.setattr("lightning_robust.data.captions.tar_index.tar_members", lambda file: pytest.fail("read again"))
        again = index_shard(path)
    assert np.array_equal(first.places, again.places)
    assert (again.incomplete, again.named, again.path) == (1, ("2 has no caption",), str(path))
    write_tar(path, [("1.jpg", picture(1)), ("1.txt", b"one"), ("2.jpg", picture(1)), ("2.txt", b"two")])
    os.utime(path, ns=(1, 1))
    assert len(index_shard(path).places) == 2
    for kept in (cache / "shards").iterdir():
        kept.write_bytes(kept.read_bytes()[:50])
    assert len(index_shard(path).places) == 2


def test_without_a_place_to_keep_it_an_index_is_made_each_time(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LIGHTNING_ROBUST_CACHE", str(tmp_path / "file"))
    path = write_tar(tmp_path / "a.tar", [("1.jpg", picture(1)), ("1.txt", b"one")])
    assert len(index_shard(path).places) == len(index_shard(path).places) == 1


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_compressed_shards_are_refused(kind, tmp_path):
    with tarfile.open(tmp_path / "a.tar", f"w:{kind}") as tar:
        tar.addfile(tarfile.TarInfo("1.txt"))
    with pytest.raises(ValueError, match=r"a\.tar is compressed by .*unpack it to a plain \.tar"):
        index_shard(tmp_path / "a.tar")


def test_damaged_shards_are_refused(tmp_path):
    whole = write_tar(tmp_path / "a.tar", [("1.jpg", b"x" * 3000), ("1.txt", b"one")]).read_bytes()
    for cut in (100, 600, 3000, 3584 + 100):
        (tmp_path / "b.tar").write_bytes(whole[:cut])
        with pytest.raises(ValueError, match=r"b\.tar is damaged or no tar \(it ends at byte \d+, within"):
            index_shard(tmp_path / "b.tar")
    (tmp_path / "b.tar").write_bytes(json.dumps(list(range(999))).encode())
    with pytest.raises(ValueError, match="byte 0 is no header of a member"):
        index_shard(tmp_path / "b.tar")
    with pytest.raises(ValueError, match=r"c\.tar cannot be read: No such file"):
        index_shard(tmp_path / "c.tar")

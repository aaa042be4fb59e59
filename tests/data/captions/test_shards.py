"""Captions of shards: lines, JSON and its entries; which files a text names; what is missing is counted and named."""

import pytest
import webdataset

from lightning_robust.data.captions.shards import expand_braces, shard_pairs
from lightning_robust.data.reading import UnreadableImageError

from .conftest import picture, write_shards, write_tar


def test_pairs_are_in_the_order_of_the_shards(tmp_path):
    path = write_shards(tmp_path / "set", [2, 3]).removeprefix("webdataset:")
    pairs = shard_pairs(path)
    assert pairs.blocks == [2, 3]
    found = [pairs.open(k) for k in range(5)]
    assert [captions for _, captions in found] == [(f"pair {k}",) for k in range(5)]
    assert {image.size for image, _ in found} == {(10, 8)}
    assert all(abs(image.getpixel((4, 4))[0] - k) <= 3 for k, (image, _) in enumerate(found))


#: Of webdataset, which leaves its file to the garbage collector.
UNCLOSED = "ignore:unclosed file", "ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning"


@pytest.mark.filterwarnings(*UNCLOSED)
def test_it_reads_what_webdataset_writes_as_webdataset_reads_it(tmp_path):
    path = str(tmp_path / "s-0.tar")
    with webdataset.TarWriter(path) as shard:
        for k in range(7):
            names = {"__key__": f"part/{k:03}", "jpg": picture(k), "txt": f"pair {k}"}
            shard.write(names | {"json": {"caption": f"json {k}"}})
    theirs = list(webdataset.WebDataset(path, shardshuffle=False).decode("pil").to_tuple("jpg", "txt", "json"))
    for key in (None, "caption"):
        pairs = shard_pairs(path, key=key)
        assert len(pairs) == len(theirs) == 7
        for k, (image, text, entries) in enumerate(theirs):
            mine, captions = pairs.open(k)
            assert mine.tobytes() == image.tobytes()
            assert captions == ((text,) if key is None else (entries["caption"],))


@pytest.mark.parametrize(("key", "expected"), [("caption", ("json 1",)), ("more", ("a 1", "b 1"))])
def test_captions_from_an_entry_of_json(key, expected, tmp_path):
    write_shards(tmp_path / "set", [3])
    assert shard_pairs(f"{tmp_path}/set/*.tar", key=key).open(1)[1] == expected


def test_json_without_the_entry_is_named(tmp_path):
    write_shards(tmp_path / "set", [1])
    with pytest.raises(UnreadableImageError, match=r"member 00000\.jpg at byte 512: its JSON has no entry 'none'"):
        shard_pairs(f"{tmp_path}/set/*.tar", key="none").open(0)


def test_lines_are_captions_unless_kept(tmp_path):
    write_tar(tmp_path / "s.tar", [("1.jpg", picture(1)), ("1.txt", b"a dog\n\n two dogs \n")])
    assert shard_pairs(f"{tmp_path}/s.tar").open(0)[1] == ("a dog", "two dogs")
    assert shard_pairs(f"{tmp_path}/s.tar", lines="keep").open(0)[1] == ("a dog\n\n two dogs",)
    with pytest.raises(ValueError, match="lines must be 'split' or 'keep', got 'x'"):
        shard_pairs(f"{tmp_path}/s.tar", lines="x")


def test_incomplete_items_are_counted_and_named(tmp_path):
    members = [("1.jpg", picture(1)), ("1.txt", b"one"), ("2.jpg", picture(1)), ("3.txt", b"three")]
    write_tar(tmp_path / "s.tar", members)
    told = r"2 of 3 items lack .* \(s\.tar: 2 has no caption; s\.tar: 3 has no image\)"
    with pytest.warns(UserWarning, match=told):
        pairs = shard_pairs(f"{tmp_path}/s.tar")
    assert len(pairs) == 1
    assert "without 2 items" in pairs.source
    write_tar(tmp_path / "t.tar", members[2:])
    with pytest.raises(ValueError, match=r"No item in .* has an image .* and a caption"):
        shard_pairs(f"{tmp_path}/t.tar")


@pytest.mark.filterwarnings(*UNCLOSED)
def test_a_name_that_comes_again_is_another_item_as_in_webdataset(tmp_path):
    members = []
    for turn, image in enumerate(("png", "png", "jpg")):
        for k in (1, 2):
            members += [(f"{k}.{image}", picture(k)), (f"{k}.txt", f"{k} of {turn}".encode())]
    path = str(write_tar(tmp_path / "s.tar", members))
    theirs = list(webdataset.WebDataset(path, shardshuffle=False).to_tuple("png;jpg", "txt"))
    pairs = shard_pairs(path)
    assert [pairs.open(k)[1] for k in range(len(pairs))] == [(text.decode(),) for _, text in theirs]
    assert len(pairs) == 6


def test_names_with_a_dot_are_counted_and_named(tmp_path):
    members = [("b/a.1.png", picture(1)), ("b/a.1.txt", b"one"), ("b/a.2.png", picture(2)), ("b/a.2.txt", b"two")]
    path = write_tar(tmp_path / "s.tar", [*members, ("3.png", picture(3)), ("3.seg.png", b"x"), ("3.txt", b"three")])
    told = r"2 of 3 items lack .* \(s\.tar: b/a\.1 is no name of an item, which ends at its first dot"
    with pytest.warns(UserWarning, match=told):
        pairs = shard_pairs(str(path))
    assert len(pairs) == 1
    assert "without 2 items" in pairs.source
    write_tar(tmp_path / "t.tar", members)
    with pytest.raises(ValueError, match=r"and a caption \(\.txt or \.json\): t\.tar: b/a\.1 is no name of an item"):
        shard_pairs(f"{tmp_path}/t.tar")
    write_tar(tmp_path / "u.tar", [*members[:2], ("b/a.png", picture(3)), ("b/a.txt", b"three")])
    with pytest.warns(UserWarning, match=r"1 of 2 items lack .* b/a\.1 is no name"):
        shard_pairs(f"{tmp_path}/u.tar")


def test_a_byte_order_mark_stays_out_of_captions(tmp_path):
    mark = "\ufeff".encode()
    captioned = mark + b'{"caption": "three"}'
    members = [("1.jpg", picture(1)), ("1.txt", mark + b"one\ntwo"), ("2.jpg", picture(2)), ("2.json", captioned)]
    pairs = shard_pairs(str(write_tar(tmp_path / "s.tar", members)))
    assert [pairs.open(k)[1] for k in range(2)] == [("one", "two"), ("three",)]


def test_half_of_a_surrogate_pair_in_json_becomes_what_tokenizers_take(tmp_path):
    members = [("1.jpg", picture(1)), ("1.json", b'{"caption": "a \\ud83d dog"}')]
    assert shard_pairs(str(write_tar(tmp_path / "s.tar", members))).open(0)[1] == ("a \ufffd dog",)


def test_an_empty_shard_among_others_is_no_harm(tmp_path):
    write_tar(tmp_path / "a.tar", [])
    write_tar(tmp_path / "b.tar", [("1.jpg", picture(1)), ("1.txt", b"one")])
    pairs = shard_pairs(f"{tmp_path}/{{a,b}}.tar")
    assert pairs.blocks == [0, 1]
    assert pairs.open(0)[1] == ("one",)


def test_a_shard_cut_off_after_it_was_indexed_is_named(tmp_path):
    write_shards(tmp_path / "set", [3])
    pairs = shard_pairs(f"{tmp_path}/set/s-000.tar")
    (tmp_path / "set" / "s-000.tar").write_bytes((tmp_path / "set" / "s-000.tar").read_bytes()[:600])
    with pytest.raises(UnreadableImageError, match="the shard ends within it"):
        pairs.open(1)


@pytest.mark.parametrize(("text", "expected"), [
    ("s.tar", ["s.tar"]), ("{9..11}", ["9", "10", "11"]), ("{x,y}-{0..1}", ["x-0", "x-1", "y-0", "y-1"]),
])  # fmt: skip
def test_braces(text, expected):
    assert expand_braces(text) == expected


@pytest.mark.parametrize(("text", "message"), [
    ("{2..1}", "is an empty range"), ("{a}", "no range as"), ("none-{0..1}.tar", r"No shard none-0\.tar"),
])  # fmt: skip
def test_a_text_that_names_no_shards(text, message):
    with pytest.raises(ValueError, match=message):
        shard_pairs(text)


def test_a_shard_named_twice_is_refused(tmp_path):
    write_shards(tmp_path / "set", [1])
    with pytest.raises(ValueError, match="names a shard twice"):
        shard_pairs(f"{tmp_path}/set/{{s-000,s-*}}.tar")

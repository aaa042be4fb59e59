"""Packed texts, the windowed shuffle, sources joined and chosen from, and the texts that name sources."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_robust.data.captions import open_captions
from lightning_robust.data.captions.order import windowed_order
from lightning_robust.data.captions.source import ChosenPairs, JoinedPairs
from lightning_robust.data.captions.texts import PackedTexts, as_captions

from .conftest import write_csv, write_parquet, write_shards


class Numbers:
    """Pairs that are numbers."""

    def __init__(self, start, blocks):
        self.start, self.blocks, self.source = start, blocks, f"from {start}"

    def __len__(self):
        return sum(self.blocks)

    def open(self, index):
        if not 0 <= index < len(self):
            raise IndexError(index)
        return None, (str(self.start + index),)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_packed_texts_are_the_texts(texts):
    packed = PackedTexts(texts)
    assert [packed[k] for k in range(len(packed))] == texts
    with pytest.raises(IndexError):
        packed[len(texts)]


@pytest.mark.parametrize("value", ["\ufeffa dog", b"\xef\xbb\xbfa dog", ["\ufeffa dog"]])
def test_a_byte_order_mark_is_no_part_of_a_caption(value):
    assert as_captions(value) == ("a dog",)
    assert as_captions("\ufeff") == ()
    assert as_captions(b"\xef\xbb\xbfa dog\na cat", lines=True) == ("a dog", "a cat")


def test_packed_texts_hold_any_text():
    assert PackedTexts(["a \ud83d", "\udcff", "b"])[0] == "a \ud83d"


def test_a_value_that_is_no_caption():
    with pytest.raises(ValueError, match="a caption has to be text, not int"):
        as_captions(3)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.integers(1, 30), st.integers(0, 99))
def test_an_order_is_a_permutation_that_reads_few_blocks_at_a_time(blocks, window, seed):
    order = windowed_order(blocks, window)(torch.Generator().manual_seed(seed))
    assert sorted(order.tolist()) == list(range(sum(blocks)))
    owner = np.repeat(np.arange(len(blocks)), blocks)[order.numpy()]
    spans = [np.flatnonzero(owner == block) for block in range(len(blocks)) if blocks[block]]
    assert all(np.ptp(span) < window + max(blocks) for span in spans)  # a group holds less than a block too many


def test_within_a_window_every_order_is_equally_likely():
    order, generator = windowed_order([1, 1, 1]), torch.Generator().manual_seed(0)
    drawn = [tuple(order(generator).tolist()) for _ in range(1200)]
    counts = [drawn.count(one) for one in set(drawn)]
    assert len(counts) == 6
    assert all(150 < count < 250 for count in counts)  # 200 ± 4 standard deviations of 13


def test_sources_joined_and_chosen_from():
    joined = JoinedPairs([Numbers(0, [2, 3]), Numbers(10, [0, 4]), Numbers(20, [1])])
    assert [joined.open(k)[1][0] for k in range(len(joined))] == list(map(str, [*range(5), *range(10, 14), 20]))
    assert joined.blocks == [2, 3, 0, 4, 1]
    chosen = ChosenPairs(joined, np.array([1, 3, 4, 9]), "four of them")
    assert chosen.blocks == [1, 2, 0, 0, 1]
    assert [chosen.open(k)[1][0] for k in range(len(chosen))] == ["1", "3", "4", "20"]
    assert chosen.source == "from 0; from 10; from 20; four of them"


def test_texts_with_options(tmp_path):
    csv = write_csv(tmp_path / "a", 2) + "?image=filepath&caption=filepath&root=."
    assert open_captions(csv).open(1)[1] == ("1.jpg",)
    (tmp_path / "a" / "x.json").write_text('{"filepath": "1.jpg", "title": "one"}')
    assert open_captions(f"json:{tmp_path}/a/x.json").open(0)[1] == ("one",)
    assert open_captions(write_shards(tmp_path / "b", [2]) + "?key=more").open(1)[1] == ("a 1", "b 1")
    assert open_captions(write_parquet(tmp_path / "c", [2]) + "?image=image&caption=caption").open(1)[1] == ("pair 1",)


@pytest.mark.parametrize(("spec", "message"), [
    ("pairs.csv", r"No captions 'pairs\.csv'; what works: csv:FILE, json:FILE, webdataset:FILES"),
    ("csv:", "No captions 'csv:'"),
    ([], "No captions are named"),
    ("csv:a?b=c", r"'b=c' in 'csv:a\?b=c' is no option; .* 'csv:' takes image, caption, folder, root, separator"),
    ("csv:a?image=b&image=c", "'image=c' in"),
    ("parquet:a?image", "'image' in"),
    (["hub-stream:a/b", "csv:a"], "stream 'hub-stream:a/b' cannot be joined"),
    (f"csv:{'x' * 300}", "No file xxx"),
    (f"json:{'x' * 300}?image=x", "No file xxx"),
    (f"csv:a.csv?caption={'x' * 300}", r"No file a\.csv"),
    (f"webdataset:{'x' * 300}", "No shard xxx"),
    (f"parquet:{'x' * 300}", "No file xxx"),
    (f"hub:a/{'x' * 300}", "is not on this machine"),
    (f"hub-stream:a/{'x' * 300}?lines={'x' * 300}", "is not on this machine"),
])  # fmt: skip
def test_texts_that_name_nothing(spec, message):
    with pytest.raises(ValueError, match=message):
        open_captions(spec)

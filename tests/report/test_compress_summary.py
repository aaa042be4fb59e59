"""The first table of a compression: what it leaves open, what it compares with, and when it says nothing."""

import io
from dataclasses import replace

from compression_record import compress_record
from rich.console import Console

from lightning_robust.report import print_compression
from lightning_robust.report.compress_summary import beyond, smallest
from lightning_robust.results import Interval, Latency


def printed(record, folder):
    file = io.StringIO()
    print_compression(record, folder, Console(file=file, width=80))
    return file.getvalue()


def flat(text):
    return " ".join(text.split())


def changed(record, method, keep, **fields):
    return replace(
        record,
        points=tuple(
            replace(p, **fields) if (p.method, p.keep, p.finetuned_epochs) == (method, keep, 0) else p
            for p in record.points
        ),
    )


def test_the_first_table_gives_ranges_and_marks_what_the_interval_leaves_open(tmp_path):
    record = compress_record(keeps=(0.5,), shifts=(), finetune=0)
    slow = Latency(median_ms=5.0, low_ms=4.0, high_ms=6.0, rounds=9, speedup=0.8, speedup_low=0.71, speedup_high=0.93)
    for low, mark in ((-0.02, "‡"), (-0.01, "")):
        differences = {"reference": Interval(-0.001, low, 0.01, 0.95, 200, 0)}
        own = changed(
            record, "uniform", 0.5, rows=record.dense.rows, differences=differences, latency={"64": slow, "1": slow}
        )
        text = flat(printed(own, tmp_path))
        assert f"uniform 54%{mark} (0.80 ×, 0.71-0.93)" in text
        assert "×: times as fast as dense, median and range over rounds" in text
        assert "At most one point: by the estimate" in text
        assert "faster" not in text[: text.index("Size")]
    assert not beyond(record, record.dense, "reference")


def test_a_finetuned_network_is_compared_with_the_dense_one_finetuned(tmp_path):
    record = compress_record(keeps=(0.5,), shifts=(), finetune=1)
    n = record.dense.reference.images

    def row(lost):
        return (replace(record.dense.reference, correct=record.dense.reference.correct - lost),)

    tuned = next(p for p in record.points if p.finetuned_epochs)
    dense_tuned = replace(record.dense, finetuned_epochs=1, rows=row(20), differences=tuned.differences)
    interval = Interval(0.0, -0.03, 0.01, 0.95, 200, 0)
    tuned = replace(tuned, rows=row(20), differences={}, tuned_differences={"reference": interval})
    with_it = replace(record, points=(record.dense, dense_tuned, tuned))
    assert 20 / n > 0.01
    assert smallest(with_it)[0].reference is tuned
    assert beyond(with_it, tuned, "reference")
    assert "+ft is compared with dense+ft" in flat(printed(with_it, tmp_path))
    without = replace(record, points=(record.dense, tuned))
    assert smallest(without)[0].reference is None
    assert "is compared with" not in flat(printed(without, tmp_path))


def test_near_chance_nothing_is_concluded(tmp_path):
    record = compress_record(keeps=(0.5,), finetune=0)
    accuracy = record.dense.reference.accuracy
    for chance, near in ((accuracy - 0.05, True), (accuracy - 0.051, False), (None, False)):
        own = replace(record, chance=chance)
        text = flat(printed(own, tmp_path))
        assert own.near_chance == near
        assert ("Nothing can be concluded: dense is right on" in text) == near
        assert ("Smallest network of each kind" in text) == (not near)


def test_notes_are_printed_and_what_was_low_rank_before_is_not_called_dense(tmp_path):
    record = compress_record(keeps=(0.5,))
    text = flat(printed(replace(record, notes=("a note [x] of it",), already_low_rank=3), tmp_path))
    assert "a note [x] of it" in text
    assert "as given: " in text
    assert "times as fast as as given" not in text
    assert "dense" not in text.replace(flat(str(tmp_path)), "")

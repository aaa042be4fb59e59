"""Which result files a page is made from."""

import json

import pytest
from page_data import (
    OWN,
    START,
    evaluated,
    evaluation_folder,
    evaluation_record,
    other_folder,
    probe_folder,
    probe_record,
    run_folder,
)

from lightning_robust.errors import UserError
from lightning_robust.report.html import find_sources


def names(found):
    return [one.folder.name for one in found]


def test_a_run_with_what_lies_beside_it(tmp_path):
    run = run_folder(tmp_path / "finetune" / "001")
    found = find_sources(run)
    assert found.runs[0].record.choice.alpha_star == 0.5
    assert found.curves[0].record[0].tag == "val/reference/accuracy"
    assert found.baselines[0].record.name == "made up"
    assert found.runs[0].asked


def test_what_was_measured_on_the_same_weights_is_found_by_their_hash(tmp_path):
    run = run_folder(tmp_path / "finetune" / "001")
    evaluation_folder(tmp_path / "evaluate" / "same")
    evaluation_folder(tmp_path / "evaluate" / "other", evaluation_record(evaluated("two", digest="c" * 64)))
    probe_folder(tmp_path / "probe" / "start", probe_record(digest=START))
    found = find_sources(run, below=tmp_path)
    assert names(found.evaluations) == ["same"]
    assert names(found.probes) == ["start"]
    assert not found.evaluations[0].asked
    assert not find_sources(run).evaluations


def test_rows_of_a_study_are_measurements_too(tmp_path):
    run = run_folder(tmp_path / "finetune" / "001")
    probe_folder(tmp_path / "study" / "scenes" / "measured" / "key")
    assert names(find_sources(run, below=tmp_path).probes) == ["key"]


def test_of_several_the_newest_and_no_more_than_is_needed(tmp_path):
    run = run_folder(tmp_path / "finetune" / "001")
    probe_folder(tmp_path / "probe" / "old", probe_record(created="2026-01-01T00:00:00+00:00"))
    probe_folder(tmp_path / "probe" / "new", probe_record(created="2026-02-01T00:00:00+00:00"))
    probe_folder(tmp_path / "probe" / "start", probe_record(digest=START, created="2025-01-01T00:00:00+00:00"))
    assert names(find_sources(run, below=tmp_path).probes) == ["new", "start"]


def test_named_folders_come_first_and_bring_their_own_weights(tmp_path):
    first = probe_folder(tmp_path / "probe" / "first")
    other = evaluation_folder(tmp_path / "evaluate" / "b", evaluation_record(evaluated("b", digest="d" * 64)))
    probe_folder(tmp_path / "probe" / "of_b", probe_record(digest="d" * 64))
    found = find_sources(first, [other, first], below=tmp_path)
    assert names(found.probes) == ["first", "of_b"]
    assert [one.asked for one in found.probes] == [True, False]
    assert names(found.evaluations) == ["b"]


def test_a_second_folder(tmp_path):
    first, second = probe_folder(tmp_path / "probe" / "a"), probe_folder(tmp_path / "probe" / "b")
    found = find_sources(first, second=second)
    assert names(found.probes) == ["a"]
    assert names(found.second.probes) == ["b"]


def test_what_cannot_be_read_is_told_and_the_rest_shown(tmp_path):
    run = run_folder(tmp_path / "finetune" / "001")
    broken = tmp_path / "probe" / "broken"
    broken.mkdir(parents=True)
    (broken / "results.json").write_text(f'{{"kind": "probe", "checkpoint_hash": "{OWN}"', encoding="utf-8")
    other_folder(tmp_path / "probe" / "newer", kind="probe", schema_version=99, checkpoint_hash=OWN)
    found = find_sources(run, below=tmp_path)
    assert {path.parent.name for path, _ in found.skipped} == {"broken", "newer"}
    assert any("newer lightning-robust" in reason for _, reason in found.skipped)
    assert found.runs


def test_a_path_of_weights_that_was_made_from_it_is_left_out(tmp_path):
    run = run_folder(tmp_path / "finetune" / "001")
    other_folder(tmp_path / "interpolate" / "001", kind="path", schema_version=1, checkpoint_hash=OWN)
    assert not find_sources(run, below=tmp_path).skipped


@pytest.mark.parametrize("kind", ["probe steps", "emergence", "soup"])
def test_what_a_page_has_nothing_to_show_of(tmp_path, kind):
    folder = other_folder(tmp_path / "x", kind=kind, schema_version=1)
    with pytest.raises(UserError, match=f"nothing to show of .*'{kind}'"):
        find_sources(folder)


def test_what_is_no_result(tmp_path):
    with pytest.raises(UserError, match="there is no folder"):
        find_sources(tmp_path / "none")
    with pytest.raises(UserError, match="no results in"):
        find_sources(tmp_path)
    with pytest.raises(UserError, match="does not say its kind"):
        find_sources(other_folder(tmp_path / "x", a=1))
    (tmp_path / "results.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="no file of results"):
        find_sources(tmp_path)


def test_a_file_can_be_named_by_itself(tmp_path):
    folder = probe_folder(tmp_path / "probe" / "a")
    copy = folder / "copy.json"
    copy.write_text((folder / "results.json").read_text(encoding="utf-8"), encoding="utf-8")
    assert json.loads(copy.read_text(encoding="utf-8"))["kind"] == "probe"
    assert find_sources(copy).probes[0].folder == folder

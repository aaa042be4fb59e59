"""Cards: read by the Hub's own parser, written over nothing of others."""

import math

import pytest
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from lightning_robust.report.card import CARD, Card, CardResult, card_text, is_own_card, write_card, write_cards

HOSTILE = '<script>alert(1)</script> | "a": b\n---\nlicense: mit\n# {x} \u2028 \x00 \ud800'


def result(part="v2", value=0.5, metric="accuracy", **other):
    words = {"dataset": "scenes world, version 1", "split": "test", "metric_name": "top-1 accuracy"} | other
    return CardResult(part=part, metric=metric, value=value, **words)


def card(**other):
    return Card(**{"title": "finetune/001", "summary": "A model.", "library": "open_clip"} | other)


def test_the_hub_reads_every_figure_back():
    results = (result("reference", 0.9), result("v2", 0.75), result("v2", -0.0123456789, "effective_robustness"))
    data = ModelCard(card_text(card(results=results, tags=("CLIP",)))).data
    assert isinstance(data, ModelCardData)
    assert data.model_name == "finetune/001"
    assert data.library_name == "open_clip"
    assert data.datasets is None  # on the Hub: what a model was trained on
    assert data.metrics == ["accuracy", "effective_robustness"]
    assert "clip" in data.tags
    assert data.license is None  # nobody said one
    assert all(isinstance(one, EvalResult) for one in data.eval_results)
    found = [(one.dataset_config, one.metric_type, one.metric_value) for one in data.eval_results]
    assert found == [
        ("reference", "accuracy", 0.9),
        ("v2", "accuracy", 0.75),
        ("v2", "effective_robustness", -0.012346),
    ]
    assert {one.dataset_name for one in data.eval_results} == {
        "scenes world, version 1: reference",
        "scenes world, version 1: v2",
    }
    assert {(one.task_type, one.dataset_type, one.dataset_split) for one in data.eval_results} == {
        ("image-classification", "scenes-world-version-1", "test")
    }


def test_what_is_no_number_is_left_out_and_nothing_judged_has_no_index():
    assert ModelCard(card_text(card(results=(result(value=math.nan),)))).data.eval_results is None
    text = card_text(card())
    assert "model-index" not in text
    assert "datasets" not in text
    assert "license" not in text


def test_hostile_text_stays_text_in_head_and_body():
    text = card_text(card(title=HOSTILE, results=(result(HOSTILE, 0.5, dataset=HOSTILE),)))
    read = ModelCard(text)
    assert read.data.license is None
    assert read.data.model_name.startswith("<script>")
    assert read.data.eval_results[0].dataset_config == read.data.model_name
    assert "<script>" not in read.text.replace("\\<script\\>", "")
    assert text.encode("utf-8")
    assert "\x00" not in text


def test_the_same_card_is_written_again_and_another_is_not_touched(tmp_path):
    file = tmp_path / CARD
    assert write_card(card(), file)
    first = file.read_bytes()
    assert is_own_card(file)
    assert write_card(card(), file)
    assert file.read_bytes() == first
    assert write_card(card(title="other"), file)
    assert b"# other" in file.read_bytes()
    edited = file.read_text().replace("A model.", "My words.")
    file.write_text(edited)
    assert not is_own_card(file)
    assert not write_card(card(), file)
    assert file.read_text() == edited
    assert [path.name for path in tmp_path.iterdir()] == [CARD]


@pytest.mark.parametrize("content", [b"# mine\n", b"", b"\xff\xfe", None])
def test_a_file_of_somebody_else_stays(tmp_path, content):
    file = tmp_path / CARD
    if content is None:
        file.symlink_to(tmp_path / "nowhere")
    else:
        file.write_bytes(content)
    assert not is_own_card(file)
    assert write_cards({file: card()}) == [file]
    assert content is None or file.read_bytes() == content


def test_line_ends_of_another_system_count_as_an_edit(tmp_path):
    file = tmp_path / CARD
    write_card(card(), file)
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert not write_card(card(), file)


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_card(card(), tmp_path / "none" / CARD)

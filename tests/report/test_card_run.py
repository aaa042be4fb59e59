"""Cards of runs, merged weights and compressed networks, from records and files; read by the Hub's parser."""

import dataclasses

import pytest
import torch
from compression_record import compress_record
from huggingface_hub import ModelCard
from safetensors.torch import save_file

from lightning_robust.report.card import CARD, card_text
from lightning_robust.report.card_compressed import compressed_cards
from lightning_robust.report.card_merge import merge_card
from lightning_robust.report.card_parts import base_model_of, loading
from lightning_robust.report.card_run import run_cards
from lightning_robust.results import (
    AlphaRow,
    CurveRow,
    DataDescription,
    EffectiveRobustness,
    Interval,
    RunRecord,
    ShiftRobustness,
    collect_provenance,
    file_sha256,
)
from lightning_robust.results.merge_record import MergeInput, MergeOutput, MergeRecord

HOSTILE = "<script>alert(1)</script>"
PREDICTION = Interval(0.1, -0.05, 0.25, level=0.95, replicates=10, seed=0)
ROBUST = ShiftRobustness(
    accuracy=0.5, expected=0.4, estimate=0.1, interval=PREDICTION, prediction=PREDICTION, extrapolated=True
)


def row(alpha):
    robustness = EffectiveRobustness(
        shifts={HOSTILE: ROBUST}, mean=ROBUST, baseline="scenes", scale="logit", x="full", aggregate="er"
    )
    figures = {"kurtosis/visual": 2.9, "kurtosis/visual/q05": 1.0, "outliers/visual/features": float("nan")}
    return AlphaRow(
        alpha=alpha,
        val_reference=0.9,
        reference=0.8 + alpha / 10,
        shifts={HOSTILE: 0.5, "v2": 0.6},
        shifts_mean=0.55,
        signatures=figures,
        effective_robustness=robustness,
    )


def record(path=True, encoder="scenes-clip", **other):
    config = {"model": {"init_args": {"encoder": encoder, "export_to": "clip"}}}
    return RunRecord(
        kind="ClassifierFinetuning",
        provenance=collect_provenance(threads=1),
        seeds={"everything": 3},
        config=config,
        data=DataDescription(dataset="scenes world", protocol="top-1", images={}),
        wise_ft=tuple(row(alpha) for alpha in (0.0, 1.0)) if path else (),
        reference_lines={"untrained": {"kurtosis/visual": 2.5}},
        conventions=(f"- a list? {HOSTILE}",),
        **other,
    )


@pytest.fixture
def folder(tmp_path):
    run = tmp_path / "finetune" / "001"
    (run / "wise_ft").mkdir(parents=True)
    torch.save({"state_dict": {}}, run / "last.ckpt")
    for alpha in ("0.00", "1.00"):
        for ending in ("", ".head"):
            save_file({"weight": torch.ones(2)}, run / "wise_ft" / f"alpha={alpha}{ending}.safetensors")
    return run


def test_a_run_has_cards_beside_each_of_its_weights(folder):
    cards = run_cards(record(), folder)
    assert set(cards) == {folder / CARD, folder / "wise_ft" / CARD}
    run, path = (ModelCard(card_text(card)) for card in cards.values())
    values = {(one.dataset_config, one.metric_type): one.metric_value for one in run.data.eval_results}
    assert values == {
        ("reference", "accuracy"): 0.9,
        (HOSTILE, "accuracy"): 0.5,
        (HOSTILE, "effective_robustness"): 0.1,
        ("v2", "accuracy"): 0.6,
        ("mean of the shifts", "accuracy"): 0.55,
        ("mean of the shifts", "effective_robustness"): 0.1,
    }
    assert "95 % prediction interval -0.0500 to 0.2500" in str([one.metric_name for one in run.data.eval_results])
    for card in (run, path):
        assert HOSTILE not in card.text
        assert "`kurtosis/visual` | 2.9 | 2.5" in card.text
        assert "q05" not in card.text
        assert "`outliers/visual/features` | – |" in card.text
        assert "extrapolated" in card.text
        assert "everything 3" in card.text
    assert file_sha256(folder / "last.ckpt") in run.text
    assert all(file_sha256(file) in path.text for file in (folder / "wise_ft").glob("*.safetensors"))
    assert "| 0 | 80.00 | 55.00 | +10.00 |" in path.text


def test_what_it_exported_has_one_too_and_says_how_open_clip_reads_it(folder):
    (folder / "clip").mkdir()
    (folder / "clip" / "open_clip_config.json").write_text("{}")
    assert folder / "clip" / CARD not in run_cards(record(), folder)  # no weights yet
    save_file({"weight": torch.ones(2)}, folder / "clip" / "open_clip_model.safetensors")
    curves = [CurveRow(e, e, f"val/{name}/accuracy", 0.1 * e + k / 100) for e in (1, 2) for k, name in enumerate("ab")]
    card = run_cards(record(path=False), folder, curves)[folder / "clip" / CARD]
    read = ModelCard(card_text(card))
    assert read.data.library_name == "open_clip"
    assert "local-dir:THIS FOLDER" in read.text
    assert {(one.dataset_config, one.metric_value, one.dataset_split) for one in read.data.eval_results} == {
        ("a", 0.2, "validation"),
        ("b", 0.21, "validation"),
        ("mean of the shifts", 0.21, "validation"),
    }


def test_a_run_without_weights_or_accuracies_says_so(tmp_path):
    assert run_cards(record(), tmp_path) == {}
    torch.save({}, tmp_path / "last.ckpt")
    read = ModelCard(card_text(run_cards(record(path=False), tmp_path)[tmp_path / CARD]))
    assert read.data.eval_results is None
    assert "Not measured while training" in read.text


@pytest.mark.parametrize(
    ("encoder", "words", "base"),
    [
        ("timm:resnet50.a1_in1k", "timm.create_model('resnet50.a1_in1k', num_classes=0)", None),
        ("hf-hub:laion/x", "open_clip.create_model('hf-hub:laion/x', load_weights=False)", "laion/x"),
        ("ViT-B-32-quickgelu/openai", "open_clip.create_model('ViT-B-32-quickgelu')", None),
        ("RN50@my file.pt", "open_clip.create_model('RN50')", None),
        ("scenes-clip", "load_encoder('scenes-clip').folder", None),
        ("transformers:openai/x", "load_encoder('transformers:openai/x').model", None),
        ("hf-hub:../x y\n", "'hf-hub:../x y'", None),
        (None, "YOUR ENCODER", None),
    ],
)
def test_loading_is_python_that_names_the_encoder(encoder, words, base):
    text = loading(encoder, "alpha='x'.safetensors", "h.safetensors")
    assert words in text
    compile(text.strip("`").removeprefix("python"), "card", "exec")
    assert base_model_of(encoder) == base


def test_the_lines_for_wise_ft_load_the_bundled_model(folder, monkeypatch):
    from lightning_robust.models import load_encoder

    file = folder / "wise_ft" / "alpha=1.00.safetensors"
    save_file(load_encoder("scenes-clip", pretrained=False).model.state_dict(), file)
    monkeypatch.chdir(file.parent)
    text = loading("scenes-clip", file.name)
    scope = {}
    exec(compile(text.strip("`").removeprefix("python"), "card", "exec"), scope)
    assert scope["model"].visual is not None


def merged(kind):
    inputs = tuple(MergeInput(file=f"/home/x/{n}.pt", form="a | b", checkpoint_hash=n * 64, score=0.5) for n in "ab")
    outputs = (MergeOutput(file="s.safetensors", alpha=None, checkpoint_hash="c" * 64, head_hash="d" * 64),)
    return MergeRecord(
        kind=kind, method="the mean", provenance=collect_provenance(threads=1), inputs=inputs, outputs=outputs
    )


@pytest.mark.parametrize("kind", ["soup", "path"])
def test_merged_weights_name_what_they_were_made_of(kind):
    read = ModelCard(card_text(merge_card(merged(kind), "s.safetensors")))
    assert read.data.eval_results is None
    assert "/home/x" not in read.text
    for part in ("`a.pt`", "a \\| b", "a" * 64, "c" * 64, "d" * 64, "s.head.safetensors", "50.00"):
        assert part in read.text
    with pytest.raises(ValueError, match="no output"):
        merge_card(dataclasses.replace(merged(kind), outputs=()), "x")


def test_every_folder_of_compress_has_one(tmp_path):
    made = compress_record()
    points = tuple(dataclasses.replace(p, folder=f"keep={k}" if k else None) for k, p in enumerate(made.points))
    made = dataclasses.replace(made, points=points)
    cards = compressed_cards(made, tmp_path)
    assert set(cards) == {tmp_path / f"keep={k}" / CARD for k in range(1, len(points))}
    read = ModelCard(card_text(cards[tmp_path / "keep=1" / CARD]))
    found = {one.dataset_config: one.metric_value for one in read.data.eval_results if one.metric_type == "accuracy"}
    assert {r.set: round(r.accuracy, 6) for r in points[1].rows}.items() <= found.items()
    assert f"{points[1].parameters:,}" in read.text

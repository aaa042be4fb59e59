"""What `probe` prints and draws, from records alone."""

import dataclasses
import io
import math

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from lightning_robust.report import print_probe, probe_figure
from lightning_robust.report.shorten import short_names
from lightning_robust.results import (
    ConceptEntry,
    DataDescription,
    DirectionConcepts,
    ModelDescription,
    ProbedLayer,
    ProbeRecord,
    collect_provenance,
    read_probe,
    write_probe,
)

H, BLOCK = "encoder.visual", "encoder.visual.layer4"
SCALARS = {
    f"kurtosis/{H}": 3.14,
    f"kurtosis/{H}/q05": 2.4,
    f"kurtosis/{H}/q95": 4.55,
    f"kurtosis/{BLOCK}": 7.29,
    f"outliers/{H}/features": math.nan,
    f"outliers/{BLOCK}/features": 2.0,
    f"outliers/{BLOCK}/share_of_norm": 0.071,
    f"spectrum/{H}/rankme": 14.2,
    f"importance/{H}/raw/max_over_median": 148.9,
    f"importance/{H}/raw/privileged": 6.0,
    f"importance/{H}/raw/random_head/privileged": 0.4,
    f"importance/{H}/centred/max_over_median": 52.1,
    f"importance/{H}/raw/random_head/max_over_median": 1.9,
    f"concepts/{H}/singular_vectors/unique_0.9": 4.0,
    f"concepts/{H}/singular_vectors/mean_best_ap": 0.45,
    f"concepts/{H}/singular_vectors/polysemantic_share_0.5": 0.25,
    f"concepts/{H}/singular_vectors/directions": 20.0,
    f"concepts/{H}/singular_vectors/permuted/unique_0.9": 0.0,
    f"concepts/{H}/singular_vectors/permuted/mean_best_ap": 0.11,
    f"concepts/{H}/eligible": 61.0,
    "weights/conv1.weight/stable_rank": 2.0,
    "weights/conv1.weight/effective_rank": 9.0,
    "weights/conv1.weight/alpha": math.nan,
    f"not_finite/{BLOCK}/kurtosis": 3.0,
}


def record(**changes):
    entry = ConceptEntry(concept="class:star", category="class", average_precision=0.93, prevalence=0.05, sign=-1)
    fields = {
        "provenance": collect_provenance(threads=1),
        "seeds": {"random heads": 0},
        "model": ModelDescription(
            name="scenes-clip", origin="pretrained", checkpoint_hash="0" * 64, parameters=1_430_000, classes=20
        ),
        "data": DataDescription(dataset="scenes", protocol="own", images={"reference test images": 500}),
        "conventions": ("Pearson kurtosis",),
        "layers": (
            ProbedLayer(name=BLOCK, form="512 features, mean over 4 positions", d=512),
            ProbedLayer(name=H, form="128 features", d=128),
        ),
        "scalars": SCALARS,
        "curves": {
            f"spectrum/{H}/eigenvalues": (2.0, 1.0, 1e-30),
            f"importance/{H}/raw/directions": (0.5, 0.2, 0.1),
            f"concepts/{H}/thresholds": (0.5, 0.9),
            f"concepts/{H}/singular_vectors/unique": (20.0, 4.0),
        },
        "indices": {f"outliers/{BLOCK}/indices": (3, 77)},
        "directions": (DirectionConcepts(direction=2, importance=0.5, privileged=True, concepts=(entry,)),),
    }
    return ProbeRecord(**fields | changes)


def printed(records, tmp_path, width=100):
    out = io.StringIO()
    print_probe(records, tmp_path, Console(file=out, width=width))
    return out.getvalue()


def row(text, start):
    return next(line.split() for line in text.splitlines() if line.strip().startswith(start))


def test_one_model(tmp_path):
    text = printed({"": record()}, tmp_path)
    assert row(text, "visual.layer4")[:3] == ["visual.layer4", "7.29", "–"]
    assert "7.1%" in text
    assert row(text, "the head")[2:] == ["148.9", "6", "–", "52.1", "–", "–"]
    assert row(text, "random heads")[2:] == ["1.9", "0.4", "–", "–", "–", "–"]
    assert row(text, "singular vectors ")[2:] == ["4", "0.45", "25%", "20"]
    assert row(text, "labels permuted")[2:] == ["0", "0.11", "–"]
    assert "v3* (50.0 %): −class:star 0.93" in text
    assert "E[hhᵀ]" in text
    assert "of 61 eligible ones" in text
    assert "visual.layer4: 3 of 500 images left out" in text
    assert str(tmp_path) in text


def test_a_figure_that_is_not_defined_is_a_dash(tmp_path):
    text = printed({"": record()}, tmp_path)
    columns = next(line for line in text.splitlines() if "outliers" in line and "kurtosis" in line).split()
    h = row(text, "visual ")
    assert h[1 + columns.index("outliers") - 1] == "–"


@pytest.mark.parametrize("width", [80, 140])
def test_two_models_side_by_side(tmp_path, width):
    other = record(
        scalars=SCALARS | {f"kurtosis/{H}": 9.99, f"not_finite/{BLOCK}/kurtosis": 0.0},
        model=dataclasses.replace(record().model, name="finetuned"),
    )
    text = printed({"A": record(), "B": other}, tmp_path, width)
    assert "A: scenes-clip" in text
    assert "B: finetuned" in text
    assert "9.99" in text
    assert all(len(line) <= width for line in text.splitlines() if "─" in line)
    lines = text.splitlines()
    first = next(k for k, line in enumerate(lines) if "3.14" in line)
    assert lines[first].split()[1] == "A"
    assert lines[first + 1].split()[0] == "B"


def test_what_was_not_the_same_is_said(tmp_path):
    def with_images(count):
        return record(data=dataclasses.replace(record().data, images={"a": count}))

    with_concepts = record(data=dataclasses.replace(record().data, images={"a": 500, "b (concepts)": 9}))
    other_concepts = record(data=dataclasses.replace(record().data, images={"a": 500, "c (concepts)": 9}))
    assert "different images" in printed({"A": with_images(500), "B": with_images(499)}, tmp_path)
    assert "different images" not in printed({"A": with_images(500), "B": with_concepts}, tmp_path)
    assert "different concept sets" not in printed({"A": with_images(500), "B": with_concepts}, tmp_path)
    assert "different concept sets" in printed({"A": with_concepts, "B": other_concepts}, tmp_path)
    assert "different seeds" in printed({"A": record(), "B": record(seeds={"random heads": 1})}, tmp_path)


def test_a_label_stands_on_the_first_row_there_is(tmp_path):
    headless = record(
        scalars={tag: value for tag, value in SCALARS.items() if "importance" not in tag and "concepts" not in tag},
        model=dataclasses.replace(record().model, classes=0),
    )
    text = printed({"A": headless, "B": record()}, tmp_path)
    assert row(text, "the head")[2:4] == ["B", "148.9"]
    assert row(text, "singular vectors")[2] == "B"
    assert "No head, so no importance" in text


def test_models_of_different_architectures_stand_one_after_the_other(tmp_path):
    other = record(
        layers=tuple(ProbedLayer(name=f"blocks.{k}", form="8 features, first of 5 tokens", d=8) for k in range(3)),
        scalars={f"kurtosis/blocks.{k}": 5.0 + k for k in range(3)}
        | {f"spectrum/blocks.{k}/rankme": 2.0 for k in range(3)},
    )
    text = printed({"A": record(), "B": other}, tmp_path)
    labels = [line.split()[:2] for line in text.splitlines() if line.strip().startswith(("visual", "blocks"))]
    rows = [["visual.layer4", "A"], ["visual", "A"], ["blocks.0", "B"], ["blocks.1", "B"], ["blocks.2", "B"]]
    assert labels == rows * 2
    assert "first of 5 tokens" in " ".join(text.split())
    probe_figure({letter: (record() if k % 2 else other) for k, letter in enumerate("ABCDEFGH")}, tmp_path / "a.png")


def test_pooling_that_differs_is_said(tmp_path):
    layers = (dataclasses.replace(record().layers[0], form="512 features, first of 4 tokens"), record().layers[1])
    text = printed({"A": record(), "B": record(layers=layers)}, tmp_path)
    assert "mean over 4 positions" in text
    assert "first of 4 tokens" in text


def test_a_layer_of_which_nothing_is_finite(tmp_path):
    text = printed({"": record(scalars={f"not_finite/{H}/kurtosis": 500.0}, curves={}, directions=())}, tmp_path)
    assert "Outliers" not in text
    assert "visual: 500 of 500 images left out: features not finite" in text


def test_nothing_is_printed_of_what_was_not_measured(tmp_path):
    few = {tag: value for tag, value in SCALARS.items() if tag.startswith("kurtosis")}
    text = printed({"": record(scalars=few, curves={}, directions=())}, tmp_path)
    assert "Concepts" not in text
    assert "Importance" not in text
    assert "Weights" not in text


@pytest.mark.parametrize("letters", ["", "AB"])
def test_the_picture(tmp_path, letters):
    records = {letter: record() for letter in letters} or {"": record()}
    probe_figure(records, tmp_path / "probe.png")
    pixels = np.asarray(Image.open(tmp_path / "probe.png").convert("L"))
    assert pixels.shape[1] > 1000
    assert pixels.std() > 10


def test_a_picture_of_little(tmp_path):
    probe_figure({"": record(scalars={}, curves={}, directions=())}, tmp_path / "probe.png")
    assert [path.name for path in tmp_path.iterdir()] == ["probe.png"]


def test_a_record_there_and_back(tmp_path):
    made = record()
    write_probe(made, tmp_path / "results.json")
    found = read_probe(tmp_path / "results.json")
    assert math.isnan(found.scalars[f"outliers/{H}/features"])
    assert dataclasses.replace(found, scalars={}) == dataclasses.replace(made, scalars={})


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["a.b", "a.b.c", "a.b.d"], ["b", "b.c", "b.d"]),
        (["fc:input"], ["fc:input"]),
        (["layer1", "layer2"], ["layer1", "layer2"]),
        (["x.y.z"], ["z"]),
        (["a.b", "c.b"], ["a.b", "c.b"]),
        (["x.blocks.0", "x.blocks.10"], ["blocks.0", "blocks.10"]),
        ([], []),
    ],
)
def test_short_names(names, short):
    assert short_names(names) == dict(zip(names, short, strict=True))


def test_square_brackets_of_names_are_kept(tmp_path):
    entry = ConceptEntry(concept="word [old]", category="class", average_precision=0.93, prevalence=0.05, sign=1)
    changed = record(
        model=dataclasses.replace(record().model, name="m [red]", origin="weights of a[/x].pt"),
        data=DataDescription(dataset="own", protocol="own", images={"photos [dim]": 500}),
        layers=tuple(dataclasses.replace(layer, form=f"{layer.form} [i]") for layer in record().layers),
        directions=(DirectionConcepts(direction=2, importance=0.5, privileged=True, concepts=(entry,)),),
    )
    text = printed({"": changed}, tmp_path / "out [bold]", width=160)
    for words in (
        "m [red] ·",
        "weights of a[/x].pt",
        "500 images of photos [dim]",
        "word [old] 0.93",
        "out [bold]",
        "[i]",
    ):
        assert words in text
    other = dataclasses.replace(changed, data=record().data)
    both = printed({"A": changed, "B": other}, tmp_path, width=160)
    assert "500 images of photos [dim]" in both

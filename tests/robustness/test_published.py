"""The tables that ship: complete, fractions, counts that fit their figures, sources and licences named."""

import json
from importlib.resources import files

import pytest

from lightning_robust.robustness.published import (
    TABLES,
    published_models,
    published_source,
    published_standard,
    published_zero_shot,
)

SETS = ("v2", "r", "sketch", "objectnet", "a")


def test_sizes_and_families():
    assert [len(published_models(table)) for table in TABLES] == [335, 1266, 121]
    families = [model.family for model in published_models("imagenet_testbed")]
    assert {name: families.count(name) for name in ("standard", "robust_intv", "more_data", "low_accuracy_cnn")} == {
        "standard": 87,
        "robust_intv": 86,
        "more_data": 43,
        "low_accuracy_cnn": 115,
    }


@pytest.mark.parametrize("table", TABLES)
def test_names_are_unique_and_figures_are_fractions(table):
    models = published_models(table)
    assert len({model.name for model in models}) == len(models)
    for model in models:
        for value in (model.reference, *model.shifts.values(), *model.matched.values()):
            assert 0 <= value <= 1
        assert set(model.shifts) <= set(SETS)
        assert set(model.matched) <= {"r", "objectnet", "a"}
        assert model.source


def test_the_testbeds_figures_are_whole_images():
    """Every accuracy times its number of images is a whole number to its five digits: the counts are the right ones."""
    images = published_source("imagenet_testbed")["images"]
    for model in published_models("imagenet_testbed"):
        figures = {"reference": model.reference, **model.shifts}
        figures |= {f"matched/{name}": value for name, value in model.matched.items()}
        for name, value in figures.items():
            assert round(round(value * images[name]) / images[name], 5) == pytest.approx(value, abs=1e-9), (model, name)


@pytest.mark.parametrize("table", TABLES)
def test_sources_say_what_is_needed(table):
    source = published_source(table)
    assert {"file", "what", "source", "revision", "paper", "licence", "images", "protocols"} == set(source)
    assert source["licence"] in ("MIT", "Apache-2.0")
    assert len(source["revision"]) == 40
    measured = {name for model in published_models(table) for name in model.shifts}
    assert measured | {"reference"} == set(source["protocols"])
    assert set(source["protocols"]) <= set(source["images"])


def test_every_file_has_its_source():
    folder = files("lightning_robust.robustness") / "tables"
    named = {entry["file"] for entry in json.loads((folder / "sources.json").read_text()).values()}
    assert {file.name for file in folder.iterdir()} == {*named, "sources.json"}


def test_zero_shot_by_architecture_and_tag():
    found = published_zero_shot("ViT-B-32", "openai")
    assert found == {
        "reference": 0.6332,
        "v2": 0.5592,
        "r": 0.6933,
        "sketch": 0.4229,
        "objectnet": 0.4431,
        "a": 0.3155,
    }
    assert published_zero_shot("ViT-B/32", "openai") == found
    assert published_zero_shot("ViT-B-32-quickgelu", "openai") == found
    assert published_zero_shot("ViT-B-32", "none") is None


def test_standard_models_of_timm_and_the_testbed():
    timm, testbed = published_standard("resnet50.tv_in1k"), published_standard("resnet50")
    assert (timm["reference"], testbed["reference"]) == (0.76156, 0.7613)
    assert "a" not in timm
    assert testbed["a"] == 0.0
    assert published_standard("resnet51") is None


def test_refusal():
    for function in (published_models, published_source):
        with pytest.raises(ValueError, match="imagenet_testbed, imagenet_timm, imagenet_zero_shot, got 'cifar'"):
            function("cifar")

"""Classes, subsets and ObjectNet's map against what timm, open_clip and the publications say."""

import importlib.util
import json
from pathlib import Path

import pytest
from open_clip import zero_shot_metadata
from timm.data import ImageNetInfo

from lightning_robust.data.imagenet import classes
from lightning_robust.data.imagenet.classes import A_SYNSETS, R_SYNSETS, class_names, subset, templates, wnids
from lightning_robust.data.imagenet.objectnet import covered, objects


def test_wnids_are_those_of_timm_and_sorted():
    assert list(wnids()) == ImageNetInfo("imagenet-1k").label_names()
    assert list(wnids()) == sorted(wnids())
    assert classes.class_words()[0] == ImageNetInfo("imagenet-1k").index_to_description(0) == "tench, Tinca tinca"


def test_subsets_have_their_published_sizes_and_are_the_indices_that_timm_lists():
    info = Path(importlib.util.find_spec("timm").origin).parent / "data" / "_info"
    for letter, file in (("r", R_SYNSETS), ("a", A_SYNSETS)):
        assert list(subset(file)) == [int(k) for k in (info / f"imagenet_{letter}_indices.txt").read_text().split()]
        assert len(set(subset(file))) == 200
    assert len(set(subset(R_SYNSETS)) & set(subset(A_SYNSETS))) == 86


def test_names_that_occur_twice_are_told_apart_by_position():
    names = class_names()
    assert names == list(zero_shot_metadata.IMAGENET_CLASSNAMES)
    assert len(names) == 1000
    assert len(set(names)) == 998
    twice = {name: [k for k, other in enumerate(names) if other == name] for name in ("missile", "sunglasses")}
    assert twice == {"missile": [657, 744], "sunglasses": [836, 837]}
    assert wnids()[657] != wnids()[744]


def test_templates_prompt_as_open_clip_does():
    assert len(templates()) == 80
    made = [template.format("sea lion") for template in templates()]
    assert made == [template("sea lion") for template in zero_shot_metadata.OPENAI_IMAGENET_TEMPLATES]


def test_objectnet_covers_125_classes_with_113_of_its_313_objects():
    assert len(objects()) == 313
    assert len(covered()) == 113
    every = [index for one in covered() for index in one.classes]
    assert len(every) == len(set(every)) == 125
    assert [one.folder for one in covered()] == sorted(one.folder for one in covered())
    assert len({one.name for one in objects()}) == 313


def test_objectnet_says_the_same_as_the_names_of_imagenet():
    """Objects and classes were joined by names elsewhere; a slip of one position would show in words."""
    words = {one.folder: [classes.class_words()[index] for index in one.classes] for one in covered()}
    assert words["banana"] == ["banana"]
    assert [text.split(",")[0] for text in words["chair"]] == ["barber chair", "folding chair", "rocking chair"]
    assert words["winter_glove"] == ["mitten"]
    assert words["still_camera"][0].startswith("Polaroid camera")
    assert words["t-shirt"][0].startswith("jersey, T-shirt")
    same = sum(
        one.name.lower().split(" (")[0] in " ".join(words[one.folder]).lower().replace("-", " ") for one in covered()
    )
    assert same > 60


def test_the_map_carries_its_source_and_licence():
    table = json.loads(Path(classes.__file__).with_name("objectnet.json").read_text(encoding="utf-8"))
    assert "wise-ft" in table["about"]["source"]
    assert "trained or tuned" in table["about"]["licence"]


def test_a_timm_without_the_lists_is_said(monkeypatch, tmp_path):
    class Spec:
        origin = str(tmp_path / "__init__.py")

    monkeypatch.setattr(classes, "find_spec", lambda name: Spec)
    with pytest.raises(ValueError, match=r"timm carries no data/_info/imagenet_r_synsets.txt"):
        classes.subset.__wrapped__(R_SYNSETS) if wnids() else None
    monkeypatch.setattr(classes, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install timm"):
        classes.wnids.__wrapped__()

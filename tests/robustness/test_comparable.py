"""Baselines of other data: what is refused, left out and said."""

from dataclasses import replace

import pytest
from standard_models import IMAGES, on_a_line

from lightning_robust.data import ScenesDataModule
from lightning_robust.data.imagenet.protocols import shift_record
from lightning_robust.data.imagenet.published import SHIFT_NAMES, V2_VARIANTS
from lightning_robust.errors import UserError
from lightning_robust.robustness import Baseline, load_baseline
from lightning_robust.robustness.comparable import IMAGENET_DATA, comparable

CLASSES = [str(k) for k in range(1000)]
PACS = "photo: folder photo, 1,670 images; 16 training images of each class by seed 0; sketch: folder sketch"


def protocols(protocol="wise-ft", v2="matched-frequency", names=SHIFT_NAMES):
    return {name: shift_record(name, protocol, v2).protocol for name in names}


@pytest.fixture(scope="module")
def imagenet():
    return load_baseline("imagenet")


def test_imagenet_as_it_is_published(imagenet):
    for protocol in ("wise-ft", "testbed"):
        assert comparable(imagenet, IMAGENET_DATA, CLASSES, protocols(protocol)) == (imagenet, ())


@pytest.mark.parametrize("v2", V2_VARIANTS[1:])
def test_another_v2_has_no_line(imagenet, v2):
    found, said = comparable(imagenet, IMAGENET_DATA, CLASSES, protocols(v2=v2))
    assert found.shifts == ("r", "sketch", "objectnet", "a")
    assert said == (f"effective robustness leaves out v2: it is {v2} here and matched-frequency in the baseline "
                    "imagenet",)  # fmt: skip
    with pytest.raises(UserError, match=f"no line for these data: it is {v2} here"):
        comparable(imagenet, IMAGENET_DATA, CLASSES, protocols(v2=v2, names=["v2"]))


def test_an_own_baseline_on_the_same_v2_is_taken():
    models = [replace(m, shifts={"v2": m.shifts["sketch"]}, matched={}) for m in on_a_line(scatter=0.1)]
    own = Baseline.fit(
        models, n={"reference": 5000, "v2": 2000}, dataset=IMAGENET_DATA, protocols=protocols(v2="top-images")
    )
    assert comparable(own, IMAGENET_DATA, CLASSES, protocols(v2="top-images", names=["v2"])) == (own, ())
    with pytest.raises(UserError, match="it is matched-frequency here and top-images in the baseline own"):
        comparable(own, IMAGENET_DATA, CLASSES, protocols(names=["v2"]))


def test_objectnet_with_names_of_its_own_is_warned_of(imagenet):
    found, said = comparable(imagenet, IMAGENET_DATA, CLASSES, protocols("clip_benchmark"))
    assert found is imagenet
    (sentence,) = said
    assert sentence.startswith("objectnet is counted by another protocol than in the baseline imagenet")


@pytest.mark.parametrize(
    ("ours", "theirs", "classes"),
    [
        (IMAGENET_DATA, PACS, CLASSES[:7]),
        (IMAGENET_DATA, "scenes world, version 1", CLASSES[:20]),
        ("scenes world, version 1", PACS, CLASSES[:7]),
        ("scenes world, version 1", "scenes world, version 2", CLASSES[:20]),
        (PACS, IMAGENET_DATA, CLASSES),
        (PACS, "scenes world, version 1", CLASSES[:20]),
    ],
)
def test_other_data_are_refused(ours, theirs, classes):
    baseline = Baseline.fit(on_a_line(scatter=0.1), n=IMAGES, dataset=ours)
    with pytest.raises(UserError, match="shifts of one name are other images there"):
        comparable(baseline, theirs, classes, {"sketch": "top-1 over all classes"})


def test_what_cannot_be_told_is_said(imagenet):
    assert "its lines hold for the same images" in comparable(imagenet, "my copy", CLASSES, protocols())[1][0]
    models = on_a_line(scatter=0.1)
    own = Baseline.fit(models, n=IMAGES, dataset=PACS, protocols={"sketch": "argmax over 5"})
    said = comparable(own, "photo: folder photo, 900 images", CLASSES[:7], {"sketch": "argmax over 7"})[1]
    assert len(said) == 2
    assert "'argmax over 7' here, 'argmax over 5' there" in said[1]
    assert comparable(own, PACS.replace("16 t", "4 t"), CLASSES[:7], {"sketch": "argmax over 5"}) == (own, ())
    unknown = Baseline.fit(models, n=IMAGES)
    assert comparable(unknown, PACS, CLASSES[:7], {"sketch": "any"}) == (unknown, ())


def test_what_data_modules_and_baselines_call_themselves(imagenet, tmp_path):
    from lightning_robust.data.imagenet import ImageNetDataModule

    (tmp_path / "val" / "n01440764").mkdir(parents=True)
    assert ImageNetDataModule(tmp_path, shifts=[]).description == IMAGENET_DATA == imagenet.dataset
    assert load_baseline("scenes").dataset == ScenesDataModule().description

"""A baseline of other data is refused before training, and a shift that is another set of images left out."""

from types import SimpleNamespace

import pytest

from lightning_robust.callbacks.baseline_shifts import same_images
from lightning_robust.callbacks.path_robustness import check_path
from lightning_robust.data import DistributionShift, ScenesDataModule
from lightning_robust.data.imagenet.protocols import shift_record
from lightning_robust.errors import UserError
from lightning_robust.robustness import load_baseline
from lightning_robust.robustness.comparable import IMAGENET_DATA

IMAGENET = {"description": IMAGENET_DATA, "class_names": [str(k) for k in range(1000)]}


@pytest.fixture(scope="module")
def baseline():
    return load_baseline("imagenet")


def test_imagenets_lines_do_not_judge_the_scenes_world(baseline):
    with pytest.raises(UserError, match="cannot judge models on 'scenes world"):
        same_images(baseline, ("v2", "sketch"), ScenesDataModule())
    with (
        pytest.warns(UserWarning, match="left out: the data's rendition"),
        pytest.raises(UserError, match="cannot judge models on 'scenes world"),
    ):
        check_path(baseline, ScenesDataModule().val_loader_names, ScenesDataModule(), predict=False)


def test_another_v2_is_left_out(baseline):
    data = SimpleNamespace(shifts=(shift_record("v2", v2="threshold0.7"), shift_record("r")), **IMAGENET)
    with pytest.warns(UserWarning, match=r"leaves out v2: it is threshold0\.7 here"):
        assert same_images(baseline, ("v2", "r"), data) == ("r",)
    with (
        pytest.warns(UserWarning, match=r"leaves out v2|left out: the baseline's"),
        pytest.raises(UserError, match="'v2' is another set of images in the data than in the baseline 'imagenet'"),
    ):
        check_path(baseline, ["reference", "v2", "r"], data, predict=False)


def test_modules_that_do_not_say_what_they_are_are_taken_at_their_word(baseline):
    for data in (None, SimpleNamespace(shifts=(DistributionShift("v2", "x"),)), SimpleNamespace(description="mine")):
        assert same_images(baseline, ("v2", "r"), data) == ("v2", "r")

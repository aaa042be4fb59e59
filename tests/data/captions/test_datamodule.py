"""Settings, the transform handed on, what a checkpoint keeps, and real processes."""

import pytest
import torch
from lightning import LightningDataModule

from lightning_robust.data import CaptionsDataModule, ScenesDataModule

from .conftest import pixels, write_csv, write_shards


def test_the_transform_is_handed_to_an_evaluation_that_has_none():
    data = CaptionsDataModule("csv:x", ScenesDataModule(), transform=pixels)
    assert data.evaluation.transform is pixels
    own = CaptionsDataModule("csv:x", ScenesDataModule(transform=len), transform=pixels)
    assert own.evaluation.transform is len
    late = CaptionsDataModule("csv:x", ScenesDataModule())
    late.transform = pixels
    assert late.evaluation.transform is pixels


def test_without_a_transform_there_is_no_loader(tmp_path):
    with pytest.raises(ValueError, match="CaptionsDataModule has no transform"):
        CaptionsDataModule(write_csv(tmp_path / "a", 3), batch_size=2).train_dataloader()


@pytest.mark.parametrize(("options", "message"), [
    ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
    ({"n_train": 0}, "n_train must be at least 1, got 0"),
    ({"seed": -1}, "seed must be at least 0, got -1"),
    ({"augment": "mixup"}, "augment must be one of"),
    ({"scale": (0.0, 1.0)}, "scale must be two areas"),
])  # fmt: skip
def test_settings_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        CaptionsDataModule("csv:x", **options)


def test_more_pairs_than_there_are_and_too_few_for_a_batch(tmp_path):
    source = write_csv(tmp_path / "a", 3)
    with pytest.raises(ValueError, match=r"n_train=4 pairs are more than the 3 in the list pairs\.csv"):
        CaptionsDataModule(source, transform=pixels, n_train=4).train_dataloader()
    with pytest.raises(ValueError, match="3 images do not fill a batch of 4"):
        CaptionsDataModule(source, transform=pixels, batch_size=4).train_dataloader()


def test_a_checkpoint_is_not_resumed_on_other_pairs(tmp_path):
    source = write_shards(tmp_path / "a", [3, 2])
    state = CaptionsDataModule(source).state_dict()
    CaptionsDataModule(source).load_state_dict(state)
    (tmp_path / "a").rename(tmp_path / "moved")
    CaptionsDataModule(source.replace("/a/", "/moved/")).load_state_dict(state)
    with pytest.raises(ValueError, match="its place in the data cannot be found"):
        CaptionsDataModule(source.replace("/a/", "/moved/"), n_train=4).load_state_dict(state)
    assert torch.save(state, tmp_path / "state") is None
    assert torch.load(tmp_path / "state", weights_only=True) == state


class Judge(LightningDataModule):
    """An evaluation that keeps something."""

    transform = None

    def __init__(self, kept=0):
        super().__init__()
        self.kept, self.heard = kept, []

    def setup(self, stage):
        self.heard.append(f"setup {stage}")

    def teardown(self, stage):
        self.heard.append(f"teardown {stage}")

    def state_dict(self):
        return {"kept": self.kept}

    def load_state_dict(self, state):
        self.kept = state["kept"]


def test_what_the_evaluation_keeps_is_kept_with_the_rest(tmp_path):
    source = write_csv(tmp_path / "a", 3)
    state = CaptionsDataModule(source, Judge(7)).state_dict()
    other = CaptionsDataModule(source, Judge())
    other.load_state_dict(state)
    assert other.evaluation.kept == 7


def test_the_evaluation_is_set_up_and_let_go(tmp_path):
    data = CaptionsDataModule(write_csv(tmp_path / "a", 3), Judge())
    for stage in ("fit", "test"):
        data.setup(stage)
        data.teardown(stage)
    assert data.evaluation.heard == ["setup fit", "teardown fit", "setup test", "teardown test"]


def test_what_nobody_asks_of_it_is_no_attribute():
    data = CaptionsDataModule("csv:x", ScenesDataModule())
    assert data.concept_names == data.evaluation.concept_names
    for name in ("n_val", "nothing"):
        with pytest.raises(AttributeError, match=f"has no {name}"):
            getattr(data, name)

"""A model that was trained on another division of the data is said to be."""

import pytest
import yaml

from lightning_robust.cli.evaluate_splits import divided_otherwise

CLASS = "lightning_robust.data.ImageFolderDataModule"
HERE = {
    "class": "ImageFolderDataModule",
    "root": "pacs",
    "reference": "photo",
    "split_seed": 0,
    "fractions": [0.6, 0.2, 0.2],
}


def run_with(folder, class_path=CLASS, **changed):
    (folder / "wise_ft").mkdir(parents=True)
    arguments = {**{name: value for name, value in HERE.items() if name != "class"}, **changed}
    data = {"class_path": class_path, "init_args": arguments}
    (folder / "config.yaml").write_text(yaml.safe_dump({"data": data}))
    return folder


@pytest.mark.parametrize("file", ["last.ckpt", "wise_ft/alpha=0.50.safetensors", ""])
def test_another_division_is_said_with_the_way_out(tmp_path, file):
    run = run_with(tmp_path / "run", split_seed=1)
    (sentence,) = divided_otherwise([str(run / file)] * 2, HERE)
    assert "split_seed 1 there, 0 here" in sentence
    assert f"--data {run / 'config.yaml'}" in sentence


def test_the_same_division_other_data_and_files_outside_runs_say_nothing(tmp_path):
    same = run_with(tmp_path / "same")
    scenes = run_with(tmp_path / "scenes", class_path="lightning_robust.data.ScenesDataModule", split_seed=1)
    other = run_with(tmp_path / "other", split_seed=1)
    assert divided_otherwise([str(same / "last.ckpt"), str(scenes / "last.ckpt"), "scenes-clip"], HERE) == []
    assert divided_otherwise([str(other / "last.ckpt")], {**HERE, "class": "ScenesDataModule"}) == []

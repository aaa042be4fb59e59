"""What words after `--model` stand for."""

import pytest

from lightning_robust.cli.evaluate_asked import asked_models
from lightning_robust.errors import UserError


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(folder, *alphas):
    folder.mkdir(parents=True, exist_ok=True)
    for alpha in alphas:
        (folder / f"alpha={alpha}.safetensors").touch()
        (folder / f"alpha={alpha}.head.safetensors").touch()


def test_a_run_and_its_folder_are_paths_by_alpha(here):
    files(here / "run" / "wise_ft", "0.50", "1.00", "0.00")
    for word in ("run", "run/wise_ft"):
        (found,) = asked_models([word])
        assert list(found.path) == [0.0, 0.5, 1.0]
        assert found.path[0.5] == "run/wise_ft/alpha=0.50.safetensors"
    one, other = asked_models(["scenes-clip", "run/wise_ft/alpha=0.50.safetensors"])
    assert (dict(one.path), dict(other.path)) == ({}, {})


def test_positions_as_interpolate_writes_them(here):
    files(here / "fine", "0.0", "1e-17", "0.30000000000000004", "0.3", "1.0")
    assert list(asked_models(["fine"])[0].path) == [0.0, 1e-17, 0.3, 0.30000000000000004, 1.0]


@pytest.mark.parametrize(
    ("alphas", "sentence"),
    [
        (("0.5", "0.50"), r"fine/alpha=0\.5\.safetensors and alpha=0\.50\.safetensors are both of α = 0\.5"),
        (("0.0", "2.0"), r"fine/alpha=2\.0\.safetensors names no α in \[0, 1\]"),
        (("0.0", "best"), r"fine/alpha=best\.safetensors names no α in \[0, 1\]"),
        (("0.0", "nan"), r"fine/alpha=nan\.safetensors names no α in \[0, 1\]"),
    ],
)
def test_files_that_are_no_points_of_a_path(here, alphas, sentence):
    files(here / "fine", *alphas)
    with pytest.raises(UserError, match=sentence):
        asked_models(["fine"])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["RN50/openai", "RN50/openai"], "--model names RN50/openai twice: name each model once"),
        (["run", "./run"], r"--model names the same twice, as run and as \./run"),
        (["run", "run/wise_ft"], "--model names the same twice, as run and as run/wise_ft"),
        (["run", "run/wise_ft/alpha=1.00.safetensors"], r"alpha=1\.00\.safetensors twice, .* point of the path run$"),
        (["run/wise_ft/alpha=1.00.safetensors", "run"], r"alpha=1\.00\.safetensors twice, .* point of the path run$"),
        (["run/last.ckpt", "run/../run/last.ckpt"], "the same twice, as run/last.ckpt and as run/../run/last.ckpt"),
    ],
)
def test_a_model_is_named_once(here, words, sentence):
    files(here / "run" / "wise_ft", "0.00", "1.00")
    (here / "run" / "last.ckpt").touch()
    with pytest.raises(UserError, match=sentence):
        asked_models(words)


def test_names_that_are_no_files_differ_by_their_words():
    assert [one.name for one in asked_models(["RN50/openai", "RN50/yfcc15m"])] == ["RN50/openai", "RN50/yfcc15m"]

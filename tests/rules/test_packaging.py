"""What pip installs is what lies here, and one version is named everywhere."""

import importlib.metadata
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from repository import MAPPED, PACKAGES, PYPROJECT, ROOT, SETUPTOOLS, folder_of, tracked_below

import lightning_robust

VERSION = lightning_robust.__version__
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))


def test_every_package_folder_is_listed():
    folders = [path.parent.relative_to(ROOT) for path in (ROOT / "lightning_robust").rglob("__init__.py")]
    below = {".".join(folder.parts) for folder in folders}
    beside = {package for package, folder in MAPPED.items() if (ROOT / folder / "__init__.py").is_file()}
    assert sorted(PACKAGES) == sorted(below | beside)
    assert len(PACKAGES) == len(set(PACKAGES))


def test_every_folder_with_sources_is_a_package():
    folders = {path.parent for path in (ROOT / "lightning_robust").rglob("*.py")}
    assert folders <= {folder_of(package) for package in PACKAGES}


def test_package_data_are_named_files_that_exist():
    for package, names in SETUPTOOLS["package-data"].items():
        assert [name for name in names if "*" in name] == [], "a pattern would catch runs and caches"
        assert [name for name in names if not (folder_of(package) / name).is_file()] == []


def test_every_data_file_is_package_data():
    """Whatever lies in a package folder and is no Python would be missing from a wheel without a word."""
    runs = ROOT / "checkpoints"
    bundled = {runs / "scenes-clip", runs / "scenes-supervised"}
    here = {
        path
        for folder in ("lightning_robust", *MAPPED.values())
        for path in tracked_below(folder)
        if path.suffix != ".py" and (runs not in path.parents or bundled & {*path.parents})
    }
    listed = {folder_of(package) / name for package, names in SETUPTOOLS["package-data"].items() for name in names}
    assert sorted(here - listed) == []


def test_there_are_configs():
    assert {path.name for path in CONFIGS} >= {"finetune.yaml", "pretrain.yaml", "supervised.yaml"}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_config_opens_with_what_it_does_and_how_long(path):
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert re.match(r"# \w.*\d.*\b(minutes?|min|hours?|seconds?)\b", first), first
    assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)


def test_one_version():
    unreleased_and_on = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").split("## [Unreleased]")[1]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert re.search(r"\d+\.\d+\.\d+", unreleased_and_on)[0] == VERSION
    assert citation["version"] == VERSION
    assert PYPROJECT["project"]["dynamic"] == ["version"]
    assert SETUPTOOLS["dynamic"]["version"] == {"attr": "lightning_robust.__version__"}
    assert importlib.metadata.version("lightning-robust") == VERSION, "install again: pip install -e ."


def test_licence_and_citation():
    assert PYPROJECT["project"]["license"] == "Apache-2.0"
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in licence
    assert "END OF TERMS AND CONDITIONS" in licence
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["license"] == "Apache-2.0"
    assert citation["references"][0]["identifiers"][0]["value"] == "arXiv:2310.13040"


def test_a_clone_that_is_not_installed_finds_its_own_rooms(tmp_path):
    """`python -m lightning_robust` works in a clone with the dependencies alone, and takes nothing from elsewhere."""
    ignored = shutil.ignore_patterns("__pycache__", "*.safetensors", "*.ckpt")
    for name in ("lightning_robust", "callbacks", "configs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    (tmp_path / "checkpoints").mkdir()
    shutil.copy(ROOT / "checkpoints" / "__init__.py", tmp_path / "checkpoints")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    code = (
        "import importlib.util\n"
        "for room in ('callbacks', 'configs', 'checkpoints', 'cli'):\n"
        "    print(importlib.util.find_spec(f'lightning_robust.{room}').origin)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    origins = found.stdout.split()
    assert len(origins) == 4
    assert [origin for origin in origins if not origin.startswith(str(tmp_path.resolve()))] == []
    command = [sys.executable, "-m", "lightning_robust", "--version"]
    shown = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert VERSION in shown.stdout


def test_importing_the_package_is_light():
    code = "import sys, lightning_robust; sys.exit(bool({'torch', 'numpy', 'lightning'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

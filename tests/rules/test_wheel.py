"""The wheel in a fresh environment, from an empty folder: what a user who did not clone gets."""

import shutil
import site
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from repository import MAPPED, PACKAGES, ROOT, SETUPTOOLS

import lightning_robust

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, so that no stale build folder gets in."""
    work = tmp_path_factory.mktemp("wheel")
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    for name in filter(None, files):
        if (ROOT / name).is_file():
            (work / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, work / "source" / name)
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(work)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(work / "source")], check=True)
    return next(work.glob("*.whl"))


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """Python of a fresh environment that sees this one's dependencies, but not the sources installed here.

    A line in a .pth file puts a folder on the path without following the .pth files in it, and an editable install
    is one of those.
    """
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    purelib = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    ours = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()])
    (Path(purelib) / "dependencies.pth").write_text("\n".join(ours) + "\n")
    options = ["--quiet", "--no-deps", "--no-index", "--ignore-installed"]
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", *options, str(wheel)]
    subprocess.run(install, check=True)
    return python


def answer(python, folder, *arguments):
    done = subprocess.run([python, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_wheel_holds_the_packages_their_data_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    folders = {package.replace(".", "/") for package in PACKAGES}
    data = {
        f"{package.replace('.', '/')}/{name}" for package, names in SETUPTOOLS["package-data"].items() for name in names
    }
    assert [name for name in data if name not in names] == []
    rest = [name for name in names if ".dist-info/" not in name and name not in data]
    assert [name for name in rest if Path(name).suffix != ".py" or str(Path(name).parent) not in folders] == []
    assert [folder for folder in MAPPED.values() if any(name.startswith(f"{folder}/") for name in names)] == []
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_it_runs_from_an_empty_folder(python, tmp_path):
    assert answer(python, tmp_path, "-m", "lightning_robust", "--version").split()[-1] == lightning_robust.__version__
    where = answer(python, tmp_path, "-c", "import lightning_robust.callbacks as c; print(c.__file__)").strip()
    assert Path(where).resolve().is_relative_to(Path(python).parent.parent.resolve())
    script = Path(python).parent / "lightning-robust"
    assert "fit" in subprocess.run([script, "--help"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout


def test_it_finds_its_configs_from_an_empty_folder(python, tmp_path):
    code = "from lightning_robust.cli.config_lookup import find_config; print(find_config('finetune.yaml'))"
    found = Path(answer(python, tmp_path, "-c", code).strip())
    assert found.read_bytes() == (ROOT / "configs" / "finetune.yaml").read_bytes()
    assert found.resolve().is_relative_to(Path(python).parent.parent.resolve())


TINY = [f"--data.init_args.{name}={n}" for name, n in
        (("n_train", 256), ("n_val", 100), ("n_val_shift", 60), ("n_test", 60), ("n_concepts", 300))]  # fmt: skip


def test_the_main_job_runs_from_an_empty_folder(python, tmp_path):
    """With the bundled CLIP and the shipped config, cut to two steps an epoch."""
    fit = ["-m", "lightning_robust", "fit", "--config", "finetune.yaml", "--trainer.max_epochs=1", *TINY]
    said = answer(python, tmp_path, *fit)
    folder = tmp_path / "checkpoints" / "finetune" / "001"
    assert str(folder) in said
    assert len(list((folder / "wise_ft").glob("*.safetensors"))) == 22
    assert {"config.yaml", "last.ckpt", "results.json", "signatures.csv"} <= {path.name for path in folder.iterdir()}

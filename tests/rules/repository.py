"""What the rule tests look at: the files and the packaging table of this repository."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = PYPROJECT["tool"]["setuptools"]
PACKAGES: list[str] = SETUPTOOLS["packages"]
MAPPED: dict[str, str] = SETUPTOOLS["package-dir"]


def folder_of(package: str) -> Path:
    """Where a package's files lie."""
    return ROOT / MAPPED.get(package, package.replace(".", "/"))


def modules() -> list[str]:
    """Every module that ships, by name."""
    names = []
    for package in PACKAGES:
        names.append(package)
        stems = sorted(path.stem for path in folder_of(package).glob("*.py"))
        names.extend(f"{package}.{stem}" for stem in stems if stem != "__init__")
    return names


def sources() -> list[Path]:
    """Every Python file that ships."""
    return [path for package in PACKAGES for path in sorted(folder_of(package).glob("*.py"))]


def tracked_below(folder: str) -> list[Path]:
    """Files below a folder, without what Python leaves there."""
    return [p for p in sorted((ROOT / folder).rglob("*")) if p.is_file() and "__pycache__" not in p.parts]

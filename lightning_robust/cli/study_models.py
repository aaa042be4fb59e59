"""The models of a study: what each is, which run of `fit` makes it, and which rows of the table it gives."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from lightning_robust.cli.config_lookup import find_config
from lightning_robust.cli.run_folder import ROOT
from lightning_robust.errors import UserError

__all__ = ["KINDS", "FinetunedPart", "PlannedRow", "StudyModel", "StudyTraining", "path_slug"]

#: What an entry of a study can be; points inside a path are made of finetuned ones.
KINDS: Final = ("zero-shot", "finetuned", "supervised", "random")
_SEEDED: Final = ("model", "data")


@dataclass(frozen=True, kw_only=True)
class StudyTraining:
    """A run of `fit`, which may as well be made by hand: its folder follows from the study's and the model's name.

    Attributes:
        config: The config, as `--config` takes it: a file or one that ships.
        run: Name of the run's folder.
        overrides: What differs from the config, by dotted key, as in `{"model.init_args.lr": 0.001}`.
        seed: Of weights, images and order; None leaves the config's.
    """

    config: str
    run: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None

    @property
    def folder(self) -> Path:
        """Where it lies, from the working directory."""
        return Path(ROOT) / Path(self.config).stem / self.run

    def path(self) -> Path:
        """The config's file.

        Raises:
            UserError: If there is none.
        """
        return Path(find_config(self.config))

    def changes(self) -> dict[str, Any]:
        """All that differs from the config, by dotted key, the seeds among them.

        `seed_everything`, and `init_args.seed` of model and data where the config has them.

        Raises:
            UserError: If the config cannot be read.
        """
        if self.seed is None:
            return dict(self.overrides)
        found = self._read()
        places = [part for part in _SEEDED if "seed" in (found[part].get("init_args") or {})]
        seeds = {"seed_everything": self.seed, **{f"{part}.init_args.seed": self.seed for part in places}}
        return {**seeds, **self.overrides}

    def arguments(self) -> list[str]:
        """What follows `fit` on the command line, without `--ckpt_path`.

        Raises:
            UserError: If the config cannot be read.
        """
        pairs = [word for key, value in self.changes().items() for word in (f"--{key}", _typed(value))]
        return ["--config", str(self.path()), "--run_name", self.run, *pairs]

    def settings(self) -> dict[str, Any]:
        """The config's settings with all changes in their places, nested.

        Raises:
            UserError: If the config cannot be read.
        """
        found = self._read()
        for key, value in self.changes().items():
            *parents, last = key.split(".")
            place = found
            for parent in parents:
                if not isinstance(place.get(parent), dict):
                    place[parent] = {}
                place = place[parent]
            place[last] = value
        return found

    def trained(self) -> str:
        """What `evaluate --model` takes once it is trained: the exported folder, else the last checkpoint.

        Raises:
            UserError: If the config cannot be read.
        """
        model = self.settings()["model"]
        folder = (model.get("init_args") or {}).get("export_to")
        if folder is None:
            return str(self.folder / "last.ckpt")
        # a CLIP is an encoder in a folder, a classifier is a folder
        is_clip = str(model.get("class_path", "")).endswith("ContrastivePretraining")
        return f"local-dir:{self.folder / folder}" if is_clip else str(self.folder / folder)

    def _read(self) -> dict[str, Any]:
        path = self.path()
        try:
            found = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise UserError(f"cannot read the config {path}: {' '.join(str(error).split())}") from error
        if not isinstance(found, dict) or not all(isinstance(found.get(part), dict) for part in _SEEDED):
            raise UserError(f"{path} is no config of a run: it has no model: and data: section")
        return found


@dataclass(frozen=True, kw_only=True)
class FinetunedPart:
    """The finetuned counterpart of a model, with the path from one to the other.

    Attributes:
        training: The run that makes both.
        alphas: Points of the path that become rows, ascending, in (0, 1]; 1 is the finetuned model itself.
    """

    training: StudyTraining
    alphas: tuple[float, ...]

    def file(self, alpha: float) -> str:
        """The weights of a point of the path, as `WiseFT` writes them.

        Args:
            alpha: The point, in hundredths.
        """
        return str(self.training.folder / "wise_ft" / f"alpha={alpha:.2f}.safetensors")


@dataclass(frozen=True, kw_only=True)
class PlannedRow:
    """A row that a model gives, before it is measured; the fields of `StudyRow`, and where the weights are.

    Attributes:
        name: Of the row.
        model: Of the study's model, `…-finetuned` for points of a path.
        family: Of the pretraining run that it descends from.
        kind: As in `StudyRow`.
        alpha: Position on a path, else None.
        source: What `evaluate --model` takes.
        labels: What else is known.
    """

    name: str
    model: str
    family: str
    kind: str
    alpha: float | None
    source: str
    labels: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class StudyModel:
    """One entry of a study, templates filled in.

    Attributes:
        name: Unique in the study.
        kind: One of `KINDS`.
        family: Of the pretraining run that it descends from.
        model: A model that exists, as `evaluate --model` takes it; None where `train` makes it.
        train: The run that makes it; None where it exists.
        finetuned: Its finetuned counterpart.
        labels: What else is known, in words.
    """

    name: str
    kind: str
    family: str
    model: str | None = None
    train: StudyTraining | None = None
    finetuned: FinetunedPart | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    def source(self) -> str:
        """What `evaluate --model` takes.

        Raises:
            UserError: If a config cannot be read.
        """
        return self.train.trained() if self.train is not None else str(self.model)

    def rows(self) -> tuple[PlannedRow, ...]:
        """The rows that it gives: itself, then the points of its path.

        Raises:
            UserError: If a config cannot be read.
        """
        about: dict[str, Any] = {"family": self.family, "labels": self.labels}
        own = PlannedRow(
            name=self.name, model=self.name, kind=self.kind, alpha=None, source=self.source(), **about
        )  # fmt: skip
        return (own, *self._path_rows(about))

    def _path_rows(self, about: dict[str, Any]) -> list[PlannedRow]:
        part = self.finetuned
        name = f"{self.name}-finetuned"
        return [
            PlannedRow(
                name=f"{name}, α = {alpha:g}", model=name, kind="finetuned" if alpha == 1 else "interpolated",
                alpha=alpha, source=part.file(alpha), **about,
            )
            for alpha in part.alphas
        ] if part is not None else []  # fmt: skip


def path_slug(model: str, alpha: float) -> str:
    """A point of a path as part of a file's name.

    Args:
        model: The finetuned counterpart.
        alpha: The point.

    Example:
        >>> path_slug("a-finetuned", 0.5)
        'a-finetuned-0.5'
    """
    return f"{model}-{alpha:g}"


def _typed(value: Any) -> str:
    """A value as it is typed after `--key`."""
    return value if isinstance(value, str) else json.dumps(value)

"""The runs of a comparison: where each lies, how it is started, and whether it is what today's config asks for."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from lightning_robust.cli.planned_run import (
    discard_beginnings,
    is_finished,
    is_resumable,
    refuse_begun_otherwise,
    refuse_foreign_folder,
)
from lightning_robust.cli.run_folder import ROOT
from lightning_robust.errors import UserError

__all__ = ["PlannedRun", "plan_runs", "refuse_other_settings"]


@dataclass(frozen=True)
class PlannedRun:
    """One run of a variant.

    Attributes:
        variant: Name of its config.
        seed: Of its weights, images and order.
        config: The config's file.
        name: Name of the run's folder.
    """

    variant: str
    seed: int
    config: Path
    name: str

    @property
    def label(self) -> str:
        """What it is called."""
        return f"{self.variant}, seed {self.seed}"

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return Path(ROOT).absolute() / self.config.stem / self.name

    @property
    def finished(self) -> bool:
        """Whether it has run to its end."""
        return is_finished(self.folder)

    @property
    def resumable(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        return is_resumable(self.folder)

    def settings(self) -> dict[str, Any]:
        """The config's settings, with the seed in its three places.

        Raises:
            UserError: If the file is no config.
        """
        try:
            found = yaml.safe_load(self.config.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise UserError(f"cannot read the config {self.config}: {' '.join(str(error).split())}") from error
        if not isinstance(found, dict) or not all(isinstance(found.get(part), dict) for part in ("model", "data")):
            raise UserError(f"{self.config} is no config of a run: it has no model: and data: section")
        seeded: dict[str, Any] = {**found, "seed_everything": self.seed}
        for part in ("model", "data"):
            seeded[part] = {**found[part], "init_args": {**(found[part].get("init_args") or {}), "seed": self.seed}}
        return seeded

    def command(self) -> list[str]:
        """The command that trains it, or goes on from its last checkpoint."""
        seed = str(self.seed)
        go_on = ["--ckpt_path", "last"] if self.resumable else []
        return [
            sys.executable, "-m", "lightning_robust", "fit", "--config", str(self.config), "--run_name", self.name,
            "--seed_everything", seed, "--model.init_args.seed", seed, "--data.init_args.seed", seed, *go_on,
        ]  # fmt: skip

    @property
    def log(self) -> str:
        """Name of the file that it prints to."""
        return f"{self.variant}-seed{self.seed}.log"

    def refuse_foreign_folder(self, log: Path) -> None:
        """Refuse a folder from which nothing can go on, unless this command began it.

        Args:
            log: The file that it prints to, if it was begun.

        Raises:
            UserError: If the folder has no checkpoint, and was not begun before the log's last line or holds what no
                run writes.
        """
        refuse_foreign_folder(self.folder, log)

    def discard_beginnings(self, log: Path) -> None:
        """Remove the folder of a run that was broken off before its first checkpoint: nothing can go on from it.

        Args:
            log: The file that it prints to.

        Raises:
            UserError: If the folder is not of this command.
        """
        discard_beginnings(self.folder, log)


def plan_runs(
    seeds: Sequence[int], variants: Sequence[str] | None, configs: Path | None, name: str
) -> list[PlannedRun]:
    """Every seed of every variant, seed by seed, so that an early stop leaves all variants with as many.

    Args:
        seeds: The seeds.
        variants: Names of configs; None takes all of the folder.
        configs: Folder of the configs; None takes those that ship.
        name: Name of the comparison.

    Raises:
        UserError: For a name with a folder in it, a folder without configs, or an unknown variant.
    """
    if not name or Path(name).name != name or name in (".", ".."):
        raise UserError(f"--run_name is one folder name below {ROOT}/emergence, got {name!r}")
    folder = Path(str(files("lightning_robust.configs"))) / "emergence" if configs is None else configs.absolute()
    known = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    if not known:
        raise UserError(f"there are no configs in {folder}: --configs takes a folder of .yaml files, a variant each")
    asked = list(dict.fromkeys(variants or known))
    if unknown := [variant for variant in asked if variant not in known]:
        raise UserError(f"no variant {unknown[0]!r} in {folder}: it has {', '.join(known)}")
    return [
        PlannedRun(variant, seed, known[variant], f"{name}-seed{seed}")
        for seed in dict.fromkeys(seeds)
        for variant in asked
    ]


def refuse_other_settings(run: PlannedRun) -> None:
    """Refuse a run that was begun with other settings than its config has now.

    Args:
        run: Begun or not.

    Raises:
        UserError: If a setting that the config states differs in the run's own `config.yaml`; names it.
    """
    refuse_begun_otherwise(run.folder, run.settings())

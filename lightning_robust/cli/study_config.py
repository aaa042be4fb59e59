"""The YAML file of a study: models, data and measurements, read strictly."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lightning_robust.cli.config_lookup import find_config
from lightning_robust.cli.evaluate_arguments import add_evaluate
from lightning_robust.cli.probe_arguments import add_probe
from lightning_robust.cli.prune_arguments import add_prune
from lightning_robust.cli.study_entries import study_models
from lightning_robust.cli.study_models import FinetunedPart, StudyModel, StudyTraining
from lightning_robust.cli.study_section import Section, near, strict_yaml
from lightning_robust.errors import UserError

__all__ = ["MEASUREMENTS", "FinetunedPart", "StudyConfig", "StudyModel", "StudyTraining", "read_study_config"]

#: What can be measured, in this order.
MEASUREMENTS: Final = ("evaluate", "probe", "prune")
_KEYS: Final = ("name", "data", "baseline", "concepts", "seed", "measure", "options", "models")
_ARGUMENTS: Final = {"evaluate": add_evaluate, "probe": add_probe, "prune": add_prune}
# what the study says itself, and what is not of one model
_SET_ALREADY: Final = (
    "model", "compare", "alpha", "data", "images", "baseline", "concepts", "seed", "run_name", "weights",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """All that a study's file says.

    Attributes:
        file: The file.
        text: What it holds, as it was read.
        name: Of the study, and of its folder below `checkpoints/study`.
        data: As `evaluate --data` takes it.
        baseline: As `evaluate --baseline` takes it; None takes what ships for the data.
        concepts: As `probe --concepts` takes it; None counts none.
        seed: Of intervals, draws and untrained weights.
        measure: Measurements of every row, in the order of `MEASUREMENTS`; `prune` is only for rows of kind
            `zero-shot`, `finetuned` and `supervised`.
        options: More options of a measurement by name, as they are typed after `--name`.
        models: The models, in order.
    """

    file: Path
    text: str
    name: str
    data: str
    baseline: str | None = None
    concepts: str | None = None
    seed: int = 0
    measure: tuple[str, ...] = MEASUREMENTS
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    models: tuple[StudyModel, ...]

    def chosen(self, only: Sequence[str] = (), shard: tuple[int, int] | None = None) -> tuple[StudyModel, ...]:
        """The models whose names contain one of some texts, and of those the ones of a shard.

        A model's place in the file, modulo the number of shards, says to which it belongs, whatever `only` leaves
        out; a finetuned counterpart stays with its parent.

        Args:
            only: Texts; none takes all.
            shard: Its number from 1, and how many there are.
        """
        index, count = shard or (1, 1)
        return tuple(
            model
            for place, model in enumerate(self.models)
            if place % count == index - 1 and (not only or any(text in model.name for text in only))
        )


def read_study_config(name: str, study: str | None = None) -> StudyConfig:
    """Read the file of a study.

    Args:
        name: A file, or one that ships, as in `study/scenes`.
        study: Name of the study in place of the file's own.

    Raises:
        UserError: In one sentence, for the first mistake.

    Example:
        >>> read_study_config("study/scenes").models[0].name
        'rn-diverse-0'
    """
    file = Path(find_config(name))
    try:
        text = file.read_text(encoding="utf-8")
        top = Section(strict_yaml(text), file.name)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the study {file}: {' '.join(str(error).split())}") from error
    if {"trainer", "model"} & set(top.values):
        raise UserError(f"{file} is a config of a training, which fit takes; a study names models: and data:")
    top.only(_KEYS, ("name", "data", "measure", "models"))
    own = str(Section({"name": study}, "--run_name").name("name") if study is not None else top.name("name"))
    return StudyConfig(
        file=file, text=text, name=own, data=str(top.text("data")), baseline=top.text("baseline"),
        concepts=top.text("concepts"), seed=top.seed("seed") or 0, measure=_measure(top),
        options=_options(top.inner("options")), models=study_models(top.items("models"), file.name, own),
    )  # fmt: skip


def _measure(top: Section) -> tuple[str, ...]:
    asked = top.items("measure")
    if strange := [one for one in asked if one not in MEASUREMENTS]:
        raise UserError(f"{top.where}: no measurement {strange[0]!r}: {near(str(strange[0]), MEASUREMENTS)}")
    if "concepts" in top.values and "probe" not in asked:
        raise UserError(f"{top.where}: concepts: has no effect without probe among measure:")
    return tuple(one for one in MEASUREMENTS if one in asked)


def _options(section: Section) -> dict[str, dict[str, Any]]:
    section.only(MEASUREMENTS)
    found = {}
    for measurement, add_arguments in _ARGUMENTS.items():
        given = section.inner(measurement)
        parser = argparse.ArgumentParser(add_help=False)
        add_arguments(parser)
        known = [action.dest for action in parser._actions if action.dest not in _SET_ALREADY]
        given.only(known)
        if given.values:
            found[measurement] = dict(given.values)
    return found

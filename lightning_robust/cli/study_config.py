"""The YAML file of a study: models, data and measurements, read strictly."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lightning_robust.cli.study_models import FinetunedPart, StudyModel, StudyTraining

__all__ = ["MEASUREMENTS", "FinetunedPart", "StudyConfig", "StudyModel", "StudyTraining", "read_study_config"]

#: What can be measured, in this order.
MEASUREMENTS: Final = ("evaluate", "probe", "prune")


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """All that a study's file says.

    Attributes:
        file: The file.
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
    """
    raise NotImplementedError

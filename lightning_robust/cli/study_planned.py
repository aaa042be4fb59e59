"""What `study --plan` finds: for each model what is there, missing and left to do."""

import itertools
from dataclasses import dataclass

from lightning_robust.cli.study_config import StudyConfig, StudyModel
from lightning_robust.cli.study_hours import Work
from lightning_robust.cli.study_missing import Missing
from lightning_robust.cli.study_models import PlannedRow

__all__ = ["ModelPlan", "StudyPlan"]


@dataclass(frozen=True)
class ModelPlan:
    """One model of a plan.

    Attributes:
        model: Of the study.
        rows: The rows that it gives.
        weights: Where its weights are, or how far the run is that makes it.
        finetuning: How far the run of its counterpart is; empty without one.
        measured: How many measurements are done, and of how many.
        missing: What it lacks.
        work: What is left to do.
    """

    model: StudyModel
    rows: tuple[PlannedRow, ...]
    weights: str
    finetuning: str
    measured: tuple[int, int]
    missing: tuple[Missing, ...]
    work: Work


@dataclass(frozen=True)
class StudyPlan:
    """All that is to be done, and what is in the way.

    Attributes:
        config: The study.
        models: The chosen models.
        images: Of the reference and its shifts.
        missing: What the study lacks beside its models' own needs.
    """

    config: StudyConfig
    models: tuple[ModelPlan, ...]
    images: int
    missing: tuple[Missing, ...] = ()

    @property
    def work(self) -> Work:
        """What is left to do for all of them."""
        return sum((model.work for model in self.models), Work())

    @property
    def lacking(self) -> dict[str, list[str]]:
        """What is missing: for whom, by what it is."""
        found: dict[str, list[str]] = {}
        for one in itertools.chain(self.missing, *(model.missing for model in self.models)):
            found.setdefault(one.where, []).append(one.what)
        return found

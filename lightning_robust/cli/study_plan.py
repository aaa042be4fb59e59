"""`study --plan`: what would be loaded, what is missing where, what is done, and how long the rest takes."""

from collections.abc import Sequence
from pathlib import Path

from lightning_robust.cli.study_config import StudyConfig, StudyModel
from lightning_robust.cli.study_context import StudyContext, open_context
from lightning_robust.cli.study_hours import ASSUMPTIONS, Work, architecture_of, measuring_work, training_work
from lightning_robust.cli.study_missing import (
    Missing,
    missing_of_model,
    missing_of_study,
    place_of,
    state_of,
    test_images,
)
from lightning_robust.cli.study_models import PlannedRow
from lightning_robust.cli.study_plan_table import hours_words, plan_table
from lightning_robust.cli.study_planned import ModelPlan, StudyPlan
from lightning_robust.cli.study_run import trainings_of
from lightning_robust.cli.study_steps import measured_by, steps_of
from lightning_robust.cli.study_train_task import TrainTask
from lightning_robust.errors import UserError

__all__ = ["plan_study", "print_plan"]

_MOST_CORE_HOURS = 1000.0  # nobody would run more on a processor


def plan_study(config: StudyConfig, models: Sequence[StudyModel], folder: Path) -> StudyPlan:
    """Find out what is there and reckon the rest. Nothing is loaded, trained or written.

    Args:
        config: The study.
        models: Those that are chosen.
        folder: The study's.
    """
    images, missing = test_images(config.data)
    try:
        context: StudyContext | None = open_context(config)
    except (UserError, ValueError, OSError) as error:
        context = None
        missing = missing or Missing("measurements", str(error))
    found = [*([] if missing is None else [missing]), *missing_of_study(config)]
    planned = tuple(_plan_model(config, model, folder, context, images) for model in models)
    return StudyPlan(config, planned, images, tuple(found))


def _plan_model(
    config: StudyConfig, model: StudyModel, folder: Path, context: StudyContext | None, images: int
) -> ModelPlan:
    missing = tuple(missing_of_model(model, folder))
    try:
        rows = model.rows()
    except UserError:  # its config is missing, which is said
        return ModelPlan(model, (), "no config", "", (0, 0), missing, Work())
    steps = [(row, name) for name in config.measure for row in rows if measured_by(row, name)]
    done = set[tuple[str, str]]()
    if context is not None:
        done = {(step.row.name, step.measurement) for step in steps_of(model, context, folder) if step.finished}
    left = [(row, name) for row, name in steps if (row.name, name) not in done]
    tasks = trainings_of(model, folder)
    states = [state_of(task) for task in tasks]
    weights = _weights(model) if model.train is None or states[0] == "done" else states[0]
    finetuning = "" if model.finetuned is None else states[-1]
    to_train = [task for task, state in zip(tasks, states, strict=True) if state != "done"]
    work = _training_left(model, to_train) + _measuring_left(config, model, left, images)
    return ModelPlan(model, rows, weights, finetuning, (len(steps) - len(left), len(steps)), missing, work)


def _weights(model: StudyModel) -> str:
    try:
        place = place_of(model)
    except (UserError, ValueError):
        return "unknown"
    return "here" if place is not None and place.there else "missing"


def _training_left(model: StudyModel, tasks: Sequence[TrainTask]) -> Work:
    works = (
        training_work(task.training, f"training of {model.name}")
        if task.begins_with is None
        else training_work(task.training, f"finetuning of {model.name}", architecture_of(model))
        for task in tasks
    )
    return sum(works, Work())


def _measuring_left(config: StudyConfig, model: StudyModel, left: list[tuple[PlannedRow, str]], images: int) -> Work:
    works = (measuring_work(config, row, name, architecture_of(model), images) for row, name in left)
    return sum(works, Work())


def print_plan(config: StudyConfig, models: Sequence[StudyModel], folder: Path) -> int:
    """Print the plan of a study.

    Args:
        config: The study.
        models: Those that are chosen.
        folder: The study's.

    Returns:
        0, or 1 where something is missing.
    """
    from rich.console import Console

    plan = plan_study(config, models, folder)
    console = Console()
    console.print(plan_table(plan, console))
    for sentence in (*_sums(plan), *_lacking(plan)):
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)
    return 1 if plan.lacking else 0


def _sums(plan: StudyPlan) -> list[str]:
    work = plan.work
    (train, measure), (train_core, measure_core) = work.gpu_hours, work.core_hours
    rows, steps = sum(len(one.rows) for one in plan.models), sum(one.measured[1] for one in plan.models)
    done = sum(one.measured[0] for one in plan.models)
    cores, parts = train_core + measure_core, f"training {hours_words(train)}, measuring {hours_words(measure)}"
    on_cores = f", or {hours_words(cores)} core hours" if cores < _MOST_CORE_HOURS else ""
    said = [
        f"{len(plan.models)} models, {rows} rows, {steps} measurements on {plan.images:,} images each, {done} done.",
        f"Left: {hours_words(train + measure)} GPU hours ({parts}){on_cores}.",
        *(f"Not reckoned: {sentence}." for sentence in dict.fromkeys(work.unknown)),
    ]
    return [*said, *(f"{sentence[0].upper()}{sentence[1:]}." for sentence in ASSUMPTIONS)]


def _lacking(plan: StudyPlan) -> list[str]:
    if not plan.lacking:
        return ["Nothing is missing."]
    said = [f"Missing or in the way, {len(plan.lacking)}:"]
    for where, whose in plan.lacking.items():
        more = f" and {len(whose) - 3} more" if len(whose) > 3 else ""
        said.append(f"  {where} (for {', '.join(whose[:3])}{more})")
    return said

"""What a study needs and this machine lacks: weights, data, configs. Nothing is loaded, and no network is asked."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import yaml

from lightning_robust.cli.data_spec import data_settings, open_data
from lightning_robust.cli.planned_run import is_finished
from lightning_robust.cli.study_config import StudyConfig, StudyModel
from lightning_robust.cli.study_run import trainings_of
from lightning_robust.cli.study_train_task import TrainTask
from lightning_robust.errors import UserError
from lightning_robust.models.weights_place import WeightsPlace, weights_place

__all__ = ["Missing", "missing_of_model", "missing_of_study", "place_of", "state_of", "test_images"]


@dataclass(frozen=True)
class Missing:
    """Something that is not there, or cannot work.

    Attributes:
        what: In words, as in `weights of RN50-openai`.
        where: Where it would have to be, or what is wrong.
    """

    what: str
    where: str


def state_of(task: TrainTask) -> str:
    """How far a run is: `done`, `to go on`, `to do`, or why not: `no config`, `begun otherwise`, `broken off`.

    Args:
        task: The run.
    """
    return _state(task)[0]


def _state(task: TrainTask) -> tuple[str, str]:
    """The state, and in a sentence why the run is in the way."""
    try:
        task.training.settings()
    except UserError:
        return "no config", ""
    for check, state in ((task.check_begun, "begun otherwise"), (task.check_folder, "broken off")):
        try:
            check()
        except UserError as error:
            return state, str(error)
    return ("done" if task.finished else "to go on" if task.goes_on else "to do"), ""


def place_of(model: StudyModel) -> WeightsPlace | None:
    """Where the weights of a model lie; None for one that the study has yet to make.

    Args:
        model: Of the study.

    Raises:
        UserError: If its config cannot be read.
        ValueError: If there is no such model.
    """
    made = model.train is None or is_finished(model.train.folder)
    return weights_place(model.source()) if made else None


def missing_of_model(model: StudyModel, folder: Path) -> list[Missing]:
    """What is missing to have a model and its finetuned counterpart, and which of its runs are in the way.

    Args:
        model: Of the study.
        folder: The study's.
    """
    found = []
    try:
        place = place_of(model)
        if place is not None and not place.there:
            found.append(Missing(f"weights of {model.name}", place.where))
    except ValueError as error:
        found.append(Missing(f"model {model.name}", str(error)))
    except UserError:  # said of its run, below
        pass
    tasks = trainings_of(model, folder)
    if model.train is not None:
        found += _missing_of_run(tasks[0], f"training of {model.name}", _has_encoder)
    if model.finetuned is not None:
        writes = partial(_has_path, alphas=model.finetuned.alphas)
        found += _missing_of_run(tasks[-1], f"finetuning of {model.name}", writes)
        if tasks[-1].finished:
            files = (model.finetuned.file(alpha) for alpha in model.finetuned.alphas)
            found += [Missing(f"weights of {model.name}-finetuned", file) for file in files if not Path(file).is_file()]
    return found


def _missing_of_run(task: TrainTask, what: str, wrong: Callable[[dict[str, Any]], str | None]) -> Iterator[Missing]:
    """A run that is finished needs nothing any more."""
    training = task.training
    try:
        settings = training.settings()
    except UserError as error:
        yield Missing(f"config for the {what}", str(error))
        return
    if sentence := wrong(settings):
        yield Missing(f"config for the {what}", f"{training.config}: {sentence}")
    state, in_the_way = _state(task)
    if in_the_way:
        yield Missing(f"the {what}", in_the_way)
    section = yaml.safe_dump({"data": settings["data"]})
    if state != "done" and (sentence := _training_data(section, training.config)):
        yield Missing(f"data for the {what}", sentence)


def _has_encoder(settings: dict[str, Any]) -> str | None:
    if (settings["model"].get("init_args") or {}).get("encoder") is None:
        return "it names no encoder at model.init_args.encoder"
    return None


def _has_path(settings: dict[str, Any], alphas: tuple[float, ...]) -> str | None:
    """Whether the points of the path will be written, under the names that are expected."""
    callbacks = (settings.get("trainer") or {}).get("callbacks") or []
    paths = [one for one in callbacks if str(one.get("class_path", "")).rpartition(".")[2] == "WiseFT"]
    if len(paths) != 1:
        return "it has no callback WiseFT, which writes the path" if not paths else "it has several callbacks WiseFT"
    from lightning_robust.callbacks.alpha_path import ALPHAS, normalised_alphas

    given = paths[0].get("init_args") or {}
    written = normalised_alphas(given.get("alphas") or ALPHAS)
    if given.get("folder") is not None or given.get("module", "model") != "model":
        return "WiseFT writes to its own folder, below the run's, and of the module model"
    if coarse := [alpha for alpha in written if abs(100 * alpha - round(100 * alpha)) > 1e-9]:
        return f"WiseFT has α in hundredths, not {coarse[0]:g}"
    if lacking := [alpha for alpha in alphas if not any(abs(alpha - one) < 1e-9 for one in written)]:
        return f"WiseFT writes no α = {lacking[0]:g}, only {', '.join(f'{alpha:g}' for alpha in written)}"
    return None


@lru_cache(maxsize=256)
def _training_data(section: str, name: str) -> str | None:
    """What is wrong with a run's training images, in a sentence; the section is YAML, many runs share one."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.yaml"
        file.write_text(section, encoding="utf-8")
        try:
            data = open_data(str(file))
            _look_at_training_images(data, yaml.safe_load(section)["data"].get("init_args") or {})
        except (UserError, ValueError, OSError) as error:
            return str(error).replace(str(file), name)
    return None


def _look_at_training_images(data: Any, given: Mapping[str, Any]) -> None:
    """Ask for what training would read, without listing a million files."""
    if type(data).__name__ == "ImageNetDataModule":
        from lightning_robust.data.imagenet.layout import locations

        if locations(data.root, given.get("paths"), data.v2)["train"] is None:
            raise ValueError(f"there is no train below {data.root}")
    elif type(data).__name__ == "CaptionsDataModule":
        _ = data.training_description  # opens the sources


def test_images(text: str) -> tuple[int, Missing | None]:
    """How many test images the data have that a study measures on, and what is missing of them.

    Args:
        text: As `--data` takes it.

    Returns:
        Images of the reference and its shifts, the published number where ImageNet is not whole here; and what is
        missing, or None.
    """
    try:
        data = open_data(text)
        data.transform = _untouched
        return sum(len(loader.dataset) for loader in data.test_dataloader()), None
    except (UserError, ValueError, OSError) as error:
        return _published(text), Missing("data", str(error))


def _published(text: str) -> int:
    from lightning_robust.data.imagenet.published import published

    try:
        found = data_settings(text)
        return sum(published(name, found["v2"]).images[0] for name in ("val", *found["shifts"]))
    except (UserError, ValueError, OSError, KeyError):
        return 0


def _untouched(image: Any) -> Any:
    return image


def missing_of_study(config: StudyConfig) -> list[Missing]:
    """What the measurements need beside models and data: the concept set and a file of a baseline.

    Args:
        config: The study.
    """
    found = []
    kind, _, rest = (config.concepts or "").partition(":")
    place = Path(rest.partition("?")[0]).expanduser()
    if kind in ("broden", "csv") and not place.exists():
        found.append(Missing("concepts", str(place)))
    if config.baseline is not None and config.baseline != "none":
        from lightning_robust.robustness.loading import shipped_baselines

        if config.baseline not in shipped_baselines() and not Path(config.baseline).is_file():
            found.append(Missing("baseline", f"{config.baseline}: neither a file nor one that ships"))
    return found

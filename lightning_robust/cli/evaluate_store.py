"""The folder of an evaluation: what it is of, and the answers of each model as they come, so that it can be resumed."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lightning_robust.cli.evaluate_answers import ANSWERS_SCHEMA, ModelAnswers, unpack
from lightning_robust.cli.evaluate_models import Candidate
from lightning_robust.cli.run_folder import ROOT, new_run_folder
from lightning_robust.errors import UserError
from lightning_robust.results.atomic import atomic_write
from lightning_robust.results.record_file import from_json, write_record

__all__ = ["EvaluationSettings", "EvaluationStore"]

_COMMAND = "evaluate"
_SETTINGS, _MODELS = "settings.json", "models"


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """What an evaluation is of; a run goes on with the same alone.

    Attributes:
        data: as typed.
        description: of the data module.
        split: ``"test"`` or ``"val"``.
        sources: by set, what it is.
        protocols: by set, how accuracy is counted.
        images: by set, how many images it has.
        classes: class names, in order.
        templates: prompts of zero-shot heads.
        options: class and arguments of the data module, its seeds too.
    """

    data: str
    description: str
    split: str
    sources: dict[str, str]
    protocols: dict[str, str]
    images: dict[str, int]
    classes: list[str]
    templates: list[str]
    options: dict[str, Any]


class EvaluationStore:
    """The answers of each model, one file each, written whole or not at all.

    Args:
        name: The run's name; None makes a new run with the next free number.
        settings: What it is of.

    Attributes:
        folder: The run's folder.

    Raises:
        UserError: If the run is of something else, or its folder cannot be written.
    """

    def __init__(self, name: str | None, settings: EvaluationSettings) -> None:
        self._images = settings.images
        known = Path(ROOT).absolute() / _COMMAND / (name or "")
        if name and Path(name).name == name and known.is_dir():
            _check_same(known, settings)
            self.folder = known
        else:
            self.folder = new_run_folder(_COMMAND, name)
            with atomic_write(self.folder / _SETTINGS) as file:
                file.write(json.dumps(asdict(settings), indent=2, ensure_ascii=False) + "\n")
        (self.folder / _MODELS).mkdir(exist_ok=True)

    def done(self, candidate: Candidate) -> ModelAnswers | None:
        """The answers of a model, if they are there; a damaged file counts as none, and is written again.

        Args:
            candidate: The model; its answers get its name.
        """
        try:
            data = json.loads(self._file(candidate).read_text(encoding="utf-8"))
            found = from_json(ModelAnswers, data, ANSWERS_SCHEMA, "what evaluate keeps of a model")
            if {one.set: one.images for one in found.sets} != self._images:
                return None
            for one in found.sets:
                unpack(one.read, one.images), unpack(one.correct, one.images)
        except (FileNotFoundError, ValueError, UserError):
            return None
        if found.checkpoint_hash != candidate.checkpoint_hash:
            return None
        return replace(found, name=candidate.name, origin=candidate.origin, alpha=candidate.alpha)

    def keep(self, candidate: Candidate, answers: ModelAnswers) -> None:
        """Keep the answers of a model.

        Args:
            candidate: The model.
            answers: What it answered.
        """
        write_record(answers, self._file(candidate))

    def others(self, candidates: Sequence[Candidate]) -> int:
        """How many models were evaluated in this run before and are none of these.

        Args:
            candidates: Models.
        """
        named = {self._file(one) for one in candidates}
        return sum(file not in named for file in (self.folder / _MODELS).glob("*.json"))

    def discard_if_empty(self) -> None:
        """Remove the folder of a run that came to nothing."""
        if not any((self.folder / _MODELS).iterdir()):
            shutil.rmtree(self.folder, ignore_errors=True)

    def _file(self, candidate: Candidate) -> Path:
        return self.folder / _MODELS / f"{candidate.key}.json"


def _check_same(folder: Path, settings: EvaluationSettings) -> None:
    try:
        known = json.loads((folder / _SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = None
    if not isinstance(known, dict):
        raise UserError(f"{folder} exists and holds no evaluation that could go on: take another --run_name")
    for name, now in asdict(settings).items():
        if name not in known:
            raise UserError(
                f"the run {folder.name!r} is of an earlier version, which did not keep its {name}: take another "
                "--run_name"
            )
        before = known[name]
        if before != now:
            raise UserError(
                f"the run {folder.name!r} has {_difference(name, before, now)}: take another --run_name for other "
                "settings"
            )


def _difference(name: str, before: object, now: object) -> str:
    """What differs, in words that fit a sentence."""
    if isinstance(before, dict) and isinstance(now, dict):
        key = next((key for key in (*now, *before) if before.get(key) != now.get(key)), "")
        return f"{name} of {key} {before.get(key)!r}, not {now.get(key)!r}"
    if isinstance(before, list) and isinstance(now, list):
        return f"other {name} ({len(before)}, not {len(now)} of them)" if len(before) != len(now) else f"other {name}"
    return f"{name} {before!r}, not {now!r}"

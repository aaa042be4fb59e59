"""Finding the result files of a page: a folder's own, and what was measured on the same weights elsewhere."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning_robust.errors import UserError
from lightning_robust.report.html.sources import Found, Sources
from lightning_robust.results import (
    RunRecord,
    read_baseline,
    read_compression,
    read_curves,
    read_evaluation,
    read_probe,
    read_run,
)
from lightning_robust.results.ablation_record import read_ablation
from lightning_robust.results.diagnosis_record import read_diagnosis
from lightning_robust.results.names import BASELINE, CURVES, RESULTS
from lightning_robust.results.prune_record import read_pruning
from lightning_robust.results.study_record import read_study

__all__ = ["STUDY", "find_sources"]

#: The table of a study, in its folder.
STUDY = "study.json"
_READERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "evaluation": ("evaluations", read_evaluation),
    "probe": ("probes", read_probe),
    "pruning": ("prunings", read_pruning),
    "compression": ("compressions", read_compression),
    "ablation": ("ablations", read_ablation),
    "diagnosis": ("diagnoses", read_diagnosis),
    "study": ("studies", read_study),
}
_NOT_SHOWN = ("probe steps", "emergence", "path", "soup", "baseline", "calibration")
#: Where runs leave results below a folder such as ``checkpoints``.
_PLACES = (f"*/*/{RESULTS}", f"*/*/measured/*/{RESULTS}", f"*/*/{STUDY}")


@dataclass
class _Gathered:
    """Records by the name of their attribute of `Sources`."""

    found: dict[str, list[Found[Any]]] = field(default_factory=dict)
    skipped: list[tuple[Path, str]] = field(default_factory=list)

    def add(self, what: str, record: Found[Any]) -> None:
        self.found.setdefault(what, []).append(record)


def find_sources(
    folder: Path, others: Sequence[Path] = (), *, second: Path | None = None, below: Path | None = None
) -> Sources:
    """Read the results of a folder, of others that were named, and of what was measured on the same weights.

    Of several results of one kind elsewhere, one is left out if those before it show all of its checkpoints that
    matter here; those that show most of them come first, and of equal ones the newest.

    Args:
        folder: a folder with a ``results.json`` or a ``study.json``.
        others: more of them, merged.
        second: a folder to compare with.
        below: where runs lie; those whose results name a checkpoint of ``folder`` or ``others`` by its hash are
            merged too. A study is not looked up in this way: it has all of its models measured. None looks nowhere.

    Raises:
        UserError: a folder has no results, or they cannot be read.
    """
    gathered = _Gathered()
    files = [_results(asked) for asked in (folder, *others)]
    hashes: set[str] = set()
    for file in dict.fromkeys(files):
        parsed = _parsed(file)
        _add(gathered, file, parsed, asked=True)
        if parsed.get("kind") != "study":
            hashes |= set(_hashes(parsed))
    if below is not None and hashes:
        _add_same_weights(gathered, below, {file.resolve() for file in files}, hashes)
    return Sources(
        folder=folder,
        second=None if second is None else find_sources(second, below=below),
        skipped=tuple(gathered.skipped),
        **{what: tuple(records) for what, records in gathered.found.items()},
    )


def _results(folder: Path) -> Path:
    """The file in a folder that says what it found; a file by itself is taken as it is."""
    if folder.is_file():
        return folder
    for name in (STUDY, RESULTS):
        if (folder / name).is_file():
            return folder / name
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}: give the folder of a finished run, checkpoints/<config>/<run>")
    raise UserError(f"no results in {folder}: a finished run leaves a {RESULTS} there, a study a {STUDY}")


def _parsed(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is no file of results: {error}") from error
    if not isinstance(data, dict) or not isinstance(data.get("kind"), str):
        raise UserError(f"{file} is no file of results: it does not say its kind")
    return data


def _add(gathered: _Gathered, file: Path, parsed: dict[str, Any], *, asked: bool) -> None:
    """Read a record by its kind, and what lies beside it."""
    kind, folder = parsed["kind"], file.parent
    if kind in _NOT_SHOWN:
        raise UserError(f"a page has nothing to show of {file}, which holds {kind!r}: name a run or a measurement")
    if kind in _READERS:
        what, read = _READERS[kind]
        gathered.add(what, Found(folder, read(file), asked))
        return
    record: RunRecord = read_run(file)
    gathered.add("runs", Found(folder, record, asked))
    if (folder / CURVES).is_file():
        gathered.add("curves", Found(folder, read_curves(folder / CURVES), asked))
    if (folder / BASELINE).is_file():
        gathered.add("baselines", Found(folder, read_baseline(folder / BASELINE), asked))


def _hashes(data: Any) -> Iterator[str]:
    """Every checkpoint that parsed results name, by its hash."""
    if isinstance(data, dict):
        for key, value in data.items():
            if key == "checkpoint_hash" and isinstance(value, str) and value:
                yield value
            elif key == "checkpoints" and isinstance(value, dict):
                yield from (one for one in value.values() if isinstance(one, str) and one)
            elif isinstance(value, dict | list):
                yield from _hashes(value)
    elif isinstance(data, list):
        for value in data:
            if isinstance(value, dict | list):
                yield from _hashes(value)


def _add_same_weights(gathered: _Gathered, below: Path, own: set[Path], hashes: set[str]) -> None:
    by_kind: dict[str, list[tuple[Path, dict[str, Any], set[str]]]] = {}
    for file in _files(below):
        if file.resolve() in own or not _names(file, hashes):
            continue
        try:
            parsed = _parsed(file)
        except UserError as error:
            gathered.skipped.append((file, str(error)))
            continue
        shared = hashes & set(_hashes(parsed))
        if shared and parsed["kind"] not in _NOT_SHOWN:
            by_kind.setdefault(parsed["kind"], []).append((file, parsed, shared))
    for candidates in by_kind.values():
        candidates.sort(key=lambda one: (len(one[2]), _created(one[1])), reverse=True)
        shown: set[str] = set()
        for file, parsed, shared in candidates:
            if not shared <= shown:
                shown |= shared
                try:
                    _add(gathered, file, parsed, asked=False)
                except UserError as error:
                    gathered.skipped.append((file, str(error)))


def _files(below: Path) -> Iterable[Path]:
    return sorted({file for place in _PLACES for file in below.glob(place) if file.is_file()})


def _names(file: Path, hashes: set[str]) -> bool:
    """Whether a file's text names one of the hashes, without parsing megabytes of others."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return any(one in text for one in hashes)


def _created(parsed: dict[str, Any]) -> str:
    provenance = parsed.get("provenance")
    return str(provenance.get("created", "")) if isinstance(provenance, dict) else ""

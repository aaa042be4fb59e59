"""The files of a probe: a folder for each model, and what sets several side by side."""

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lightning_robust.results import ProbeRecord, atomic_path, write_probe, write_table
from lightning_robust.results.names import RESULTS

PICTURE = "probe.png"
_FIGURES, _WEIGHTS, _IMPORTANCE, _CONCEPTS = "figures.csv", "weights.csv", "importance.csv", "concepts.csv"


@dataclass
class Found:
    """A model's record, and what stands in files of its own."""

    record: ProbeRecord
    network: Any = None
    earlier: Path | None = None
    weights: list[dict[str, Any]] = field(default_factory=list)
    importance: list[dict[str, Any]] = field(default_factory=list)


def write_model(found: Found, folder: Path) -> None:
    """One model's files; tables that only a measurement makes are copied where the record was read."""
    record = found.record
    write_probe(record, folder / RESULTS)
    write_table(folder / _FIGURES, [{"tag": tag, "value": value} for tag, value in record.scalars.items()])
    entries = [
        {"direction": d.direction + 1, "importance": d.importance, "privileged": d.privileged, **asdict(entry)}
        for d in record.directions
        for entry in d.concepts
    ]
    for name, rows in ((_WEIGHTS, found.weights), (_IMPORTANCE, found.importance), (_CONCEPTS, entries)):
        if rows:
            write_table(folder / name, rows)
        elif found.earlier is not None and (found.earlier / name).is_file():
            with atomic_path(folder / name) as temporary:
                shutil.copyfile(found.earlier / name, temporary)


def write_comparison(lettered: Mapping[str, Found], folder: Path) -> None:
    """Every figure side by side; and the change of each weight matrix from A to each model of the same architecture."""
    write_table(folder / _FIGURES, side_by_side({letter: one.record for letter, one in lettered.items()}))
    lists = {letter: _concept_lists(one.record) for letter, one in lettered.items() if one.record.directions}
    if len(lists) == len(lettered):
        for letter in list(lists)[1:]:
            write_table(folder / f"concepts_A_and_{letter}.csv", _pairs(lists["A"], lists[letter], letter))
    first = next(iter(lettered.values())).network
    for letter, one in list(lettered.items())[1:]:
        if first is None or one.network is None or not _same_architecture(first.model, one.network.model):
            continue
        from lightning_robust.signatures import weight_spectra

        names = [row["name"] for row in one.weights]
        change = weight_spectra(one.network.model, first.model, names=names)
        write_table(folder / f"weights_A_to_{letter}.csv", change.table())


def _concept_lists(record: ProbeRecord) -> list[Any]:
    from lightning_robust.signatures.concept_lists import ConceptEntry, ConceptList

    return [
        ConceptList(
            found.direction,
            tuple(
                ConceptEntry(e.concept, e.category, e.average_precision, e.prevalence, e.sign) for e in found.concepts
            ),
        )
        for found in record.directions
    ]


def _pairs(a: list[Any], b: list[Any], letter: str) -> list[dict[str, Any]]:
    """Directions of two models that share most concepts, side by side; then those that share none."""
    from lightning_robust.signatures import compare_concept_lists

    found = compare_concept_lists(a, b, "concepts")
    rows = [(pair, pair.a, pair.b) for pair in found.pairs]
    return [
        {
            "A": "" if one is None else one + 1,
            letter: "" if other is None else other + 1,
            "both": ", ".join(name for name, _ in pair.both),
            "only A": ", ".join(name for name, _ in pair.only_a),
            f"only {letter}": ", ".join(name for name, _ in pair.only_b),
        }
        for pair, one, other in rows
    ]


def _same_architecture(one: Any, other: Any) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(a[name].shape == b[name].shape for name in a)


def side_by_side(records: Mapping[str, ProbeRecord]) -> list[dict[str, Any]]:
    """Every figure of every model, a row for each tag, a column for each model."""
    tags = dict.fromkeys(tag for record in records.values() for tag in record.scalars)
    return [{"tag": tag, **{letter: r.scalars.get(tag) for letter, r in records.items()}} for tag in tags]

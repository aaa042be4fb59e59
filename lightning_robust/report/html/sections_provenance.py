"""Where every figure comes from, and what the words mean."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup

from lightning_robust.report.html.blocks import facts, folded
from lightning_robust.report.html.definitions import DEFINITIONS
from lightning_robust.report.html.markup import joined, tag
from lightning_robust.report.html.section import Section
from lightning_robust.report.html.sources import Found, Sources
from lightning_robust.results import DataDescription, Provenance

__all__ = ["section"]

_KINDS = (
    ("Training", "runs"),
    ("Evaluation", "evaluations"),
    ("Signatures", "probes"),
    ("Pruning", "prunings"),
    ("Compression", "compressions"),
    ("Ablation", "ablations"),
    ("Diagnosis", "diagnoses"),
    ("Study", "studies"),
)


def section(found: Sources) -> Section:
    """Definitions, and of every result its data, seeds, versions, conventions and checkpoints.

    Args:
        found: result files.
    """
    parts = [tag("h3", "What the words mean"), facts(DEFINITIONS), tag("h3", "Where the figures come from")]
    parts += _records(found)
    if found.second is not None:
        parts += _records(found.second)
    skipped = (*found.skipped, *(found.second.skipped if found.second is not None else ()))
    if skipped:
        told = tag("ul", *(tag("li", f"{path}: {reason}") for path, reason in skipped), class_="points")
        parts.append(folded("Files of the same weights that could not be read", told))
    return Section(id="provenance", title="Methods and provenance", body=joined(parts))


def _records(found: Sources) -> Iterator[Markup]:
    for words, name in _KINDS:
        for one in getattr(found, name):
            yield folded(f"{words}: {_name(one.folder)}", _about(one))


def _name(folder: Path) -> str:
    return "/".join(folder.resolve().parts[-2:])


def _about(one: Found[Any]) -> Markup:
    record = one.record
    rows: list[tuple[str, str | Markup]] = [("found", "named" if one.asked else "by the hash of a checkpoint")]
    rows += _images(record.data)
    if getattr(record, "baseline", None):
        rows.append(("baseline", record.baseline))
    if getattr(record, "start", None):
        rows.append(("start", record.start))
    rows.append(("seeds", ", ".join(f"{what} {seed}" for what, seed in record.seeds.items()) or "none"))
    rows += _surroundings(record.provenance)
    hashes = _hashes(record)
    if hashes:
        rows.append(("checkpoints, SHA-256", tag("ul", *(tag("li", line, class_="hash") for line in hashes))))
    conventions = tag("ul", *(tag("li", line) for line in record.conventions), class_="points")
    parts: list[Markup | None] = [facts(rows), conventions if record.conventions else None]
    if getattr(record, "config", None):
        config = yaml.safe_dump(dict(record.config), sort_keys=False, allow_unicode=True)
        parts.append(folded("Configuration", tag("pre", config, tabindex=0), class_="numbers"))
    return joined(parts)


def _images(data: DataDescription) -> Iterator[tuple[str, str | Markup]]:
    yield "data", data.dataset
    yield "protocol", data.protocol
    if data.training:
        yield "training data", data.training
    yield "images", ", ".join(f"{name} {count:,}" for name, count in data.images.items())
    unreadable = [line for lines in data.unreadable.values() for line in lines]
    if unreadable:
        yield "left out as unreadable", tag("ul", *(tag("li", line) for line in unreadable))


def _surroundings(provenance: Provenance) -> Iterator[tuple[str, str]]:
    yield "made", provenance.created
    yield "code", provenance.git_revision or "an installed package, not a checkout"
    packages = ", ".join(f"{name} {version}" for name, version in provenance.packages.items() if version)
    yield "versions", f"{packages}, Python {provenance.python}"
    threads = f"{provenance.threads} thread{'' if provenance.threads == 1 else 's'}"
    yield "machine", f"{provenance.platform}, {provenance.device}, {threads}"


def _hashes(record: Any) -> list[str]:
    """Checkpoints that a record names, each once."""
    named: Mapping[str, str] = getattr(record, "checkpoints", None) or {}
    lines = [f"{digest}  {name}" for name, digest in named.items()]
    own = getattr(record, "checkpoint_hash", None)
    models = [*getattr(record, "models", ()), *getattr(record, "rows", ())]
    model = getattr(record, "model", None)
    models += [model] if hasattr(model, "checkpoint_hash") else []
    lines += [f"{one.checkpoint_hash}  {one.name}" for one in models if getattr(one, "checkpoint_hash", "")]
    return [*lines, *([f"{own}  {model}"] if own else [])]

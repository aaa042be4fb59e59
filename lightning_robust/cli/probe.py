"""`probe`: every signature of one model as tables, files and a picture; `--compare` sets models side by side."""

import argparse
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lightning_robust.cli.run_folder import new_run_folder, refuse_taken
from lightning_robust.errors import UserError, from_user
from lightning_robust.results import (
    DataDescription,
    ModelDescription,
    ProbedLayer,
    ProbeRecord,
    collect_provenance,
    read_probe,
    write_probe,
    write_table,
)
from lightning_robust.results.names import RESULTS

_FIGURES, _WEIGHTS, _IMPORTANCE, _CONCEPTS = "figures.csv", "weights.csv", "importance.csv", "concepts.csv"
_PICTURE = "probe.png"
_LETTERS = "ABCDEFGH"


@dataclass
class _Found:
    """A model's record, and what stands in files of its own."""

    record: ProbeRecord
    network: Any = None
    weights: list[dict[str, Any]] = field(default_factory=list)
    importance: list[dict[str, Any]] = field(default_factory=list)


def run(args: argparse.Namespace) -> int:
    """Probe one model, or several that are set side by side.

    Raises:
        UserError: For a model, images or a setting that cannot be had, before anything is written.
    """
    names = [args.model] if args.compare is None else list(args.compare)
    if args.compare is not None and not 2 <= len(names) <= len(_LETTERS):
        raise UserError(
            f"--compare takes 2 to {len(_LETTERS)} models or folders of earlier probes, got {len(names)}: {names}"
        )
    refuse_taken("probe", args.run_name)
    found = _found(args, names)
    folder = new_run_folder("probe", args.run_name)
    lettered = {"": found[0]} if len(found) == 1 else dict(zip(_LETTERS, found, strict=False))
    for letter, one in lettered.items():
        own = folder / letter if letter else folder
        own.mkdir(exist_ok=True)
        _write(one, own)
    if len(found) > 1:
        _write_comparison(lettered, folder)
    from rich.console import Console

    from lightning_robust.report import print_probe, probe_figure

    records = {letter: one.record for letter, one in lettered.items()}
    probe_figure(records, folder / _PICTURE)
    print_probe(records, folder, Console())
    return 0


def _found(args: argparse.Namespace, names: list[str]) -> list[_Found]:
    """What is known already is read, everything else measured; every name is checked before the first pass."""
    known = {name: _Found(read_probe(Path(name) / RESULTS)) for name in names if (Path(name) / RESULTS).is_file()}
    if len(known) == len(names):
        _refuse_idle(args)
    networks = {name: _load(args, name) for name in names if name not in known}
    return [known[name] if name in known else _measured(args, networks[name]) for name in names]


def _refuse_idle(args: argparse.Namespace) -> None:
    """Earlier probes are read as they are: what says how to measure would do nothing."""
    given = [
        name for name in ("concepts", "layers", "classes", "weights", "max_images", "device") if getattr(args, name)
    ]
    given += ["images"] if args.images != "scenes" else []
    if given:
        raise UserError(f"--{given[0]} has no effect on earlier probes, which are read as they are; leave it out")


def _load(args: argparse.Namespace, name: str) -> Any:
    from lightning_robust.models.networks import load_network

    classes, templates = _class_texts(args)
    with from_user(ValueError):
        return load_network(
            name,
            weights=args.weights,
            seed=args.seed,
            class_names=classes,
            templates=templates,
        )


def _class_texts(args: argparse.Namespace) -> tuple[list[str] | None, list[str] | None]:
    """Classes and prompts of a zero-shot head: a file's lines, or those of the scenes world for its own images."""
    if args.classes is not None:
        try:
            lines = args.classes.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot read the class names in {args.classes}: {error}") from error
        names = [line.strip() for line in lines if line.strip()]
        if not names:
            raise UserError(f"{args.classes} holds no class names: one on each line")
        return names, None
    if args.images != "scenes":
        return None, None
    from lightning_robust.data.scenes.vocabulary import CLASSES, TEMPLATES

    return list(CLASSES), list(TEMPLATES)


def _measured(args: argparse.Namespace, network: Any) -> _Found:
    import torch

    from lightning_robust.cli.probing import Settings, probe_network
    from lightning_robust.data.concept_sets import concept_loader, open_concept_set
    from lightning_robust.data.image_sets import image_loader, open_images

    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    layers = tuple(dict.fromkeys([*(args.layers or network.blocks), network.representation_layer]))
    with from_user(ValueError, RuntimeError):
        pictures = open_images(args.images, network.transform, n=args.max_images)
        labelled = None if args.concepts is None else open_concept_set(args.concepts, network.transform)
        images = image_loader(pictures, args.batch_size)
        concepts = None if labelled is None else (labelled, concept_loader(labelled, args.batch_size))
        found = probe_network(network, images, concepts, Settings(layers, args.pool, device, args.seed))
    counts = {pictures.source: found.images}
    if labelled is not None:
        counts[f"{labelled.source} (concepts)"] = found.concept_images
    record = ProbeRecord(
        provenance=collect_provenance(device=device),
        seeds={"random heads, rotations and permutations": args.seed},
        model=ModelDescription(
            name=network.name,
            origin=network.origin,
            checkpoint_hash=network.checkpoint_hash,
            parameters=sum(p.numel() for p in network.model.parameters()),
            classes=0 if network.head is None else len(network.head),
        ),
        data=DataDescription(dataset=args.images, protocol="the model's own preprocessing", images=counts),
        conventions=conventions(found),
        layers=tuple(ProbedLayer(name=name, form=form.words, d=form.d) for name, form in found.forms.items()),
        scalars=found.reading.scalars,
        curves={tag: tuple(values) for tag, values in found.reading.curves.items()},
        indices={tag: tuple(values) for tag, values in found.reading.indices.items()},
        directions=found.directions,
    )
    return _Found(record, network, found.weights, found.importance)


def conventions(found: Any) -> tuple[str, ...]:
    """How a probe's figures were taken, in sentences."""
    said = [
        "kurtosis: Pearson's (a Gaussian gives 3), h not normalised; outlier features: |z| > 6 on at least 6 % of "
        "the images",
        "spectra: h not normalised, RankMe on E[hhᵀ]; importance: σ · mean |cos(v, h)|, largest over median, raw and "
        "centred head; controls: means over 5 random heads and 5 random rotations",
        "layers: " + "; ".join(f"{name}: {form.words}" for name, form in found.forms.items()),
        "weights: every matrix of the image tower and the head, float64",
    ]
    if found.concept_images:
        said.append(
            "concepts: h of unit length, AP of v and −v, unknown labels ignored, bases of equal size; eligible with 10 "
            "positives, 10 negatives and a prevalence of at most 50 %"
        )
    return tuple(said)


def _write(found: _Found, folder: Path) -> None:
    """One model's files; tables that only a measurement makes are left out where the record was read."""
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


def _write_comparison(lettered: Mapping[str, _Found], folder: Path) -> None:
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

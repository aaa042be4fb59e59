"""`probe`: every signature of one model as tables, files and a picture; `--compare` sets models side by side."""

import argparse
import json
import sys
import warnings
from pathlib import Path
from typing import Any

from lightning_robust.cli.class_names_file import class_names_in
from lightning_robust.cli.probe_files import PICTURE, Found, write_comparison, write_model
from lightning_robust.cli.probe_steps_files import steps_folder
from lightning_robust.cli.run_folder import new_run_folder, refuse_unwritable
from lightning_robust.errors import UserError, from_user
from lightning_robust.results import (
    DataDescription,
    ModelDescription,
    ProbedLayer,
    ProbeRecord,
    collect_provenance,
    read_probe,
)
from lightning_robust.results.names import RESULTS
from lightning_robust.results.steps_record import STEPS_KIND

__all__ = ["conventions", "load_model", "measured_model", "run"]

#: What says how to measure.
_MEASURING = (
    "images",
    "concepts",
    "layers",
    "pool",
    "classes",
    "weights",
    "max_images",
    "batch_size",
    "device",
    "seed",
)
_LETTERS = "ABCDEFGH"
#: What is taken where nothing is said, and no run says otherwise.
_DEFAULTS = {"images": "scenes", "pool": "mean", "batch_size": 128, "seed": 0}


def run(args: argparse.Namespace) -> int:
    """Probe one model, the step checkpoints of a run, or several models that are set side by side.

    Raises:
        UserError: For a model, images or a setting that cannot be had, before anything is written.
    """
    names = [args.model] if args.compare is None else list(args.compare)
    if args.compare is not None and not 2 <= len(names) <= len(_LETTERS):
        raise UserError(
            f"--compare takes 2 to {len(_LETTERS)} models or folders of earlier probes, got {len(names)}: {names}"
        )
    over_steps = _over_steps(args, names)
    if over_steps is not None:
        return over_steps
    refuse_unwritable("probe", args.run_name)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        found = _found(args, names)
    for sentence in dict.fromkeys(str(one.message) for one in said):
        print(f"lightning-robust: warning: {sentence}", file=sys.stderr)
    folder = new_run_folder("probe", args.run_name)
    lettered = {"": found[0]} if len(found) == 1 else dict(zip(_LETTERS, found, strict=False))
    for letter, one in lettered.items():
        own = folder / letter if letter else folder
        own.mkdir(exist_ok=True)
        write_model(one, own)
    if len(found) > 1:
        write_comparison(lettered, folder)
    from rich.console import Console

    from lightning_robust.report import print_probe, probe_figure

    records = {letter: one.record for letter, one in lettered.items()}
    probe_figure(records, folder / PICTURE)
    print_probe(records, folder, Console())
    return 0


def _over_steps(args: argparse.Namespace, names: list[str]) -> int | None:
    """Probe the step checkpoints of a run, or print such a probe again; None where no name stands for any."""
    for name in names:
        kind, folder = _kind(Path(name) / RESULTS), steps_folder(name)
        earlier = kind == STEPS_KIND
        if not earlier and (folder is None or kind == "probe"):
            if kind not in (None, "probe"):
                raise UserError(f"{name} holds no step checkpoints: name a file of this run, such as {name}/last.ckpt")
            continue
        if args.compare is not None:
            raise UserError(
                f"--compare sets single models side by side, and {name} holds many: give it to --model alone, or name "
                "one of its checkpoints, step=….safetensors"
            )
        from lightning_robust.cli.probe_steps import again, run_steps

        if folder is not None and not earlier:
            return run_steps(args, folder)
        _refuse_idle(args)
        return again(args)
    return None


def _kind(results: Path) -> str | None:
    """What kind of record a file says it is; None where there is none, or nothing that says so."""
    try:
        found = json.loads(results.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    kind = found.get("kind") if isinstance(found, dict) else None
    return kind if isinstance(kind, str) else None


def _found(args: argparse.Namespace, names: list[str]) -> list[Found]:
    """What is known already is read, everything else measured; every name is checked before the first pass."""
    known = {
        name: Found(read_probe(Path(name) / RESULTS), earlier=Path(name))
        for name in names
        if (Path(name) / RESULTS).is_file()
    }
    for name in names:
        if (Path(name) / "A" / RESULTS).is_file():
            raise UserError(f"{name} holds several probes side by side: name one of them, such as {Path(name) / 'A'}")
    if len(known) == len(names):
        _refuse_idle(args)
    for setting, value in _DEFAULTS.items():
        setattr(args, setting, value if getattr(args, setting) is None else getattr(args, setting))
    networks = {name: load_model(args, name) for name in names if name not in known}
    return [known[name] if name in known else measured_model(args, networks[name]) for name in names]


def _refuse_idle(args: argparse.Namespace) -> None:
    """Earlier probes are read as they are: what says how to measure would do nothing."""
    given = [name for name in (*_MEASURING, "download") if getattr(args, name) not in (None, False)]
    if given:
        raise UserError(f"--{given[0]} has no effect on earlier probes, which are read as they are; leave it out")


def load_model(args: argparse.Namespace, name: str) -> Any:
    """Load a model by name, a CLIP with the zero-shot head of the classes that are asked for.

    Args:
        args: `classes`, `images`, `weights` and `seed`.
        name: As `--model` takes it.

    Raises:
        UserError: If it cannot be had.
    """
    from lightning_robust.models.bundled import CLASSIFIER_FILE, SUPERVISED
    from lightning_robust.models.encoders import BUNDLED
    from lightning_robust.models.networks import load_network, takes_class_names

    if (
        name
        and Path(name).is_dir()
        and not (Path(name) / CLASSIFIER_FILE).is_file()
        and name not in (BUNDLED, SUPERVISED)
    ):
        raise UserError(
            f"{name} is a folder without step checkpoints, an earlier probe or a classifier: name a file in it, or a "
            f"CLIP in open_clip's form as local-dir:{name}"
        )
    with from_user(ValueError):
        takes = takes_class_names(name)
        classes, templates = _class_texts(args) if takes or args.classes is not None else (None, None)
        return load_network(name, weights=args.weights, seed=args.seed, class_names=classes, templates=templates)


def _class_texts(args: argparse.Namespace) -> tuple[list[str] | None, list[str] | None]:
    """Classes and prompts of a zero-shot head: a file's lines, or those of the scenes world for its own images."""
    if args.classes is not None:
        return class_names_in(args.classes), None
    if args.images != "scenes":
        return None, None
    from lightning_robust.data.scenes.vocabulary import CLASSES, TEMPLATES

    return list(CLASSES), list(TEMPLATES)


def _head_classes(args: argparse.Namespace, network: Any) -> list[str] | None:
    """What the classes of a network's head are called; None where there is none, or nothing says so."""
    from lightning_robust.models.networks import takes_class_names

    if network.head is None:
        return None
    names = _class_texts(args)[0] if takes_class_names(network.name) else network.class_names
    return None if names is None or len(names) != len(network.head) else list(names)


def measured_model(args: argparse.Namespace, network: Any) -> Found:
    """Measure every signature of a model.

    Args:
        args: What says how to measure.
        network: From `load_model`.

    Raises:
        UserError: If images or concept set cannot be had.
    """
    import torch

    from lightning_robust.cli.probing import Settings, probe_network
    from lightning_robust.data.concept_sets import concept_loader, open_concept_set
    from lightning_robust.data.image_labels import class_labels, labelled_loader
    from lightning_robust.data.image_sets import image_loader, open_images
    from lightning_robust.models.untrained import calibrated
    from lightning_robust.report.probe_table import CONCEPT_IMAGES

    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    layers = tuple(dict.fromkeys([*(args.layers or network.blocks), network.representation_layer]))
    with from_user(ValueError, RuntimeError):
        pictures = open_images(args.images, network.transform, n=args.max_images, download=args.download)
        fetch = {"download": True} if args.download and (args.concepts or "").startswith("hub:") else {}
        labelled = None if args.concepts is None else open_concept_set(args.concepts, network.transform, **fetch)
        images = image_loader(pictures, args.batch_size)
        concepts = None if labelled is None else (labelled, concept_loader(labelled, args.batch_size))
        network = calibrated(network, images, device)
        names = _head_classes(args, network)
        labels = None if names is None else class_labels(pictures, names)
        if labels is not None:
            images = labelled_loader(pictures, labels, args.batch_size)
        found = probe_network(network, images, concepts, Settings(layers, args.pool, device, args.seed))
    counts = {pictures.source: found.images}
    if labelled is not None:
        counts[f"{labelled.source}{CONCEPT_IMAGES}"] = found.concept_images
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
        conventions=conventions(found) + _unreadable(images, concepts),
        layers=tuple(ProbedLayer(name=name, form=form.words, d=form.d) for name, form in found.forms.items()),
        scalars=found.reading.scalars,
        curves={tag: tuple(values) for tag, values in found.reading.curves.items()},
        indices={tag: tuple(values) for tag, values in found.reading.indices.items()},
        directions=found.directions,
    )
    return Found(record, network, weights=found.weights, importance=found.importance)


def conventions(found: Any) -> tuple[str, ...]:
    """How a probe's figures were taken, in sentences."""
    from lightning_robust.signatures import CALIBRATION_BINS

    said = [
        "kurtosis: Pearson's (a Gaussian gives 3), h not normalised; outlier features: |z| > 6 on at least 6 % of "
        "the images",
        "spectra: h not normalised, RankMe on E[hhᵀ], participation ratio of the covariance",
        "importance: σ · mean |cos(v, h)|, largest over median, raw and centred head; controls: means over 5 random "
        "heads and 5 random rotations",
        "layers: " + "; ".join(f"{name}: {form.words}" for name, form in found.forms.items()),
        "weights: every matrix of the image tower and the head, float64",
    ]
    if "confidence/mean" in found.reading.scalars:
        truth = (
            f"accuracy on the {found.labelled:,} images whose class is known"
            if found.labelled
            else ("no accuracy, since nothing says that the images' classes are the head's")
        )
        said.append(
            "confidence: of the model's own logits, temperature included; entropy divided by log C; calibration error "
            f"over {CALIBRATION_BINS} bins of equal width; {truth}"
        )
    if found.concept_images:
        said.append(
            "concepts: h of unit length, AP of v and −v, unknown labels ignored; bases of equal size, neurons drawn "
            "with the seed; eligible with 10 positives, 10 negatives and a prevalence of at most 50 %"
        )
    return tuple(said)


def _unreadable(images: Any, concepts: Any) -> tuple[str, ...]:
    loaders = [images] if concepts is None else [images, concepts[1]]
    return tuple(f"an image was left out: {sentence}" for loader in loaders for sentence in loader.unreadable)

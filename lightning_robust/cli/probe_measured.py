"""What `probe` measures of one model: loading it with its head, its images, and every signature as a record."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_robust.cli.class_names_file import class_names_in
from lightning_robust.cli.evaluate_device import named_device
from lightning_robust.cli.probe_files import Found
from lightning_robust.errors import UserError, from_user
from lightning_robust.results import (
    DataDescription,
    ModelDescription,
    ProbedLayer,
    ProbeRecord,
    collect_provenance,
)

__all__ = ["GivenImages", "conventions", "load_model", "measured_model"]


def load_model(args: argparse.Namespace, name: str, texts: tuple[list[str], list[str]] | None = None) -> Any:
    """Load a model by name, a CLIP with the zero-shot head of the classes that are asked for.

    Args:
        args: `classes`, `images`, `weights` and `seed`.
        name: As `--model` takes it.
        texts: Class names and prompts of a CLIP's head, in place of those that the arguments name.

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
        named = takes or (args.classes is not None and texts is None)
        classes, templates = (texts or _class_texts(args)) if named else (None, None)
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


@dataclass(frozen=True)
class GivenImages:
    """Images that a model is measured on.

    Attributes:
        dataset: What they are called.
        source: What they are, for the record.
        batches: A loader of images, or of images and their classes in the order of the head; `unreadable` lists what
            it left out.
    """

    dataset: str
    source: str
    batches: Any


def _given(args: argparse.Namespace, network: Any) -> GivenImages:
    """The images that `--images` names, with their classes where these are known to be the head's."""
    from lightning_robust.data.image_labels import class_labels, labelled_loader
    from lightning_robust.data.image_sets import image_loader, open_images

    pictures = open_images(args.images, network.transform, n=args.max_images, download=args.download)
    names = _head_classes(args, network)
    labels = None if names is None else class_labels(pictures, names)
    batches = (
        image_loader(pictures, args.batch_size)
        if labels is None
        else labelled_loader(pictures, labels, args.batch_size)
    )
    return GivenImages(args.images, pictures.source, batches)


def measured_model(args: argparse.Namespace, network: Any, given: GivenImages | None = None) -> Found:
    """Measure every signature of a model.

    Args:
        args: What says how to measure.
        network: From `load_model`.
        given: Images in place of those that `args.images` names.

    Raises:
        UserError: If images or concept set cannot be had.
    """
    from lightning_robust.cli.probing import Settings, probe_network
    from lightning_robust.data.concept_sets import concept_loader, open_concept_set
    from lightning_robust.models.untrained import calibrated
    from lightning_robust.report.probe_table import CONCEPT_IMAGES
    from lightning_robust.signatures import images_from_batch

    device = named_device(args.device)
    layers = tuple(dict.fromkeys([*(args.layers or network.blocks), network.representation_layer]))
    with from_user(ValueError, RuntimeError):
        fetch = {"download": True} if args.download and (args.concepts or "").startswith("hub:") else {}
        labelled = None if args.concepts is None else open_concept_set(args.concepts, network.transform, **fetch)
        concepts = None if labelled is None else (labelled, concept_loader(labelled, args.batch_size))
        given = given or _given(args, network)
        images = given.batches
        network = calibrated(network, (images_from_batch(batch) for batch in images), device)
        found = probe_network(network, images, concepts, Settings(layers, args.pool, device, args.seed))
    counts = {given.source: found.images}
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
        data=DataDescription(dataset=given.dataset, protocol="the model's own preprocessing", images=counts),
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

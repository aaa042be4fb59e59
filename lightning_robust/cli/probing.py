"""Every signature of one network: a pass over images, a pass over a concept set, and its weights."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from lightning_robust.callbacks.concepts import ConceptSignature
from lightning_robust.callbacks.confidence import confidence_figures
from lightning_robust.callbacks.kurtosis import KurtosisSignature
from lightning_robust.callbacks.signature import Reading, Signature
from lightning_robust.callbacks.spectrum import SpectrumSignature, control_figures
from lightning_robust.errors import UserError
from lightning_robust.models.network import Network
from lightning_robust.results import ConceptEntry, DirectionConcepts
from lightning_robust.signatures import (
    ActivationProbe,
    ImportanceControls,
    PredictionConfidence,
    concept_lists,
    count_concepts,
    images_from_batch,
    importance_with_controls_report,
    labels_from_batch,
    measure,
    measured_pass,
    weight_spectra,
)
from lightning_robust.signatures.layer_form import LayerForm, Pool

Row = dict[str, str | int | float]
#: Average precisions at which concepts are counted for the curve.
THRESHOLDS = tuple(k / 100 for k in range(30, 100, 2))
_CONTROLS = "controls"
_CONFIDENCE = "confidence"
#: The layer string of a network's own output: the logits, where it has a head.
_OUTPUT = ""
#: How many of the most important directions are listed, each with how many concepts.
_DIRECTIONS, _CONCEPTS = 20, 8


@dataclass
class Probed:
    """What was measured of a network.

    Attributes:
        reading: figures, curves and indices by tag.
        forms: axis and pooling of each layer.
        images: images seen. concept_images: images of the concept set seen.
        directions: the most important directions with their concepts.
        weights: a row for each weight matrix.
        importance: a row for each form and kind of head.
        labelled: images whose class is known, for accuracy beside confidence.
    """

    reading: Reading
    forms: Mapping[str, LayerForm]
    images: int
    concept_images: int = 0
    directions: tuple[DirectionConcepts, ...] = ()
    weights: list[Row] = field(default_factory=list)
    importance: list[Row] = field(default_factory=list)
    labelled: int = 0


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes:
        layers: where; the representation h among them.
        pool: how tokens and maps become one vector for each image.
        device: where the network runs.
        seed: of random rotations, heads and permutations.
    """

    layers: tuple[str, ...]
    pool: Pool
    device: str
    seed: int


def probe_network(network: Network, images: Any, concepts: Any, settings: Settings) -> Probed:
    """Measure a network.

    Args:
        network: What is measured.
        images: Batches of images, or of images and their classes `(n,)` in the order of the head, −1 where unknown.
        concepts: A concept set and its batches; None leaves concepts out.
        settings: How.
    """
    model, here = network.model.to(settings.device), network.representation_layer
    widths = _widths(model, images, settings)
    # importance is a figure of what the head reads, not of whatever layer happens to be as wide
    kinds: dict[str, dict[str, Signature]] = {
        layer: {
            "kurtosis": KurtosisSignature(),
            "spectrum": SpectrumSignature(network.head_layer if layer == here else None),
        }
        for layer in widths
    }
    metrics = {layer: _metrics(kinds[layer], model, layer, d, settings.device) for layer, d in widths.items()}
    controls = None
    if network.head is not None:
        seeds = [settings.seed + k for k in range(5)]
        controls = ImportanceControls(network.head, seeds, unit_norm=network.unit_norm).to(settings.device)
        metrics[here][_CONTROLS] = controls
        metrics.setdefault(_OUTPUT, {})[_CONFIDENCE] = PredictionConfidence().to(settings.device)
    found = measure(
        model, images, metrics, pool=settings.pool, device=settings.device, labels_from_batch=_known_classes
    )
    forms = {layer: found.forms[layer] for layer in widths}
    probed = Probed(_read(kinds, found), forms, int(found[here]["kurtosis kurtosis"]["n"]))
    if network.head is not None:
        _add_confidence(probed, found[_OUTPUT][_CONFIDENCE], here)
    if controls is not None:
        report = importance_with_controls_report(found[here][_CONTROLS], controls)
        probed.importance = report.table()
        probed.reading.scalars |= control_figures(report, here)
        for name, control in (("random", "random_head"), ("rotated", "random_rotation")):
            drawn = report.heads[f"raw/{name}"].normalised[0].sort(descending=True).values
            probed.reading.curves[f"importance/{here}/raw/{control}/directions"] = drawn.tolist()
    if concepts is not None:
        result = _probe_concepts(probed, network, concepts, settings)
        if network.head is not None:
            probed.directions = _directions(found[here]["spectrum importance_raw"], result, concepts[0])
    _probe_weights(probed, network)
    return probed


def _widths(model: torch.nn.Module, images: Any, settings: Settings) -> dict[str, int]:
    """Features of each layer, from a pass over two images."""
    first = next(iter(images), None)
    if first is None:
        raise UserError("none of the images can be read, so there is nothing to measure")
    with measured_pass(model), ActivationProbe(model, settings.layers, settings.pool) as probe:
        some = images_from_batch(first)[:2]
        probe.expect(len(some))
        model(some.to(settings.device))
        return {layer: h.shape[1] for layer, h in probe.pop().items()}


def _metrics(signatures: Mapping[str, Signature], model: Any, layer: str, d: int, device: str) -> dict[str, Metric]:
    made: dict[str, Metric] = {}
    for kind, signature in signatures.items():
        own = signature.metrics(model, layer, d, synchronise=False) | signature.hidden_metrics(synchronise=False)
        made |= {f"{kind} {name}": metric.to(device) for name, metric in own.items()}
    return made


def _read(kinds: Mapping[str, Mapping[str, Signature]], found: Mapping[str, Mapping[str, Any]]) -> Reading:
    reading = Reading()
    for layer, signatures in kinds.items():
        results = found[layer]
        for kind, signature in signatures.items():
            start = f"{kind} "
            own = {name.removeprefix(start): value for name, value in results.items() if name.startswith(start)}
            reading.add(signature.read(layer, own))
    return reading


def _known_classes(batch: Any) -> Tensor:
    """The classes of a batch; −1 for images that came alone."""
    labels = labels_from_batch(batch)
    return torch.full((len(images_from_batch(batch)),), -1) if labels is None else labels


def _add_confidence(probed: Probed, result: Mapping[str, Tensor], here: str) -> None:
    """How sure the network's own logits are, and the diagram of their calibration."""
    probed.reading.scalars |= confidence_figures(result, here)
    probed.labelled = int(result["labelled"])
    for name in ("images", "confidence", "accuracy") if probed.labelled else ():
        probed.reading.curves[f"confidence/bins/{name}"] = [float(value) for value in result[f"bin_{name}"]]


def _probe_concepts(probed: Probed, network: Network, concepts: Any, settings: Settings) -> Mapping[str, Any]:
    """Average precision on a concept set, and counts of every basis."""
    here, (dataset, batches) = network.representation_layer, concepts
    signature = ConceptSignature(network.head_layer, dataset.categories, settings.seed)
    metrics = _metrics({"concepts": signature}, network.model, here, probed.forms[here].d, settings.device)
    if next(iter(batches), None) is None:
        raise UserError("none of the images of the concept set can be read, so there is nothing to measure")
    found = measure(network.model, batches, {here: metrics}, pool=settings.pool, device=settings.device)
    probed.reading.add(_read({here: {"concepts": signature}}, found))
    result: dict[str, Any] = found[here]["concepts concepts"]
    probed.concept_images = int(result["n"])
    curves = probed.reading.curves
    curves[f"concepts/{here}/thresholds"] = list(THRESHOLDS)
    for key in [key for key in result if key.startswith("ap/")]:
        counts = count_concepts(result[key], result["eligible"], THRESHOLDS)
        tag = f"concepts/{here}/{key.removeprefix('ap/')}"
        curves[f"{tag}/unique"] = [float(n) for n in counts.unique_concepts]
        probed.reading.scalars[f"{tag}/directions"] = float(counts.directions)
    return result


def _directions(
    importance: Mapping[str, Any], result: Mapping[str, Any], dataset: Any
) -> tuple[DirectionConcepts, ...]:
    """The most important directions of the raw head, each with the concepts that it ranks."""
    share, privileged = importance["normalised"].reshape(-1), importance["privileged"].reshape(-1)
    chosen = share.argsort(descending=True)[:_DIRECTIONS].tolist()
    lists = concept_lists(
        result["ap/singular_vectors"],
        dataset.concepts,
        dataset.categories,
        result["prevalence"],
        chosen,
        _CONCEPTS,
        negative=result["negative/singular_vectors"],
        eligible=result["eligible"],
    )
    return tuple(
        DirectionConcepts(
            direction=k,
            importance=float(share[k]),
            privileged=bool(privileged[k]),
            concepts=tuple(
                ConceptEntry(
                    concept=e.concept, category=e.category, average_precision=e.ap, prevalence=e.prevalence, sign=e.sign
                )
                for e in found.entries
            ),
        )
        for k, found in zip(chosen, lists, strict=True)
    )


def _probe_weights(probed: Probed, network: Network) -> None:
    """Spectra of every weight matrix of the image tower and the head, the text tower left out."""
    names = ["encoder.visual.*"] if network.representation_layer == "encoder.visual" else "all"
    if isinstance(names, list) and network.head_layer:
        names = [*names, f"{network.head_layer}.weight"]
    spectra = weight_spectra(network.model, names=names)
    probed.weights = spectra.table()
    for row in probed.weights:
        for figure in ("stable_rank", "effective_rank", "alpha"):
            probed.reading.scalars[f"weights/{row['name']}/{figure}"] = float(row[figure])

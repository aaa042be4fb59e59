"""Classifiers on disk: the bundled supervised model, or any folder that supervised pretraining exported."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_robust.models.checkpoint_files import load_metadata, load_tensors, save_tensors
from lightning_robust.models.classifier import ImageClassifier
from lightning_robust.models.encoders import load_encoder
from lightning_robust.models.image_tower import ImageTower
from lightning_robust.models.interpolate import check_same_entries
from lightning_robust.results import file_sha256

SUPERVISED = "scenes-supervised"
CLASSIFIER_FILE = "model.safetensors"
_FACTS = "classifier"


@dataclass(frozen=True, eq=False)
class Classifier:
    """A trained image classifier with what belongs to it.

    Attributes:
        name: The name it was loaded by.
        model: Image tower, normalisation and head, in eval mode, on the CPU.
        transform: The evaluation preprocessing, from a PIL image to a `(3, H, W)` tensor.
        class_names: The classes, in the order of the logits.
        checkpoint_hash: SHA-256 of the weights file.
        architecture: What builds its image tower: `Encoder.config`.
    """

    name: str
    model: ImageClassifier
    transform: Callable[[Any], Tensor]
    class_names: tuple[str, ...]
    checkpoint_hash: str
    architecture: Mapping[str, Any] = field(default_factory=dict)


def load_classifier(name: str) -> Classifier:
    """Load an image classifier by name, from safetensors alone. No random state of the caller is touched.

    Args:
        name: `scenes-supervised` (bundled: trained from scratch on the labelled reference images of the scenes world,
            the supervised control of the CLIP), or a folder that `save_classifier` wrote.

    Raises:
        ValueError: If there is no such model, or its file is not whole or of another architecture than it says.

    Example:
        >>> classifier = load_classifier("scenes-supervised")
        >>> len(classifier.class_names), classifier.model(torch.zeros(1, 3, 32, 32)).shape
        (20, torch.Size([1, 20]))
    """
    bundled = Path(str(resources.files("lightning_robust.checkpoints"))) / SUPERVISED
    file = (bundled if name == SUPERVISED else Path(name).expanduser()) / CLASSIFIER_FILE
    if not file.is_file():
        raise ValueError(
            f"No classifier {name!r}: '{SUPERVISED}' would work, or a folder that holds {CLASSIFIER_FILE}."
        )
    state, header = load_tensors(file), load_metadata(file).get(_FACTS)
    facts = json.loads(header) if header is not None else {}
    if not {"encoder", "class_names"} <= set(facts) or "head.weight" not in state:
        raise ValueError(f"{file} does not say its encoder and class names: it was not written by save_classifier.")
    encoder = load_encoder(facts["encoder"], pretrained=False)
    model = ImageClassifier(ImageTower(encoder.model.get_submodule("visual")), torch.empty_like(state["head.weight"]))
    check_same_entries(state, model.state_dict(), (str(file), f"a classifier with the encoder {facts['encoder']!r}"))
    model.load_state_dict(state)
    known = tuple(facts["class_names"])
    return Classifier(name, model.eval(), encoder.transform, known, file_sha256(file), encoder.config)


def save_classifier(path: str | Path, model: ImageClassifier, *, encoder: str, class_names: Sequence[str]) -> None:
    """Write a classifier as a folder with one safetensors file; architecture and classes stand in its header.

    Args:
        path: The folder; made if it is missing.
        model: The classifier: an `ImageTower` with a head.
        encoder: Name of the architecture, see `load_encoder`; its folder has to stay where it is.
        class_names: The classes, in the order of the logits.

    Raises:
        ValueError: If the names do not fit the head, or the folder cannot be written.
    """
    classes = model.head.weight.shape[0]
    if len(class_names) != classes:
        raise ValueError(f"The head has {classes} classes, but {len(class_names)} names were given.")
    # one string: safetensors writes several in any order, and the same model should give the same file
    facts = {_FACTS: json.dumps({"encoder": encoder, "class_names": list(class_names)})}
    state = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    save_tensors(Path(path) / CLASSIFIER_FILE, state, facts)

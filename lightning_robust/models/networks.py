"""Networks to be probed, by name: a CLIP with its head, a model of a finished run, or a network of timm."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lightning_robust.models.bundled import CLASSIFIER_FILE, SUPERVISED
from lightning_robust.models.classifier import ImageClassifier
from lightning_robust.models.encoders import Encoder, load_encoder
from lightning_robust.models.network import Embedding, Network, blocks_of
from lightning_robust.models.run_network import classifier_network, is_pretraining, run_network
from lightning_robust.models.timm_network import TIMM, timm_network
from lightning_robust.models.zero_shot import zero_shot_head

UNTRAINED = "untrained:"
_RUN_FILES = (".safetensors", ".ckpt")


def load_network(
    name: str,
    *,
    weights: str | Path | None = None,
    untrained: bool = False,
    seed: int = 0,
    class_names: Sequence[str] | None = None,
    templates: Sequence[str] | None = None,
) -> Network:
    """Load a network by name. Nothing is drawn from the caller's random states.

    Args:
        name: What `load_encoder` takes (`scenes-clip`, `local-dir:FOLDER`, `ARCHITECTURE/TAG`); what `load_classifier`
            takes (`scenes-supervised`, a folder); `timm:NAME`; or a file of a finished run:
            `…/wise_ft/alpha=0.50.safetensors`, `…/last.ckpt`. `untrained:` in front is short for `untrained=True`.
        weights: State dict for a timm network (safetensors or torch), in place of those that timm would fetch.
        untrained: Random weights instead: the control.
        seed: Of the random weights.
        class_names: Classes of the zero-shot head of a CLIP; None leaves a CLIP without a head. Only for networks of
            which `takes_class_names` says so.
        templates: Its prompts, with `{}`.

    Raises:
        ValueError: If the name is unknown, a file is missing or does not fit, or a setting has no effect.

    Example:
        >>> network = load_network("timm:resnet18", untrained=True)
        >>> network.representation_layer, network.blocks[-1], network.head.shape
        ('fc:input', 'layer4', torch.Size([1000, 512]))
    """
    if name.startswith(UNTRAINED):
        name, untrained = name.removeprefix(UNTRAINED), True
    trained = _is_run_file(name) or _is_classifier(name)
    if weights is not None and (untrained or not name.startswith(TIMM)):
        raise ValueError(f"weights= is for trained networks of timm ('timm:NAME'), it has no effect on {name!r}.")
    if untrained and trained:
        raise ValueError(f"{name} is a trained checkpoint; ask for its encoder by name to have it untrained.")
    if class_names is not None and not takes_class_names(name):
        raise ValueError(f"class names are for the zero-shot head of a CLIP; {name!r} has a head of its own.")
    if name.startswith(TIMM):
        return timm_network(name, None if weights is None else Path(weights), untrained, seed)
    if trained:
        return run_network(Path(name), class_names, templates) if _is_run_file(name) else classifier_network(name)
    try:
        encoder = load_encoder(name, pretrained=not untrained, seed=seed)
    except ValueError as error:
        if "Unknown encoder" not in str(error):
            raise
        raise ValueError(f"{error} Or 'timm:NAME', or a run's file such as …/wise_ft/alpha=0.50.safetensors.") from None
    return _from_clip(encoder, untrained, seed, class_names, templates)


def takes_class_names(name: str) -> bool:
    """Whether a network gets a zero-shot head from class names: a CLIP does, others have a head of their own.

    Args:
        name: As `load_network` takes it.

    Raises:
        ValueError: If it is a file that lies in no run.

    Example:
        >>> takes_class_names("scenes-clip"), takes_class_names("timm:resnet18")
        (True, False)
    """
    name = name.removeprefix(UNTRAINED)
    if _is_run_file(name):
        return is_pretraining(Path(name))
    return not name.startswith(TIMM) and not _is_classifier(name)


def _is_run_file(name: str) -> bool:
    return Path(name).suffix in _RUN_FILES and not name.startswith(TIMM)


def _is_classifier(name: str) -> bool:
    return name == SUPERVISED or (Path(name) / CLASSIFIER_FILE).is_file()


def _from_clip(
    encoder: Encoder, untrained: bool, seed: int, names: Sequence[str] | None, templates: Sequence[str] | None
) -> Network:
    head = None
    if names is not None:
        head = zero_shot_head(encoder.model, encoder.tokenizer, names, templates or ["a photo of a {}."])
    model = Embedding(encoder.model) if head is None else ImageClassifier(encoder.model, head)
    return Network(
        name=f"{UNTRAINED}{encoder.name}" if untrained else encoder.name,
        model=model.eval(),
        transform=encoder.transform,
        representation_layer="encoder.visual",
        blocks=blocks_of(model, "encoder.visual"),
        head=head,
        head_layer=None if head is None else "head",
        unit_norm=True,
        checkpoint_hash=str(encoder.checkpoint_hash),
        origin=f"random weights, seed {seed}" if untrained else "pretrained weights; the head is zero-shot",
    )

"""Networks to be probed, by name: a CLIP with its head, a model of a finished run, or a network of timm."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lightning_robust.models.bundled import CLASSIFIER_FILE, SUPERVISED
from lightning_robust.models.classifier import ImageClassifier
from lightning_robust.models.compressed import is_compressed, load_compressed
from lightning_robust.models.encoder_file import split_file
from lightning_robust.models.encoder_folder import HUB, LOCAL
from lightning_robust.models.encoder_timm import TIMM
from lightning_robust.models.encoder_transformers import TRANSFORMERS
from lightning_robust.models.encoders import Encoder, load_encoder
from lightning_robust.models.network import Embedding, Network, average_words, blocks_of
from lightning_robust.models.run_network import classifier_network, is_pretraining, run_network
from lightning_robust.models.timm_network import timm_network
from lightning_robust.models.zero_shot import zero_shot_head

UNTRAINED = "untrained:"
_WORTH_KEEPING = 1000  # texts: fewer take seconds
_RUN_FILES = (".safetensors", ".ckpt")
_PREFIXES = (TIMM, LOCAL, HUB, TRANSFORMERS)


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
        name: What `load_encoder` takes (`scenes-clip`, `ARCHITECTURE/TAG`, `ARCHITECTURE@FILE`, `transformers:ID` and
            the others; of `timm:NAME` the whole network with its classifier); what `load_classifier` takes
            (`scenes-supervised`, a folder); a folder that `save_compressed` wrote; or a file of a finished run:
            `…/wise_ft/alpha=0.50.safetensors`, `…/last.ckpt`. `untrained:` in front is short for `untrained=True`.
        weights: State dict for a timm network (safetensors or torch), in place of those that timm would fetch.
        untrained: Random weights instead: the control. Its batch norms have no statistics yet, see
            `models.calibrate_untrained`.
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
    compressed = is_compressed(name)
    trained = compressed or _is_run_file(name) or _is_classifier(name)
    _refuse_idle(name, weights, untrained, trained, class_names)
    if name.startswith(TIMM):
        known, file = split_file(name)
        own = None if untrained else weights or file
        return timm_network(known, None if own is None else Path(own), untrained, seed)
    if compressed:
        return load_compressed(name)
    if trained:
        return run_network(Path(name), class_names, templates) if _is_run_file(name) else classifier_network(name)
    try:
        # the untrained twin of an architecture with a file's weights is that architecture
        encoder = load_encoder(split_file(name)[0] if untrained else name, pretrained=not untrained, seed=seed)
    except ValueError as error:
        if "Unknown encoder" not in str(error):
            raise
        raise ValueError(f"{error} Or a run's file such as …/wise_ft/alpha=0.50.safetensors.") from None
    return _from_encoder(encoder, untrained, seed, class_names, templates)


def _refuse_idle(
    name: str, weights: str | Path | None, untrained: bool, trained: bool, class_names: Sequence[str] | None
) -> None:
    if weights is not None and (untrained or not name.startswith(TIMM)):
        raise ValueError(f"weights= is for trained networks of timm ('timm:NAME'), it has no effect on {name!r}.")
    if weights is not None and split_file(name)[1] is not None:
        raise ValueError(f"{name!r} names a file of weights already; leave weights= out.")
    if untrained and trained:
        raise ValueError(f"{name} is a trained checkpoint; ask for its encoder by name to have it untrained.")
    if class_names is not None and not takes_class_names(name):
        raise ValueError(f"class names are for the zero-shot head of a CLIP; {name!r} has a head of its own.")


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
    return not name.startswith(TIMM) and not _is_classifier(name) and not is_compressed(name)


def _is_run_file(name: str) -> bool:
    """Whether a name is a file of a run; `ARCHITECTURE@FILE` is not, since it says of which architecture."""
    if Path(name).suffix not in _RUN_FILES:
        return False
    return Path(name).is_file() or ("@" not in name and not name.startswith(_PREFIXES))


def _is_classifier(name: str) -> bool:
    return name == SUPERVISED or (Path(name) / CLASSIFIER_FILE).is_file()


def _from_encoder(
    encoder: Encoder, untrained: bool, seed: int, names: Sequence[str] | None, templates: Sequence[str] | None
) -> Network:
    head = None
    if names is not None:
        prompts = templates or ["a photo of a {}."]
        many = len(names) * len(prompts) >= _WORTH_KEEPING
        head = zero_shot_head(encoder.model, encoder.tokenizer, names, prompts, cache=many)
    file = split_file(encoder.name)[1]
    origin = "pretrained weights" if file is None else f"weights of {file}{average_words(encoder.average)}"
    origin += "; the head is zero-shot" if head is not None else ""
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
        origin=f"random weights, seed {seed}" if untrained else origin,
        average=encoder.average,
        untrained=untrained,
        architecture=encoder.config,
    )

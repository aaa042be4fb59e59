"""Networks that this package trained: files of a finished run, and classifiers on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from lightning_robust.models.bundled import load_classifier
from lightning_robust.models.checkpoint_files import load_tensors, load_theta
from lightning_robust.models.classifier import ImageClassifier, split_classifier_state
from lightning_robust.models.encoders import load_encoder
from lightning_robust.models.image_tower import ImageTower
from lightning_robust.models.logit_bias import give_logit_bias_of
from lightning_robust.models.network import Embedding, Network, blocks_of
from lightning_robust.models.run_names import MERGED, init_args, known_encoder, run_class_names, run_settings
from lightning_robust.models.zero_shot import zero_shot_head
from lightning_robust.results import file_sha256

_HEAD = ".head.safetensors"
_ORIGINS = {
    "ClassifierFinetuning": "finetuned from {} by a run of fit",
    "ContrastiveFinetuning": "finetuned with captions from {} by a run of fit",
    "SupervisedPretraining": "supervised from random weights by a run of fit, architecture of {}",
    MERGED: "merged from several models, architecture of {}",
    "ContrastivePretraining": "pretrained from random weights by a run of fit, architecture of {}",
}


def classifier_network(name: str) -> Network:
    """A classifier that `load_classifier` knows.

    Args:
        name: `scenes-supervised`, or a folder.
    """
    found = load_classifier(name)
    return Network(
        name=name,
        model=found.model,
        transform=found.transform,
        representation_layer="encoder.visual",
        blocks=blocks_of(found.model, "encoder.visual"),
        head=found.model.head.weight.detach().clone(),
        head_layer="head",
        unit_norm=True,
        checkpoint_hash=found.checkpoint_hash,
        origin=f"supervised, {len(found.class_names)} classes",
        class_names=tuple(found.class_names),
        architecture=found.architecture,
    )


def run_network(path: Path, class_names: Sequence[str] | None, templates: Sequence[str] | None) -> Network:
    """A model that `fit` wrote: the run's config says of which encoder.

    Args:
        path: A Wise-FT checkpoint, whose head lies beside it, or a Lightning checkpoint.
        class_names: Classes of the zero-shot head, for a run of pretraining; others have a head.
        templates: Its prompts.

    Raises:
        ValueError: If there is no such file, it lies in no run, or does not fit the run's encoder.
    """
    kind, known, config = _run_of(path)
    encoder = load_encoder(known, pretrained=False)
    clip, head = _clip_and_head(path)
    # supervised pretraining has no text tower
    alone = all(entry.startswith("visual.") for entry in clip)
    tower = ImageTower(encoder.model.get_submodule("visual")) if alone else encoder.model
    give_logit_bias_of(tower, clip)
    try:
        tower.load_state_dict(clip)
    except RuntimeError as error:
        raise ValueError(f"{path} does not hold the weights of {known!r}, which {config} names.") from error
    if head is not None:
        if head.shape[1] != encoder.embed_dim:
            raise ValueError(
                f"The head of {path} reads {head.shape[1]} features and {known!r} gives {encoder.embed_dim}: "
                "it belongs to another model."
            )
        head = head.to(next(tower.parameters()).dtype)  # merged files may be narrower; the tower converts on loading
    names = None if head is None else run_class_names(path)
    if head is None and class_names is not None:
        head = zero_shot_head(encoder.model, encoder.tokenizer, class_names, templates or ["a photo of a {}."])
    model = Embedding(tower) if head is None else ImageClassifier(tower, head)
    return Network(
        name=str(path),
        model=model.eval(),
        transform=encoder.transform,
        representation_layer="encoder.visual",
        blocks=blocks_of(model, "encoder.visual"),
        head=head,
        head_layer=None if head is None else "head",
        unit_norm=True,
        checkpoint_hash=file_sha256(path),
        origin=_origin(kind, config).format(known),
        class_names=names,
        architecture=encoder.config,
    )


def is_pretraining(path: Path) -> bool:
    """Whether a file has no head of its own, which is then made of class names: contrastive pretraining, merged CLIPs.

    Args:
        path: The file.

    Raises:
        ValueError: If it lies in no run.
    """
    kind = _run_of(path)[0]
    return kind == "ContrastivePretraining" or (kind == MERGED and not path.with_suffix(_HEAD).is_file())


def _origin(kind: str, config: Path) -> str:
    if kind == "ContrastivePretraining" and init_args(run_settings(config, "model")).get("pretrained") is True:
        return "trained on with captions from {} by a run of fit"
    return _ORIGINS.get(kind, "trained by a run of fit, encoder {}")


def _run_of(path: Path) -> tuple[str, str, Path]:
    """The kind of a run, the encoder that its config names, and the config."""
    if path.name.endswith(_HEAD):
        raise ValueError(f"{path.name} is a head; give the model beside it, without '.head'.")
    if not path.is_file():
        raise ValueError(f"there is no file {path}; a run keeps last.ckpt and wise_ft/alpha=….safetensors.")
    if (found := known_encoder(path)) is None:
        raise ValueError(
            f"{path} lies in no run of 'fit': there is no config.yaml beside it or one folder above that would name "
            "its encoder."
        )
    return found


def _clip_and_head(path: Path) -> tuple[dict[str, Tensor], Tensor | None]:
    if path.suffix == ".safetensors":
        beside = path.with_suffix(_HEAD)
        return load_tensors(path), _weight(load_tensors(beside), beside) if beside.is_file() else None
    state = load_theta(path)
    if all(name.startswith("model.") for name in state):  # ClassifierFinetuning
        clip, head = split_classifier_state({name.removeprefix("model."): value for name, value in state.items()})
        return clip, _weight(head, path)
    clip = {name.removeprefix("encoder."): value for name, value in state.items() if name.startswith("encoder.")}
    if len(clip) < len(state):
        strange = next(name for name in state if not name.startswith("encoder."))
        raise ValueError(f"{path} was not written by a training of this package: it holds {strange!r}.")
    return clip, None


def _weight(head: Mapping[str, Tensor], file: Path) -> Tensor:
    """The matrix of a head; anything beside it would be dropped, and change the answers."""
    if list(head) != ["weight"] or head["weight"].ndim != 2:
        found = ", ".join(f"{name} {tuple(value.shape)}" for name, value in head.items())
        raise ValueError(f"The head in {file} is to be one matrix, weight (classes, width), and holds {found}.")
    return head["weight"]

"""Encoders by name: one door to the bundled CLIP, open_clip, the Hub, timm, transformers and files of weights."""

from __future__ import annotations

import dataclasses
from importlib import resources
from pathlib import Path

import open_clip

from lightning_robust.models.encoder_base import Encoder, near_names, quiet_loading
from lightning_robust.models.encoder_file import split_file, with_weights
from lightning_robust.models.encoder_folder import HUB, LOCAL, from_folder, from_hub
from lightning_robust.models.encoder_open_clip import from_open_clip
from lightning_robust.models.encoder_timm import TIMM, from_timm
from lightning_robust.models.encoder_transformers import TRANSFORMERS, from_transformers

__all__ = ["ARCHITECTURES", "BUNDLED", "LOCAL", "Encoder", "load_encoder", "quiet_loading"]

BUNDLED = "scenes-clip"
#: Small architectures that ship without weights, as a study pretrains them.
ARCHITECTURES = ("scenes-vit",)


def load_encoder(name: str, *, pretrained: bool = True, seed: int = 0, download: bool = True) -> Encoder:
    """Load an encoder by name. No random state of the caller is touched, and nothing is unpickled.

    What lies on this machine is taken from there. QuickGELU is checked wherever a name, a hash or a file beside the
    weights tells: a model with the other activation is an error.

    Args:
        name: One of

            * `scenes-clip`: the bundled small CLIP; `scenes-vit`: a small ViT of the same world, an architecture
              without weights (`pretrained=False`);
            * `local-dir:FOLDER`: a folder in open_clip's form, and `hf-hub:ID`: a repository in that form;
            * `ARCHITECTURE/TAG`: open_clip's own, as in `ViT-B-32-quickgelu/openai`;
            * `timm:NAME`: an image tower without text, as in `timm:resnet50.a1_in1k`;
            * `transformers:ID` or `transformers:FOLDER`: a CLIP or SigLIP of transformers;
            * `ARCHITECTURE@FILE`: weights of an open_clip architecture from a file: a state dict (safetensors or
              `torch.save`), a checkpoint of this project's trainings or of open_clip's, or OpenAI's own archive. All
              names above take `@FILE` as well; `ARCHITECTURE/TAG@FILE` says which weights the file's came from, and
              so their preprocessing, where the architecture alone gets what most of its tags have. Of a file with
              averaged weights (`state_dict_ema`, `model_ema`) those are taken, as by timm.
        pretrained: Whether to load weights. False gives the same architecture with random weights, which is the
            *untrained encoder* of the controls and the start of pretraining; weights files need not be there.
        seed: Seed of the random weights; without effect when pretrained.
        download: Whether files that are not on this machine may be fetched. The Hub is asked once and quickly, and not
            at all under `HF_HUB_OFFLINE=1`.

    Raises:
        ValueError: If the name is unknown, its files are missing or cannot be fetched, a file is of another
            architecture, or the architecture's activation (QuickGELU or not) is not the one that the weights were
            trained with.

    Example:
        >>> encoder = load_encoder("RN50", pretrained=False)
        >>> encoder.embed_dim, encoder.tokenizer(["a photo"]).shape
        (1024, torch.Size([1, 77]))
    """
    base, file = split_file(name)
    if file is None:
        return _load(name, pretrained, seed, download)
    if pretrained:
        return with_weights(name, lambda: _load(base, False, seed, download), file)
    return dataclasses.replace(_load(base, False, seed, download), name=name)


def _load(name: str, pretrained: bool, seed: int, download: bool) -> Encoder:
    if name in ARCHITECTURES and pretrained:
        raise ValueError(
            f"{name!r} is an architecture that ships without weights: pretrain it, or ask for random weights "
            f"(pretrained=False, on the command line 'untrained:{name}'); '{BUNDLED}' has weights."
        )
    if name in (BUNDLED, *ARCHITECTURES):
        folder = Path(str(resources.files("lightning_robust.checkpoints"))) / name
        return from_folder(name, folder, pretrained, seed)
    if name.startswith(LOCAL):
        return from_folder(name, Path(name.removeprefix(LOCAL)).expanduser(), pretrained, seed)
    if name.startswith(HUB):
        return from_hub(name, pretrained, seed, download)
    if name.startswith(TIMM):
        return from_timm(name, pretrained, seed, download)
    if name.startswith(TRANSFORMERS):
        return from_transformers(name, pretrained, seed, download)
    if name.partition("/")[0] not in open_clip.list_models():
        raise ValueError(unknown_encoder(name))
    return from_open_clip(name, pretrained, seed, download)


def unknown_encoder(name: str) -> str:
    """What to say of a name that no door opens.

    Args:
        name: It.
    """
    near = near_names(name.partition("/")[0], [BUNDLED, *ARCHITECTURES, *open_clip.list_models()])
    return (
        f"Unknown encoder {name!r}{f'; near names: {near}' if near else ''}. What works: '{BUNDLED}', "
        "'local-dir:FOLDER', 'hf-hub:ID', 'timm:NAME', 'transformers:ID', 'ARCHITECTURE@FILE', or open_clip's "
        "'ARCHITECTURE/TAG' such as 'ViT-B-32-quickgelu/openai'."
    )

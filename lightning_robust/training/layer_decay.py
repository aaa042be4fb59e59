"""Layer-wise learning-rate decay: the nearer a layer is to the pixels, the less it learns."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

from torch import nn

from lightning_robust.models.classifier import ImageClassifier
from lightning_robust.training.optimisation import decay_groups

#: What a block is called in an architecture, and what lies before the first one.
_FORMS = (
    (r"transformer\.resblocks\.\d+\.", ("class_embedding", "positional_embedding", "conv1.", "ln_pre.")),
    (r"layer[1-4]\.\d+\.", ("conv1.", "bn1.", "conv2.", "bn2.", "conv3.", "bn3.")),
    (r"(vision_model\.)?encoder\.layers\.\d+\.", ("vision_model.embeddings.", "vision_model.pre_", "embeddings.")),
)


def parameter_depths(visual: nn.Module) -> tuple[dict[str, int], int]:
    """How deep every parameter of an image tower lies, and how deep the head that follows.

    Depth 0 is what comes before the first block (patches, stem, position and class embeddings, the norm before the
    blocks), depth k the k-th block of a transformer or the k-th residual block of a ResNet, and depth N + 1 what comes
    after the last of the N blocks (last norm, pooling, projection) together with the head. (BEiT, Bao et al. 2021,
    arXiv 2106.08254.) For towers of timm the depths are timm's own, by `group_matcher`, which mostly counts the last
    norm to the last block.

    Args:
        visual: The tower: open_clip's transformers and ResNets, any network of timm, CLIP or SigLIP of transformers.

    Returns:
        Depth by parameter name, and the head's depth.

    Raises:
        ValueError: If the architecture is of no known form.

    Example:
        >>> from lightning_robust.models import load_encoder
        >>> depths, head = parameter_depths(load_encoder("scenes-clip", pretrained=False).model.visual)
        >>> depths["conv1.weight"], depths["layer4.0.conv1.weight"], depths["attnpool.c_proj.weight"], head
        (0, 4, 5, 5)
    """
    names = [name for name, _ in visual.named_parameters()]
    for prefix in ("", "trunk."):  # open_clip keeps timm's networks at `trunk`
        matcher = getattr(visual.get_submodule(prefix[:-1]) if _has(visual, prefix) else None, "group_matcher", None)
        if matcher is not None:
            return _timm_depths(visual.get_submodule(prefix[:-1]), prefix, names)
    for pattern, stem in _FORMS:
        found = [re.match(pattern, name) for name in names]
        blocks = list(dict.fromkeys(match[0] for match in found if match))
        if blocks:
            depth = {block: index for index, block in enumerate(blocks, start=1)}
            head = len(blocks) + 1
            return {
                name: depth[match[0]] if match else 0 if name.startswith(stem) else head
                for name, match in zip(names, found, strict=True)
            }, head
    raise ValueError(
        f"layer_decay does not know where the blocks of {type(visual).__name__} are: it takes open_clip's transformers "
        "and ResNets, networks of timm, and CLIP or SigLIP of transformers; leave layer_decay out."
    )


def layer_decay_groups(
    model: ImageClassifier, *, lr: float, weight_decay: float, layer_decay: float
) -> list[dict[str, Any]]:
    """Parameter groups by depth: at depth k the learning rate is `lr · layer_decay^(N + 1 − k)`, the head's is `lr`.

    Args:
        model: Image tower and head; frozen parameters are left out.
        lr: Learning rate of the head.
        weight_decay: Decay of matrices; vectors have none.
        layer_decay: Factor from one depth to the one before, in (0, 1).

    Returns:
        Groups for an optimiser, from the pixels to the head.

    Raises:
        ValueError: If the factor is out of range, the architecture is of no known form, or nothing is trainable.
    """
    if not 0.0 < layer_decay < 1.0:
        raise ValueError(f"layer_decay lies in (0, 1), not {layer_decay}; leave it out for one learning rate.")
    depths, head = parameter_depths(model.encoder.visual)
    by_depth: dict[int, list[nn.Parameter]] = {}
    for name, parameter in model.encoder.visual.named_parameters():
        by_depth.setdefault(depths[name], []).append(parameter)
    by_depth.setdefault(head, []).extend(model.head.parameters())
    groups: list[dict[str, Any]] = []
    for depth, parameters in sorted(by_depth.items()):
        if any(parameter.requires_grad for parameter in parameters):
            rate = lr * layer_decay ** (head - depth)
            groups += [{**group, "lr": rate} for group in decay_groups(parameters, weight_decay)]
    if not groups:
        raise ValueError("Nothing to train: every parameter is frozen.")
    return groups


def _has(visual: nn.Module, prefix: str) -> bool:
    return not prefix or isinstance(getattr(visual, prefix[:-1], None), nn.Module)


def _timm_depths(network: Any, prefix: str, names: list[str]) -> tuple[dict[str, int], int]:
    from timm.models import group_parameters

    classifier = (getattr(network, "pretrained_cfg", None) or {}).get("classifier") or "head"
    last = f"{classifier if isinstance(classifier, str) else classifier[0]}.weight"
    # with the classifier that timm's network would have, so that the head stands where timm puts it
    whole = SimpleNamespace(named_parameters=lambda: [*network.named_parameters(), (last, None)])
    inside = group_parameters(whole, network.group_matcher(coarse=False), reverse=True)
    head = int(inside[last])
    return {name: int(inside.get(name.removeprefix(prefix), head)) for name in names}, head

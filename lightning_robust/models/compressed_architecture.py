"""Building the dense layers of a compressed network from its description, without weights and without a text tower."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

import timm
from open_clip.model import _build_vision_tower
from open_clip.transform import image_transform_v2
from torch import Tensor, nn

from lightning_robust.models.compressed_facts import CompressedFacts
from lightning_robust.models.encoder_base import quiet_loading, seeded
from lightning_robust.models.encoder_timm import RgbTransform
from lightning_robust.models.encoder_transformers import _CLASSES, ImageProcessing
from lightning_robust.models.file_preprocessing import whole
from lightning_robust.models.image_tower import ImageTower
from lightning_robust.models.low_rank import LowRankLinear
from lightning_robust.models.network import Network
from lightning_robust.models.transformers_tower import VisionTower

Transform = Callable[[Any], Tensor]


def plain_architecture(network: Network) -> dict[str, Any]:
    """What builds a network's layers and preprocessing, as plain JSON.

    Args:
        network: The dense network, or one that was compressed before.

    Returns:
        One key, `open_clip`, `timm` or `transformers`.

    Raises:
        ValueError: If the network does not say it.
    """
    known = network.architecture
    if "model_cfg" in known:
        own = known["model_cfg"]
        model_cfg = {key: own[key] for key in ("embed_dim", "quick_gelu", "vision_cfg") if key in own}
        settings = {"size": network.model.get_submodule("encoder.visual").image_size} | {
            key: value for key, value in (known.get("preprocess_cfg") or {}).items() if value is not None
        }
        known = {"open_clip": {"model_cfg": model_cfg, "preprocess_cfg": dataclasses.asdict(whole({}, settings))}}
    elif "transformers" in known and isinstance(network.transform, ImageProcessing):
        known = {"transformers": {"config": known["transformers"], "processor": network.transform.processor.to_dict()}}
    if len(known) != 1 or not {"open_clip", "timm", "transformers"} & set(known):
        raise ValueError(f"{network.name} does not say of which architecture it is, so nothing could build it again.")
    plain: dict[str, Any] = json.loads(json.dumps(known, default=str))
    return plain


def built_tower(facts: CompressedFacts) -> tuple[nn.Module, Transform]:
    """An image tower with random weights at `visual`, and its preprocessing.

    Args:
        facts: Of a folder whose form is `tower`.

    Raises:
        ValueError: If the architecture is of no known source; what a damaged description makes its library raise.
    """
    (source, known), *_ = facts.architecture.items()
    with quiet_loading(), seeded(0):
        if source == "open_clip":
            return _open_clip(known["model_cfg"]), image_transform_v2(
                whole({}, known["preprocess_cfg"]), is_train=False
            )
        if source == "timm":
            return ImageTower(timm.create_model(known["architecture"], num_classes=0)), _timm_transform(known["data"])
        if source == "transformers":
            return _transformers(known["config"]), ImageProcessing(_processor(known["processor"]))
    raise ValueError(f"{source!r} builds no image tower: open_clip, timm and transformers do")


def built_network(facts: CompressedFacts) -> tuple[nn.Module, Transform]:
    """A network of timm with random weights, and its preprocessing.

    Args:
        facts: Of a folder whose form is `network`.

    Raises:
        ValueError: If the architecture is not of timm; what a damaged description makes timm raise.
    """
    known = facts.architecture["timm"]
    classes = {} if facts.head is None else {"num_classes": facts.head[0]}
    with quiet_loading(), seeded(0):
        return timm.create_model(known["architecture"], **classes), _timm_transform(known["data"])


def head_weight(head: nn.Module) -> Tensor:
    """The matrix W of a head, `(C, d)`, also of one that is a product of two.

    Args:
        head: Its layer.
    """
    if isinstance(head, LowRankLinear):
        return (head.second @ head.first).detach().clone()
    weight: Tensor = head.get_parameter("weight")
    return weight.detach().clone()


def _open_clip(model_cfg: Mapping[str, Any]) -> nn.Module:
    vision = {**model_cfg["vision_cfg"]}
    if vision.get("timm_model_name"):
        vision["timm_model_pretrained"] = False  # its weights are in the folder
    visual: Any = _build_vision_tower(int(model_cfg["embed_dim"]), vision, bool(model_cfg.get("quick_gelu", False)))
    if getattr(visual, "output_tokens", False):
        visual.output_tokens = False  # CoCa's text decoder reads them; h is what is left
    return ImageTower(visual)


def _transformers(config: Mapping[str, Any]) -> nn.Module:
    import transformers

    own: Any = transformers.AutoConfig.for_model(**copy.deepcopy(dict(config)))
    own.text_config.num_hidden_layers = 1  # the text tower is built along, and left
    parts: Any = getattr(transformers, _CLASSES[own.model_type])(own)
    return ImageTower(VisionTower(parts.vision_model, getattr(parts, "visual_projection", None)))


def _processor(settings: Mapping[str, Any]) -> Any:
    import transformers

    known = dict(settings)
    return getattr(transformers, known.pop("image_processor_type"))(**known)


def _timm_transform(settings: Mapping[str, Any]) -> Transform:
    listed = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
    return RgbTransform(timm.data.create_transform(**listed, is_training=False))

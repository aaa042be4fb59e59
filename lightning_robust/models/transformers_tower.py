"""CLIP and SigLIP of transformers under the names that open_clip gives its models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from lightning_robust.models.weights_file import unwrapped

_IMAGE = ("vision_model.", "visual_projection.")


class VisionTower(nn.Module):
    """The image tower with its projection: images → h, as `get_image_features` of transformers gives it.

    Args:
        vision_model: The tower of transformers.
        visual_projection: CLIP's linear map into the shared space; None for SigLIP, which has none.
    """

    def __init__(self, vision_model: nn.Module, visual_projection: nn.Module | None) -> None:
        super().__init__()
        self.vision_model: Any = vision_model
        self.visual_projection: Any = visual_projection

    def forward(self, images: Tensor) -> Tensor:
        """Compute representations.

        Args:
            images: Preprocessed images, `(n, 3, H, W)`.

        Returns:
            h, `(n, d)`, not normalised.
        """
        h: Tensor = self.vision_model(pixel_values=images).pooler_output
        return h if self.visual_projection is None else self.visual_projection(h)


class TransformersClip(nn.Module):
    """A `CLIPModel` or `SiglipModel` of transformers with `visual`, `encode_image`, `encode_text` and `logit_scale`.

    Its state dict has transformers' own names, with `visual.` before those of the image tower:
    `{name.removeprefix("visual."): t for name, t in state.items()}` loads strictly in plain transformers.

    SigLIP's `logit_bias` is kept but enters nothing here: it adds the same number to every logit, which changes neither
    the order of the classes nor a softmax over them (SigLIP's own sigmoid probabilities would need it).

    Args:
        model: The model of transformers; its parts are used, not copied.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        parts: Any = model
        self.visual = VisionTower(parts.vision_model, getattr(parts, "visual_projection", None))
        self.text_model: Any = parts.text_model
        self.text_projection: Any = getattr(parts, "text_projection", None)
        self.logit_scale = parts.logit_scale
        self.logit_bias = getattr(parts, "logit_bias", None)

    def encode_image(self, images: Tensor, normalize: bool = False) -> Tensor:
        """Compute image representations.

        Args:
            images: Preprocessed images, `(n, 3, H, W)`.
            normalize: Whether to scale each to unit length.

        Returns:
            h, `(n, d)`.
        """
        h: Tensor = self.visual(images)
        return functional.normalize(h, dim=-1) if normalize else h

    def encode_text(self, tokens: Tensor, normalize: bool = False) -> Tensor:
        """Compute text representations.

        Tokens are padded to the full length, and no attention mask is given: SigLIP was trained so, and CLIP's tower
        is causal and read at the end token, which comes before the padding.

        Args:
            tokens: As the encoder's tokenizer gives them, `(n, context length)`.
            normalize: Whether to scale each to unit length.

        Returns:
            Embeddings, `(n, d)`.
        """
        t: Tensor = self.text_model(input_ids=tokens).pooler_output
        t = t if self.text_projection is None else self.text_projection(t)
        return functional.normalize(t, dim=-1) if normalize else t

    def own_names(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rename the entries of a file of weights.

        Args:
            state: Under transformers' names or those of this module, wrapped or not.

        Returns:
            The entries under the names of this module.
        """
        own = set(self.state_dict())
        found = unwrapped(state, own | {name.removeprefix("visual.") for name in own})
        # index buffers that older versions of transformers saved
        found = {name: t for name, t in found.items() if not name.endswith("embeddings.position_ids")}
        return {f"visual.{name}" if name.startswith(_IMAGE) else name: t for name, t in found.items()}

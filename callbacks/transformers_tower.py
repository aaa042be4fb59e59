"""The image tower of a model of transformers, seen as a module of its own."""

from collections.abc import Callable
from typing import Any, Final

from torch import Tensor, nn

from lightning_robust.errors import UserError, from_user
from lightning_robust.signatures import batches, measured_pass

Head = str | Tensor | Callable[[Any], Tensor]

#: Layers that give the image embedding, by family: CLIP and its kin, SigLIP.
EMBEDDINGS: Final = ("visual_projection", "vision_model.head")


class ImageTower(nn.Module):
    """A model seen through one forward over images; layers and parameters are the model's own, under its names.

    Args:
        model: Any module.
        forward: `forward(model, batch)`.
    """

    def __init__(self, model: Any, forward: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self._modules, self._parameters, self._buffers = model._modules, model._parameters, model._buffers
        self._whole, self._forward = (model,), forward  # in a tuple, so as not to become a child of itself
        own = getattr(model, "head_weight", None)
        #: What signatures ask for their head.
        self.head_weight: Callable[[], Tensor] | None = own if callable(own) else None
        names = {name for name, _ in self.named_modules()}
        #: The layer that gives the image embedding, where it has a name that is known.
        self.representation_layer: str | None = next((name for name in EMBEDDINGS if name in names), None)

    def forward(self, batch: Any) -> Any:
        """Run one batch."""
        return self._forward(self._whole[0], batch)

    def take_head(self, head: Head | None) -> None:
        """Make the head as it is now what `head_weight()` gives; nothing happens for a name or None.

        Args:
            head: A weight `(C, d)`, or a function of the model that gives one.

        Raises:
            UserError: If it gives something else.
        """
        if head is None or isinstance(head, str):
            return
        W: Any = head
        if not isinstance(head, Tensor):
            model = self._whole[0]
            with measured_pass(model):  # before hooks are placed: it may run layers that are listened to
                W = head(model)
        if not isinstance(W, Tensor) or W.ndim != 2:
            found = f"shape {tuple(W.shape)}" if isinstance(W, Tensor) else f"a {type(W).__name__}"
            raise UserError(f"head= has to give a weight (C, d), a row for each class; got {found}")
        self.head_weight = W.detach

    def embedding(self) -> str:
        """Name of the layer that gives the image embedding.

        Raises:
            UserError: If it has another name than in CLIP and SigLIP.
        """
        if self.representation_layer is None:
            names = [name for name, _ in self.named_modules()]
            some, usual = ", ".join(names[1:9]), " or ".join(EMBEDDINGS)
            raise UserError(f"give layers=[…]: this model has no {usual}; it has {some} …")
        return self.representation_layer


def image_features(model: Any, batch: Any, find_images: Callable[[Any], Tensor] | None = None) -> Any:
    """Run the image tower of a transformers model over a batch.

    Args:
        model: With `get_image_features`, as CLIP and SigLIP, or a `forward` that takes `pixel_values` alone.
        batch: Images, or what they are found in.
        find_images: Finds them; None takes `signatures.batches.images_from_batch`.

    Returns:
        What the model gives: features, or an output object (5.x: its `pooler_output` is the projected embedding).

    Raises:
        UserError: If there are no images.
    """
    with from_user(ValueError):
        images = (find_images or batches.images_from_batch)(batch)
    encode = getattr(model, "get_image_features", None)
    return encode(pixel_values=images) if callable(encode) else model(pixel_values=images)

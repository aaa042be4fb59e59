"""The model of merged checkpoints, for methods that look at images."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightning_robust.cli.evaluate_device import named_device
from lightning_robust.errors import UserError, from_user

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from torch import Tensor, nn

    from lightning_robust.models.merging_files import Checkpoint

#: What is about images and the model, and so has no effect without them.
IMAGE_OPTIONS = ("data", "encoder", "max_images", "batch_size", "device", "seed")


@dataclass(frozen=True, eq=False)
class MergedModel:
    """A model whose state has the names of the checkpoints, and images for it.

    Attributes:
        model: An `ImageClassifier`, or a CLIP alone.
        data: The data module.
        has_head: Whether the model is a classifier.
        tokenizer: Of a CLIP alone.
        device: Where the model runs.
    """

    model: "nn.Module"
    data: Any
    has_head: bool
    tokenizer: Any
    device: str

    def classifier(self) -> "nn.Module":
        """The model as a classifier: a CLIP alone gets the zero-shot head of its weights as they are now.

        Raises:
            ValueError: If a class name or template does not fit the tokenizer.
        """
        if self.has_head:
            return self.model
        from lightning_robust.models import ImageClassifier, zero_shot_head

        data, model = self.data, self.model
        head = zero_shot_head(model, self.tokenizer, data.class_names, data.templates or ["a photo of a {}."])
        return ImageClassifier(model, head).eval()

    def training_batches(self) -> Iterable[Any]:
        """Training images, as the training loader of the data gives them in its first epoch."""
        with from_user(ValueError, OSError):
            batches: Iterable[Any] = self.data.train_dataloader()
        return batches

    def reference_batches(self) -> Iterable[Any]:
        """Validation images of the reference: never those of a shift."""
        with from_user(ValueError, OSError):
            loaders = self.data.val_dataloader()
        reference: Iterable[Any] = loaders[0] if isinstance(loaders, list | tuple) else loaders
        return reference


def encoder_of(asked: str | None, files: Iterable["Path"]) -> str | None:
    """The name of the merged models' encoder: as asked, else of the run that one of the files lies in.

    Args:
        asked: `--encoder`.
        files: What is merged.
    """
    from lightning_robust.models.run_names import known_encoder

    for file in files if asked is None else ():
        try:
            if (found := known_encoder(file)) is not None:
                return found[1]
        except ValueError:  # a config that says nothing of it
            continue
    return asked


def refuse_idle(args: "argparse.Namespace", names: Iterable[str], why: str) -> None:
    """Refuse options that would do nothing.

    Args:
        args: What was typed.
        names: The options.
        why: When they have an effect.

    Raises:
        UserError: If one was given.
    """
    given = [name for name in names if getattr(args, name, None) not in (None, False)]
    if given:
        raise UserError(f"--{given[0]} has no effect here: it is for {why}; leave it out")


def open_merged_model(args: "argparse.Namespace", checkpoint: "Checkpoint") -> MergedModel:
    """Build the model of a checkpoint, and open `--data` with its preprocessing.

    Args:
        args: What was typed: `data`, `encoder`, `batch_size`, `device`, `seed`.
        checkpoint: One of those that are merged.

    Raises:
        UserError: If there is no architecture, the checkpoint is of another, or the data do not fit its head.
    """
    import torch

    from lightning_robust.cli.data_spec import open_data
    from lightning_robust.models.interpolate import check_same_entries
    from lightning_robust.models.merging_files import to_dtype

    if args.data is None:
        raise UserError("this looks at images: give --data, such as scenes, imagenet:FOLDER or a config")
    with from_user(ValueError):
        model, transform, tokenizer = _model(args.encoder, checkpoint)
        meta = {name: tensor.to("meta") for name, tensor in checkpoint.state.items()}
        named = args.encoder or "the run's encoder"
        check_same_entries(to_dtype(meta, torch.float32), model.state_dict(), (str(checkpoint.path), repr(named)))
    data = open_data(args.data, transform, batch_size=args.batch_size, seed=args.seed)
    classes = checkpoint.state["head.weight"].shape[0] if checkpoint.has_head else len(data.class_names)
    if classes != len(data.class_names):
        raise UserError(
            f"{checkpoint.path} classifies into {classes} classes, but the data {args.data!r} have "
            f"{len(data.class_names)}: they do not belong together"
        )
    with from_user(ValueError, OSError):
        data.prepare_data()
        data.setup("fit")
    device = named_device(args.device)
    with from_user(RuntimeError):
        model.to(device)
    return MergedModel(model.eval(), data, checkpoint.has_head, tokenizer, device)


def _model(encoder: str | None, checkpoint: "Checkpoint") -> "tuple[nn.Module, Any, Any]":
    import torch

    from lightning_robust.models import ImageClassifier, ImageTower, load_encoder
    from lightning_robust.models.networks import load_network

    if encoder is None:
        try:
            network = load_network(str(checkpoint.path))
        except ValueError as error:
            raise UserError(
                f"give the architecture of {checkpoint.path} with --encoder, such as scenes-clip or ViT-B-32 ({error})"
            ) from error
        if isinstance(network.model, ImageClassifier) and checkpoint.has_head:
            return network.model, network.transform, None
        raise UserError(f"{checkpoint.path} has no classification head: name its architecture with --encoder")
    found = load_encoder(encoder, pretrained=False)
    if not checkpoint.has_head:
        return found.model, found.transform, found.tokenizer
    head: Tensor = torch.zeros(checkpoint.state["head.weight"].shape)
    alone = all(name.startswith(("encoder.visual.", "head.")) for name in checkpoint.state)
    tower = ImageTower(found.model.get_submodule("visual")) if alone else found.model
    return ImageClassifier(tower, head), found.transform, found.tokenizer

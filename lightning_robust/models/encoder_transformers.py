"""CLIP and SigLIP of transformers, `transformers:ID` or `transformers:FOLDER`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
from PIL import Image
from torch import Tensor

from lightning_robust.models import quick_gelu
from lightning_robust.models.checkpoint_files import state_hash
from lightning_robust.models.encoder_base import Encoder, quiet_loading, seeded
from lightning_robust.models.encoder_hub import NotFetchedError, fetched
from lightning_robust.models.transformers_tower import TransformersClip
from lightning_robust.results import file_sha256

TRANSFORMERS = "transformers:"
_CLASSES = {"clip": "CLIPModel", "siglip": "SiglipModel"}
_FILES = "config.json, model.safetensors, preprocessor_config.json and the tokenizer's files"
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # in the order in which transformers looks for them


class ImageProcessing:
    """An image processor of transformers as a transform: a PIL image to one tensor.

    Args:
        processor: Of transformers.
    """

    def __init__(self, processor: Any) -> None:
        self.processor = processor

    def __call__(self, image: Image.Image) -> Tensor:
        """Give the processor's pixel values, `(3, H, W)`."""
        pixels: Tensor = self.processor(images=image.convert("RGB"), return_tensors="pt")["pixel_values"][0]
        return pixels

    def __repr__(self) -> str:
        return f"ImageProcessing({self.processor!r})"


class PaddedTokenizer:
    """A tokenizer of transformers as open_clip's are called: texts to one LongTensor of the full length.

    Args:
        tokenizer: Of transformers; also found at `tokenizer`, as in open_clip's `HFTokenizer`.
        context_length: Tokens per text, padding among them; longer texts are cut, the end token stays.
    """

    def __init__(self, tokenizer: Any, context_length: int) -> None:
        self.tokenizer = tokenizer
        self.context_length = context_length

    def __call__(self, texts: list[str] | str) -> Tensor:
        """Give the tokens, `(n, context length)`."""
        tokens: Tensor = self.tokenizer(
            [texts] if isinstance(texts, str) else list(texts),
            padding="max_length",
            max_length=self.context_length,
            truncation=True,
            return_tensors="pt",
        )["input_ids"]
        return tokens


def from_transformers(name: str, pretrained: bool, seed: int, download: bool) -> Encoder:
    """A CLIP or SigLIP of transformers.

    Args:
        name: `transformers:ID` of a repository of the Hub, or `transformers:FOLDER`.
        pretrained: Whether to load its weights.
        seed: Of random weights.
        download: Whether what is missing may be fetched.

    Raises:
        ValueError: If files are missing or the model is of another family, its weights are not whole, or its
            activation is not the one that is known of the repository.
    """
    source = name.removeprefix(TRANSFORMERS)
    if Path(source).expanduser().is_dir():
        source, download = str(Path(source).expanduser()), False
    elif source.startswith((".", "/", "~")) or not source:
        raise ValueError(f"Encoder {name!r}: there is no folder {source!r}.")
    config = _had(name, "its configuration", lambda: _auto("AutoConfig", source), download)
    if config.model_type not in _CLASSES:
        fixed = " (of SigLIP 2 the ones in fixed resolution, such as google/siglip2-base-patch16-224)"
        more = fixed if "siglip" in config.model_type else ""
        raise ValueError(
            f"Encoder {name!r} is a {config.model_type!r}; of transformers, models of the types "
            f"{' and '.join(map(repr, _CLASSES))} can be loaded{more}."
        )
    _check_activation(name, source, config)
    model = _had(name, "its weights", lambda: _model(source, config, pretrained, seed), download)
    length = int(config.text_config.max_position_embeddings)
    tokenizer = _had(name, "its tokenizer", lambda: _auto("AutoTokenizer", source), download)
    processor = _had(name, "its image processor", lambda: _auto("AutoImageProcessor", source), download)
    _check_processors(name, config, tokenizer, processor)
    wrapped = TransformersClip(model).eval()
    known = _weights_file(source) if pretrained else None
    return Encoder(
        name=name,
        model=wrapped,
        transform=ImageProcessing(processor),
        tokenizer=PaddedTokenizer(tokenizer, length),
        embed_dim=int(config.projection_dim if config.model_type == "clip" else config.vision_config.hidden_size),
        checkpoint_hash=file_sha256(known) if known else state_hash(wrapped.state_dict()),
        config={"transformers": config.to_dict()},
    )


def _auto(kind: str, source: str) -> Any:
    import transformers  # it takes seconds, and most encoders do without it

    return getattr(transformers, kind).from_pretrained(source, trust_remote_code=False)


def _model(source: str, config: Any, pretrained: bool, seed: int) -> Any:
    import transformers

    family = getattr(transformers, _CLASSES[config.model_type])
    with quiet_loading(), seeded(seed), _no_progress_bar():
        if not pretrained:
            return family(config)
        model, report = family.from_pretrained(
            source, config=config, dtype=torch.float32, output_loading_info=True, weights_only=True
        )
    # transformers draws what a file lacks at random and says so in a log
    lacking = sorted(report["missing_keys"]) + sorted(str(each) for each in report["mismatched_keys"])
    if lacking:
        raise ValueError(f"the weights lack {len(lacking)} entries of the architecture, such as {lacking[0]}")
    surplus = sorted(entry for entry in report["unexpected_keys"] if not entry.endswith("position_ids"))
    if surplus:
        raise ValueError(f"the weights hold {len(surplus)} entries that the architecture lacks, such as {surplus[0]}")
    return model


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _had(name: str, what: str, load: Callable[[], Any], download: bool) -> Any:
    try:
        return fetched(load, download=download)
    except NotFetchedError as error:
        cause = error.__cause__
        if isinstance(cause, ImportError):
            raise ValueError(f"Encoder {name!r}: {what} needs a package that is not installed ({error}).") from error
        raise ValueError(
            f"Encoder {name!r}: {what} could not be read on this machine or fetched ({error}); without a network, put "
            f"{_FILES} of that model into one folder and load 'transformers:FOLDER'."
        ) from error


def _check_processors(name: str, config: Any, tokenizer: Any, processor: Any) -> None:
    """Refuse what transformers makes up where files are missing: an empty tokenizer, and a default preprocessing."""
    side = int(config.vision_config.image_size)
    shape = tuple(ImageProcessing(processor)(Image.new("RGB", (side + 8, side))).shape)
    if shape != (3, side, side):
        raise ValueError(
            f"Encoder {name!r}: its image processor gives images of shape {shape} and its tower takes (3, {side}, "
            f"{side}); preprocessor_config.json is another model's or missing."
        )
    if 2 * len(tokenizer) < config.text_config.vocab_size:
        raise ValueError(
            f"Encoder {name!r}: its tokenizer knows {len(tokenizer)} tokens and its text tower "
            f"{config.text_config.vocab_size}; the model's own tokenizer files belong beside its weights."
        )


def _check_activation(name: str, source: str, config: Any) -> None:
    """QuickGELU stands in the configuration; for repositories whose weights are known it is checked."""
    evidence = quick_gelu.of_repository(source) if config.model_type == "clip" else None
    found = config.vision_config.hidden_act == "quick_gelu"
    if evidence is not None and evidence.quick != found:
        raise ValueError(
            f"{name} would compute wrong features: {evidence.why}, trained with{'' if evidence.quick else 'out'} "
            f"QuickGELU, but its config.json has hidden_act={config.vision_config.hidden_act!r}."
        )


def _weights_file(source: str) -> str | None:
    """The one file that the weights came from; None where they lie in several.

    transformers takes safetensors before pickles, and of each the one file before the pieces that an index lists.
    """
    for file in _WEIGHTS:
        for each in (file, f"{file}.index.json"):
            if Path(source).is_dir():
                found = str(Path(source) / each) if (Path(source) / each).is_file() else None
            else:
                cached = huggingface_hub.try_to_load_from_cache(source, each)
                found = cached if isinstance(cached, str) else None
            if found is not None:
                return found if each == file else None
    return None

"""Zero-shot heads on disk: thousands of texts are read once per text tower, not once per run.

A head is a function of the text tower, the tokens and the prompts alone. So the key is a hash over the weights as they
are (not the name of a file that they may have left by training), over the prompts, and over what the tower makes of a
few of them: attention heads, masks, pooling and end tokens are no weights, and they change every embedding.
Checkpoints that share a text tower, such as every α of a Wise-FT path, share the head. Another device or number of
threads may round otherwise; it then makes a head of its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from lightning_robust.models.checkpoint_files import load_metadata, load_tensors, save_tensors, state_hash
from lightning_robust.models.modes import eval_mode
from lightning_robust.models.prompts import Template, filled
from lightning_robust.results import cache_folder

#: Raised whenever the same texts and weights would give another head.
HEAD_VERSION: Final = 3


def head_key(
    model: nn.Module,
    tokenizer: Callable[[list[str]], Tensor],
    class_names: Sequence[str],
    templates: Sequence[Template],
) -> str:
    """Hash of everything that a zero-shot head depends on.

    Args:
        model: The CLIP; every entry but those of its image tower counts, and what it makes of three of the texts.
        tokenizer: Of it; counts by the tokens of each name and of each template with the first name.
        class_names: The names, in order.
        templates: The prompts, in order; a function of the name counts by the texts that it gives.

    Returns:
        SHA-256, 64 hexadecimal digits.
    """
    text = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("visual.")}
    digest = hashlib.sha256(f"{HEAD_VERSION};{state_hash(text)};".encode())
    texts = [[filled(template, name) for template in templates] for name in class_names]
    digest.update(json.dumps(texts).encode())
    for each in (list(class_names), texts[0]):
        digest.update(tokenizer(each).numpy().tobytes())
    few = [texts[0][0], texts[len(texts) // 2][-1], texts[-1][0]]
    parameter, encoder = next(model.parameters()), cast("Any", model)
    with torch.no_grad(), eval_mode(model), torch.autocast(parameter.device.type, enabled=False):
        seen = encoder.encode_text(tokenizer(few).to(parameter.device), normalize=True)
    digest.update(str(seen.dtype).encode() + seen.cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def head_file(key: str) -> Path:
    """Where the head of a key is kept, in the cache folder (`$LIGHTNING_ROBUST_CACHE`, else the user's).

    Args:
        key: Of `head_key`.
    """
    return cache_folder() / f"head-{key[:32]}.safetensors"


def read_head(key: str, classes: int) -> Tensor | None:
    """A kept head.

    Args:
        key: Of `head_key`.
        classes: How many rows it has.

    Returns:
        W, `(classes, d)`, on the CPU; None where there is none that can be used: missing, damaged, or another's.
    """
    path = head_file(key)
    try:
        if load_metadata(path).get("key") != key:
            return None
        head = load_tensors(path).get("weight")
    except (ValueError, OSError):  # missing or damaged: it is made again
        return None
    whole = head is not None and head.ndim == 2 and len(head) == classes and bool(torch.isfinite(head).all())
    return head if whole else None


def keep_head(key: str, head: Tensor) -> None:
    """Keep a head; where nothing can be written nothing is kept.

    Args:
        key: Of `head_key`.
        head: W, `(C, d)`.
    """
    # a read-only home costs the time of the texts in every run and nothing else
    with contextlib.suppress(ValueError, OSError):
        save_tensors(head_file(key), {"weight": head}, {"key": key, "format": "pt"})

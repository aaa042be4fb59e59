"""Large batches in little memory: encode in chunks, and compute each chunk again for its gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from lightning_robust.training.lone_rows import batch_norm_of


def encode_in_chunks(
    encode: Callable[[Tensor], Tensor], module: nn.Module, inputs: Tensor, chunk_size: int | None
) -> Tensor:
    """Encode a batch chunk by chunk, keeping the activations of none.

    The embeddings stay, the activations go, and the backward pass computes those of one chunk at a time again: the
    gradient of the whole batch, in the memory of a chunk, for one more forward pass (Gao et al. 2021, GradCache, arXiv
    2101.06983). The chunks are of equal size but for one row. Dropout draws the same again. Batch norm in train mode
    normalises by the statistics of a chunk, so that a model with it gives other embeddings than without chunks; its
    running statistics move once per chunk, in the forward pass, with the momentum of each.

    Args:
        encode: From inputs to embeddings, row by row.
        module: What holds the layers that it runs.
        inputs: `(n, …)`.
        chunk_size: The most rows at a time; None encodes all at once and keeps the activations.

    Returns:
        The embeddings, `(n, d)`.

    Raises:
        ValueError: If the size is not at least 1, or batch norm in train mode gets a single value for each channel,
            see `batch_norm_of`: equal chunks leave a row alone where the size is 1, or 2 and there are three rows.
    """
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"chunk_size is at least 1, not {chunk_size}; leave it out to encode a batch at once.")

    def rows(chunk: Tensor) -> Tensor:
        with batch_norm_of(len(chunk)):
            return encode(chunk)

    if chunk_size is None:
        return rows(inputs)
    # not what `split` leaves over, which can be one row
    chunks = inputs.tensor_split(max(1, -(-len(inputs) // chunk_size)))
    if not (torch.is_grad_enabled() and any(parameter.requires_grad for parameter in module.parameters())):
        return torch.cat([rows(chunk) for chunk in chunks])

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), untouched_statistics(module)

    return torch.cat([checkpoint(rows, chunk, use_reentrant=False, context_fn=contexts) for chunk in chunks])


@contextmanager
def untouched_statistics(module: nn.Module) -> Iterator[None]:
    """Leave the running statistics of batch norm as they are, whatever runs inside.

    Args:
        module: What holds the batch norms.
    """
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm)]
    kept = [dict(norm._buffers) for norm in norms]
    # copies take the updates: without buffers the layer would save other tensors than it did the first time
    for norm in norms:
        for name, value in norm._buffers.items():
            norm._buffers[name] = None if value is None else value.clone()
    try:
        yield
    finally:
        for norm, buffers in zip(norms, kept, strict=True):
            norm._buffers.update(buffers)

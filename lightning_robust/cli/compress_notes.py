"""What a reader has to know before the figures of a compression: sentences that the network itself gives."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from lightning_robust.cli.compress_made import Budgets
from lightning_robust.models.low_rank_pool import pools_of_one_place, without_attention

__all__ = ["IdleAttention", "given_notes"]

_ASKED = 256
"""So many calibration images are answered without queries and keys that do nothing."""


class IdleAttention:
    """Attention poolings over one place, and what a network answers without their queries and keys.

    Args:
        budgets: The network.
    """

    def __init__(self, budgets: Budgets) -> None:
        self._budgets = budgets
        positions = {name: one.positions for name, one in budgets.matrices.items()}
        self._pools = pools_of_one_place(budgets.network, positions)
        self._images: list[Tensor] = []

    def passing(self, images: Iterable[Any]) -> Iterator[Any]:
        """Hand images on and keep the first ones, so that none is read twice.

        Args:
            images: Batches, `(images, …)` or images alone.
        """
        for batch in images:
            if self._pools and sum(map(len, self._images)) < _ASKED:
                self._images.append(batch if isinstance(batch, Tensor) else batch[0])
            yield batch

    def notes(self) -> tuple[str, ...]:
        """A sentence for each pooling, after the images have passed."""
        if not self._pools:
            return ()
        same, asked = self._same()
        total = sum(parameter.numel() for parameter in self._budgets.network.parameters())
        idle = sum(pool.idle for pool in self._pools)
        names = ", ".join(pool.name for pool in self._pools)
        return (
            f"attention pooling: {names} attends over 2 tokens, one place and the mean of that same place, so that its "
            "queries and keys (q_proj, k_proj) can only weigh two position embeddings against each other: "
            f"{idle:,} parameters, {idle / total:.1%} of image network and head, do next to nothing (with all of them "
            f"zero, {same} of {asked} calibration images get the same answer), so down to {1 - idle / total:.1%} what "
            "is saved can be this architecture's dead weight rather than low rank",
        )

    def _same(self) -> tuple[int, int]:
        network, same, asked = self._budgets.network, 0, 0
        like, other = next(network.parameters()), without_attention(network, self._pools)
        with torch.no_grad():
            for batch in self._images:
                x = batch.to(like.device, like.dtype)
                same += int((_answers(network, x) == _answers(other, x)).sum())
                asked += len(batch)
        return same, asked


def _answers(network: nn.Module, images: Tensor) -> Tensor:
    logits: Tensor = network(images)
    return logits.argmax(dim=1)


def given_notes(budgets: Budgets, ranks: int) -> tuple[str, ...]:
    """What is known before any image is read.

    Args:
        budgets: The network.
        ranks: How many of its matrices are products of two already.
    """
    notes = []
    if ranks:
        notes.append(
            f"already low rank: {ranks} matri{'ces' if ranks > 1 else 'x'} of this network "
            f"{'are products' if ranks > 1 else 'is a product'} of two already, whose factors are not cut again: "
            "shares are of the network as given, and only what is still whole gets smaller"
        )
    spare = budgets.fixed.spare
    if spare:
        whole = budgets.fixed.flops + sum(one.multiplications or 0 for one in budgets.matrices.values())
        notes.append(
            "attention pooling: the network as given computes queries at every position and uses one of them, its "
            f"low-rank form computes that one: {2 * spare:,} floating-point operations of an image, "
            f"{spare / whole:.1%}, and their part of the time go without any loss of rank, as soon as one matrix of "
            "the pooling is cut"
        )
    return tuple(notes)

"""Heads to compare a head with: random weights, and the same head in a randomly rotated representation (METHODS 3)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lightning_robust.signatures.bases import checked_head, checked_seeds, random_rotation

CONTROL_SEEDS = (0, 1, 2, 3, 4)
"""Five draws of each random control: its figures come with a mean and a standard deviation."""


@dataclass(frozen=True, eq=False)
class ControlHeads:
    """A head and its random controls, all of shape ``(C, d)`` and in the head's dtype.

    Attributes:
        head: the head itself.
        random: see ``random_head``, one for each seed.
        rotated: see ``rotated_head``, one for each seed.
        seeds: the seeds, in the same order.
    """

    head: Float[Tensor, "C d"]
    random: tuple[Float[Tensor, "C d"], ...]
    rotated: tuple[Float[Tensor, "C d"], ...]
    seeds: tuple[int, ...]


def random_head(head: Float[Tensor, "C d"], seed: int = 0) -> Float[Tensor, "C d"]:
    """A head that knows nothing: independent Gaussian weights of the same shape and the same Frobenius norm.

    This is the random-head model of METHODS 3: the encoder as it is, under a head as it might be initialised. Its
    spectrum is that of a random matrix, not the head's; ``rotated_head`` keeps the spectrum instead. Between the two
    lies what the singular values alone do to a figure.

    Args:
        head: weight ``W`` of the linear head, ``(C, d)``.
        seed: of the weights.

    Returns:
        ``(C, d)`` in the head's dtype, on its device.

    Raises:
        TypeError: if the head is not a tensor.
        ValueError: if it is not a finite matrix.

    Example:
        >>> W = torch.diag(torch.tensor([3.0, 4.0]))
        >>> round(float(torch.linalg.matrix_norm(random_head(W, seed=1))), 4)
        5.0
    """
    W = checked_head(head)
    gaussian = torch.randn(W.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    scale = float(torch.linalg.matrix_norm(W)) / float(torch.linalg.matrix_norm(gaussian))
    return (scale * gaussian).to(head)


def rotated_head(head: Float[Tensor, "C d"], seed: int = 0) -> Float[Tensor, "C d"]:
    """The head in a randomly rotated representation: ``W Q`` with Q from the Haar measure on all orthogonal matrices.

    Singular values and left singular vectors (which classes go together) stay; the right singular vectors become a
    random frame, which knows nothing of the images. Centring and rotating commute: the centred head of ``W Q`` is the
    rotated centred head.

    Args:
        head: weight ``W`` of the linear head, ``(C, d)``.
        seed: of the rotation, ``random_rotation(d, seed=seed)``.

    Returns:
        ``(C, d)`` in the head's dtype, on its device.

    Raises:
        TypeError: if the head is not a tensor.
        ValueError: if it is not a finite matrix.

    Example:
        >>> W = torch.diag(torch.tensor([3.0, 4.0], dtype=torch.float64))
        >>> torch.linalg.svdvals(rotated_head(W, seed=1))
        tensor([4.0000, 3.0000], dtype=torch.float64)
    """
    W = checked_head(head)
    return (W @ random_rotation(W.shape[1], seed=seed).to(W.device)).to(head.dtype)


def control_heads(head: Float[Tensor, "C d"], seeds: Sequence[int] = CONTROL_SEEDS) -> ControlHeads:
    """Make all random controls of a head.

    Args:
        head: weight ``W`` of the linear head, ``(C, d)``; copied.
        seeds: one random and one rotated head for each.

    Returns:
        The frozen record.

    Raises:
        ValueError: if there is no seed or one twice, or the head is not a finite matrix.

    Example:
        >>> controls = control_heads(torch.eye(2, 3), seeds=[0, 1])
        >>> len(controls.random), len(controls.rotated), controls.seeds
        (2, 2, (0, 1))
    """
    seeds = checked_seeds(seeds)
    return ControlHeads(
        head=head.detach().clone(),
        random=tuple(random_head(head, seed) for seed in seeds),
        rotated=tuple(rotated_head(head, seed) for seed in seeds),
        seeds=seeds,
    )

"""Bases of representation space in which concepts are counted: neurons, right singular vectors, random rotations."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Float64
from torch import Tensor


def checked_head(head: object) -> Float64[Tensor, "C d"]:
    """Return the weight of a linear head in float64, detached, or raise a clear error.

    Raises:
        TypeError: if it is not a tensor.
        ValueError: if it is not a finite matrix.
    """
    if not isinstance(head, Tensor):
        raise TypeError(f"head must be a torch tensor, not {type(head).__name__}: torch.from_numpy(...) makes one.")
    if head.ndim != 2 or head.numel() == 0:
        raise ValueError(f"head must have shape (C, d), not {tuple(head.shape)}.")
    W = head.detach().to(torch.float64)
    if not bool(W.isfinite().all()):
        raise ValueError("head must be finite: it holds a NaN or an infinity.")
    return W


def head_rank(sigma: Float64[Tensor, " m"], head: Float[Tensor, "C d"], *, centred: bool = False) -> int:
    """Numerical rank of a head, by numpy's rule: singular values above ``max(C, d) · eps · σ₁``.

    eps is that of the head's own dtype, at least float32's: half-precision heads come from float32 ones by rounding,
    which makes every direction real. σ₁ is the raw head's (to a factor √2) also where the head was centred: what is
    left of classes that are all alike is rounding of the weights they had.

    Args:
        sigma: all singular values of the head, or of the centred head, descending.
        head: the raw head, in the dtype it came in.
        centred: whether ``sigma`` are those of the centred head.

    Returns:
        The rank; 0 where all weights are zero, or all classes alike and the head centred.
    """
    largest = float(sigma[0])
    if centred:  # WᵀW is that of the centred head + C·mean·meanᵀ
        mean = head.detach().to(torch.float64).mean(dim=0)
        largest = max(largest, len(head) ** 0.5 * float(torch.linalg.vector_norm(mean)))
    dtype = head.dtype if head.dtype in (torch.float32, torch.float64) else torch.float32
    return int((sigma > max(head.shape) * torch.finfo(dtype).eps * largest).sum())


def thin_svd(
    head: Float[Tensor, "C d"], *, centred: bool = False
) -> tuple[Float64[Tensor, " r"], Float64[Tensor, "d r"]]:
    """Singular values and right singular vectors of a head, in float64, up to its numerical rank (``head_rank``).

    Each vector's sign is chosen so that its largest entry is positive.

    Args:
        head: weight ``W`` of the linear head, ``(C, d)``.
        centred: subtract the mean row first, in float64 whatever the head's dtype.

    Returns:
        ``σ`` descending ``(r,)`` and ``V`` ``(d, r)``. A head of zeros has no directions, r = 0; nor has, centred, a
        head of one class or of classes that are all alike.

    Raises:
        TypeError: if the head is not a tensor.
        ValueError: if it is not a finite matrix.
    """
    W = checked_head(head)
    _, sigma, Vh = torch.linalg.svd(W - W.mean(dim=0) if centred else W, full_matrices=False)
    r = head_rank(sigma, head, centred=centred)
    V = Vh[:r].T
    signs = V.gather(0, V.abs().argmax(dim=0, keepdim=True)).sign()
    return sigma[:r], (V * signs).contiguous()


def no_directions(head: Float[Tensor, "C d"], *, centred: bool = False) -> ValueError:
    """The error, to be raised, of whatever needs a direction of a head that has none (``thin_svd`` found r = 0)."""
    alike = centred and bool(head.any())
    why = "once centred: no class differs from the mean class" if alike else "all its weights are zero"
    return ValueError(f"the head of shape {tuple(head.shape)} has no directions, {why}.")


def right_singular_vectors(head: Float[Tensor, "C d"], k: int | None = None) -> Float64[Tensor, "d r"]:
    """Right singular vectors of a head as columns, in order of their singular values.

    Args:
        head: weight ``W`` of the linear head, ``(C, d)``.
        k: how many; all r of the numerical rank by default.

    Returns:
        ``(d, k)`` in float64.

    Raises:
        ValueError: if k is not between 1 and the rank, or the head has no directions.

    Example:
        >>> right_singular_vectors(torch.tensor([[0.0, 2.0, 0.0], [1.0, 0.0, 0.0]]))
        tensor([[0., 1.],
                [1., 0.],
                [0., 0.]], dtype=torch.float64)
    """
    V = thin_svd(head)[1]
    if V.shape[1] == 0:
        raise no_directions(head)
    return V[:, : _checked_k(k, V.shape[1], "the rank of the head")]


def neurons(d: int, k: int | None = None, seed: int = 0) -> Float64[Tensor, "d k"]:
    """The coordinate axes as columns: all d, or k of them drawn with a seed, to compare bases of equal size.

    Raises:
        ValueError: if d is not positive, or k not between 1 and d.

    Example:
        >>> neurons(2)
        tensor([[1., 0.],
                [0., 1.]], dtype=torch.float64)
    """
    k = _checked_k(k, d, "the number of neurons")
    identity = torch.eye(d, dtype=torch.float64)
    if k == d:
        return identity
    chosen = torch.randperm(d, generator=torch.Generator().manual_seed(seed))[:k]
    return identity[:, chosen.sort().values]


def random_rotation(d: int, k: int | None = None, seed: int = 0) -> Float64[Tensor, "d k"]:
    """The first k columns of a random orthogonal matrix (Haar measure), drawn with a seed: the control for any basis.

    Raises:
        ValueError: if d is not positive, or k not between 1 and d.

    Example:
        >>> Q = random_rotation(5, 3, seed=1)
        >>> torch.allclose(Q.T @ Q, torch.eye(3, dtype=torch.float64))
        True
    """
    k = _checked_k(k, d, "the number of features")
    gaussian = torch.randn(d, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    Q, R = torch.linalg.qr(gaussian)
    # without the signs of R's diagonal, QR does not draw from the Haar measure (Mezzadri 2007)
    rotation: Tensor = Q * R.diagonal().sign()
    return rotation


def control_bases(
    head: Float[Tensor, "C d"] | None, d: int, k: int | None = None, seeds: Sequence[int] = (0, 1, 2, 3, 4)
) -> dict[str, Float64[Tensor, "d k"]]:
    """The bases that a count of concepts is compared in, all with the same number of directions.

    Args:
        head: weight ``W`` of the linear head, ``(C, d)``; None leaves its singular vectors out.
        d: number of features.
        k: directions in every basis; by default the rank of the head, or d without a head.
        seeds: one random rotation for each, so that the control has a spread; the first also draws the neurons.

    Returns:
        ``singular_vectors`` (the k with the largest singular values), ``neurons``, and ``random_rotation_<seed>`` for
        each seed, for ``ConceptAveragePrecision``.

    Raises:
        ValueError: if there is no seed or one twice, the head reads another number of features, or k is out of range.

    Example:
        >>> bases = control_bases(torch.eye(2, 4), d=4, seeds=[7, 8])
        >>> list(bases)
        ['singular_vectors', 'neurons', 'random_rotation_7', 'random_rotation_8']
        >>> {tuple(basis.shape) for basis in bases.values()}
        {(4, 2)}
    """
    seeds = checked_seeds(seeds)
    bases = {}
    if head is not None:
        if head.ndim == 2 and head.shape[1] != d:
            raise ValueError(f"the head reads {head.shape[1]} features, not {d}.")
        bases["singular_vectors"] = right_singular_vectors(head, k)
        k = bases["singular_vectors"].shape[1]
    bases["neurons"] = neurons(d, k, seeds[0])
    return bases | {f"random_rotation_{seed}": random_rotation(d, k, seed) for seed in seeds}


def checked_seeds(seeds: Sequence[int]) -> tuple[int, ...]:
    """Return the seeds of repeated controls as a tuple.

    Raises:
        ValueError: if there is none, or one twice: the same draw again would make the spread too small.
    """
    if len(seeds) == 0 or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds must be one or more different numbers, not {list(seeds)}.")
    return tuple(int(seed) for seed in seeds)


def _checked_k(k: int | None, most: int, what: str) -> int:
    if most < 1:
        raise ValueError(f"{what} must be at least 1, not {most}.")
    if k is None:
        return most
    if not 1 <= k <= most:
        raise ValueError(f"k must be between 1 and {what}, {most}, not {k}.")
    return k

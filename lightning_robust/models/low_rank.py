"""Linear layers and convolutions of low rank: two small products in place of one large one."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class LowRankLinear(nn.Module):
    """A linear layer with the weight `A B`: `y = A (B x) + bias`, k·(in + out) multiplications instead of in·out.

    Args:
        A: Second factor, `(out, k)`.
        B: First factor, `(k, in)`.
        bias: `(out,)`, or None.

    Attributes:
        first: B, `(k, in)`.
        second: A, `(out, k)`.
        bias: `(out,)`, or None.
        weight: Empty. Some models ask a layer's weight for its precision and device, and here they get both; whoever
            takes it for a matrix fails at its shape.

    Raises:
        ValueError: If the shapes do not fit each other.

    Example:
        >>> import torch
        >>> layer = LowRankLinear(torch.ones(3, 1), torch.ones(1, 2), None)
        >>> layer(torch.tensor([[1.0, 2.0]])).tolist(), layer
        ([[3.0, 3.0, 3.0]], LowRankLinear(in_features=2, out_features=3, rank=1, bias=False))
    """

    weight: Tensor

    def __init__(self, A: Tensor, B: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        check_factors(A, B, bias)
        self.first = nn.Parameter(B.detach().clone().contiguous())
        self.second = nn.Parameter(A.detach().clone().contiguous())
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())
        self.register_buffer("weight", B.detach().new_empty(0), persistent=False)

    @property
    def in_features(self) -> int:
        """Width of the input."""
        return self.first.shape[1]

    @property
    def out_features(self) -> int:
        """Width of the output."""
        return self.second.shape[0]

    @property
    def rank(self) -> int:
        """The k of its factors."""
        return self.first.shape[0]

    def forward(self, x: Tensor) -> Tensor:
        """Map `(…, in)` to `(…, out)`."""
        return functional.linear(functional.linear(x, self.first), self.second, self.bias)

    def extra_repr(self) -> str:
        """Sizes, as `nn.Linear` prints its own."""
        sizes = f"in_features={self.in_features}, out_features={self.out_features}, rank={self.rank}"
        return f"{sizes}, bias={self.bias is not None}"


class LowRankConv2d(nn.Module):
    """A convolution whose flattened weight `(out, in·kh·kw)` is `A B`: a convolution to k channels, then one of 1 × 1.

    Stride, padding and dilation are those of the first; the second sees every position once.

    Args:
        A: Second factor, `(out, k)`.
        B: First factor, `(k, in·kh·kw)`, flattened as `weight.flatten(1)` flattens.
        dense: The convolution in whose place it stands, for its geometry; its weight is not kept.
        bias: `(out,)`, or None.

    Attributes:
        first: B, `(k, in, kh, kw)`.
        second: A, `(out, k, 1, 1)`.
        bias: `(out,)`, or None.
        weight: Empty, as of `LowRankLinear`.

    Raises:
        ValueError: If the shapes do not fit, or the convolution has groups.

    Example:
        >>> import torch
        >>> dense = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        >>> layer = LowRankConv2d(torch.eye(8), dense.weight.flatten(1), dense, dense.bias)
        >>> images = torch.rand(2, 3, 8, 8)
        >>> torch.allclose(layer(images), dense(images), atol=1e-6)
        True
    """

    weight: Tensor

    def __init__(self, A: Tensor, B: Tensor, dense: nn.Conv2d, bias: Tensor | None = None) -> None:
        super().__init__()
        check_factors(A, B, bias)
        if dense.groups > 1:
            raise ValueError(
                f"a convolution with {dense.groups} groups is block diagonal and has no A B; leave it dense."
            )
        self.first = nn.Parameter(B.detach().clone().reshape(-1, *dense.weight.shape[1:]).contiguous())
        self.second = nn.Parameter(A.detach().clone()[:, :, None, None].contiguous())
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())
        self.register_buffer("weight", B.detach().new_empty(0), persistent=False)
        self.in_channels, self.out_channels, self.groups = dense.in_channels, A.shape[0], 1
        self.kernel_size, self.stride, self.dilation = dense.kernel_size, dense.stride, dense.dilation
        self.padding: str | tuple[int, ...] = dense.padding
        self.padding_mode = dense.padding_mode
        self._around: list[int] | None = None
        if dense.padding_mode != "zeros":
            self._around, self.padding = list(dense._reversed_padding_repeated_twice), (0, 0)

    @property
    def rank(self) -> int:
        """The k of its factors."""
        return self.first.shape[0]

    def forward(self, x: Tensor) -> Tensor:
        """Map `(n, in, H, W)` to `(n, out, H', W')`."""
        if self._around is not None:
            x = functional.pad(x, self._around, mode=self.padding_mode)
        inner = functional.conv2d(x, self.first, None, self.stride, self.padding, self.dilation)
        return functional.conv2d(inner, self.second, self.bias)

    def extra_repr(self) -> str:
        """Sizes, as `nn.Conv2d` prints its own."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"rank={self.rank}, bias={self.bias is not None}"
        )


def check_factors(A: Tensor, B: Tensor, bias: Tensor | None) -> None:
    """Refuse factors that do not fit.

    Args:
        A: `(out, k)`.
        B: `(k, in)`.
        bias: `(out,)`, or None.

    Raises:
        ValueError: With the shapes.
    """
    fits = A.ndim == 2 and B.ndim == 2 and A.shape[1] == B.shape[0] >= 1
    if not fits or (bias is not None and tuple(bias.shape) != (A.shape[0],)):
        also = "" if bias is None else f" and a bias {tuple(bias.shape)}"
        raise ValueError(
            f"factors are A (out, k) and B (k, in) with k of 1 or more and a bias (out,), not {tuple(A.shape)} and "
            f"{tuple(B.shape)}{also}."
        )

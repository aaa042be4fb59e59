"""The scales on which accuracies of standard models lie on a line: logit, probit, and accuracy itself (METHODS 1)."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

__all__ = ["LINKS", "Link", "clip_accuracy", "link_named"]

_Values = Float[np.ndarray, "..."]


@dataclass(frozen=True)
class Link:
    """A scale and its inverse.

    Attributes:
        name: ``"logit"``, ``"probit"`` or ``"linear"``.
        forward: accuracies as fractions in (0, 1) to the scale, elementwise.
        inverse: the scale to accuracies in [0, 1], elementwise; on the linear scale it is clipped.

    Example:
        >>> logit = LINKS["logit"]
        >>> float(logit.forward(np.array(0.5))), float(logit.inverse(np.array(0.0)))
        (0.0, 0.5)
    """

    name: str
    forward: Callable[[np.ndarray], np.ndarray]
    inverse: Callable[[np.ndarray], np.ndarray]


def clip_accuracy(accuracy: _Values | float, n: int) -> _Values:
    """Clip accuracies to [1/(2n), 1 − 1/(2n)]: none and all of n images right have no logit.

    Args:
        accuracy: fractions in [0, 1].
        n: images that they were counted on.

    Raises:
        ValueError: n below 1.

    Example:
        >>> clip_accuracy(np.array([0.0, 0.5, 1.0]), 10).tolist()
        [0.05, 0.5, 0.95]
    """
    if n < 1:
        raise ValueError(f"an accuracy is counted on at least one image, got n = {n}")
    edge = 1 / (2 * n)
    return np.asarray(np.clip(accuracy, edge, 1 - edge), dtype=np.float64)


def link_named(scale: str) -> Link:
    """The scale of a name.

    Args:
        scale: ``"logit"``, ``"probit"`` or ``"linear"``.

    Raises:
        ValueError: there is no such scale.

    Example:
        >>> link_named("probit").name
        'probit'
    """
    if scale not in LINKS:
        raise ValueError(f"a baseline's scale is one of {', '.join(LINKS)}, got {scale!r}")
    return LINKS[scale]


def _logit(accuracy: np.ndarray) -> np.ndarray:
    return np.asarray(np.log(accuracy) - np.log1p(-accuracy))


def _expit(value: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * value)))  # no overflow at either end


def _probit(accuracy: np.ndarray) -> np.ndarray:
    return np.asarray(torch.special.ndtri(torch.as_tensor(np.asarray(accuracy, dtype=np.float64))))


def _normal_cdf(value: np.ndarray) -> np.ndarray:
    # torch's own normal distribution function loses digits in the lower tail
    scaled = torch.as_tensor(np.asarray(value, dtype=np.float64)) * -math.sqrt(0.5)
    return np.asarray(0.5 * torch.special.erfc(scaled))


def _same(value: np.ndarray) -> np.ndarray:
    return np.asarray(value, dtype=np.float64)


def _within(value: np.ndarray) -> np.ndarray:
    # a straight line leaves [0, 1] where it is extrapolated, and no accuracy does
    return np.asarray(np.clip(value, 0.0, 1.0), dtype=np.float64)


LINKS = {
    "logit": Link("logit", _logit, _expit),
    "probit": Link("probit", _probit, _normal_cdf),
    "linear": Link("linear", _same, _within),
}
"""The scales by name. Logit is the default (Taori et al. 2020, arXiv 2007.00644)."""

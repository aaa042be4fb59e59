"""Spectra of all weight matrices of a model and of their change since a reference; unchanged ones are not redone."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from lightning_robust.signatures.layers import plain_name
from lightning_robust.signatures.matrix_cuts import check_weights
from lightning_robust.signatures.spectrum import MatrixSpectrum, Method, matrix_spectrum
from lightning_robust.signatures.weight_change import (
    LeadingDirections,
    WeightChange,
    leading_directions,
    leading_rank,
    weight_change,
)
from lightning_robust.signatures.weight_matrices import Weights, choose_matrices

Row = dict[str, str | int | float]
"""Plain values by column."""


@dataclass(frozen=True, eq=False)
class WeightSpectrum:
    """One matrix of a model.

    Attributes:
        name: as ``weight_matrices`` names it.
        shape: ``(out, in)``.
        spectrum: of the matrix.
        change: since the reference; None without one.
    """

    name: str
    shape: tuple[int, int]
    spectrum: MatrixSpectrum
    change: WeightChange | None = None

    def row(self) -> Row:
        """Its figures as plain numbers, without the singular values: a row of a CSV."""
        sigma, change = self.spectrum.singular_values, self.change
        row: Row = {"name": self.name, "out": self.shape[0], "in": self.shape[1]}
        row |= {"largest": float(sigma[0]), "frobenius": _norm(sigma)}
        row |= {name: getattr(self.spectrum, name) for name in ("stable_rank", "effective_rank", "alpha")}
        if change is not None:
            row |= {f"change_{name}": getattr(change, name) for name in ("relative_frobenius", "relative_spectral")}
            row |= {f"change_{name}": getattr(change.spectrum, name) for name in ("stable_rank", "effective_rank")}
            row |= {f"change_{name}": getattr(change, name) for name in ("input_share", "output_share", "top")}
        return row


@dataclass(frozen=True, eq=False)
class WeightSpectra:
    """Every matrix asked for.

    Attributes:
        matrices: by name, in the order of the module.
        left_out: parameters that a wildcard named and that are no weight matrices, with the reason.
        computed: names of those whose spectrum was computed now; the others had not changed since it was.
        not_finite: names of those that hold NaN or infinite values, whose every figure is NaN; a change is also NaN
            where the reference holds some.
    """

    matrices: dict[str, WeightSpectrum]
    left_out: dict[str, str]
    computed: tuple[str, ...]
    not_finite: tuple[str, ...]

    def table(self) -> list[Row]:
        """A row of plain numbers for each matrix, all with the same columns."""
        return [matrix.row() for matrix in self.matrices.values()]


class SpectrumCache:
    """Remembers spectra by the content of the matrices, as SHA-256 of their bytes; it keeps no weights.

    Give the same cache to every call of ``weight_spectra`` along a training: layers that did not change since a call
    before cost a hash of their bytes. It keeps the last of each matrix only.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], tuple[object, Any]] = {}

    def get(self, name: str, what: str, key: object, compute: Callable[[], Any]) -> tuple[Any, bool]:
        """What was computed for this key, or now; and whether it was now.

        Args:
            name: of the matrix.
            what: kind of result.
            key: content and settings that it depends on.
            compute: makes the result.

        Returns:
            The result, and whether it was computed now.

        Example:
            >>> cache = SpectrumCache()
            >>> cache.get("fc", "square", 3, lambda: 9), cache.get("fc", "square", 3, lambda: 9)
            ((9, True), (9, False))
        """
        kept = self._kept.get((name, what))
        if kept is not None and kept[0] == key:
            return kept[1], False
        result = compute()
        self._kept[name, what] = (key, result)
        return result, True


def weight_spectra(
    weights: Weights,
    reference: Weights | None = None,
    *,
    names: str | Sequence[str] = "all",
    embeddings: bool = False,
    method: Method = "auto",
    top: int = 10,
    cache: SpectrumCache | None = None,
) -> WeightSpectra:
    """Spectra of all weight matrices, and of their change since a reference.

    Args:
        weights: a module (of any trainer) or a state dict.
        reference: θ0 in the same form, or its matrices by name as ``weight_matrices`` gives them; on any device.
        names: which matrices; see ``weight_matrices``.
        embeddings: whether token embeddings count.
        method: see ``matrix_spectrum``.
        top: leading directions of the reference that a change is compared with; 0 leaves that out.
        cache: remembers results from call to call; None computes all.

    Returns:
        The frozen record; ``.table()`` has its figures as rows of plain numbers.

    Raises:
        TypeError: if the weights or the reference are neither a module nor a mapping, or hold numpy arrays.
        ValueError: if a name finds nothing, the reference lacks a matrix or has it in another shape, ``top`` is
            negative, or the method unknown; says which.

    Example:
        >>> model, cache = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), SpectrumCache()
        >>> theta0 = {name: value.clone() for name, value in model.state_dict().items()}
        >>> _ = weight_spectra(model, theta0, cache=cache)
        >>> _ = model[1].weight.data.mul_(2)
        >>> spectra = weight_spectra(model, theta0, cache=cache)
        >>> spectra.computed, round(spectra.matrices["1.weight"].change.relative_frobenius, 6)
        (('1.weight',), 1.0)
    """
    if top < 0:
        raise ValueError(f"top is a number of directions, 0 for none, not {top}.")
    check_weights(weights)
    if reference is not None:
        check_weights(reference)
    chosen, left_out = choose_matrices(weights, names, embeddings=embeddings)
    theta0 = None if reference is None else _entries(reference)
    measure = _Measure(method, top, cache or SpectrumCache())
    matrices, computed = {}, []
    for tensor, cut, wanted in chosen:
        # MPS has no float64
        here = cut.matrices(tensor.detach().cpu() if tensor.device.type == "mps" else tensor.detach())
        start = None if theta0 is None else _start(theta0, cut.parameter, cut.matrices, wanted)
        for name in wanted:
            matrices[name], anew = measure.matrix(name, here[name], None if start is None else start[name])
            computed += [name] if anew else []
    broken = tuple(name for name, found in matrices.items() if bool(found.spectrum.singular_values.isnan().any()))
    return WeightSpectra(matrices, left_out, tuple(computed), broken)


@dataclass(frozen=True)
class _Measure:
    method: Method
    top: int
    cache: SpectrumCache

    def matrix(self, name: str, W: Tensor, W0: Tensor | None) -> tuple[WeightSpectrum, bool]:
        now = _content(W)
        spectrum, anew = self.cache.get(name, "spectrum", (now, self.method), lambda: self._spectrum(W))
        found = WeightSpectrum(name, (W.shape[0], W.shape[1]), spectrum)
        if W0 is None:
            return found, anew
        if W.shape != W0.shape:
            raise ValueError(f"{name}: the reference has shape {tuple(W0.shape)}, the weight {tuple(W.shape)}.")
        before = _content(W0)
        key = (now, before, self.method, self.top)
        change, moved = self.cache.get(name, "change", key, lambda: self._change(found, W, W0, now == before, before))
        return replace(found, change=change), anew or moved

    def _spectrum(self, W: Tensor) -> MatrixSpectrum:
        return matrix_spectrum(W, self.method) if _finite(W) else _constant(W, math.nan)

    def _change(self, found: WeightSpectrum, W: Tensor, W0: Tensor, same: bool, before: bytes) -> WeightChange:
        if not (_finite(W) and _finite(W0)):
            return WeightChange(_constant(W, math.nan), math.nan, math.nan, math.nan, math.nan, 0)
        if same and bool(W.any()):  # no decomposition for a layer that stands still
            top = min(self.top, leading_rank(found.spectrum.singular_values, W))
            return WeightChange(_constant(W, 0.0), 0.0, 0.0, math.nan, math.nan, top)
        start, _ = self.cache.get(found.name, "start", (before, self.top), lambda: _on_device_of(W, W0, self.top))
        return weight_change(W, W0, top=self.top, method=self.method, directions=start)


def _constant(W: Tensor, value: float) -> MatrixSpectrum:
    sigma = torch.full((min(W.shape),), value, dtype=torch.float64)
    return MatrixSpectrum(sigma, math.nan, math.nan, math.nan)


def _finite(W: Tensor) -> bool:
    return bool(W.isfinite().all())


def _on_device_of(W: Tensor, W0: Tensor, top: int) -> LeadingDirections:
    return leading_directions(W0.to(W.device), top)


def _entries(reference: Weights) -> dict[str, Tensor]:
    if isinstance(reference, nn.Module):
        return {plain_name(name): value for name, value in reference.named_parameters(remove_duplicate=False)}
    return {plain_name(name): value for name, value in reference.items() if isinstance(value, Tensor)}


def _start(
    theta0: Mapping[str, Tensor],
    parameter: str,
    cut: Callable[[Tensor], dict[str, Tensor]],
    names: Sequence[str],
) -> dict[str, Tensor]:
    if all(name in theta0 for name in names) and all(theta0[name].ndim == 2 for name in names):
        return {name: theta0[name].detach() for name in names}
    if parameter not in theta0:
        raise ValueError(f"the reference has no {parameter!r}, so the change of {names[0]!r} is not known.")
    return cut(theta0[parameter].detach())


def _content(W: Tensor) -> bytes:
    """SHA-256 of a tensor's type, shape and bytes."""
    digest = hashlib.sha256(f"{W.dtype}{tuple(W.shape)}".encode())
    # of a copy: memory that numpy has seen cannot be freed any more by FSDP, whose storage shrinks in place
    digest.update(W.detach().cpu().contiguous().reshape(-1).view(torch.uint8).clone().numpy().data)
    return digest.digest()


def _norm(sigma: Tensor) -> float:
    largest = float(sigma[0])
    return float(torch.linalg.vector_norm(sigma / largest)) * largest if largest != 0 else 0.0

"""Importance and its controls as a frozen record, and as a flat table to print or write (METHODS 3)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from lightning_robust.signatures.head_controls import CONTROL_SEEDS
from lightning_robust.signatures.importance import PRIVILEGED_FACTOR, PRIVILEGED_RULE
from lightning_robust.signatures.importance_controls import FORMS, HEADS, ImportanceControls
from lightning_robust.signatures.quantiles import median
from lightning_robust.signatures.reduced_rank import rank_for

KEPT_SHARE = 0.9
"""The table says how many directions keep this share of the logits' second moment."""

NAMES = {"head": "head", "random": "random head", "rotated": "random rotation", "best": "reduced-rank regression"}


@dataclass(frozen=True, eq=False)
class DrawnImportance:
    """Importance of the directions of S heads of one kind: the head itself (S = 1), or one draw for each seed.

    Attributes:
        importance: ``σ_i · mean_x |cos(v_i, h(x))|``, ``(S, r)``, in the order of the singular values.
        singular_values: ``(S, r)``.
        privileged: which directions are privileged, by the rule, ``(S, r)``.
        kept: share of the logits' second moment that the 1, 2, …, r most important directions keep, ``(S, r)``.
    """

    importance: Float64[Tensor, "S r"]
    singular_values: Float64[Tensor, "S r"]
    privileged: Bool[Tensor, "S r"]
    kept: Float64[Tensor, "S r"]

    @property
    def normalised(self) -> Float64[Tensor, "S r"]:
        """Importance divided by ``Σσ``, to compare models, in [0, 1]."""
        return self.importance / self.singular_values.sum(dim=1, keepdim=True)

    @property
    def max_over_median(self) -> Float64[Tensor, " S"]:
        """Largest importance over the median one, for each draw."""
        return _largest(self.importance) / median(self.importance)


@dataclass(frozen=True, eq=False)
class ImportanceWithControls:
    """Importance of a head's directions on n images beside that of its controls.

    Attributes:
        heads: for each ``<form>/<which>``, with the forms ``raw`` and ``centred`` and with ``head``, ``random`` and
            ``rotated``, the figures of these heads.
        energies: for each form the energies ``s_i²`` of the reduced-rank regression of the head, descending, ``(m,)``.
        best: for each form the share of the logits' second moment that the best head of rank 1, 2, …, m keeps.
        seeds: of the random and rotated heads.
        rule: the rule of privileged directions, in words.
        unit_norm: whether h was scaled to unit length for the logits.
        d: features. n: images seen.
        not_finite: images left out of every figure for a NaN or infinite feature.
    """

    heads: Mapping[str, DrawnImportance]
    energies: Mapping[str, Float64[Tensor, " m"]]
    best: Mapping[str, Float64[Tensor, " m"]]
    seeds: tuple[int, ...]
    rule: str
    unit_norm: bool
    d: int
    n: int
    not_finite: int

    def table(self) -> list[dict[str, str | float]]:
        """One row for each form and kind of head; means over the draws, ``…_sd`` their sample standard deviations.

        Columns: ``form``, ``head``; ``draws``; ``r``, the number of directions; ``max_over_median``, largest importance
        over the median; ``largest``, the largest share of ``Σσ`` in one direction, in [0, 1]; ``privileged``, how many
        directions the rule finds; ``kept_by_one``, share of the logits' second moment that the most important direction
        keeps; ``directions_for_90``, how many of the most important directions keep 90 % of it; ``n``.
        Where a head has no directions in a form, r = 0: nothing is privileged and its other figures are NaN.
        The rows of the reduced-rank regression apply the same formulas to ``s_i``, the root mean square that component
        i has in the logits, in the place of importance. A standard deviation of one draw is NaN.
        """
        rows = []
        for form in FORMS:
            kinds = {which: self._columns(self.heads[f"{form}/{which}"]) for which in HEADS}
            kinds["best"] = self._best_columns(form)
            rows += [self._row(form, which, r, columns) for which, (r, columns) in kinds.items()]
        return rows

    def _row(self, form: str, which: str, r: int, columns: Mapping[str, Sequence[float]]) -> dict[str, str | float]:
        draws = len(next(iter(columns.values())))
        row: dict[str, str | float] = {"form": form, "head": NAMES[which], "draws": draws, "r": r}
        for name, values in columns.items():
            column = torch.tensor(values, dtype=torch.float64)
            row[name] = float(column.mean())
            row[f"{name}_sd"] = float(column.std()) if draws > 1 else math.nan
        return row | {"n": self.n}

    @staticmethod
    def _columns(drawn: DrawnImportance) -> tuple[int, dict[str, list[float]]]:
        return drawn.importance.shape[1], {
            "max_over_median": drawn.max_over_median.tolist(),
            "largest": _largest(drawn.normalised).tolist(),
            "privileged": drawn.privileged.sum(dim=1).tolist(),
            "kept_by_one": (drawn.kept[:, 0] if drawn.kept.shape[1] else _largest(drawn.kept)).tolist(),
            "directions_for_90": [_directions_for(curve) for curve in drawn.kept],
        }

    def _best_columns(self, form: str) -> tuple[int, dict[str, list[float]]]:
        r = int((self.energies[form] > 0).sum())
        s = self.energies[form][: r or None].sqrt()
        middle = float(median(s))
        return r, {
            "max_over_median": [float(s.max()) / middle if middle else math.nan],
            "largest": [float(s.max() / s.sum())],
            "privileged": [int((s > PRIVILEGED_FACTOR * middle).sum())],
            "kept_by_one": [float(self.best[form][0])],
            "directions_for_90": [_directions_for(self.best[form])],
        }


def importance_with_controls(
    head: Float[Tensor, "C d"],
    features: Float[Tensor, "n d"],
    *,
    seeds: Sequence[int] = CONTROL_SEEDS,
    unit_norm: bool = True,
) -> ImportanceWithControls:
    """Importance of a head's directions, raw and centred, beside random heads, rotations and the best truncation.

    A head truncates well to some degree whatever it has learned, and a common mean of the images makes any direction
    near it important. So no figure of importance stands alone: the same figures are given for Gaussian heads
    (``random_head``), for the same head in a randomly rotated representation (``rotated_head``), and for the truncation
    that is best for the logits (``reduced_rank``); each raw and centred. Finetuned and supervised models are controls
    too: call it for each and put the tables below one another.

    Args:
        head: weight ``W`` of the linear head, ``(C, d)``.
        features: raw encoder output, ``(n, d)`` with n ≥ 1; images with a NaN or infinite feature are left out and
            counted.
        seeds: one random and one rotated head for each.
        unit_norm: whether the model scales h to unit length before the head, as a CLIP does.

    Returns:
        The frozen record; ``.table()`` makes it flat.

    Raises:
        TypeError: if head or features are not floating-point tensors.
        ValueError: if the head is not a finite matrix, the widths differ, there is no image, or there is no seed or one
            twice.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> W, h = torch.randn(5, 8, generator=generator), torch.randn(40, 8, generator=generator)
        >>> [(row["form"], row["head"], row["r"]) for row in importance_with_controls(W, h).table()[:3]]
        [('raw', 'head', 5), ('raw', 'random head', 5), ('raw', 'random rotation', 5)]
    """
    metric = ImportanceControls(head, seeds, unit_norm=unit_norm)
    metric.update(features)
    if len(features) == 0:
        raise ValueError("features has no rows; importance needs at least one image.")
    return importance_with_controls_report(metric.compute(), metric)


def importance_with_controls_report(result: Mapping[str, Tensor], metric: ImportanceControls) -> ImportanceWithControls:
    """Turn what ``ImportanceControls.compute()`` returned into a frozen record.

    Args:
        result: the dict of tensors.
        metric: the metric that it came from.

    Raises:
        KeyError: if the dict comes from another metric.
    """
    heads = {}
    for name, sigma in metric.sigma.items():
        measured = {key: result[f"{key}/{name}"].reshape(sigma.shape) for key in ("importance", "privileged", "kept")}
        heads[name] = DrawnImportance(singular_values=sigma.to(measured["importance"].device), **measured)
    return ImportanceWithControls(
        heads=heads,
        energies={form: result[f"energies/{form}"].reshape(-1) for form in FORMS},
        best={form: result[f"kept/{form}/best"].reshape(-1) for form in FORMS},
        seeds=metric.controls.seeds,
        rule=PRIVILEGED_RULE,
        unit_norm=metric.unit_norm,
        d=metric.controls.head.shape[1],
        n=int(result["n"]),
        not_finite=int(result["not_finite"]),
    )


def _largest(rows: Float64[Tensor, "S r"]) -> Float64[Tensor, " S"]:
    return rows.amax(dim=1) if rows.shape[1] else rows.new_full((len(rows),), math.nan)


def _directions_for(curve: Tensor) -> float:
    return float(rank_for(curve, KEPT_SHARE)) if len(curve) and bool(curve.isfinite().all()) else math.nan

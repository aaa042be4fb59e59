"""Importance of a head's directions beside its controls, raw and centred, all from one pass (METHODS 3)."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lightning_robust.signatures.bases import random_rotation, thin_svd
from lightning_robust.signatures.head_controls import CONTROL_SEEDS, ControlHeads, control_heads
from lightning_robust.signatures.importance import PRIVILEGED_FACTOR
from lightning_robust.signatures.mergeable import MergeableMetric
from lightning_robust.signatures.moments import Moments, merge, merge_packed, moments, pack, unpack
from lightning_robust.signatures.quantiles import median
from lightning_robust.signatures.reduced_rank import kept_by_directions, reduced_rank
from lightning_robust.signatures.rows import checked_features, finite_rows, float64_pieces, unit_rows

Form = Literal["raw", "centred"]
FORMS: tuple[Form, ...] = get_args(Form)
HEADS = ("head", "random", "rotated")


class ImportanceControls(MergeableMetric):
    """Accumulate importance for a head, for random heads and for random rotations of it, raw and centred, in one pass.

    The state has constant size: one sum of ``|cos|`` for every direction of every head (11 heads with five seeds), and
    the moments of what the head reads, ``(1, d + 1, d + 1)``.

    ``compute()`` returns a dict of tensors. For each form ``raw`` and ``centred``, and each of ``head`` (S = 1),
    ``random`` and ``rotated`` (one for each of S seeds), see ``control_heads``:
        ``importance/<form>/<which>``: ``σ_i · mean_x |cos(v_i, h(x))|``, ``(S, r)`` float64, in the order of σ.
        ``privileged/<form>/<which>``: ``(S, r)`` bool, by the rule ``PRIVILEGED_RULE``.
        ``kept/<form>/<which>``: share of the logits' second moment that the 1, 2, …, r most important directions keep,
            ``(S, r)`` float64; see ``kept_by_directions``.
    For each form, of the reduced-rank regression of the head:
        ``energies/<form>``: ``s_i²``, descending, ``(min(C, d),)`` float64, 0 beyond the rank. ``kept/<form>/best``:
            the same share for the best truncation, which no choice of directions exceeds.
    ``n``: images seen, ``not_finite``: images among them left out for a NaN or infinite feature, int64.
    Figures that depend on images are NaN where no image is left. (torchmetrics squeezes a single direction.) A head
    without directions in a form, see ``DirectionImportance``, has r = 0 there, energies of 0 and shares of NaN.

    Args:
        head: weight ``W`` of the linear head, ``(C, d)``; copied, so later training does not change it.
        seeds: one random and one rotated head for each.
        unit_norm: whether the model scales h to unit length before the head, as a CLIP does. Importance does not
            depend on it; the logits' second moment does.
        kwargs: for ``torchmetrics.Metric``.

    Attributes:
        controls: the heads, see ``control_heads``.
        sigma: for each ``<form>/<which>`` the singular values, ``(S, r)``.

    Raises:
        TypeError: if the head or the features are not tensors.
        ValueError: if the head is not a finite matrix, there is no seed or one twice, or the features have another
            width.
        RuntimeError: on ``compute()`` before any update.

    Example:
        >>> metric = ImportanceControls(torch.tensor([[3.0, 0.0], [0.0, 1.0]]), seeds=[0, 1, 2])
        >>> metric.update(torch.tensor([[4.0, 3.0]]))
        >>> metric.compute()["importance/raw/head"]
        tensor([[2.4000, 0.6000]], dtype=torch.float64)
    """

    settings = ("head", "seeds", "unit_norm")
    border = 1
    cosines: Tensor
    packed: Tensor
    n: Tensor
    not_finite: Tensor

    def __init__(
        self,
        head: Float[Tensor, "C d"],
        seeds: Sequence[int] = CONTROL_SEEDS,
        *,
        unit_norm: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.unit_norm = unit_norm
        self.controls = control_heads(head, seeds)
        # plain attributes: a buffer would follow metric.half()
        self.sigma, directions = _decompose(self.controls)
        self._columns = torch.cat([V.movedim(0, 1).flatten(1) for V in directions.values()], dim=1)
        # one row, no columns before the first update; one column of zeros after it where no head has directions
        self.add_state("cosines", torch.zeros(1, 0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("packed", torch.zeros(1, 0, 0, dtype=torch.float64), dist_reduce_fx=merge_packed)
        self.add_state("n", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("not_finite", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    @property
    def head(self) -> Float[Tensor, "C d"]:
        """The head as it was, ``controls.head``."""
        return self.controls.head

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of the random and rotated heads, ``controls.seeds``."""
        return self.controls.seeds

    @property
    def directions(self) -> dict[str, Float64[Tensor, "S d r"]]:
        """For each ``<form>/<which>`` the right singular vectors as columns, ``(S, d, r)``."""
        parts = self._columns.split([sigma.numel() for sigma in self.sigma.values()], dim=1)
        shaped = zip(self.sigma.items(), parts, strict=True)
        return {name: part.unflatten(1, sigma.shape).movedim(1, 0) for (name, sigma), part in shaped}

    def update(self, features: Float[Tensor, "n d"]) -> None:
        """Add the images of one batch: raw encoder output, ``(n, d)``."""
        features = checked_features(features).to(self.device)
        self._columns = self._columns.to(self.device)
        d = len(self._columns)
        if features.shape[1] != d:
            raise ValueError(f"the head reads {d} features, the layer gave {features.shape[1]}.")
        kept, mask = finite_rows(features)
        r = self._columns.shape[1]
        cosines = torch.zeros(1, max(r, 1), dtype=torch.float64, device=self.device)
        seen = unpack(self.packed) if self.packed.shape[1] else moments(kept[:0])
        for rows in float64_pieces(kept):
            unit = unit_rows(rows)
            cosines[:, :r] += (unit @ self._columns).abs_().sum(dim=0)
            seen = merge(seen, moments(unit if self.unit_norm else rows))
        self.cosines = self.cosines + cosines if self.cosines.shape[1] else cosines
        self.packed = pack(seen)
        self.n = self.n + len(features)
        self.not_finite = self.not_finite + (~mask).sum()

    def moments(self) -> Moments:
        """Count, mean and co-moments of what the head reads, over the images kept.

        Raises:
            RuntimeError: before any update.
        """
        if self.packed.shape[1] == 0:
            raise self._nothing_seen()
        return unpack(self.packed)

    def compute(self) -> dict[str, Tensor]:
        """Summarise all images seen; see the class."""
        seen = self.moments()
        second_moment = seen.second_moment
        result: dict[str, Tensor] = {}
        sizes = [sigma.numel() for sigma in self.sigma.values()]
        parts = self.cosines[0, : sum(sizes)].split(sizes)
        for (name, V), cosines in zip(self.directions.items(), parts, strict=True):
            sigma = self.sigma[name].to(self.device)
            importance = sigma * (cosines / seen.n).reshape(sigma.shape)
            order = importance.argsort(dim=1, descending=True)
            rows = zip(sigma, V.to(self.device), order, strict=True)
            result[f"importance/{name}"] = importance
            result[f"privileged/{name}"] = importance > PRIVILEGED_FACTOR * median(importance)[:, None]
            result[f"kept/{name}"] = torch.stack([kept_by_directions(s, v, second_moment, o) for s, v, o in rows])
        for form in FORMS:
            energies = self._energies(second_moment, form)
            result[f"energies/{form}"] = energies
            result[f"kept/{form}/best"] = energies.cumsum(dim=0) / energies.sum()
        return result | {"n": self.n, "not_finite": self.not_finite}

    def _energies(self, second_moment: Tensor, form: Form) -> Float64[Tensor, " m"]:
        head = self.controls.head.to(self.device)
        energies = second_moment.new_zeros(min(head.shape))
        if not bool(second_moment.isfinite().all()):
            return energies * float("nan")
        found = reduced_rank(head, second_moment, centred=form == "centred").energies
        energies[: len(found)] = found
        return energies


def _decompose(controls: ControlHeads) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Singular values ``(S, r)`` and right singular vectors ``(S, d, r)`` of every head in both forms."""
    sigmas, directions = {}, {}
    d, device = controls.head.shape[1], controls.head.device
    rotations = [random_rotation(d, seed=seed).to(device) for seed in controls.seeds]
    for form in FORMS:
        sigma, V = thin_svd(controls.head, centred=form == "centred")
        random = [thin_svd(head, centred=form == "centred") for head in controls.random]
        r = min(len(s) for s, _ in random)
        sigmas[f"{form}/head"], directions[f"{form}/head"] = sigma[None], V[None]
        sigmas[f"{form}/random"] = torch.stack([s[:r] for s, _ in random])
        directions[f"{form}/random"] = torch.stack([v[:, :r] for _, v in random])
        sigmas[f"{form}/rotated"] = sigma.repeat(len(rotations), 1)
        # W Q = U S (Qᵀ V)ᵀ: no decomposition of its own, and exactly the same singular values
        directions[f"{form}/rotated"] = torch.stack([Q.T @ V for Q in rotations])
    return sigmas, directions

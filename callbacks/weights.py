"""Weights that a monitor follows: θ0 of those alone, spectra that are computed again only where something changed."""

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from lightning_robust.callbacks.signature import Reading
from lightning_robust.errors import from_user
from lightning_robust.signatures import SpectrumCache, WeightSpectrum, weight_matrices, weight_spectra


class FollowedWeights:
    """Spectra of weight matrices and of their change since the start of training.

    Args:
        names: Matrices as `signatures.weight_matrices` names them (`attn.in_proj_weight[q]`), wildcards whose `*`
            crosses dots (`"visual.transformer.*"`), or `"all"`. Curves are kept of those named in full only: a
            wildcard over a ViT-B/32 would draw 148 figures at every measurement.
    """

    def __init__(self, names: Sequence[str] = ()) -> None:
        self.names = tuple(names)
        #: The matrices from before training by name, on the CPU.
        self.theta0: dict[str, Tensor] = {}
        self._cache = SpectrumCache()
        self._watched: weakref.ref[Any] | None = None
        self._warned: set[str] = set()

    def begin(self, module: Any) -> None:
        """Say which module is trained, and keep its weights as θ0 unless they came with a checkpoint.

        Args:
            module: As it is before its first step.

        Raises:
            UserError: If a name or wildcard finds no matrix.
        """
        self._watched = weakref.ref(module)
        if self.names and not self.theta0:
            # whole ones, also where every process has a part of each
            matrices = {name: getattr(W, "full_tensor", lambda W=W: W)() for name, W in self.matrices(module).items()}
            self.theta0 = {name: W.cpu().clone() for name, W in matrices.items()}

    def reset(self) -> None:
        """Forget another run's weights."""
        self.theta0, self._watched = {}, None

    def state_dict(self) -> dict[str, Tensor]:
        """θ0 of the matrices that are followed."""
        return self.theta0

    def load_state_dict(self, state_dict: Mapping[str, Tensor]) -> None:
        """Take θ0 from the checkpoint of the run that goes on."""
        self.theta0 = dict(state_dict)

    def matrices(self, module: Any) -> dict[str, Tensor]:
        """The matrices of a module that are followed.

        Raises:
            UserError: If a name or wildcard finds no matrix.
        """
        with from_user(ValueError):
            return weight_matrices(module, self.names) if self.names else {}

    def read(self, module: Any) -> Reading:
        """Measure; figures of change for the module that is trained only, not for a control.

        Args:
            module: The trained module as it is now, or another with the same names.
        """
        reading = Reading()
        if not self.names:
            return reading
        trained = self._watched is not None and self._watched() is module
        theta0, cache = (self.theta0, self._cache) if trained else (None, None)
        with from_user(ValueError):
            found = weight_spectra(module, theta0, names=self.names, cache=cache)
        for name, matrix in found.matrices.items():
            _add(reading, matrix, curves=name in self.names or name.partition("[")[0] in self.names)
        self._warn_of(found.not_finite)
        return reading

    def _warn_of(self, not_finite: Sequence[str]) -> None:
        fresh = [name for name in not_finite if name not in self._warned]
        self._warned.update(fresh)
        if fresh:
            rank_zero_warn(f"weights hold NaN or infinite values, so their figures are NaN: {', '.join(fresh)}")


def _add(reading: Reading, matrix: WeightSpectrum, *, curves: bool) -> None:
    start, change = f"weights/{matrix.name}", matrix.change
    for name in ("stable_rank", "effective_rank", "alpha"):
        reading.scalars[f"{start}/{name}"] = getattr(matrix.spectrum, name)
    if curves:
        reading.curves[f"{start}/singular_values"] = matrix.spectrum.singular_values.tolist()
    if change is None:
        return
    for name in ("relative_frobenius", "relative_spectral", "input_share", "output_share"):
        reading.scalars[f"{start}/change_{name}"] = getattr(change, name)
    for name in ("stable_rank", "effective_rank"):
        reading.scalars[f"{start}/change_{name}"] = getattr(change.spectrum, name)
    if curves:
        reading.curves[f"{start}/change_singular_values"] = change.spectrum.singular_values.tolist()

"""One naming for what is measured of a model on reference images, the same for every architecture (METHODS 7)."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

__all__ = ["REFERENCE_ONLY", "reference_figures"]

_NAN: Final = math.nan
_FORMS: Final = ("raw", "centred")
_IMPORTANCE: Final = ("max_over_median", "privileged", "directions_for_90")
_MATRIX: Final = ("stable_rank", "effective_rank", "alpha")
_CONFIDENCE: Final = ("mean", "entropy", "margin", "accuracy", "overconfidence", "ece")
#: Bases of concepts, and what stands between ``concepts/`` and the figure's name.
_BASES: Final = {"singular_vectors": "", "neurons": "neurons/", "random_rotation": "random_rotation/"}
_CONCEPTS: Final = (
    "mean_best_ap",
    "unique_0.5",
    "unique_0.9",
    "polysemantic_share_0.5",
    "polysemantic_share_0.9",
    "monosemantic_share_0.5",
    "monosemantic_share_0.9",
)
#: Canonical place, and the tag that it is read from, with the layer to be filled in.
_OF_A_LAYER: Final = {
    "kurtosis/{at}": "kurtosis/{layer}",
    "kurtosis/{at}/width_adjusted": "kurtosis/{layer}/width_adjusted",
    "outliers/{at}": "outliers/{layer}/features",
    "neuron_norm_kurtosis/{at}": "outliers/{layer}/neuron_norm_kurtosis",
    "rankme/{at}": "spectrum/{layer}/rankme",
}
_OF_H: Final = {
    "massive/h/largest": "massive/{layer}/largest",
    "covariance_effective_rank/h": "spectrum/{layer}/covariance_effective_rank",
    "participation_ratio/h": "spectrum/{layer}/participation_ratio",
}

REFERENCE_ONLY: Final[tuple[str, ...]] = (
    *(tag.format(at=at) for at in ("h", "last") for tag in _OF_A_LAYER),
    *(f"kurtosis/{over}{end}" for over in ("largest", "mean") for end in ("", "/width_adjusted")),
    "outliers/largest",
    *_OF_H,
    *(f"importance/{form}/{name}" for form in _FORMS for name in _IMPORTANCE),
    *(f"head/{name}" for name in _MATRIX),
    "weights/alpha",
    *(f"confidence/{name}" for name in _CONFIDENCE),
)
"""Tags that need reference images alone (weights need none): what robustness may be predicted from. The concept set
shows other styles than the reference, so no tag of concepts is among them."""


def reference_figures(
    scalars: Mapping[str, float], layers: Sequence[str], representation: str, head: str | None = None
) -> dict[str, float]:
    """Name what ``probe`` records, or a ``SignatureMonitor`` logs, the same for every architecture.

    ``h`` stands for the representation that the head reads, ``last`` for the last layer before it. Tags:

    * ``kurtosis/h``, ``kurtosis/last``; ``kurtosis/largest`` and ``kurtosis/mean`` over all layers, ``h`` among them;
      each also with ``/width_adjusted`` (METHODS 2). NaN over layers if one of them is NaN.
    * ``outliers/h``, ``outliers/last``: outlier features, NaN for d ≤ 37; ``outliers/largest`` over the layers that are
      wide enough. ``neuron_norm_kurtosis/h`` and ``/last``; ``massive/h/largest``.
    * ``rankme/h``, ``rankme/last``, ``covariance_effective_rank/h``, ``participation_ratio/h`` (METHODS 3).
    * ``importance/raw/…`` and ``importance/centred/…``: ``max_over_median``, ``privileged``, ``directions_for_90``.
    * ``head/stable_rank``, ``head/effective_rank``, ``head/alpha``; ``weights/alpha``: mean exponent of the weight
      matrices that have one, the head among them (the average that WeightWatcher reports).
    * ``confidence/mean``, ``/entropy``, ``/margin``, and with labels ``/accuracy``, ``/overconfidence``, ``/ece``: see
      ``signatures.prediction_confidence``.
    * ``concepts/<figure>`` of the head's right singular vectors, ``concepts/neurons/<figure>`` and
      ``concepts/random_rotation/<figure>`` of its controls: ``mean_best_ap``, and at an average precision t of 0.5
      and 0.9 ``unique_<t>``, ``polysemantic_share_<t>``, ``monosemantic_share_<t>``; not in ``REFERENCE_ONLY``.

    Args:
        scalars: figures by tag, as measured, without a prefix.
        layers: the layers that were measured, in order; ``representation`` is counted as ``h`` wherever it stands.
        representation: the layer that the head reads; ``""`` where it is what a model without a head gives.
        head: name of the head's weight matrix; None takes that of the module whose input is the representation
            (``fc.weight`` for ``fc:input``), else ``head.weight``.

    Returns:
        Figures by canonical tag: NaN where one is not defined, absent where it was not measured.

    Example:
        >>> measured = {"kurtosis/layer4": 7.3, "kurtosis/fc:input": 3.2, "weights/fc.weight/alpha": 2.5}
        >>> reference_figures(measured, ["layer4", "fc:input"], "fc:input")["kurtosis/last"]
        7.3
    """
    found = dict(_named(scalars, layers, representation))
    found |= {f"kurtosis/{over}{end}": value for over, end, value in _over_layers(scalars, layers, representation)}
    found |= _weights(scalars, _head_matrix(representation) if head is None else head)
    outliers = [scalars[tag] for tag in _tags("outliers/{}/features", layers, representation) if tag in scalars]
    if outliers:
        found["outliers/largest"] = max((n for n in outliers if not math.isnan(n)), default=_NAN)
    return {tag: float(value) for tag, value in found.items()}


def _named(scalars: Mapping[str, float], layers: Sequence[str], h: str) -> Iterator[tuple[str, float]]:
    """Figures that only get another name."""
    before = [layer for layer in layers if layer != h]
    names = {tag.format(at="h"): source.format(layer=h) for tag, source in _OF_A_LAYER.items()}
    if before:
        names |= {tag.format(at="last"): source.format(layer=before[-1]) for tag, source in _OF_A_LAYER.items()}
    names |= {tag: source.format(layer=h) for tag, source in _OF_H.items()}
    names |= {f"importance/{form}/{name}": f"importance/{h}/{form}/{name}" for form in _FORMS for name in _IMPORTANCE}
    names |= {f"confidence/{name}": f"confidence/{name}" for name in _CONFIDENCE}
    for basis, infix in _BASES.items():
        names |= {f"concepts/{infix}{name}": f"concepts/{h}/{basis}/{name}" for name in _CONCEPTS}
    return ((tag, scalars[source]) for tag, source in names.items() if source in scalars)


def _over_layers(scalars: Mapping[str, float], layers: Sequence[str], h: str) -> Iterator[tuple[str, str, float]]:
    """Largest and mean kurtosis; NaN where one is, since it stands for images that could not be judged."""
    for end in ("", "/width_adjusted"):
        values = [scalars[tag] for tag in _tags("kurtosis/{}" + end, layers, h) if tag in scalars]
        if values:
            undefined = any(math.isnan(value) for value in values)
            yield "largest", end, _NAN if undefined else max(values)
            yield "mean", end, math.fsum(values) / len(values)


def _tags(form: str, layers: Sequence[str], h: str) -> list[str]:
    return [form.format(layer) for layer in dict.fromkeys([*layers, h])]


def _head_matrix(representation: str) -> str:
    module, read, _ = representation.rpartition(":input")
    return f"{module}.weight" if read and module else "head.weight"


def _weights(scalars: Mapping[str, float], head: str) -> dict[str, float]:
    sources = {f"head/{name}": f"weights/{head}/{name}" for name in _MATRIX}
    found = {tag: scalars[source] for tag, source in sources.items() if source in scalars}
    alphas = [value for tag, value in scalars.items() if tag.startswith("weights/") and tag.endswith("/alpha")]
    if alphas:
        defined = [alpha for alpha in alphas if not math.isnan(alpha)]
        found["weights/alpha"] = math.fsum(defined) / len(defined) if defined else _NAN
    return found

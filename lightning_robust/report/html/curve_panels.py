"""Charts of the signatures of one layer or weight matrix, over epochs or along a path."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from lightning_robust.report.html.axis import Axis
from lightning_robust.report.html.blocks import grid
from lightning_robust.report.html.curve_tags import Measured
from lightning_robust.report.html.svg import Series, chart

__all__ = ["layer_panel", "weight_panel"]


@dataclass(frozen=True)
class _Chart:
    """Title, axis, and the tags of its lines by name, ``{}`` for the layer."""

    title: str
    axis: Axis
    lines: tuple[tuple[str, str], ...]
    band: tuple[str, str] = ("", "")


_BASES = (("singular vectors", "singular_vectors"), ("neurons", "neurons"), ("random rotation", "random_rotation"))
_LAYER = (
    _Chart(
        "Kurtosis, mean over images (a Gaussian gives 3)",
        Axis(label="kurtosis"),
        (("mean", "kurtosis/{}"),),
        ("kurtosis/{}/q05", "kurtosis/{}/q95"),
    ),
    _Chart(
        "Outlier features: |z| > 6 on at least 6 % of images",
        Axis(label="features", low=0, whole=True),
        (("outlier features", "outliers/{}/features"),),
    ),
    _Chart(
        "Neuron-norm kurtosis (1: all equally large)",
        Axis(label="neuron-norm kurtosis"),
        (("neuron-norm kurtosis", "outliers/{}/neuron_norm_kurtosis"),),
    ),
    _Chart(
        "Effective ranks of the representation",
        Axis(label="rank"),
        (
            ("RankMe", "spectrum/{}/rankme"),
            ("of the covariance", "spectrum/{}/covariance_effective_rank"),
            ("participation ratio", "spectrum/{}/participation_ratio"),
        ),
    ),
    _Chart(
        "Importance of the head’s directions (privileged above 10)",
        Axis(label="largest over median", scale="log"),
        (
            ("raw head", "importance/{}/raw/max_over_median"),
            ("centred head", "importance/{}/centred/max_over_median"),
        ),
    ),
    _Chart(
        "Concepts: mean of the best average precision",
        Axis(label="mean best AP"),
        tuple((words, f"concepts/{{}}/{basis}/mean_best_ap") for words, basis in _BASES),
    ),
    _Chart(
        "Concepts with average precision of at least 0.9",
        Axis(label="concepts", low=0, whole=True),
        tuple((words, f"concepts/{{}}/{basis}/unique_0.9") for words, basis in _BASES),
    ),
)
_WEIGHT = (
    _Chart("Stable rank", Axis(label="stable rank"), (("stable rank", "weights/{}/stable_rank"),)),
    _Chart("Effective rank", Axis(label="effective rank"), (("effective rank", "weights/{}/effective_rank"),)),
    _Chart("Exponent of the eigenvalues’ tail", Axis(label="alpha"), (("alpha", "weights/{}/alpha"),)),
    _Chart(
        "Change since the start of training",
        Axis(label="relative change", low=0),
        (
            ("Frobenius", "weights/{}/change_relative_frobenius"),
            ("spectral", "weights/{}/change_relative_spectral"),
        ),
    ),
)


def layer_panel(layer: str, measured: Measured, x: Axis) -> Markup | None:
    """Every signature of a layer that was measured; None where there is none.

    Args:
        layer: its name.
        measured: the figures.
        x: what stands across.
    """
    return _panel(_LAYER, layer, measured, x)


def weight_panel(name: str, measured: Measured, x: Axis) -> Markup | None:
    """Spectra of a weight matrix; None where there is none.

    Args:
        name: of the matrix.
        measured: the figures.
        x: what stands across.
    """
    return _panel(_WEIGHT, name, measured, x)


def _panel(charts: Sequence[_Chart], layer: str, measured: Measured, x: Axis) -> Markup | None:
    drawn = [found for one in charts if (found := _draw(one, layer, measured, x)) is not None]
    return grid(*drawn) if drawn else None


def _draw(one: _Chart, layer: str, measured: Measured, x: Axis) -> Markup | None:
    lines = [(words, tag.format(layer)) for words, tag in one.lines if measured.known(tag.format(layer))]
    if not lines:
        return None
    series: list[Series] = []
    for k, (_, tag) in enumerate(lines):
        if tag in measured.untrained:
            flat = [measured.untrained[tag]] * len(measured.places)
            name = "dashed: untrained" if k == 0 else ""
            tone = 0 if len(lines) == 1 else k + 1
            series.append(
                Series(name=name, x=measured.places, y=flat, tone=tone, dashed=True, marks=False, listed=k == 0)
            )
    for k, (words, tag) in enumerate(lines):
        series.append(_line(one, words, tag, layer, measured, k + 1))
    return chart(one.title, x, one.axis, series, words=f"Layer {layer}.")


def _line(one: _Chart, words: str, tag: str, layer: str, measured: Measured, tone: int) -> Series:
    low, high = (end.format(layer) for end in one.band)
    if one.band[0] and measured.known(low) and measured.known(high):
        return Series(
            name=f"{words}, 5 to 95 % of images",
            x=measured.places,
            y=measured.of(tag),
            low=measured.of(low),
            high=measured.of(high),
            band=True,
            tone=tone,
        )
    return Series(name=words, x=measured.places, y=measured.of(tag), tone=tone)

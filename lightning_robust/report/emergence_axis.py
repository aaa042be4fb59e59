"""What the pictures of a comparison share: a colour for each variant, and an axis of images seen."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, LogLocator, NullFormatter

from lightning_robust.report.emergence_cells import thousands

__all__ = ["images_axis", "place", "plain", "variant_colours"]

# Okabe and Ito's palette, told apart by the colour-blind: the objective is the hue, reference data the lighter shade
_COLOURS = {
    "contrastive_broad": "#0072B2",
    "contrastive_reference": "#56B4E9",
    "supervised_broad": "#D55E00",
    "supervised_reference": "#E69F00",
}
_OTHERS = ("#009E73", "#CC79A7", "#4C4C4C", "#9D755D", "#54A24B", "#B279A2", "#72B7B2", "#8C8C8C")


def variant_colours(variants: Sequence[str]) -> dict[str, str]:
    """A colour for each variant.

    Args:
        variants: Their names; those that ship have colours of their own, the others take turns.

    Example:
        >>> variant_colours(["supervised_broad", "mine"])
        {'supervised_broad': '#D55E00', 'mine': '#009E73'}
    """
    others = [name for name in variants if name not in _COLOURS]
    return {name: _COLOURS.get(name) or _OTHERS[others.index(name) % len(_OTHERS)] for name in variants}


def plain(words: str) -> str:
    r"""Words of which matplotlib makes no formula.

    Example:
        >>> plain("a$x^{$b")
        'a\\$x^{\\$b'
    """
    return words.replace("$", r"\$")


def place(images: Sequence[float], first: float) -> list[float]:
    """Where numbers of images lie on the axis: 0 at half of the first number above it.

    Args:
        images: Numbers of images.
        first: The smallest number above 0 of all that are drawn.
    """
    return [seen if seen > 0 else 0.5 * first for seen in images]


def images_axis(axes: Axes, first: float, last: float) -> None:
    """Make x a logarithmic axis of images seen, with 0 at its left end.

    Args:
        axes: The panel.
        first: The smallest number above 0.
        last: The largest.
    """
    axes.set_xscale("log")
    axes.set_xlim(0.42 * first, 1.18 * last)
    decades = [10.0**k for k in range(2, 13) if 1.5 * first <= 10.0**k <= last]
    axes.xaxis.set_major_locator(FixedLocator([0.5 * first, *decades]))
    axes.set_xticks([0.5 * first, *decades], ["0", *(thousands(tick) for tick in decades)])
    axes.xaxis.set_minor_locator(LogLocator(subs=(2.0, 5.0)))
    axes.xaxis.set_minor_formatter(NullFormatter())

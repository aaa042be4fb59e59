"""Words and units for the figures of a study."""

from dataclasses import dataclass
from typing import Final

__all__ = ["FIGURES", "SCATTERED", "StudyFigure", "figure_words"]


@dataclass(frozen=True, kw_only=True)
class StudyFigure:
    """How a figure of a study is shown.

    Attributes:
        tag: the figure's.
        words: its name.
        short: the same in at most 23 characters, for tables.
        axis: its name with what the numbers mean.
        factor: that it is shown times.
        log: whether its axis is logarithmic, for ratios that span decades.
        form: of a number in a table.
    """

    tag: str
    words: str
    short: str
    axis: str
    factor: float = 1.0
    log: bool = False
    form: str = "{:.2f}"


_GAUSS: Final = "kurtosis over that of a Gaussian of its width"
_ALL: Final = (
    StudyFigure(tag="kurtosis/h/width_adjusted", words="kurtosis of h", short="kurtosis of h", axis=_GAUSS),
    StudyFigure(
        tag="kurtosis/last/width_adjusted", words="kurtosis of the layer before h", short="kurtosis before h",
        axis=_GAUSS,
    ),
    StudyFigure(
        tag="outliers/largest", words="outlier features", short="outlier features",
        axis="most in one layer, |z| > 6 on 6 % of images", form="{:.0f}",
    ),
    StudyFigure(
        tag="importance/raw/max_over_median", words="importance, raw head", short="importance, raw",
        axis="largest over median direction", log=True, form="{:.1f}",
    ),
    StudyFigure(
        tag="importance/centred/max_over_median", words="importance, centred head", short="importance, centred",
        axis="largest over median direction", log=True, form="{:.1f}",
    ),
    StudyFigure(
        tag="importance/raw/privileged", words="privileged directions, raw", short="privileged, raw",
        axis="directions above 10 × the median", form="{:.0f}",
    ),
    StudyFigure(
        tag="importance/centred/privileged", words="privileged directions, centred", short="privileged, centred",
        axis="directions above 10 × the median", form="{:.0f}",
    ),
    StudyFigure(
        tag="prune/reference/fraction", words="directions that can go", short="pruned for 1 point",
        axis="% of r, at most 1 reference point lost", factor=100.0, form="{:.0f}",
    ),
    StudyFigure(
        tag="concepts/unique_0.9", words="unique concepts", short="unique concepts",
        axis="concepts at AP ≥ 0.9", form="{:.0f}",
    ),
    StudyFigure(
        tag="concepts/mean_best_ap", words="mean best AP of concepts", short="mean best AP",
        axis="average precision", form="{:.3f}",
    ),
    StudyFigure(
        tag="concepts/polysemantic_share_0.5", words="several concepts at AP ≥ 0.5", short="polysemantic share",
        axis="% of directions with a concept", factor=100.0, form="{:.0f}",
    ),
    StudyFigure(
        tag="concepts/monosemantic_share_0.5", words="one concept at AP ≥ 0.5", short="monosemantic share",
        axis="% of directions", factor=100.0, form="{:.0f}",
    ),
    StudyFigure(
        tag="confidence/mean", words="mean confidence", short="mean confidence",
        axis="mean largest probability, %", factor=100.0, form="{:.1f}",
    ),
    StudyFigure(
        tag="confidence/accuracy", words="accuracy on the reference", short="reference accuracy",
        axis="% of the images that signatures are of", factor=100.0, form="{:.1f}",
    ),
    StudyFigure(tag="rankme/h", words="RankMe of h", short="RankMe of h", axis="effective rank", form="{:.1f}"),
    StudyFigure(
        tag="covariance_effective_rank/h", words="effective rank of h's covariance", short="covariance rank",
        axis="effective rank", form="{:.1f}",
    ),
    StudyFigure(tag="weights/alpha", words="WeightWatcher's alpha", short="alpha of weights", axis="mean exponent"),
)  # fmt: skip
#: By tag, the figures that have words of their own: the paper's signatures first, then rivals.
FIGURES: Final = {one.tag: one for one in _ALL}
#: Tags that are set against robustness in the picture.
SCATTERED: Final = (*(one.tag for one in _ALL[:10]), "confidence/accuracy", "confidence/mean")


def figure_words(tag: str) -> StudyFigure:
    """How a figure is shown; one without words of its own by its tag.

    Args:
        tag: The figure's.

    Example:
        >>> figure_words("concepts/unique_0.9").short, figure_words("head/alpha").words
        ('unique concepts', 'head/alpha')
    """
    if tag.startswith("accuracy/"):
        return StudyFigure(
            tag=tag, words=f"accuracy on {tag[9:]}", short="reference accuracy", axis="%", factor=100.0, form="{:.1f}"
        )
    return FIGURES.get(tag) or StudyFigure(tag=tag, words=tag, short=tag, axis=tag, form="{:.3g}")

"""Records of what was estimated and chosen; the ``robustness`` room computes them."""

from dataclasses import dataclass

__all__ = ["AlphaChoice", "Interval"]


@dataclass(frozen=True)
class Interval:
    """An estimate with its bootstrap interval.

    Attributes:
        estimate: the figure on the images as they are.
        low, high: ends of the percentile interval, in the unit of the estimate.
        level: nominal coverage, in (0, 1).
        replicates: bootstrap replicates drawn.
        seed: seed of the resampling.

    Example:
        >>> Interval(0.02, 0.01, 0.03, level=0.95, replicates=2000, seed=0).excludes_zero
        True
    """

    estimate: float
    low: float
    high: float
    level: float
    replicates: int
    seed: int

    @property
    def excludes_zero(self) -> bool:
        """Whether all of the interval lies on one side of zero."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, kw_only=True)
class AlphaChoice:
    """Which interpolation coefficient to use, chosen on reference validation images (METHODS 6).

    Attributes:
        alpha_fixed: the coefficient reported whatever the data say, 0.5.
        alpha_star: the smallest α whose validation accuracy is within ``tolerance`` of the best.
        tolerance: in accuracy as a fraction; 0.01 is one point.
        alphas: the coefficients that were compared, increasing.
        validation_accuracies: reference validation accuracy per α, a fraction.
        bootstrap_shares: share of bootstrap replicates over the images that choose each α; they add up to 1.
        images: validation images.
        replicates, seed: of the bootstrap.
        rule: how α* was chosen, in words.
    """

    alpha_fixed: float
    alpha_star: float
    tolerance: float
    alphas: tuple[float, ...]
    validation_accuracies: tuple[float, ...]
    bootstrap_shares: tuple[float, ...]
    images: int
    replicates: int
    seed: int
    rule: str

    @property
    def is_endpoint(self) -> bool:
        """Whether α* = 1, so that the rule chooses the finetuned model itself and wins nothing back."""
        return self.alpha_star == 1.0

    @property
    def share(self) -> float:
        """Share of bootstrap replicates that choose α*."""
        return self.bootstrap_shares[self.alphas.index(self.alpha_star)]

    @property
    def sentence(self) -> str:
        """The outcome in one sentence, for terminal and report."""
        support = f"{self.share:.0%} of {self.replicates:,} bootstrap replicates choose it"
        if self.is_endpoint:
            return f"α* = 1: {self.rule} is the finetuned model itself ({support}), so this rule wins nothing back."
        return f"α* = {self.alpha_star:g} is {self.rule}; {support}."

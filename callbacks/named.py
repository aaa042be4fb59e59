"""Three thin forms of `SignatureMonitor`, named for what they measure."""

from typing import Any

from lightning_robust.callbacks.monitor import SignatureMonitor
from lightning_robust.callbacks.sources import CONCEPTS


class KurtosisMonitor(SignatureMonitor):
    """Follows kurtosis and outlier features of layers (METHODS 2); arguments as `SignatureMonitor`'s.

    Logged tags (all from one pass over the images; O(n·d) work, a state of n + 2d numbers a layer):
        `kurtosis/<layer>`: mean over images of the per-image kurtosis, Pearson's (a Gaussian gives 3), in
            [1, d − 2 + 1/(d − 1)]; h is not normalised before (nor would it matter).
        `kurtosis/<layer>/q95`: its 95 % quantile over images.
        `kurtosis/<layer>/width_adjusted`: mean · (d + 1) / (3 (d − 1)): 1 for a Gaussian of any width.
        `outliers/<layer>/features`: number of features with |z| > 6 on at least 6 % of the images, in [0, d]; NaN for
            d ≤ 37, where no z-score can exceed 6.
        `outliers/<layer>/share_of_norm`: their share of Σ‖h‖², in [0, 1].
        `outliers/<layer>/neuron_norm_kurtosis`: mean_j(m_j²)/(mean_j m_j)² with m_j = E[h_j²], in [1, d].
    Which features they are is no scalar and goes to no logger: each entry of `history` has them as
    `entry["indices"]["outliers/<layer>/indices"]`, ascending integers in [0, d), empty where there is none and left
    out for d ≤ 37.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(signatures=("kurtosis",), **options)


class SpectrumMonitor(SignatureMonitor):
    """Follows spectra of features and weights and the importance of the head's directions (METHODS 3).

    Arguments as `SignatureMonitor`'s. Logged tags (O(n·d²) work and a state of d² numbers a layer); those of
    `importance` for layers as wide as the head only; `weights` need no images:
        `spectrum/<layer>/rankme`: effective rank of E[hhᵀ], uncentred, in [1, d].
        `spectrum/<layer>/covariance_effective_rank`: the same formula on the covariance, in [1, d].
        `spectrum/<layer>/participation_ratio`: (Σλ)²/Σλ² of the covariance, in [1, d].
        `importance/<layer>/raw/max_over_median`: largest importance σ_i · mean|cos(v_i, h)| over the median one, ≥ 1.
        `importance/<layer>/raw/privileged`: directions above 10 × the median, in [0, r].
        `importance/<layer>/centred/max_over_median`: for the head without the mean of its rows (the modality cone),
            whose predictions are identical.
        `importance/<layer>/centred/privileged`: likewise.
        `weights/<name>/stable_rank`: ‖W‖²_F/σ₁² of each parameter in `weights`, in [1, rank].
        `weights/<name>/effective_rank`: exp H(σ/Σσ), in [1, rank].
        `weights/<name>/alpha`: power-law exponent of the tail of its eigenvalues, > 1; NaN for too few.
    TensorBoard figures, values by rank with those before training in grey:
        `spectrum/<layer>/eigenvalues`: of E[hhᵀ].
        `importance/<layer>/raw/directions`: importance divided by Σσ.
        `importance/<layer>/centred/directions`: likewise.
        `weights/<name>/singular_values`: σ.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(signatures=("spectrum",), **options)


class ConceptMonitor(SignatureMonitor):
    """Counts the concepts that single directions encode (METHODS 5); arguments as `SignatureMonitor`'s.

    It looks at `images="concepts"` unless told otherwise: batches `(images, labels (n, C) in {1, 0, −1 unknown}, …)`.
    The paper's revision withdraws the number of unique concepts as an indicator of robustness.
    Logged tags, for each `<basis>` of `singular_vectors` (of the head), `neurons` and `random_rotation`, compared at
    equal numbers of directions (a sort for each direction; features and labels of all images are kept):
        `concepts/<layer>/<basis>/unique_<t>`: eligible concepts with average precision ≥ t in some direction (v or −v),
            t in 0.5 … 0.9; in [0, eligible]. Features are scaled to unit length first.
        `concepts/<layer>/<basis>/mean_best_ap`: mean over eligible concepts of the best average precision, in [0, 1].
        `concepts/<layer>/<basis>/polysemantic_share_0.5`: of the directions with a concept at 0.5, those with several.
        `concepts/<layer>/<basis>/permuted/unique_<t>`: the same with labels permuted within category, where categories
            are known: what chance gives.
        `concepts/<layer>/<basis>/permuted/mean_best_ap`: likewise.
        `concepts/<layer>/eligible`: concepts with ≥ 10 positives, ≥ 10 negatives and a prevalence ≤ 50 %.
    """

    def __init__(self, images: Any = CONCEPTS, **options: Any) -> None:
        super().__init__(signatures=("concepts",), images=images, **options)

"""Four thin forms of `SignatureMonitor`, named for what they measure."""

from typing import Any

from lightning_robust.callbacks.monitor import SignatureMonitor
from lightning_robust.callbacks.sources import CONCEPTS


class KurtosisMonitor(SignatureMonitor):
    """Follows kurtosis and outlier features of layers (METHODS 2); arguments as `SignatureMonitor`'s.

    Logged tags (all from one pass over the images; O(n·d) work, a state of constant size):
        `kurtosis/<layer>`: mean over images of the per-image kurtosis, Pearson's (a Gaussian gives 3), in
            [1, d − 2 + 1/(d − 1)]; h is not normalised before (nor would it matter).
        `kurtosis/<layer>/q05`: its 5 % quantile over images.
        `kurtosis/<layer>/q50`: its median.
        `kurtosis/<layer>/q95`: its 95 % quantile.
        `kurtosis/<layer>/width_adjusted`: mean · (d + 1) / (3 (d − 1)): 1 for a Gaussian of any width.
        `outliers/<layer>/features`: number of features with |z| > 6 on at least 6 % of the images, in [0, d]; NaN for
            d ≤ 37, where no z-score can exceed 6.
        `outliers/<layer>/share_of_norm`: their share of Σ‖h‖², in [0, 1].
        `outliers/<layer>/neuron_norm_kurtosis`: mean_j(m_j²)/(mean_j m_j)² with m_j = E[h_j²], in [1, d].
        `outliers/<layer>/persisted`: outlier features that were outliers at the measurement before, too; NaN at the
            first measurement, which has none before it, and for d ≤ 37. On a Wise-FT path: that were at α = 0.
        `outliers/<layer>/appeared`: those that were not.
        `outliers/<layer>/vanished`: outlier features of the measurement before that no longer are.
        `massive/<layer>/per_image`: mean number of massive activations of an image (|a| > 100 and > 1,000 × the median
            magnitude of the layer's whole output for that image, before pooling).
        `massive/<layer>/images`: share of the images with one or more, in [0, 1].
        `massive/<layer>/largest`: largest magnitude of any value.
        `not_finite/<layer>/kurtosis`: images left out of kurtosis and outliers for a NaN or infinite feature.
        `not_finite/<layer>/massive`: images left out of `massive` for such a value before pooling.
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
        `not_finite/<layer>/spectrum`: images left out for a NaN or infinite feature.
        `weights/<name>/stable_rank`: ‖W‖²_F/σ₁² of each parameter in `weights`, in [1, rank].
        `weights/<name>/effective_rank`: exp H(σ/Σσ), in [1, rank].
        `weights/<name>/alpha`: power-law exponent of the tail of its eigenvalues, > 1; NaN for too few.
        `weights/<name>/change_relative_frobenius`: ‖ΔW‖_F/‖W0‖_F of the change since before training, 0 there.
        `weights/<name>/change_relative_spectral`: σ₁(ΔW)/σ₁(W0).
        `weights/<name>/change_input_share`: share of ‖ΔW‖²_F that reads W0's leading right singular vectors, in [0, 1];
            NaN where nothing has changed, as the three below.
        `weights/<name>/change_output_share`: share that writes to its leading left ones.
        `weights/<name>/change_stable_rank`: ‖ΔW‖²_F/σ₁(ΔW)².
        `weights/<name>/change_effective_rank`: exp H(σ/Σσ) of ΔW.
    With `controls=True` also, for each `<form>` of `raw` and `centred`, means over five draws where one is drawn:
        `importance/<layer>/<form>/directions_for_90`: how many of the most important directions keep 90 % of the second
            moment of the logits.
        `importance/<layer>/<form>/random_head/max_over_median`: the same figure as above of a Gaussian head.
        `importance/<layer>/<form>/random_head/privileged`: likewise, the mean over the draws.
        `importance/<layer>/<form>/random_head/directions_for_90`: likewise.
        `importance/<layer>/<form>/random_rotation/max_over_median`: of the head in a randomly rotated representation.
        `importance/<layer>/<form>/random_rotation/privileged`: likewise, the mean over the draws.
        `importance/<layer>/<form>/random_rotation/directions_for_90`: likewise.
        `importance/<layer>/<form>/reduced_rank_regression/max_over_median`: of the truncation best for the logits: root
            mean squares of its components in the place of importance.
        `importance/<layer>/<form>/reduced_rank_regression/privileged`: components above 10 × the median.
        `importance/<layer>/<form>/reduced_rank_regression/directions_for_90`: no choice of directions needs fewer.
    TensorBoard figures, values by rank with those before training in grey:
        `spectrum/<layer>/eigenvalues`: of E[hhᵀ].
        `importance/<layer>/raw/directions`: importance divided by Σσ.
        `importance/<layer>/centred/directions`: likewise.
        `weights/<name>/singular_values`: σ.
        `weights/<name>/change_singular_values`: of ΔW.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(signatures=("spectrum",), **options)


class ConceptMonitor(SignatureMonitor):
    """Counts the concepts that single directions encode (METHODS 5); arguments as `SignatureMonitor`'s.

    It looks at `images="concepts"` unless told otherwise: batches `(images, labels (n, C) in {1, 0, −1 unknown}, …)`.
    The paper's revision withdraws the number of unique concepts as an indicator of robustness.
    Logged tags, for each `<basis>` of `singular_vectors` (of the head), `neurons` and `random_rotation` (with
    `rotations=3` also `random_rotation_2` and `random_rotation_3`), compared at equal numbers of directions (a sort for
    each direction; features and labels of all images are kept):
        `concepts/<layer>/<basis>/unique_<t>`: eligible concepts with average precision ≥ t in some direction (v or −v),
            t in 0.5 … 0.9; in [0, eligible]. Features are scaled to unit length first.
        `concepts/<layer>/<basis>/mean_best_ap`: mean over eligible concepts of the best average precision, in [0, 1].
        `concepts/<layer>/<basis>/polysemantic_share_0.5`: of the directions with a concept at 0.5, those with several;
            NaN where none has one.
        `concepts/<layer>/<basis>/monosemantic_share_0.5`: of all directions those with exactly one, in [0, 1].
        `concepts/<layer>/<basis>/polysemantic_share_0.9`: the same share at 0.9.
        `concepts/<layer>/<basis>/monosemantic_share_0.9`: likewise.
        `concepts/<layer>/<basis>/permuted/unique_<t>`: the same with labels permuted within category, where categories
            are known: what chance gives.
        `concepts/<layer>/<basis>/permuted/mean_best_ap`: likewise.
        `concepts/<layer>/eligible`: concepts with ≥ 10 positives, ≥ 10 negatives and a prevalence ≤ 50 %.
        `not_finite/<layer>/concepts`: images left out for a NaN or infinite feature.
    """

    def __init__(self, images: Any = CONCEPTS, **options: Any) -> None:
        super().__init__(signatures=("concepts",), images=images, **options)


class ConfidenceMonitor(SignatureMonitor):
    """Follows how sure the head is of its answers, and how right (METHODS 7); arguments as `SignatureMonitor`'s.

    It judges the head's own logits, of the layer that the head reads, which has to be among `layers`; their scale, as
    CLIP's temperature, is the head's. Labels are those of the batches, `(n,)` classes; −1 is unknown.
    Logged tags (O(n·C·d) work, a state of constant size); they name no layer, since they are the whole model's:
        `confidence/mean`: mean largest softmax probability, in [1/C, 1].
        `confidence/entropy`: mean entropy of the probabilities, divided by log C, in [0, 1].
        `confidence/margin`: mean largest minus second largest probability, in [0, 1].
        `confidence/accuracy`: share of the labelled images that are answered right; left out, as the two below, where
            no image has a class as label.
        `confidence/overconfidence`: mean confidence minus accuracy of the labelled images, in [−1, 1].
        `confidence/ece`: expected calibration error over 15 bins of equal width, in [0, 1].
        `not_finite/<representation>/confidence`: images left out for a NaN or infinite feature of what the head reads.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(signatures=("confidence",), **options)

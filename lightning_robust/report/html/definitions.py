"""What the page's figures mean, in a sentence or two each."""

__all__ = ["DEFINITIONS"]

#: Term and definition, in the order in which a reader meets them.
DEFINITIONS: tuple[tuple[str, str], ...] = (
    (
        "Reference, shifts, standard models",
        "The reference is a test set of images like those that a model is trained on for its classes; a shift holds "
        "the same classes, or some of them, under other conditions: other scenes, styles, viewpoints. Standard models "
        "are trained with supervision on the reference alone; what they lose on a shift is what is expected of any "
        "model.",
    ),
    (
        "Effective robustness",
        "Accuracy on a shift minus what a standard model of the same accuracy on the reference reaches: the line that "
        "least squares fits, on the logit scale unless another is named, through models trained with supervision on "
        "the reference alone (Taori et al. 2020, arXiv 2007.00644). Its mean is over the shifts. The narrow interval "
        "holds error of the line and of sampling, the wide one also the scatter of single standard models; “more "
        "robust than a standard model” is judged by the wide one.",
    ),
    (
        "Kurtosis",
        "Fourth standardised moment of the features of one image, Pearson’s convention (a Gaussian gives 3), mean over "
        "images, features not normalised (Elhage et al. 2023). Far above 3, a few features are far out.",
    ),
    (
        "Outlier features",
        "Features whose z-score within an image exceeds 6 in magnitude on at least 6 % of the images; not defined for "
        "37 features or fewer (after Dettmers et al. 2022, arXiv 2208.07339).",
    ),
    (
        "Neuron-norm kurtosis",
        "Mean over features of their squared mean square, over the square of its mean; 1 when all are equally large "
        "(He et al. 2024, arXiv 2405.19279).",
    ),
    (
        "Massive activations",
        "Activations above 100 in magnitude and above 1,000 times the median magnitude of their hidden state (Sun et "
        "al. 2024, arXiv 2402.17762).",
    ),
    (
        "RankMe, covariance rank, participation ratio",
        "Exponential of the entropy of the normalised square roots of the eigenvalues: of the uncentred second moment "
        "for RankMe (Garrido et al. 2023), of the covariance for the other; and (Σλ)² / Σλ² of the covariance.",
    ),
    (
        "Importance and privileged directions",
        "Of the i-th right singular vector of the head: its singular value times the mean |cosine| with the features, "
        "over the sum of the singular values. Privileged are those above ten times the median.",
    ),
    (
        "Stable rank, effective rank, alpha",
        "Of a weight matrix: squared Frobenius norm over the square of the largest singular value; exponential of the "
        "entropy of the singular values (Roy & Vetterli 2007); exponent of the eigenvalues’ tail (Clauset et al.).",
    ),
    (
        "Concepts",
        "A direction encodes a concept if the average precision of its score, or of the negative score, is at least "
        "0.9 (Suau et al. 2020). A concept needs ten known positives, ten known negatives and a prevalence of at most "
        "50 %; images that were not annotated for a category are unknown, not negative.",
    ),
    (
        "h, head, r, pruning",
        "h is what the head, the last linear layer, reads of an image: d figures. The head has r directions, its rank, "
        "in which h can change an answer. Pruning leaves out all but the most important of them; shares are of r, "
        "never of d. Controls prune random directions, and truncate in the way that is best for the answers "
        "(reduced-rank regression).",
    ),
    (
        "Wise-FT and α*",
        "Weights (1 − α) θ₀ + α θ₁ between before and after finetuning (Wortsman et al. 2022, arXiv 2109.01903). α* is "
        "the smallest α within one point of the best accuracy on validation images of the reference; no shift is used.",
    ),
    (
        "Source",
        "Crabbé, Rodríguez, Shankar, Zappella and Blaas, Robust multimodal models have outlier features and encode "
        "more concepts (2023, arXiv 2310.13040), revised as Interpreting CLIP: Insights on the Robustness to ImageNet "
        "Distribution Shifts (TMLR 2024).",
    ),
)

"""Standard models on a known line, which tests of several rooms share."""

import numpy as np

from lightning_robust.results import ModelAccuracies

IMAGES = {"reference": 5000, "sketch": 2000, "art": 1000, "matched/art": 1500}


def expit(value):
    return 1 / (1 + np.exp(-np.asarray(value)))


def logit(p):
    return np.log(p) - np.log(1 - np.asarray(p))


def on_a_line(count=20, scatter=0.0, seed=0, low=-0.5, high=2.0):
    """Models with logit(sketch) = −1 + 1.2 u and logit(art) = −2 + 0.8 u, where u is the logit of the reference."""
    rng = np.random.default_rng(seed)
    u = np.linspace(low, high, count)
    off = scatter * rng.standard_normal((count, 2))
    return [
        ModelAccuracies(
            f"m{k}",
            float(expit(u[k])),
            {"sketch": float(expit(-1 + 1.2 * u[k] + off[k, 0])), "art": float(expit(-2 + 0.8 * u[k] + off[k, 1]))},
            {"art": float(expit(0.5 + u[k]))},
        )
        for k in range(count)
    ]

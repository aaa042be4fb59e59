"""What `ImportanceControls` should give, image by image in numpy: no moments, no shared decomposition."""

import numpy as np

from lightning_robust.signatures import random_head, rotated_head

SEEDS = (0, 3)


def heads(W):
    """The head, the random heads and the rotated heads."""
    random, rotated = ([make(W, seed) for seed in SEEDS] for make in (random_head, rotated_head))
    return {"head": [W], "random": random, "rotated": rotated}


def controls_reference(h, W):
    result = {"n": len(h), "not_finite": 0}
    unit = h / np.linalg.norm(h, axis=1, keepdims=True)
    for form in ("raw", "centred"):
        for which, made in heads(W).items():
            matrices = [head.numpy() - (head.numpy().mean(axis=0) if form == "centred" else 0) for head in made]
            found = [_one_head(matrix, unit) for matrix in matrices]
            for key in found[0]:
                result[f"{key}/{form}/{which}"] = np.stack([one[key] for one in found])
            if which == "head":
                energies = np.linalg.svd(unit @ matrices[0].T, compute_uv=False) ** 2 / len(h)
                result[f"energies/{form}"] = energies
                result[f"kept/{form}/best"] = np.cumsum(energies) / energies.sum()
    return result


def _one_head(W, unit):
    _, sigma, Vh = np.linalg.svd(W, full_matrices=False)
    r = np.linalg.matrix_rank(W)
    importance = np.array([sigma[i] * np.mean([abs(Vh[i] @ x) for x in unit]) for i in range(r)])
    order = np.argsort(-importance)
    total = np.mean([np.sum((W @ x) ** 2) for x in unit])
    kept = []
    for k in range(1, r + 1):
        V = Vh[order[:k]].T
        kept.append(1 - np.mean([np.sum((W @ x - W @ V @ (V.T @ x)) ** 2) for x in unit]) / total)
    return {"importance": importance, "privileged": importance > 10 * np.median(importance), "kept": np.array(kept)}

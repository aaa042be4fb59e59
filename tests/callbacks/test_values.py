"""Figures against an independent computation from the weights of that moment."""

import copy

import numpy as np
import pytest
import scipy.stats
import torch
from callback_cases import (
    CONCEPT,
    LAYER,
    OWN,
    REFERENCE,
    WIDTH,
    Data,
    Keep,
    Ours,
    draw,
    eval_features,
    loader,
    seed_all,
    trainer,
)
from sklearn.metrics import average_precision_score

from lightning_robust.callbacks import ConceptMonitor, KurtosisMonitor, SignatureMonitor


def kurtosis_and_outliers(h):
    k = scipy.stats.kurtosis(h, axis=1, fisher=False, bias=True)
    d = h.shape[1]
    z = (h - h.mean(axis=1, keepdims=True)) / h.std(axis=1, keepdims=True)
    outliers = (np.abs(z) > 6).mean(axis=0) >= 0.06
    m = (h**2).mean(axis=0)
    return {
        f"kurtosis/{LAYER}": k.mean(),
        f"kurtosis/{LAYER}/q05": np.quantile(k, 0.05),
        f"kurtosis/{LAYER}/q50": np.quantile(k, 0.5),
        f"kurtosis/{LAYER}/q95": np.quantile(k, 0.95),
        f"kurtosis/{LAYER}/width_adjusted": k.mean() * (d + 1) / (3 * (d - 1)),
        f"outliers/{LAYER}/features": outliers.sum(),
        f"outliers/{LAYER}/share_of_norm": (h[:, outliers] ** 2).sum() / (h**2).sum(),
        f"outliers/{LAYER}/neuron_norm_kurtosis": (m**2).mean() / m.mean() ** 2,
        f"massive/{LAYER}/per_image": (np.abs(h) > 100).sum(axis=1).mean(),  # 1,000 medians are less
        f"massive/{LAYER}/images": (np.abs(h) > 100).any(axis=1).mean(),
        f"massive/{LAYER}/largest": np.abs(h).max(),
        **{f"not_finite/{LAYER}/{kind}": 0.0 for kind in ("kurtosis", "massive", "spectrum")},
    }


def rank(values):
    p = values / values.sum()
    p = p[p > 0]
    return np.exp(-(p * np.log(p)).sum())


def importance(W, h):
    _, sigma, Vh = np.linalg.svd(W, full_matrices=False)
    keep = sigma > 1e-6 * sigma[0]
    cosines = np.abs(h @ Vh[keep].T) / np.linalg.norm(h, axis=1, keepdims=True)
    found = sigma[keep] * cosines.mean(axis=0)
    return found, found / sigma[keep].sum()


def spectra(state, h):
    raw = np.linalg.svd(h, compute_uv=False)
    centred = np.linalg.svd(h - h.mean(axis=0), compute_uv=False)
    stem = np.linalg.svd(state["stem.weight"].double().numpy(), compute_uv=False)
    W = state["fc.weight"].double().numpy()
    found = {
        f"spectrum/{LAYER}/rankme": rank(raw),
        f"spectrum/{LAYER}/covariance_effective_rank": rank(centred),
        f"spectrum/{LAYER}/participation_ratio": (centred**2).sum() ** 2 / (centred**4).sum(),
        "weights/stem.weight/stable_rank": (stem**2).sum() / stem[0] ** 2,
        "weights/stem.weight/effective_rank": rank(stem),
    }
    for name, head in (("raw", W), ("centred", W - W.mean(axis=0))):
        values, _ = importance(head, h)
        found[f"importance/{LAYER}/{name}/max_over_median"] = values.max() / np.median(values)
        found[f"importance/{LAYER}/{name}/privileged"] = (values > 10 * np.median(values)).sum()
    return found


def run(tmp_path, monitor, data=None, module=None):
    keep = Keep()
    trainer(tmp_path, callbacks=[monitor, keep]).fit(module or Ours(), datamodule=data or Data())
    return keep.states


@pytest.mark.parametrize("images", ["validation", "own"])
def test_kurtosis_and_spectra_equal_numpy_s(images, tmp_path):
    own = loader(OWN, 30) if images == "own" else images
    monitor = SignatureMonitor(weights=["stem.weight"], images=own, every_n_steps=2)
    states = run(tmp_path, monitor)
    x, _ = draw(OWN if images == "own" else REFERENCE, 30)
    checked = 0
    for entry in monitor.history:
        if entry["step"] not in states:
            continue
        state, checked = states[entry["step"]], checked + 1
        h = eval_features(state, x)
        expected = kurtosis_and_outliers(h) | spectra(state, h)
        missing = set(entry["scalars"]) - set(expected)
        changes = {f"outliers/{LAYER}/{change}" for change in ("persisted", "appeared", "vanished")}
        assert {tag for tag in missing if "/change_" not in tag} == {"weights/stem.weight/alpha"} | changes
        assert entry["images"] == 30
        assert entry["forms"][LAYER]["d"] == WIDTH
        for tag, value in expected.items():
            assert entry["scalars"][tag] == pytest.approx(float(value), rel=2e-5), tag
    assert checked == 3


def test_curves_equal_numpy_s(tmp_path):
    monitor = SignatureMonitor(weights=["stem.weight"])
    state = run(tmp_path, monitor)[0]
    h = eval_features(state, draw(REFERENCE, 30)[0])
    W = state["fc.weight"].double().numpy()
    expected = {
        f"spectrum/{LAYER}/eigenvalues": np.sort(np.linalg.eigvalsh(h.T @ h / len(h)))[::-1],
        f"importance/{LAYER}/raw/directions": np.sort(importance(W, h)[1])[::-1],
        f"importance/{LAYER}/centred/directions": np.sort(importance(W - W.mean(axis=0), h)[1])[::-1],
        "weights/stem.weight/singular_values": np.linalg.svd(state["stem.weight"].double().numpy(), compute_uv=False),
    }
    assert set(monitor.before) == {*expected, "weights/stem.weight/change_singular_values"}
    for tag, values in expected.items():
        np.testing.assert_allclose(monitor.before[tag], values, rtol=1e-4, atol=1e-5 * values[0], err_msg=tag)


def test_concepts_equal_scikit_learn_s(tmp_path):
    monitor = ConceptMonitor()
    states = run(tmp_path, monitor)
    x, y = draw(CONCEPT, 60)
    labels = np.stack([y == 0, y == 1, x[:, 3] > 0.5], axis=1).astype(int)
    for entry in monitor.history:
        state = states[entry["step"]]
        h = eval_features(state, x)
        unit = h / np.linalg.norm(h, axis=1, keepdims=True)
        _, _, Vh = np.linalg.svd(state["fc.weight"].double().numpy(), full_matrices=False)
        scores = (unit @ Vh.T).astype(np.float32)
        ap = np.array([[max(average_precision_score(c, s * v) for s in (1, -1)) for c in labels.T] for v in scores.T])
        place = f"concepts/{LAYER}/singular_vectors"
        best = ap.max(axis=0)
        assert entry["scalars"][f"concepts/{LAYER}/eligible"] == 3
        assert entry["scalars"][f"{place}/mean_best_ap"] == pytest.approx(best.mean(), rel=1e-3)
        for threshold in (0.5, 0.6, 0.7, 0.8, 0.9):
            if np.abs(best - threshold).min() > 1e-3:
                assert entry["scalars"][f"{place}/unique_{threshold}"] == (best >= threshold).sum()
        many = (ap >= 0.5).sum(axis=1)
        assert entry["scalars"][f"{place}/polysemantic_share_0.5"] == (many >= 2).sum() / (many >= 1).sum()
        for level in (0.5, 0.9):
            if np.abs(ap - level).min() > 1e-3:
                single = ((ap >= level).sum(axis=1) == 1).mean()
                assert entry["scalars"][f"{place}/monosemantic_share_{level}"] == single
    assert len(monitor.history) == 3


def test_a_planted_outlier_moves_every_outlier_figure(tmp_path):
    plain, planted = Ours(), Ours()
    with torch.no_grad():
        planted.norm.weight[7] *= 30
        planted.norm.bias[7] += 30
    figures, indices = [], []
    for module in (plain, planted):
        monitor = KurtosisMonitor(prefix="a")
        run(tmp_path, monitor, module=copy.deepcopy(module))
        figures.append({tag.removeprefix("a/"): value for tag, value in monitor.history[0]["scalars"].items()})
        indices.append(monitor.history[0]["indices"])
    before, after = figures
    assert indices == [{f"a/outliers/{LAYER}/indices": []}, {f"a/outliers/{LAYER}/indices": [7]}]
    assert before[f"outliers/{LAYER}/features"] == 0
    assert after[f"outliers/{LAYER}/features"] == 1
    assert after[f"outliers/{LAYER}/share_of_norm"] > 0.5 > before[f"outliers/{LAYER}/share_of_norm"] == 0
    for tag in (f"kurtosis/{LAYER}", f"kurtosis/{LAYER}/q95", f"kurtosis/{LAYER}/width_adjusted"):
        assert after[tag] > 3 * before[tag]
    assert after[f"outliers/{LAYER}/neuron_norm_kurtosis"] > 5 * before[f"outliers/{LAYER}/neuron_norm_kurtosis"]
    assert after[f"kurtosis/{LAYER}"] <= WIDTH - 2 + 1 / (WIDTH - 1)


def test_how_the_images_are_split_into_batches_changes_nothing(tmp_path):
    figures = []
    for batch in (30, 7, 1):
        seed_all()
        monitors = [SignatureMonitor(), ConceptMonitor()]
        trainer(tmp_path, callbacks=monitors, max_epochs=1).fit(Ours(), datamodule=Data(batch=batch))
        figures.append([entry["scalars"] for monitor in monitors for entry in monitor.history])
    for other in figures[1:]:
        for one, two in zip(figures[0], other, strict=True):
            assert one.keys() == two.keys()
            assert one == pytest.approx(two, rel=1e-5, nan_ok=True)

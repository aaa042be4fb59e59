"""Records of pruning, computed in numpy from features and a head, so that pictures and tables have real shapes."""

import dataclasses
import functools
import math

import numpy as np

from lightning_robust.results import AccuracyRow, DataDescription, Interval, collect_provenance
from lightning_robust.results.effective_robustness import EffectiveRobustness, ShiftRobustness
from lightning_robust.results.prune_record import JudgedPoint, PruneCurve, PrunedModel, PruneRecord
from lightning_robust.results.pruned_headline import PrunedHeadline

POINTS, REPLICATES, SEEDS = 0.01, 200, (0, 1, 2)


def unit(h):
    return h / np.linalg.norm(h, axis=1, keepdims=True)


def world(seed=0, classes=20, d=64, n=300, shifts=("v2", "sketch"), spread=1.0):
    """Features around class centres; a shift has more noise. Returns the head, calibration images and the sets."""
    draw = np.random.default_rng(seed)
    centres = draw.normal(size=(classes, d)) * np.geomspace(1, 0.05, d)
    sets = {}
    for k, name in enumerate(("calibration", "reference", *shifts)):
        t = draw.integers(classes, size=n)
        sets[name] = (centres[t] + spread * (0.3 + 0.25 * max(0, k - 1)) * draw.normal(size=(n, d)), t)
    return centres, sets.pop("calibration"), sets


def wilson(correct, images):
    p, z = correct / images, 1.96
    middle, half = (p + z * z / (2 * images)), z * math.sqrt(p * (1 - p) / images + z * z / (4 * images**2))
    return (middle - half) / (1 + z * z / images), (middle + half) / (1 + z * z / images)


def rows(correct, images):
    return tuple(
        AccuracyRow(
            set=name, protocol="top-1", correct=c, images=images[name],
            low=wilson(c, images[name])[0], high=wilson(c, images[name])[1],
        )
        for name, c in correct.items()
    )  # fmt: skip


def interval(estimate, draws):
    low, high = np.quantile(draws, (0.025, 0.975))
    return Interval(float(estimate), float(low), float(high), 0.95, REPLICATES, 0)


def largest(means, kept, total, unpruned, unbroken):
    """The fraction; `means` is (replicates, K), `unpruned` (replicates,)."""
    fits = means >= unpruned[:, None] - POINTS - 1e-12
    fits = np.logical_and.accumulate(fits, axis=1) if unbroken else fits
    last = np.where(fits, np.arange(fits.shape[1]), 0).max(axis=1)
    return 1 - np.asarray(kept)[last] / total, np.asarray(kept)[last]


def headline(hits, whole, kept, total, draw):
    """`hits` by set (K, n), `whole` by set (n,)."""

    def means(sample):
        mean = np.mean([hits[s][:, sample[s]].mean(axis=1) for s in hits], axis=0)
        return mean, np.mean([whole[s][sample[s]].mean() for s in hits])

    chosen = [
        means({s: draw.integers(h.shape[1], size=h.shape[1]) for s, h in hits.items()}) for _ in range(REPLICATES)
    ]
    mean, unpruned = means({s: np.arange(h.shape[1]) for s, h in hits.items()})
    found = {}
    for unbroken in (False, True):
        fraction, at = largest(mean[None], kept, total, np.array([unpruned]), unbroken)
        drawn, _ = largest(np.array([m for m, _ in chosen]), kept, total, np.array([u for _, u in chosen]), unbroken)
        found[unbroken] = (interval(fraction[0], drawn), int(at[0]))
    at = found[False][1]
    return PrunedHeadline(
        fraction=found[False][0], kept=at, unbroken=found[True][0], unbroken_kept=found[True][1], total=total,
        points=POINTS, unpruned=float(unpruned), accuracy=float(mean[list(kept).index(at)]),
        images={s: h.shape[1] for s, h in hits.items()},
    )  # fmt: skip


class Pruning:
    """One model's curves.

    Args:
        name: of the model.
        head: (C, d).
        calibration: features and classes of the calibration images.
        sets: features and classes by set, the reference first.
        judge: from counts and numbers of images by set to an EffectiveRobustness or None.
    """

    def __init__(self, name, head, calibration, sets, judge=None, seeds=SEEDS, points_at=65):
        self.name, self.head, self.calibration, self.sets, self.seeds = name, head, calibration, sets, seeds
        self.judge = judge or (lambda *_, **__: None)
        self.points_at = points_at
        self.read = {s: unit(h) for s, (h, _) in sets.items()}
        self.images = {s: len(h) for s, (h, _) in sets.items()}
        self.whole = {s: (x @ head.T).argmax(axis=1) for s, x in self.read.items()}
        self.draw = np.random.default_rng(0)

    def directions(self, form, head=None):
        head = self.head if head is None else head
        head = head - head.mean(axis=0) if form == "centred" else head
        _, s, v = np.linalg.svd(head, full_matrices=False)
        r = int((s > 1e-6 * s[0]).sum())
        importance = s[:r] * np.abs(unit(self.calibration[0]) @ v[:r].T).mean(axis=0)
        return head, v[:r].T, np.argsort(-importance)

    def predictions(self, head, v, order):
        """Answers by set, (r + 1, n), keeping r, r − 1, …, 0."""
        found = {}
        for s, x in self.read.items():
            found[s] = np.stack(
                [(x @ v[:, order[:k]] @ v[:, order[:k]].T @ head.T).argmax(axis=1) for k in range(len(order), -1, -1)]
            )
        return found

    def best(self, form):
        head, _, _ = self.directions(form)
        x = unit(self.calibration[0])
        values, vectors = np.linalg.eigh(x.T @ x / len(x))
        root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
        u, s, _ = np.linalg.svd(head @ root)
        r = int((s > 1e-6 * s[0]).sum())
        return {
            s: np.stack([(x @ (u[:, :k] @ u[:, :k].T @ head).T).argmax(axis=1) for k in range(r, -1, -1)])
            for s, x in self.read.items()
        }

    def zeroed(self, order):
        found = {}
        for s, (h, _) in self.sets.items():
            answers = []
            for m in range(len(order) + 1):
                rest = h.copy()
                rest[:, order[:m]] = 0
                length = np.linalg.norm(rest, axis=1, keepdims=True)
                answers.append((rest / np.where(length > 0, length, 1) @ self.head.T).argmax(axis=1))
            found[s] = np.stack(answers)
        return found

    def curve(self, order, form, draws, of="directions", seeds=(), own=None):
        """`draws`: answers by set of every draw."""
        total = len(draws[0][next(iter(self.sets))]) - 1
        kept = tuple(range(total, -1, -1))
        grid = sorted({round(i) for i in np.linspace(0, total, min(self.points_at, total + 1))})
        own = own or [self.whole] * len(draws)
        hits = [{s: p[s] == self.sets[s][1] for s in self.sets} for p in draws]
        same = [{s: p[s] == w[s] for s in self.sets} for p, w in zip(draws, own, strict=True)]
        whole = {s: self.whole[s] == self.sets[s][1] for s in self.sets}
        reference, *shifts = self.sets
        groups = {"reference": [reference], **({"shifts": shifts} if shifts else {})}
        headlines = {
            what: tuple(
                headline({s: h[s][:-1] for s in names}, {s: whole[s] for s in names}, kept[:-1], total, self.draw)
                for h in hits
            )
            for what, names in groups.items()
        }
        if order in ("random_head", "importance", "reduced_rank"):
            headlines = {} if order == "random_head" else headlines
            headlines |= {
                "agreement": tuple(
                    headline(
                        {reference: a[reference][:-1]}, {reference: np.ones(self.images[reference], bool)},
                        kept[:-1], total, self.draw,
                    )
                    for a in same
                )
            }  # fmt: skip
        count = lambda found: {  # noqa: E731
            s: tuple(tuple(int(n) for n in one[s][grid].sum(axis=1)) for one in found) for s in self.sets
        }
        correct = count(hits)
        ers = [[self.mean_er(correct, j, k) for k in range(len(grid))] for j in range(len(draws))]
        known = any(er is not None for draw in ers for er in draw)
        judged = {}
        for share in (0, 0.25, 0.5, 0.75, 0.9):
            k = round((1 - share) * total)
            judged[str(k)] = self.point({s: int(hits[0][s][total - k].sum()) for s in self.sets})
        return PruneCurve(
            order=order, form=form, of=of, total=total, kept=tuple(kept[i] for i in grid), seeds=tuple(seeds),
            correct=correct, agreement=count(same), headlines=headlines, judged=judged,
            robustness=tuple(tuple(er and er.estimate for er in draw) for draw in ers) if known else (),
            extrapolated=tuple(tuple(er is None or er.extrapolated for er in draw) for draw in ers) if known else (),
        )  # fmt: skip

    def mean_er(self, correct, draw, k):
        counts = {s: correct[s][draw][k] for s in self.sets}
        if not 0 < counts[next(iter(counts))] < self.images[next(iter(counts))]:
            return None
        found = self.judge(counts, self.images, replicates=0)
        return None if found is None else found.mean

    def point(self, correct):
        return JudgedPoint(rows=rows(correct, self.images), robustness=self.judge(correct, self.images, replicates=50))

    def curves(self):
        for form in ("raw", "centred"):
            head, v, order = self.directions(form)
            yield self.curve("importance", form, [self.predictions(head, v, order)])
            yield self.curve("smallest_first", form, [self.predictions(head, v, order[::-1])])
            orders = [np.random.default_rng(seed).permutation(len(order)) for seed in self.seeds]
            yield self.curve("random", form, [self.predictions(head, v, one) for one in orders], seeds=self.seeds)
            yield self.curve("reduced_rank", form, [self.best(form)])
            heads = [np.random.default_rng(seed).normal(size=self.head.shape) for seed in self.seeds]
            found = [self.directions(form, one) for one in heads]
            own = [{s: (x @ one.T).argmax(axis=1) for s, x in self.read.items()} for one in heads]
            draws = [self.predictions(*one) for one in found]
            yield self.curve("random_head", form, draws, seeds=self.seeds, own=own)
        h = self.calibration[0]
        z = np.abs((h - h.mean(axis=1, keepdims=True)) / h.std(axis=1, keepdims=True))
        order = np.lexsort((-z.mean(axis=0), -(z > 6).mean(axis=0)))
        yield self.curve("outlier_features", "", [self.zeroed(order)], of="features")
        drawn = [np.random.default_rng(seed).permutation(len(order)) for seed in self.seeds]
        yield self.curve("random_features", "", [self.zeroed(o) for o in drawn], of="features", seeds=self.seeds)

    def model(self, **changes):
        h = self.calibration[0]
        z = np.abs((h - h.mean(axis=1, keepdims=True)) / h.std(axis=1, keepdims=True))
        d = self.head.shape[1]
        fields = {
            "name": self.name, "origin": "made up", "checkpoint_hash": "0" * 64, "classes": len(self.head), "d": d,
            "unit_norm": True, "bias": False, "rank_raw": len(self.directions("raw")[2]),
            "rank_centred": len(self.directions("centred")[2]), "privileged_raw": 1, "privileged_centred": 0,
            "outliers_by_rule": None if d <= 37 else int(((z > 6).mean(axis=0) >= 0.06).sum()),
            "calibration_images": len(h),
            "unpruned": self.point({s: int((self.whole[s] == t).sum()) for s, (_, t) in self.sets.items()}),
            "curves": tuple(self.curves()),
        }  # fmt: skip
        return PrunedModel(**fields | changes)


def record(*models, **changes):
    images = {row.set: row.images for row in models[0].unpruned.rows}
    fields = {
        "provenance": collect_provenance(threads=1),
        "seeds": {"random": 0},
        "data": DataDescription(dataset="scenes world, version 1", protocol="top-1", images=images),
        "conventions": ("made up",),
        "baseline": "scenes: 14 models" if models[0].unpruned.robustness else None,
        "points": POINTS,
        "models": models,
    }
    return PruneRecord(**fields | changes)


def judge(correct, images, replicates):
    """Robustness of known size: 0.1 above half of the reference accuracy; extrapolated below 30 %."""
    reference, *shifts = correct
    at = correct[reference] / images[reference]

    def one(name):
        estimate = correct[name] / images[name] - 0.5 * at + 0.1
        interval = Interval(estimate, estimate - 0.02, estimate + 0.02, 0.95, 2000, 0) if replicates else None
        return ShiftRobustness(
            accuracy=0.5, expected=0.4, estimate=estimate, interval=interval, prediction=None, extrapolated=at < 0.3
        )

    each = {name: one(name) for name in shifts}
    return EffectiveRobustness(
        shifts=each, mean=each[shifts[0]], baseline="toy", scale="logit", x="full", aggregate="er"
    )


@functools.cache
def pruned(seed=0, classes=8, d=24, shifts=("v2", "sketch"), robust=True):
    return Pruning("scenes-clip", *world(seed, classes, d, 200, shifts), judge=judge if robust else None).model()


def twin(**changes):
    return dataclasses.replace(
        pruned(seed=1), **{"name": "scenes-supervised", "role": "supervised twin", "origin": "labels", **changes}
    )


def with_fraction(model, order, form, what, estimate, low, high):
    """The model with another headline."""

    def change(curve):
        if (curve.order, curve.form) != (order, form):
            return curve
        fraction = Interval(estimate, low, high, 0.95, 2000, 0)
        new = tuple(dataclasses.replace(one, fraction=fraction) for one in curve.headlines[what])
        return dataclasses.replace(curve, headlines={**curve.headlines, what: new})

    return dataclasses.replace(model, curves=tuple(map(change, model.curves)))

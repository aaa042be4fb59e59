"""The twenty silhouettes of the scenes world, in the order of `CLASSES`, each in drawn variants with a part of its own.

A drawing gets a canvas and a source of jitter and returns two signed distances, `(body, part)`. The part (wheels, eyes,
a handle …) lies on or beside the body and belongs to the object; it is coloured apart.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lightning_robust.data.scenes.distance import Canvas, Field, meet, minus, union

VARIANTS = 24
SPRITE_SIZE = 64
#: The sprite reaches this far on each side; the figure itself lies within −1 … 1.
SPRITE_EXTENT = 1.3

Jitter = Callable[[float, float], float]
Drawing = tuple[Field, Field]


def _star(c: Canvas, j: Jitter) -> Drawing:
    points, inner, phase = (5 if j(0, 1) < 0.7 else 6), j(0.36, 0.52), j(-0.1, 0.1)
    angles = np.arange(2 * points) * np.pi / points - np.pi / 2 + phase
    radii = np.where(np.arange(2 * points) % 2 == 0, 0.95, inner)
    return c.polygon([(r * np.cos(a), r * np.sin(a)) for r, a in zip(radii, angles, strict=True)]), c.circle(0, 0, 0.22)


def _heart(c: Canvas, j: Jitter) -> Drawing:
    r, drop = j(0.42, 0.5), j(0.8, 0.95)
    lobes = union(c.circle(-r * 0.9, -0.3, r), c.circle(r * 0.9, -0.3, r))
    side = r * 1.75
    body = union(lobes, c.polygon([(-side, -0.1), (0, drop), (side, -0.1), (0, -0.35)]))
    return body, c.ellipse(-r * 0.95, -0.42, 0.2, 0.13, -0.6)


def _house(c: Canvas, j: Jitter) -> Drawing:
    w, eave, top = j(0.55, 0.7), j(-0.15, 0.05), j(-0.95, -0.75)
    body = union(
        c.box(0, (eave + 0.85) / 2, w, (0.85 - eave) / 2), c.polygon([(-w - 0.2, eave), (0, top), (w + 0.2, eave)])
    )
    chimney = c.box(j(0.3, 0.42), top + 0.3, 0.1, 0.25)
    return union(body, chimney), c.box(j(-0.25, 0.25), 0.58, 0.15, 0.27)


def _tree(c: Canvas, j: Jitter) -> Drawing:
    trunk = c.box(0, 0.65, j(0.09, 0.15), 0.33)
    if j(0, 1) < 0.5:
        w = j(0.5, 0.65)
        crown = union(
            *(c.polygon([(-w * k, y), (0, y - 0.7), (w * k, y)]) for k, y in ((1, 0.45), (0.8, 0.1), (0.6, -0.25)))
        )
    else:
        r = j(0.36, 0.44)
        crown = union(c.circle(-0.35, 0, r), c.circle(0.35, 0, r), c.circle(0, -0.42, r + 0.06))
    return union(crown, trunk), trunk


def _car(c: Canvas, j: Jitter) -> Drawing:
    length, roof, r = j(0.85, 0.95), j(-0.5, -0.35), j(0.2, 0.26)
    cabin = c.polygon([(-0.6, 0.02), (-0.38, roof), (j(0.2, 0.35), roof), (0.58, 0.02)])
    wheels = union(c.circle(-0.48, 0.4, r), c.circle(0.48, 0.4, r))
    return union(c.box(0, 0.16, length, 0.24, corner=0.12), cabin, wheels), wheels


def _boat(c: Canvas, j: Jitter) -> Drawing:
    w, keel = j(0.8, 0.95), j(0.72, 0.85)
    hull = c.polygon([(-w, 0.35), (w, 0.35), (w * 0.6, keel), (-w * 0.6, keel)])
    sails = union(
        c.polygon([(0.06, -0.9), (0.06, 0.2), (j(0.6, 0.75), 0.2)]),
        c.polygon([(-0.06, -0.65), (-0.06, 0.2), (-0.5, 0.2)]),
    )
    return union(hull, sails, c.line(0, -0.92, 0, 0.4, 0.05)), hull


def _fish(c: Canvas, j: Jitter) -> Drawing:
    ry, tail = j(0.36, 0.48), j(0.32, 0.48)
    body = union(c.ellipse(-0.15, 0, 0.68, ry), c.polygon([(0.35, 0), (0.95, -tail), (0.8, 0), (0.95, tail)]))
    fin = c.polygon([(-0.3, -ry + 0.1), (0.05, -ry - j(0.2, 0.3)), (0.25, -ry + 0.15)])
    return union(body, fin), c.circle(-0.52, -0.1, 0.12)


def _mug(c: Canvas, j: Jitter) -> Drawing:
    w, h = j(0.45, 0.55), j(0.6, 0.75)
    handle = minus(c.ring(w - 0.12, 0, j(0.34, 0.44), 0.1), c.box(-0.15, 0, w, 1))
    return union(c.box(-0.15, 0, w, h, corner=0.12), handle), handle


def _key(c: Canvas, j: Jitter) -> Drawing:
    r = j(0.34, 0.42)
    hole = c.circle(-0.52, 0, r * 0.42)
    teeth = union(*(c.box(x, 0.2, 0.07, j(0.12, 0.24)) for x in (0.5, 0.74)))
    return minus(union(c.circle(-0.52, 0, r), c.box(0.35, 0, 0.6, 0.1), teeth), hole), c.ring(-0.52, 0, r * 0.5, 0.1)


def _mushroom(c: Canvas, j: Jitter) -> Drawing:
    rx, ry = j(0.75, 0.92), j(0.6, 0.78)
    cap = meet(c.ellipse(0, 0.05, rx, ry), c.box(0, -0.95, 2, 1.0))
    stem = c.box(0, 0.42, j(0.17, 0.26), 0.42, corner=0.12)
    return union(cap, stem), stem


def _cat(c: Canvas, j: Jitter) -> Drawing:
    rx, tip = j(0.66, 0.78), j(0.8, 0.95)
    ears = union(*(c.polygon([(s * 0.68, 0.0), (s * 0.6, -tip), (s * 0.12, -0.45)]) for s in (-1, 1)))
    eyes = union(*(c.ellipse(s * 0.28, 0.05, 0.11, j(0.12, 0.17)) for s in (-1, 1)))
    return union(c.ellipse(0, 0.18, rx, 0.62), ears), eyes


def _bird(c: Canvas, j: Jitter) -> Drawing:
    body = c.ellipse(0.05, 0.15, 0.56, j(0.32, 0.4), -0.25)
    head, beak = c.circle(-0.5, -0.28, 0.27), c.polygon([(-0.7, -0.36), (-0.98, -0.2), (-0.7, -0.14)])
    tail = c.polygon([(0.4, 0.0), (0.98, j(-0.4, -0.2)), (0.9, 0.12), (0.45, 0.2)])
    legs = union(c.line(-0.05, 0.4, -0.1, 0.85, 0.045), c.line(0.15, 0.4, 0.18, 0.85, 0.045))
    return union(body, head, beak, tail, legs), c.circle(-0.53, -0.32, 0.09)


def _rocket(c: Canvas, j: Jitter) -> Drawing:
    w, fin = j(0.27, 0.35), j(0.5, 0.65)
    hull = union(c.ellipse(0, -0.3, w, 0.65), c.box(0, 0.2, w * 0.95, 0.42, corner=0.08))
    fins = union(*(c.polygon([(s * w * 0.8, 0.15), (s * fin, 0.75), (s * w * 0.8, 0.6)]) for s in (-1, 1)))
    return union(hull, fins, c.polygon([(-0.16, 0.6), (0, 0.97), (0.16, 0.6)])), c.circle(0, -0.3, 0.15)


def _umbrella(c: Canvas, j: Jitter) -> Drawing:
    r = j(0.85, 0.95)
    canopy = meet(c.ellipse(0, 0, r, j(0.72, 0.9)), c.box(0, -1, 2, 1.0))
    scallops = [c.circle(x * r, 0.05, r * 0.3) for x in (-0.66, 0, 0.66)]
    hook = minus(c.ring(0.16, 0.68, 0.16, 0.055), c.box(0.16, 0.48, 0.3, 0.2))
    handle = union(c.line(0, -0.2, 0, 0.68, 0.055), hook)
    return union(minus(canopy, *scallops), handle), meet(handle, -canopy)


def _flower(c: Canvas, j: Jitter) -> Drawing:
    petals, r, phase = (5 if j(0, 1) < 0.5 else 7), j(0.22, 0.28), j(0, 1)
    angles = np.arange(petals) * 2 * np.pi / petals + phase
    head = union(*(c.circle(0.38 * np.cos(a), -0.35 + 0.38 * np.sin(a), r) for a in angles), c.circle(0, -0.35, 0.3))
    leaf = c.ellipse(j(0.2, 0.3), 0.6, 0.24, 0.1, -0.5)
    return union(head, c.line(0, 0, 0, 0.95, 0.06), leaf), c.circle(0, -0.35, 0.19)


def _butterfly(c: Canvas, j: Jitter) -> Drawing:
    up, low = j(0.38, 0.46), j(0.28, 0.36)
    wings = union(
        *(
            f
            for s in (-1, 1)
            for f in (c.ellipse(s * 0.48, -0.32, up, 0.42, s * 0.4), c.ellipse(s * 0.4, 0.42, low, 0.34, -s * 0.4))
        )
    )
    body = c.ellipse(0, 0.05, 0.1, 0.6)
    feelers = union(*(c.line(0, -0.5, s * 0.25, -0.92, 0.035) for s in (-1, 1)))
    return union(wings, body, feelers), body


def _hammer(c: Canvas, j: Jitter) -> Drawing:
    w = j(0.5, 0.62)
    head = union(
        c.box(0.02, -0.62, w, j(0.18, 0.26), corner=0.04), c.polygon([(-w, -0.86), (-w - 0.3, -0.5), (-w, -0.46)])
    )
    handle = c.box(0.05, 0.2, j(0.09, 0.14), 0.72, corner=0.05)
    return union(head, handle), meet(handle, -head)


def _guitar(c: Canvas, j: Jitter) -> Drawing:
    low, up = j(0.42, 0.5), j(0.28, 0.34)
    body = union(c.circle(0, 0.5, low), c.circle(0, 0.02, up))
    neck = union(c.box(0, -0.5, 0.075, 0.45), c.box(0, -0.88, j(0.12, 0.17), 0.11))
    return union(body, neck), c.circle(0, 0.3, 0.15)


def _moon(c: Canvas, j: Jitter) -> Drawing:
    shift, bite = j(0.4, 0.52), j(0.68, 0.78)
    return minus(c.circle(-0.1, 0, 0.88), c.circle(shift - 0.1, -0.05, bite)), union(
        c.circle(-0.72, 0.1, 0.12), c.circle(-0.5, 0.52, 0.1)
    )


def _cactus(c: Canvas, j: Jitter) -> Drawing:
    left, right, w = j(-0.05, 0.2), j(-0.25, 0.05), j(0.15, 0.2)
    arms = union(
        c.line(-0.5, left, -0.5, left - 0.35, w * 0.75), c.line(-0.5, left, 0, left, w * 0.75),
        c.line(0.5, right, 0.5, right - 0.4, w * 0.75), c.line(0.5, right, 0, right, w * 0.75),
    )  # fmt: skip
    stem = c.line(0, -0.75, 0, 0.8, w)
    return union(stem, arms), meet(arms, -stem)


_DRAWINGS: tuple[Callable[[Canvas, Jitter], Drawing], ...] = (
    _star,
    _heart,
    _house,
    _tree,
    _car,
    _boat,
    _fish,
    _mug,
    _key,
    _mushroom,
    _cat,
    _bird,
    _rocket,
    _umbrella,
    _flower,
    _butterfly,
    _hammer,
    _guitar,
    _moon,
    _cactus,
)


def _jitter(rng: np.random.Generator) -> Jitter:
    return lambda low, high: float(rng.uniform(low, high))


def sprites() -> NDArray[np.float32]:
    """Draw every class in every variant.

    Returns:
        Signed distances, shape `(classes, variants, 2, size, size)`: channel 0 the whole object, channel 1 its part.
        Always the same: the jitter has a fixed seed, because the silhouettes are the world and not a sample of it.
    """
    canvas = Canvas(SPRITE_SIZE, SPRITE_EXTENT)
    out = np.empty((len(_DRAWINGS), VARIANTS, 2, SPRITE_SIZE, SPRITE_SIZE), dtype=np.float32)
    for c, draw in enumerate(_DRAWINGS):
        for v in range(VARIANTS):
            out[c, v, 0], out[c, v, 1] = draw(canvas, _jitter(np.random.Generator(np.random.PCG64([c, v]))))
    return out

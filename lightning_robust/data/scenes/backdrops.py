"""The eleven backdrops, painted once as larger pictures from which every image takes its own crop."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lightning_robust.data.scenes.vocabulary import SCENES

BACKDROP_SIZE = 64
VARIANTS = 16

Picture = NDArray[np.float64]
Rng = np.random.Generator


def _smooth(rng: Rng, cells: int) -> Picture:
    """Smooth noise in [0, 1]: a coarse random grid, bilinearly enlarged."""
    coarse = rng.uniform(0, 1, (cells + 1, cells + 1))
    t = np.linspace(0, cells, BACKDROP_SIZE, endpoint=False)
    i, f = t.astype(int), t - t.astype(int)
    rows = coarse[i] * (1 - f)[:, None] + coarse[i + 1] * f[:, None]
    return np.asarray(rows[:, i] * (1 - f) + rows[:, i + 1] * f)


def _grid() -> tuple[Picture, Picture]:
    axis = np.arange(BACKDROP_SIZE, dtype=np.float64)
    x, y = np.meshgrid(axis, axis)
    return x, y


def _tint(shade: Picture, low: tuple[float, float, float], high: tuple[float, float, float]) -> Picture:
    return np.asarray(np.array(low) + shade[..., None] * (np.array(high) - np.array(low)))


def _grass(rng: Rng) -> Picture:
    blades = rng.uniform(0, 1, (BACKDROP_SIZE, BACKDROP_SIZE))
    blades = (blades + np.roll(blades, 1, 0) + np.roll(blades, 2, 0)) / 3
    return _tint(0.7 * blades + 0.3 * _smooth(rng, 5), (0.10, 0.35, 0.05), (0.45, 0.80, 0.25))


def _sky(rng: Rng) -> Picture:
    _, y = _grid()
    clouds = np.clip((_smooth(rng, 5) + 0.5 * _smooth(rng, 11) - 0.8) * 3, 0, 1)
    return _tint(y / BACKDROP_SIZE, (0.35, 0.60, 0.95), (0.70, 0.88, 1.0)) * (1 - clouds[..., None]) + clouds[..., None]


def _sea(rng: Rng) -> Picture:
    x, y = _grid()
    waves = 0.5 + 0.5 * np.sin(y * rng.uniform(1.0, 1.4) + 1.5 * np.sin(x * 0.25 + rng.uniform(0, 6)))
    return _tint(0.8 * waves + 0.2 * _smooth(rng, 7), (0.03, 0.18, 0.40), (0.20, 0.50, 0.75))


def _sand(rng: Rng) -> Picture:
    x, y = _grid()
    ripples = 0.5 + 0.5 * np.sin((x * 0.35 + y) * rng.uniform(0.55, 0.8) + 4 * _smooth(rng, 4))
    return _tint(0.6 * ripples + 0.4 * rng.uniform(0, 1, x.shape), (0.75, 0.58, 0.32), (0.97, 0.86, 0.60))


def _snow(rng: Rng) -> Picture:
    flakes = rng.uniform(0, 1, (BACKDROP_SIZE, BACKDROP_SIZE)) < 0.06
    return _tint(np.where(flakes, 1.0, 0.6 * _smooth(rng, 4)), (0.72, 0.80, 0.90), (1.0, 1.0, 1.0))


def _night(rng: Rng) -> Picture:
    stars = rng.uniform(0, 1, (BACKDROP_SIZE, BACKDROP_SIZE)) < 0.03
    glow = _tint(_smooth(rng, 4), (0.01, 0.01, 0.07), (0.08, 0.06, 0.22))
    return np.where(stars[..., None], rng.uniform(0.6, 1.0), glow)


def _bricks(rng: Rng) -> Picture:
    x, y = _grid()
    height, width = 6, 12
    row = y // height
    shifted = x + (row % 2) * width / 2 + rng.integers(0, width)
    mortar = (y % height < 1) | (shifted % width < 1)
    tone = np.sin(row * 12.9898 + (shifted // width) * 78.233) * 0.5 + 0.5
    return np.where(mortar[..., None], 0.72, _tint(tone, (0.50, 0.18, 0.13), (0.72, 0.33, 0.24)))


def _wood(rng: Rng) -> Picture:
    x, y = _grid()
    grain = 0.5 + 0.5 * np.sin(x * rng.uniform(0.7, 1.0) + 5 * _smooth(rng, 3) + 0.05 * y)
    planks = x % 21 < 1
    return _tint(np.where(planks, 0.0, 0.25 + 0.75 * grain), (0.30, 0.17, 0.08), (0.66, 0.44, 0.24))


def _forest(rng: Rng) -> Picture:
    x, _ = _grid()
    trunks = np.sin(x * 0.75 + rng.uniform(0, 6) + np.sin(x * 0.23) * 2) > 0.72
    leaves = _tint(rng.uniform(0, 1, x.shape) * _smooth(rng, 9), (0.02, 0.10, 0.03), (0.15, 0.48, 0.12))
    return np.where(trunks[..., None], np.array([0.22, 0.13, 0.07]), leaves)


def _city(rng: Rng) -> Picture:
    x, y = _grid()
    heights = np.repeat(rng.uniform(0.15, 0.6, 8) * BACKDROP_SIZE, BACKDROP_SIZE // 8)
    tower = y > heights[None, :]
    window = tower & (x % 4 < 2) & (y % 5 < 2) & (np.sin(x // 4 * 3.7 + y // 5 * 8.1 + rng.uniform(0, 6)) > -0.2)
    tone = np.repeat(rng.uniform(0, 1, 8), BACKDROP_SIZE // 8)[None, :] * np.ones_like(y)
    walls = np.where(
        tower[..., None], _tint(tone, (0.28, 0.29, 0.34), (0.50, 0.50, 0.54)), np.array([0.68, 0.72, 0.80])
    )
    return np.where(window[..., None], np.array([0.95, 0.85, 0.45]), walls)


def _paper(rng: Rng) -> Picture:
    base = _tint(_smooth(rng, 4), (0.84, 0.82, 0.76), (0.97, 0.96, 0.92))
    return base + rng.uniform(-0.02, 0.02, (BACKDROP_SIZE, BACKDROP_SIZE, 1))


_PAINT: tuple[Callable[[Rng], Picture], ...] = (
    _grass, _sky, _sea, _sand, _snow, _night, _bricks, _wood, _forest, _city, _paper,
)  # fmt: skip


def backdrops() -> NDArray[np.float32]:
    """Paint every scene in every variant: `(scenes, variants, 3, size, size)`, values in [0, 1], always the same.

    Variants are different pictures except among the bricks, which only begin at different places.
    """
    out = np.empty((len(SCENES), VARIANTS, 3, BACKDROP_SIZE, BACKDROP_SIZE), dtype=np.float32)
    for s, paint in enumerate(_PAINT):
        for v in range(VARIANTS):
            picture = paint(np.random.Generator(np.random.PCG64([1, s, v])))
            out[s, v] = np.clip(picture, 0, 1).transpose(2, 0, 1)
    return out

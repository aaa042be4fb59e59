"""Signed distances of simple figures, in numpy: negative inside, positive outside, in units of the canvas.

The canvas is a grid of points with x to the right and y **down**, the figure between −1 and 1. Distances make edges
anti-aliased at any scale and turn into outlines by taking their magnitude.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float64]


class Canvas:
    """A square grid of points on which distances are evaluated.

    Args:
        size: Pixels along an edge.
        extent: The grid reaches from −extent to extent, beyond the figure, so that a margin of distances is known.
    """

    def __init__(self, size: int, extent: float) -> None:
        axis = ((np.arange(size) + 0.5) / size * 2 - 1) * extent
        self.x, self.y = np.meshgrid(axis, axis)

    def circle(self, x: float, y: float, radius: float) -> Field:
        """Distance to a disc."""
        return np.hypot(self.x - x, self.y - y) - radius

    def ellipse(self, x: float, y: float, rx: float, ry: float, turn: float = 0.0) -> Field:
        """Distance to an ellipse, exact on its edge and first-order near it."""
        u, v = self._local(x, y, turn)
        k = np.hypot(u / rx, v / ry)
        slope = np.hypot(u / rx**2, v / ry**2)
        return np.where(slope > 1e-9, k * (k - 1) / np.maximum(slope, 1e-9), -min(rx, ry))

    def box(self, x: float, y: float, half_w: float, half_h: float, turn: float = 0.0, corner: float = 0.0) -> Field:
        """Distance to a rectangle with corners rounded by `corner`, turned by `turn` radians."""
        u, v = self._local(x, y, turn)
        dx, dy = np.abs(u) - half_w + corner, np.abs(v) - half_h + corner
        return np.hypot(np.maximum(dx, 0), np.maximum(dy, 0)) + np.minimum(np.maximum(dx, dy), 0) - corner

    def line(self, x0: float, y0: float, x1: float, y1: float, radius: float) -> Field:
        """Distance to a segment thickened to a capsule."""
        px, py, dx, dy = self.x - x0, self.y - y0, x1 - x0, y1 - y0
        t = np.clip((px * dx + py * dy) / (dx * dx + dy * dy), 0, 1)
        return np.hypot(px - t * dx, py - t * dy) - radius

    def ring(self, x: float, y: float, radius: float, half_width: float) -> Field:
        """Distance to an annulus."""
        return np.abs(self.circle(x, y, radius)) - half_width

    def polygon(self, points: Sequence[tuple[float, float]]) -> Field:
        """Exact distance to a polygon, convex or not."""
        distance = np.full_like(self.x, np.inf)
        inside = np.zeros(self.x.shape, dtype=bool)
        for (x0, y0), (x1, y1) in zip(points, [*points[1:], points[0]], strict=True):
            distance = np.minimum(distance, self.line(x0, y0, x1, y1, 0.0))
            if y0 != y1:
                crosses = (y0 > self.y) != (y1 > self.y)
                inside ^= crosses & (self.x < (x1 - x0) * (self.y - y0) / (y1 - y0) + x0)
        return np.where(inside, -distance, distance)

    def _local(self, x: float, y: float, turn: float) -> tuple[Field, Field]:
        cos, sin = np.cos(turn), np.sin(turn)
        u, v = self.x - x, self.y - y
        return cos * u + sin * v, cos * v - sin * u


def union(*fields: Field) -> Field:
    """Signed distance to the union of figures: exact outside, nearer to zero than the truth deep inside."""
    return np.asarray(np.minimum.reduce(fields))


def minus(field: Field, *holes: Field) -> Field:
    """A figure with the holes cut out: the right sign everywhere, a lower bound of the distance outside."""
    return np.asarray(np.maximum.reduce([field, *(-hole for hole in holes)]))


def meet(*fields: Field) -> Field:
    """The intersection of figures: the right sign everywhere, a lower bound of the distance outside."""
    return np.asarray(np.maximum.reduce(fields))

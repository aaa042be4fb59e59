"""Distances against the nearest of many points on the edge, signs against plain predicates."""

import numpy as np
import pytest
from matplotlib.path import Path as MplPath
from scipy.spatial import cKDTree

from lightning_robust.data.scenes.distance import Canvas, meet, minus, union

CANVAS = Canvas(24, 1.3)
POINTS = np.stack((CANVAS.x.ravel(), CANVAS.y.ravel()), axis=1)
T = np.linspace(0, 1, 4000)
ANGLES = 2 * np.pi * T


def to_edge(edge):
    """Distance of each point of the canvas to the nearest of the points `(m, 2)`."""
    return cKDTree(edge).query(POINTS)[0].reshape(CANVAS.x.shape)


def segments(corners):
    ends = zip(corners, [*corners[1:], corners[0]], strict=True)
    return np.concatenate([np.array(a) + T[:, None] * (np.array(b) - np.array(a)) for a, b in ends])


def placed(local, x, y, turn):
    """Points of a figure's own frame, turned from x towards y and moved."""
    cos, sin = np.cos(turn), np.sin(turn)
    return local @ np.array([[cos, sin], [-sin, cos]]) + [x, y]


def local_frame(x, y, turn):
    """The canvas in a figure's own frame."""
    moved = POINTS - [x, y]
    cos, sin = np.cos(turn), np.sin(turn)
    u, v = moved @ [cos, sin], moved @ [-sin, cos]
    return u.reshape(CANVAS.x.shape), v.reshape(CANVAS.x.shape)


def test_canvas_runs_right_and_down_between_its_extents():
    canvas = Canvas(4, 2.0)
    np.testing.assert_allclose(canvas.x[0], [-1.5, -0.5, 0.5, 1.5])
    np.testing.assert_allclose(canvas.y[:, 0], [-1.5, -0.5, 0.5, 1.5])


def test_circle_and_ring():
    edge = np.stack((0.2 + 0.5 * np.cos(ANGLES), -0.1 + 0.5 * np.sin(ANGLES)), axis=1)
    inside = (CANVAS.x - 0.2) ** 2 + (CANVAS.y + 0.1) ** 2 < 0.25
    np.testing.assert_allclose(
        CANVAS.circle(0.2, -0.1, 0.5), np.where(inside, -1, 1) * to_edge(edge), rtol=0, atol=1e-3
    )
    edges = [np.stack((r * np.cos(ANGLES), r * np.sin(ANGLES)), axis=1) for r in (0.5, 0.7)]
    radius = np.hypot(CANVAS.x, CANVAS.y)
    sign = np.where((radius > 0.5) & (radius < 0.7), -1, 1)
    np.testing.assert_allclose(CANVAS.ring(0, 0, 0.6, 0.1), sign * to_edge(np.concatenate(edges)), rtol=0, atol=1e-3)


@pytest.mark.parametrize("turn", [0.0, 0.6, -1.2])
def test_box(turn):
    corners = [(-0.6, -0.3), (0.6, -0.3), (0.6, 0.3), (-0.6, 0.3)]
    u, v = local_frame(0.1, -0.2, turn)
    sign = np.where((abs(u) < 0.6) & (abs(v) < 0.3), -1, 1)
    expected = sign * to_edge(placed(segments(corners), 0.1, -0.2, turn))
    np.testing.assert_allclose(CANVAS.box(0.1, -0.2, 0.6, 0.3, turn), expected, rtol=0, atol=1e-3)


def test_rounded_box_is_a_smaller_box_grown():
    arcs = [(s * 0.4 + 0.2 * np.cos(ANGLES), t * 0.1 + 0.2 * np.sin(ANGLES)) for s in (-1, 1) for t in (-1, 1)]
    arcs = np.concatenate([np.stack(arc, axis=1) for arc in arcs])
    sides = segments([(-0.4, -0.3), (0.4, -0.3)]), segments([(-0.4, 0.3), (0.4, 0.3)])
    uprights = segments([(-0.6, -0.1), (-0.6, 0.1)]), segments([(0.6, -0.1), (0.6, 0.1)])
    inner = np.hypot(np.maximum(abs(arcs[:, 0]) - 0.4, 0), np.maximum(abs(arcs[:, 1]) - 0.1, 0))
    edge = np.concatenate([arcs[inner > 0.2 - 1e-9], *sides, *uprights])  # arcs reach inside the figure too
    over = np.hypot(np.maximum(abs(CANVAS.x) - 0.4, 0), np.maximum(abs(CANVAS.y) - 0.1, 0))
    expected = np.where(over < 0.2, -1, 1) * to_edge(edge)
    np.testing.assert_allclose(CANVAS.box(0, 0, 0.6, 0.3, corner=0.2), expected, rtol=0, atol=1e-3)


def test_line_is_a_capsule():
    spine = np.array([-0.5, 0.3]) + T[:, None] * np.array([1.1, -0.7])
    np.testing.assert_allclose(CANVAS.line(-0.5, 0.3, 0.6, -0.4, 0.15), to_edge(spine) - 0.15, rtol=0, atol=1e-3)


POLYGONS = {
    "triangle": [(-0.8, 0.6), (0.7, 0.5), (0.1, -0.9)],
    "arrow": [(-0.9, -0.7), (0.8, 0.0), (-0.9, 0.7), (-0.3, 0.0)],
    "turned the other way": [(0.1, -0.9), (0.7, 0.5), (-0.8, 0.6)],
}


@pytest.mark.parametrize("corners", POLYGONS.values(), ids=POLYGONS)
def test_polygon_convex_or_not(corners):
    inside = MplPath(corners).contains_points(POINTS).reshape(CANVAS.x.shape)
    expected = np.where(inside, -1, 1) * to_edge(segments(corners))
    np.testing.assert_allclose(CANVAS.polygon(corners), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("turn", [0.0, 0.8])
def test_ellipse_has_the_right_sign_and_is_first_order_near_its_edge(turn):
    edge = placed(np.stack((0.8 * np.cos(ANGLES), 0.4 * np.sin(ANGLES)), axis=1), 0.1, -0.1, turn)
    u, v = local_frame(0.1, -0.1, turn)
    inside = (u / 0.8) ** 2 + (v / 0.4) ** 2 < 1
    got, true = CANVAS.ellipse(0.1, -0.1, 0.8, 0.4, turn), to_edge(edge)
    np.testing.assert_array_equal(got < 0, inside)
    assert (abs(abs(got) - true) <= 8 * true**2 + 1e-3).all()  # the sharpest curvature is 0.8 / 0.4² = 5
    assert got.min() >= -0.8


def test_ellipse_at_its_centre_is_finite():
    canvas = Canvas(3, 1.0)  # one point lies at the centre exactly
    assert canvas.ellipse(0, 0, 0.8, 0.4)[1, 1] == -0.4


def test_set_operations_have_the_sign_of_the_sets():
    a, b = CANVAS.circle(-0.3, 0, 0.5), CANVAS.box(0.3, 0.1, 0.5, 0.3)
    np.testing.assert_array_equal(union(a, b) < 0, (a < 0) | (b < 0))
    np.testing.assert_array_equal(meet(a, b) < 0, (a < 0) & (b < 0))
    np.testing.assert_array_equal(minus(a, b) < 0, (a < 0) & (b > 0))
    np.testing.assert_array_equal(minus(a, b, -a), meet(a, -b))


def test_union_is_exact_outside_and_the_others_are_lower_bounds_there():
    a, b = CANVAS.circle(-0.3, 0, 0.5), CANVAS.circle(0.3, 0, 0.5)
    fine = Canvas(400, 1.3)
    fine_a, fine_b = fine.circle(-0.3, 0, 0.5), fine.circle(0.3, 0, 0.5)
    cases = {
        "union": (union(a, b), union(fine_a, fine_b)),
        "meet": (meet(a, b), meet(fine_a, fine_b)),
        "minus": (minus(a, b), minus(fine_a, fine_b)),
    }
    for name, (got, filled) in cases.items():
        true = to_edge(np.stack((fine.x[filled <= 0], fine.y[filled <= 0]), axis=1))
        outside = got > 0
        assert (got[outside] <= true[outside] + 1e-9).all(), name
        if name == "union":
            np.testing.assert_allclose(got[outside], true[outside], rtol=0, atol=0.01)

"""The values drawn are those given."""

import matplotlib.image
import numpy as np
import pytest

from lightning_robust.callbacks.figures import rank_curve


def drawn(figure):
    (axes,) = figure.axes
    return axes, {line.get_label(): line for line in axes.lines}


def test_now_and_before_are_drawn_by_rank():
    now, before = [9.0, 1.0, 0.25], [4.0, 2.0]
    axes, lines = drawn(rank_curve("spectrum/fc/eigenvalues", now, before, "after epoch 2, step 6"))
    assert set(lines) == {"after epoch 2, step 6", "before training"}
    for label, values in (("after epoch 2, step 6", now), ("before training", before)):
        x, y = lines[label].get_data()
        np.testing.assert_array_equal(x, range(1, len(values) + 1))
        np.testing.assert_array_equal(y, values)
    assert axes.get_title() == "spectrum/fc/eigenvalues"
    assert axes.get_xlabel() == "rank"
    assert axes.get_yscale() == "log"
    assert {text.get_text() for text in axes.get_legend().get_texts()} == set(lines)


def test_before_training_there_is_one_curve():
    _, lines = drawn(rank_curve("a", [1.0, 0.5], None, "before training"))
    assert len(lines) == 1


@pytest.mark.parametrize("values", [[0.0, 0.0], [2.0, 0.0], [float("nan")] * 2, [float("inf"), 1.0]], ids=str)
def test_curves_that_a_logarithm_does_not_like_are_drawn_all_the_same(values, tmp_path):
    figure = rank_curve("a", values, None, "now")
    figure.savefig(tmp_path / "a.png")
    assert matplotlib.image.imread(tmp_path / "a.png").std() > 0

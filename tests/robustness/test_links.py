"""Scales: scipy's functions, inverses, ends, clipping and refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from lightning_robust.robustness.links import LINKS, clip_accuracy, link_named

P = np.concatenate([[1e-9, 1e-6], np.linspace(0.001, 0.999, 101), [1 - 1e-6, 1 - 1e-9]])


def test_logit_is_scipys():
    np.testing.assert_allclose(LINKS["logit"].forward(P), special.logit(P), rtol=1e-12, atol=1e-14)
    z = np.linspace(-700, 700, 301)
    np.testing.assert_allclose(LINKS["logit"].inverse(z), special.expit(z), rtol=1e-12, atol=1e-16)


def test_probit_is_scipys():
    np.testing.assert_allclose(LINKS["probit"].forward(P), stats.norm.ppf(P), rtol=1e-9, atol=1e-12)
    z = np.linspace(-8, 8, 201)
    np.testing.assert_allclose(LINKS["probit"].inverse(z), stats.norm.cdf(z), rtol=1e-10)


def test_linear_is_accuracy_itself():
    np.testing.assert_array_equal(LINKS["linear"].forward(P), P)
    np.testing.assert_array_equal(LINKS["linear"].inverse(P), P)


@pytest.mark.parametrize("name", LINKS)
@given(p=st.floats(1e-6, 1 - 1e-6))
def test_inverse_and_monotone(name, p):
    link = LINKS[name]
    assert link.inverse(link.forward(np.array(p))) == pytest.approx(p, rel=1e-9)
    assert link.forward(np.array(min(p * 1.01, 1 - 1e-7))) > link.forward(np.array(p * 0.999))


@pytest.mark.parametrize("name", LINKS)
def test_shapes_are_kept(name):
    values = np.full((2, 3, 4), 0.25)
    assert LINKS[name].forward(values).shape == LINKS[name].inverse(values).shape == (2, 3, 4)


def test_clip_leaves_what_images_can_give():
    n = 7500
    assert clip_accuracy(np.array([0.0, 1 / n, 1 - 1 / n, 1.0]), n).tolist() == [
        1 / 15000,
        1 / n,
        1 - 1 / n,
        1 - 1 / 15000,
    ]
    assert clip_accuracy(0.0, 1) == 0.5


def test_refusals():
    with pytest.raises(ValueError, match="n = 0"):
        clip_accuracy(0.5, 0)
    with pytest.raises(ValueError, match="logit, probit, linear, got 'log'"):
        link_named("log")

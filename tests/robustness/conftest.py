"""Fixtures of this room's tests."""

import jaxtyping
import pytest


@pytest.fixture
def unchecked_shapes():
    """What a user sees: jaxtyping checks types under pytest only, the function's own check comes after."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)

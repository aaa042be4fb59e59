"""One tree of everything, built once, in the layouts that the sets are unpacked in."""

import imagenet_trees
import pytest


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """Train with two images of each class, everything else with one; never written to."""
    return imagenet_trees.everything(tmp_path_factory.mktemp("imagenet"))

"""Every test has a cache of its own."""

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty folder in which rendered images are kept."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("LIGHTNING_ROBUST_CACHE", str(folder))
    return folder

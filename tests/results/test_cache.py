"""Where the cache lies."""

from lightning_robust.results import cache_folder


def test_where_the_cache_lies(monkeypatch, tmp_path):
    monkeypatch.setenv("LIGHTNING_ROBUST_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("LIGHTNING_ROBUST_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "lightning-robust"
    monkeypatch.setenv("HOME", str(tmp_path))
    for empty in (lambda: monkeypatch.setenv("XDG_CACHE_HOME", ""), lambda: monkeypatch.delenv("XDG_CACHE_HOME")):
        empty()
        assert cache_folder() == tmp_path / ".cache" / "lightning-robust"

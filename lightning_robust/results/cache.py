"""Where things are kept that can be made again: rendered images, findings of concept sets, zero-shot heads."""

import os
from pathlib import Path

__all__ = ["cache_folder"]


def cache_folder() -> Path:
    """Give the cache folder: `$LIGHTNING_ROBUST_CACHE`, else `lightning-robust` in the user's cache folder.

    Returns:
        Its path; it need not exist, and nothing in it is ever needed: what is missing or damaged is made again.

    Example:
        >>> cache_folder().is_absolute() or "LIGHTNING_ROBUST_CACHE" in os.environ or "XDG_CACHE_HOME" in os.environ
        True
    """
    if own := os.environ.get("LIGHTNING_ROBUST_CACHE"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "lightning-robust"

"""Finetune or pretrain CLIP models and watch the signatures of robustness change while they train.

The rooms, from the bottom up: ``results`` (records), ``data``, ``models`` and ``signatures`` (images, encoders,
measurements), ``robustness`` (numbers about numbers), ``training``, ``callbacks`` and ``report``, ``cli``.
Importing this package imports none of them, and no torch.
"""

from pathlib import Path

__all__ = ["__version__"]

__version__ = "0.1.0"  # the one place of truth: pyproject.toml reads it from here

# Installed, ``callbacks/``, ``configs/`` and ``checkpoints/`` are mapped into this package (pyproject.toml). In a
# clone that is not installed they lie beside it, so the repository root is one more place to look for subpackages.
_ROOT = Path(__file__).resolve().parent.parent
if (_ROOT / "callbacks" / "__init__.py").is_file() and (_ROOT / "pyproject.toml").is_file():
    __path__.append(str(_ROOT))

"""Under pytest shapes and types are checked, in whichever process a test runs."""

import jaxtyping
import pytest
import torch

from lightning_robust.robustness.alpha import choose_alpha
from lightning_robust.signatures.rows import finite_rows


def test_signatures():
    with pytest.raises(jaxtyping.TypeCheckError):
        finite_rows("no tensor")


def test_robustness():
    with pytest.raises(jaxtyping.TypeCheckError):
        choose_alpha(torch.zeros(4), (0.0,))

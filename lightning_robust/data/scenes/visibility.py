"""Which attributes can be seen in which style: the others are left out of captions and unknown as concepts."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from lightning_robust.data.scenes.draws import Ints
from lightning_robust.data.scenes.vocabulary import STYLES

#: Styles that hide an attribute; attributes not named here are visible in all of them.
HIDDEN_IN: Final = {
    "colour": ("sketch", "silhouette", "negative"),
    "texture": ("sketch", "silhouette", "neon"),
    "scene": ("sketch", "cartoon", "silhouette", "neon"),
    "part": ("silhouette",),
}


def is_visible(attribute: str, style: Ints) -> NDArray[np.bool_]:
    """Whether an attribute can be seen in images of the given styles, shape `(n,)`."""
    hidden = [STYLES.index(name) for name in HIDDEN_IN.get(attribute, ())]
    return ~np.isin(style, hidden)

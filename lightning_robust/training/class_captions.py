"""Captions of labelled images: a template with the class name in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


class ClassCaptions:
    """Tokens of every template with every class name, and draws among them.

    Args:
        tokenizer: From a list of n texts to a LongTensor `(n, context length)`.
        class_names: The C classes, in the order of the labels.
        templates: The T templates, with `{}` where the name goes.

    Example:
        >>> letters = lambda texts: torch.tensor([[len(text)] for text in texts])
        >>> ClassCaptions(letters, ["cat", "horse"], ["a {}"]).draw(torch.tensor([1, 0]), seed=0).tolist()
        [[7], [5]]
    """

    def __init__(
        self, tokenizer: Callable[[list[str]], Tensor], class_names: Sequence[str], templates: Sequence[str]
    ) -> None:
        texts = [[t.replace("{}", name).replace("{c}", name) for t in templates] for name in class_names]
        #: `(C, T, context length)`.
        self.tokens = torch.stack([tokenizer(of_class) for of_class in texts])

    def draw(self, targets: Tensor, seed: int, *place: int) -> Tensor:
        """One caption for each image, its template a function of the seed and the place alone.

        Args:
            targets: Classes, `(n,)`.
            seed: Of the draws.
            *place: Where in the run: epoch, batch, process.

        Returns:
            Tokens `(n, context length)`, on the device of the targets.
        """
        state = seed
        for number in place:
            state = (state * 1_000_003 + number + 1) % (1 << 63)
        generator = torch.Generator().manual_seed(state)
        which = torch.randint(self.tokens.shape[1], (len(targets),), generator=generator)
        self.tokens = self.tokens.to(targets.device)
        return self.tokens[targets, which.to(targets.device)]

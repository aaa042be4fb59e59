"""Optimiser steps at equal distances on a logarithmic axis."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, takewhile

from lightning_robust.errors import UserError


@dataclass(frozen=True)
class LogSpaced:
    """Step 0 and the rounded `first · 2^(k / per_octave)`, without end; or the steps that are given.

    Attributes:
        per_octave: Steps from each power of two to the next.
        first: The first step after 0.
        given: These steps instead, increasing; None for the spaced ones.

    Raises:
        UserError: For steps that cannot be, or a setting without effect.

    Example:
        >>> LogSpaced(per_octave=2).up_to(50)
        [0, 1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 50]
    """

    per_octave: int = 2
    first: int = 1
    given: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.per_octave < 1 or self.first < 1:
            raise UserError(f"per_octave and first are 1 or more, got {self.per_octave} and {self.first}")
        if self.given is None:
            return
        if not self.given or self.given[0] < 0:
            raise UserError(f"steps names at least one optimiser step, each 0 or more; got {list(self.given)}")
        if (self.per_octave, self.first) != (2, 1):
            raise UserError("per_octave and first have no effect with steps=: leave them out")

    def __iter__(self) -> Iterator[int]:
        """The steps without a run's last one, in order; some twice."""
        if self.given is not None:
            yield from self.given
            return
        yield 0
        for k in count():
            yield round(self.first * 2 ** (k / self.per_octave))

    @property
    def begins_at_zero(self) -> bool:
        """Whether the first step is before training."""
        return next(iter(self)) == 0

    def up_to(self, last: int) -> list[int]:
        """The steps of a run.

        Args:
            last: Its last step.
        """
        return sorted({*takewhile(lambda step: step <= last, self), last})

    def is_due(self, since: int, now: int) -> bool:
        """Whether a step lies after one and not after another.

        Args:
            since: Before it.
            now: It, or after it.
        """
        return any(step > since for step in takewhile(lambda step: step <= now, self))

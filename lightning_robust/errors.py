"""The error for bad input, below every room so that all of them can raise it."""

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["UserError", "from_user"]


class UserError(Exception):
    """Something that the user typed or pointed at does not work, and the message says in one sentence what would.

    The command line prints the message without a traceback and exits with status 2. Everything else that is raised
    keeps its traceback unless it is a plain refusal by this package (``cli/refusals.py``).

    Example:
        >>> raise UserError("no encoder named 'RN5': did you mean 'RN50'?")
        Traceback (most recent call last):
        lightning_robust.errors.UserError: no encoder named 'RN5': did you mean 'RN50'?
    """


@contextmanager
def from_user(*kinds: type[Exception]) -> Iterator[None]:
    """Turn errors of the given kinds inside the block into `UserError`, for calls that are handed user input.

    Keep the block as small as the one call that judges the input: a bug inside it would lose its traceback.

    Args:
        *kinds: exception classes to turn, for example ``ValueError``.

    Raises:
        UserError: with the message of the error that was turned, which stays its ``__cause__``.

    Example:
        >>> with from_user(ValueError):
        ...     raise ValueError("alpha must lie in [0, 1], got 2")
        Traceback (most recent call last):
        lightning_robust.errors.UserError: alpha must lie in [0, 1], got 2
    """
    try:
        yield
    except kinds as error:
        raise UserError(str(error)) from error

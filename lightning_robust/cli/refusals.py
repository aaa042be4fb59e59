"""Which exceptions are a plain word to the user, and which are bugs that must keep their traceback."""

import dis
import errno
from types import TracebackType

from lightning_robust.errors import UserError

__all__ = ["refusal"]


def refusal(error: BaseException) -> str | None:
    """The sentence to print for an error that is the user's to mend, or None for a bug.

    A refusal is a `UserError`, a missing permission, a name that no file can have, or a ``ValueError``, ``TypeError``
    or ``OSError`` that one of this package's own ``raise`` statements raised: those carry a sentence that names the
    value and what would work.
    The same kinds from anywhere else (``int("x")``, a tensor of the wrong shape, a library) are bugs.

    Args:
        error: a caught exception, with its traceback.

    Example:
        >>> refusal(UserError("no config named 'fin'"))
        "no config named 'fin'"
        >>> refusal(ValueError("too many values to unpack")) is None
        True
    """
    if isinstance(error, PermissionError) and error.filename is not None:
        return f"no permission to read or write {error.filename}"
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        name = str(error.filename)
        return f"no file can be called {name[:40]}…: its name has {len(name)} characters, and 255 are the most"
    is_ours = isinstance(error, ValueError | TypeError | OSError) and _raised_here(error.__traceback__)
    if isinstance(error, UserError) or is_ours:
        return " ".join(str(error).split())
    return None


def _raised_here(traceback: TracebackType | None) -> bool:
    """Whether the innermost frame belongs to this package and stands at a ``raise`` statement."""
    if traceback is None:
        return False
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    frame = traceback.tb_frame
    module = str(frame.f_globals.get("__name__", ""))
    instruction = dis.opname[frame.f_code.co_code[traceback.tb_lasti]]
    return module.split(".")[0] == "lightning_robust" and instruction == "RAISE_VARARGS"

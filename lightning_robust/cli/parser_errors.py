"""One sentence out of what the configuration parser says, which is a tree of everything that it tried."""

import argparse
import re

from lightning_robust.cli.refusals import refusal
from lightning_robust.errors import UserError

_KEY = re.compile(r'Parser key "([^"]+)"')
_VALUE = re.compile(r"Given value: (.+)")
_NESTED = re.compile(r"NestedArg\(key='([^']+)', val=(.+)\)")
_BULLET = re.compile(r"^\s*- (.+?)\s*$", re.MULTILINE)


def user_error(error: BaseException) -> UserError | None:
    """The user's mistake behind an error of LightningCLI, or None if it is a bug.

    Args:
        error: What parsing or instantiation raised. The parser wraps what a constructor raised, so its causes are
            looked through for a sentence of this package first.

    Example:
        >>> str(user_error(argparse.ArgumentError(None, "unrecognized arguments: --modell 1")))
        'unrecognized arguments: --modell 1 (see: fit --help)'
    """
    cause: BaseException | None = error
    while cause is not None:
        if (sentence := refusal(cause)) is not None:
            return UserError(sentence)
        cause = cause.__cause__
    if isinstance(error, argparse.ArgumentError):
        return UserError(_condensed(str(error)))
    return None


def _condensed(text: str) -> str:
    key, value = _KEY.search(text), _VALUE.search(text)
    problems = [_plain(problem) for problem in _BULLET.findall(text)]
    problems = [problem for problem in problems if "NoneType" not in problem] or problems
    if not problems:
        return f"{' '.join(text.split())} (see: fit --help)"
    wrapped = re.search(r"Problem with given class_path '([^']+)':\s*(.+)", text)
    reason = f"{wrapped.group(1)}: {wrapped.group(2).strip()}" if wrapped else problems[0]
    given = value.group(1).strip() if value else ""
    nested = _NESTED.search(given)
    if nested:
        given = f"{nested.group(1)}={nested.group(2)}"
    where = f"{key.group(1)}: " if key else ""
    got = f"; got {given}" if given and len(given) < 120 else ""
    return f"{where}{reason}{got} (see: fit --help)"


def _plain(problem: str) -> str:
    return re.sub(r"^Expected", "expected", re.sub(r"(?:a )?<class '([^']+)'>", r"\1", problem))

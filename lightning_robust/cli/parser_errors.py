"""One sentence out of what the configuration parser says, which is a tree of everything that it tried."""

import argparse
import re

from lightning_robust.cli.refusals import refusal
from lightning_robust.errors import UserError

_KEY = re.compile(r'\s*Parser key "([^"]+)":')
_PROBLEM = re.compile(r"^( *)- Problem with given class_path '([^']+)':\n", re.MULTILINE)
_EXPECTED = re.compile(r"^\s*(?:- )?Expected (.+?)(?:\. Got value: (.+))?$", re.MULTILINE)
_VALUE = re.compile(r"^\s*Given value: (.+)$", re.MULTILINE)
_NESTED = re.compile(r"NestedArg\(key='([^']+)', val=(.+)\)")
_LITERAL = re.compile(r"a typing\.Literal\[(.+)\]")
_NO_HELP = ("a path but ", "a <class 'NoneType'>")
"""What is expected of a config's file, or where a setting is left out."""
_LONGEST = 120
"""Characters of a value that a sentence repeats."""


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
    where, found = _innermost(text)
    expected = [match for match in _EXPECTED.finditer(found) if not match.group(1).startswith(_NO_HELP)]
    if expected:
        names = list(dict.fromkeys(name for match in expected for name in _plain(match.group(1))))
        reason = "expected " + " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    else:
        reason = " ".join(found.split())
    values = [match.group(2) for match in expected if match.group(2)]
    given = [match.group(1).strip() for match in _VALUE.finditer(found)] or values or [_nested(text)]
    got = f"; got {given[-1]}" if given[-1] and len(given[-1]) < _LONGEST else ""
    return f"{''.join(f'{name}: ' for name in where)}{reason}{got} (see: fit --help)"


def _innermost(text: str) -> tuple[list[str], str]:
    """Keys and classes from the outermost inwards, and what is said of the last."""
    where: list[str] = []
    while key := _KEY.match(text):
        where.append(key.group(1))
        text = text[key.end() :]
        if problem := _PROBLEM.search(text):
            where.append(problem.group(2))
            deeper = re.match(rf"(?:{problem.group(1)}   .*(?:\n|$)| *\n)*", text[problem.end() :])
            text = deeper.group() if deeper else ""
    return where, text


def _nested(text: str) -> str:
    """The setting inside a class that the whole is about, with its value."""
    nested = _NESTED.search(text)
    return f"{nested.group(1)}={nested.group(2)}" if nested else ""


def _plain(expected: str) -> list[str]:
    """A type in words, or the values that it allows."""
    literal = _LITERAL.fullmatch(expected)
    return literal.group(1).split(", ") if literal else [re.sub(r"(?:a )?<class '([^']+)'>", r"\1", expected)]

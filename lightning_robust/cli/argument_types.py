"""Types of command-line arguments that several commands share, without torch."""

import argparse
from typing import Final

LARGEST_SEED: Final = 2**63 - 1
"""The largest seed: what torch and numpy both take, and what fits 64 bits with a sign."""


def positive(text: str) -> int:
    """A whole number of at least 1.

    Args:
        text: What was typed.

    Raises:
        argparse.ArgumentTypeError: If it is none.
    """
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return number


def not_negative(text: str) -> int:
    """A whole number of at least 0.

    Args:
        text: What was typed.

    Raises:
        argparse.ArgumentTypeError: If it is none.
    """
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def seed(text: str) -> int:
    """A seed: a whole number from 0 to 2**63 - 1.

    Args:
        text: What was typed.

    Raises:
        argparse.ArgumentTypeError: If it is none.
    """
    number = int(text) if text.isdecimal() and len(text) < 40 else -1
    if not 0 <= number <= LARGEST_SEED:
        raise argparse.ArgumentTypeError(f"{text!r} is not a seed: a whole number from 0 to 2**63 - 1")
    return number

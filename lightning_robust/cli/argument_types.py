"""Types of command-line arguments that several commands share, without torch."""

import argparse


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

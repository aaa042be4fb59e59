"""Class names from a file of a line each."""

from pathlib import Path

from lightning_robust.errors import UserError

__all__ = ["class_names_in"]


def class_names_in(file: Path) -> list[str]:
    """The lines of a file that are not empty.

    Args:
        file: One class name on each line.

    Raises:
        UserError: If it cannot be read, or holds none.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the class names in {file}: {error}") from error
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise UserError(f"{file} holds no class names: one on each line")
    return names

"""`show`: pictures of what the project works on."""

import argparse

from lightning_robust.data.scenes.sheet import write_contact_sheet
from lightning_robust.errors import UserError


def run(args: argparse.Namespace) -> int:
    """Write the contact sheet of the scenes world.

    Raises:
        UserError: If the file cannot be written.
    """
    if args.out.suffix.lower() != ".png":
        raise UserError(f"the contact sheet is a PNG: give --out a name that ends in .png, not {args.out}")
    try:
        write_contact_sheet(args.out)
    except OSError as error:
        raise UserError(f"cannot write {args.out}: {error.strerror or error}") from error
    print(f"One row for each distribution of the scenes world: {args.out}")
    return 0

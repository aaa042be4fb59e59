"""`compress`: one model at several sizes, low rank beside its rivals, and what each keeps of accuracy."""

import argparse
from collections.abc import Sequence

from lightning_robust.cli.run_folder import refuse_unwritable
from lightning_robust.errors import UserError

__all__ = ["run"]

COMMAND = "compress"


def run(args: argparse.Namespace) -> int:
    """Compress one model, judge every version of it in one pass over the images, and print what came out.

    Raises:
        UserError: For a model, data or a setting that cannot be had, before any image is read.
    """
    refuse_unwritable(COMMAND, args.run_name)
    _check_keep(args.keep)
    # what is refused above needs no torch, whose import takes seconds
    from lightning_robust.cli.compress_steps import Compression
    from lightning_robust.cli.opened_evaluation import open_evaluation
    from lightning_robust.cli.processes import processes
    from lightning_robust.cli.warnings_at_the_end import warnings_at_the_end

    with processes() as here, warnings_at_the_end(here):
        Compression(open_evaluation(args, here)).run()
    return 0


def _check_keep(keep: Sequence[float]) -> None:
    for share in keep:
        if keep.count(share) > 1:
            raise UserError(f"--keep names {share:g} twice: name each share once")

"""The project's own commands: name, help and arguments, without what they compute.

Each entry names a module of this room with a function ``run(args) -> int``. It is imported when the command runs and
not before, so that help and version answer without torch.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lightning_robust.cli.ablate_arguments import add_ablate
from lightning_robust.cli.check_data_arguments import add_check_data
from lightning_robust.cli.compress_arguments import add_compress
from lightning_robust.cli.diagnose_arguments import add_diagnose
from lightning_robust.cli.emergence_arguments import add_emergence
from lightning_robust.cli.evaluate_arguments import add_evaluate
from lightning_robust.cli.fit_baseline_arguments import add_fit_baseline, add_show_baseline
from lightning_robust.cli.interpolate_arguments import add_interpolate, add_soup
from lightning_robust.cli.probe_arguments import add_probe
from lightning_robust.cli.prune_arguments import add_prune
from lightning_robust.cli.report_arguments import add_report
from lightning_robust.cli.study_arguments import add_study

__all__ = ["LIGHTNING_COMMANDS", "OWN_COMMANDS", "Command"]

LIGHTNING_COMMANDS = {
    "fit": "train a model, with the callbacks of its config",
    "validate": "evaluate on the validation loaders",
    "test": "evaluate on the test loaders",
}
"""The commands that LightningCLI parses: they are methods of its Trainer. ``cli/fit.py`` runs them."""


@dataclass(frozen=True)
class Command:
    """One of the project's own commands.

    Attributes:
        name: what the user types.
        summary: one line for the list of commands.
        module: module of this room whose ``run(args)`` does it.
        add_arguments: adds its arguments to its parser.
    """

    name: str
    summary: str
    module: str
    add_arguments: Callable[[argparse.ArgumentParser], None]


def _show(parser: argparse.ArgumentParser) -> None:
    what = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    data = what.add_parser(
        "data",
        help="a contact sheet of every distribution of the scenes world",
        description="Write a contact sheet: a row of images of every distribution of the scenes world.",
    )
    data.add_argument(
        "--out",
        type=Path,
        default=Path("scenes.png"),
        metavar="FILE",
        help="the PNG file to write (default: %(default)s)",
    )

    run = what.add_parser(
        "run",
        help="the table and the picture of a finished run, from its files alone",
        description="Print the table of a finished run again and draw its curves again, from its files alone.",
    )
    run.add_argument("folder", type=Path, metavar="FOLDER", help="the run's folder, checkpoints/<config>/<run>")

    baseline = what.add_parser(
        "baseline",
        help="the lines of standard models that effective robustness is measured from",
        description="Print the lines of a baseline; with --zoo, what published zero-shot models reach above them.",
    )
    add_show_baseline(baseline)


OWN_COMMANDS = (
    Command("evaluate", "accuracy on a reference and its shifts, and effective robustness", "evaluate", add_evaluate),
    Command(
        "interpolate", "the weights between two checkpoints, one file for each alpha", "interpolate", add_interpolate
    ),
    Command("soup", "one model from the weights of several", "soup", add_soup),
    Command("check-data", "count ImageNet and its shifts against what is published", "check_data", add_check_data),
    Command("fit-baseline", "a baseline of your own from evaluated standard models", "fit_baseline", add_fit_baseline),
    Command("probe", "every signature of a model, of several, or of a run's step checkpoints", "probe", add_probe),
    Command("compress", "one network at several sizes, and what each keeps of accuracy", "compress", add_compress),
    Command("prune", "directions of the head's input pruned, beside every control", "prune", add_prune),
    Command("ablate", "what outlier features and privileged directions do: take them away", "ablate", add_ablate),
    Command("emergence", "pretrainings side by side: when robustness and signatures rise", "emergence", add_emergence),
    Command("study", "many models measured the same way, and one table of them", "study", add_study),
    Command("diagnose", "robustness predicted from reference images alone", "diagnose", add_diagnose),
    Command("report", "one HTML page of everything that was measured on a model", "report", add_report),
    Command("show", "look at the data, a finished run, or a baseline", "show", _show),
)

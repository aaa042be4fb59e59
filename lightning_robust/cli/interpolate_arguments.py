"""The arguments of `interpolate` and `soup`, without torch."""

import argparse
from pathlib import Path

from lightning_robust.cli.argument_types import positive, seed

DTYPES = ("float64", "float32", "bfloat16", "float16")
FILE_FORMS = (
    "safetensors, a saved state dict, a Lightning checkpoint, or a checkpoint of open_clip's training; the head beside "
    "a file of Wise-FT comes along"
)


def add_interpolate(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `interpolate`.

    Args:
        parser: Its parser.
    """
    parser.add_argument("--start", type=Path, required=True, metavar="FILE", help=f"weights at alpha = 0: {FILE_FORMS}")
    parser.add_argument(
        "--end", type=Path, required=True, metavar="FILE", help="weights at alpha = 1, of the same model"
    )
    parser.add_argument(
        "--alphas",
        type=float,
        nargs="+",
        metavar="A",
        default=[k / 10 for k in range(11)],
        help="positions on the path, in [0, 1] (default: 0, 0.1, … 1)",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="folder for alpha=….safetensors and path.json"
    )
    parser.add_argument(
        "--recalibrate",
        action="store_true",
        help="between the ends, take the statistics of batch norms anew over training images of --data",
    )
    _add_output(parser)
    _add_images(parser, "training images for --recalibrate", most=2000)


def add_soup(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `soup`.

    Args:
        parser: Its parser.
    """
    parser.add_argument(
        "files", type=Path, nargs="+", metavar="FILE", help=f"two or more models of one kind: {FILE_FORMS}"
    )
    parser.add_argument(
        "--method",
        choices=("uniform", "greedy", "fisher"),
        default="uniform",
        help="uniform: the mean; greedy: best first, each is kept that does not lower the accuracy on validation "
        "images of the reference; fisher: each value weighted with its Fisher information (default: %(default)s)",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="….safetensors to write, with ….json beside it"
    )
    parser.add_argument(
        "--labels",
        choices=("sampled", "expected", "given"),
        help="of the Fisher information: one label drawn from the model for each image, the expectation over all "
        "classes, or the images' own labels (default: sampled)",
    )
    _add_output(parser)
    _add_images(parser, "images for greedy (validation, of the reference) and fisher (training)", most=None)


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dtype", choices=DTYPES, help="write floating-point weights in this type (default: that of the files)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what an earlier call wrote there")


def _add_images(parser: argparse.ArgumentParser, what: str, most: int | None) -> None:
    parser.add_argument(
        "--data",
        metavar="DATA",
        help=f"{what}: scenes, imagenet:FOLDER, or a config whose data section names a data module",
    )
    parser.add_argument(
        "--encoder",
        metavar="NAME",
        help="architecture of the files, as load_encoder takes it: scenes-clip, local-dir:FOLDER, an architecture of "
        "open_clip (default: what the config of the files' run says)",
    )
    default = f"{most}" if most else "all; 1000 for fisher"
    parser.add_argument("--max_images", type=positive, metavar="N", help=f"at most so many (default: {default})")
    parser.add_argument("--batch_size", type=positive, metavar="N", help="(default: that of the data)")
    parser.add_argument("--device", metavar="DEVICE", help="cpu, cuda … (default: cuda where there is one)")
    parser.add_argument("--seed", type=seed, metavar="N", help="of sampled labels and of the data (default: 0)")

"""The arguments of `evaluate`, without torch."""

import argparse

from lightning_robust.cli.judging_arguments import add_judging_options


def add_evaluate(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `evaluate`.

    Args:
        parser: Its parser.
    """
    parser.add_argument(
        "--model",
        nargs="+",
        required=True,
        metavar="MODEL",
        help="one or several: a run's folder or its wise_ft folder (every α in one pass over the images), a file of a "
        "run (…/last.ckpt, …/wise_ft/alpha=0.50.safetensors), ARCHITECTURE/TAG or ARCHITECTURE@FILE of open_clip, "
        "hf-hub:ID, timm:NAME, transformers:ID, scenes-clip, scenes-supervised, local-dir:FOLDER, a folder that "
        "compress wrote; a CLIP gets its zero-shot head from the class names and prompts of the data; untrained:MODEL "
        "has random weights",
    )
    parser.add_argument(
        "--data",
        required=True,
        metavar="DATA",
        help="scenes, imagenet:FOLDER[?shifts=v2,r&v2=VARIANT&protocol=NAME], or a config (a file, or one that ships) "
        "whose data: section names the data, with changes of its options as in pacs?root=FOLDER; a "
        "run's own config.yaml has the division that it was trained on",
    )
    parser.add_argument(
        "--split", choices=("test", "val"), default="test", help="choose on val, report test (default: %(default)s)"
    )
    add_judging_options(parser)
    parser.add_argument(
        "--run_name",
        metavar="NAME",
        help="folder below checkpoints/evaluate (default: a number); with the name of a run that was broken off, what "
        "is done is skipped; results.json is written anew with the models that --model names, and the answers of all "
        "others are kept",
    )

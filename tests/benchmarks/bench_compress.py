"""Half of a network's parameters in low-rank layers, beside the dense network: how much faster; prints JSON.

    python tests/benchmarks/bench_compress.py [--small] [--rounds 9] [--json FILE]

A ViT-B/32 with random weights and a head of 1,000 classes (time does not depend on the values), and the bundled scenes
CLIP, each cut as the command cuts it: by the same share of every matrix, and calibrated with one budget over all. The
head stays as it is. The scenes CLIP is calibrated on 512 rendered images, the ViT on a handful of random ones: with
random weights only the pattern of its ranks means something, not what it answers. What attention pooling saves by its
low-rank form alone (it leaves out queries that are not used) is beside the sizes, and stands in their speed-ups.
Batches of 1 and 32, one thread and two. All networks run in turns within each round, so that they meet the same load;
the speed-up is the median over the rounds of the ratio within a round, with its range, by the clock and by processor
time (of all threads). On a machine that does other work the second is the steadier one. About ten minutes.
"""

import argparse
import json
import logging
import os
import statistics
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image
from torch import nn

from lightning_robust.data.scenes.distributions import REFERENCE
from lightning_robust.data.scenes.draws import draw_scenes
from lightning_robust.data.scenes.render import render
from lightning_robust.data.scenes.vocabulary import CLASSES, TEMPLATES
from lightning_robust.models import ImageClassifier, ImageTower, matrices
from lightning_robust.models.compression_plan import fixed_costs, plan_compression
from lightning_robust.models.cost import Turn, forward_flops, interleaved_times, parameter_count
from lightning_robust.models.networks import load_network
from lightning_robust.results import collect_provenance

KEEP, BAR = 0.5, 1.5
METHODS = ("uniform", "calibrated")
CALIBRATION = 32  # random images for the ViT: 1,600 tokens, more than the 768 that a covariance is wide
SMALL = {"layers": 2, "width": 64, "image_size": 64, "head_width": 32}


def processor() -> str:
    """The processor's name where the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else "unknown"


def vit(small: bool) -> tuple[nn.Module, torch.Tensor]:
    """The image tower of a ViT-B/32 with random weights and a head, and an image."""
    config = open_clip.get_model_config("ViT-B-32")
    config["vision_cfg"] |= SMALL if small else {}
    torch.manual_seed(0)
    visual = open_clip.CLIP(**{**config, "text_cfg": {"layers": 1, "width": 64, "heads": 2}}).visual
    size = config["vision_cfg"]["image_size"]
    return ImageClassifier(
        ImageTower(visual), torch.randn(10 if small else 1000, config["embed_dim"])
    ).eval(), torch.randn(3, size, size)


def scenes(count: int) -> tuple[nn.Module, torch.Tensor]:
    """The image tower and zero-shot head of the bundled CLIP, and preprocessed reference images."""
    network = load_network("scenes-clip", class_names=list(CLASSES), templates=list(TEMPLATES))
    pixels = render(draw_scenes(REFERENCE, 0, "val", np.arange(count)))[0]
    images = torch.stack([network.transform(Image.fromarray(one.transpose(1, 2, 0))) for one in pixels])
    model = network.model
    return ImageClassifier(ImageTower(model.encoder.visual), model.head.weight.detach()).eval(), images


def cut(model: nn.Module, images: torch.Tensor, method: str) -> nn.Module:
    """A copy with half of the parameters, planned as `compress` does; the head stays as it is."""
    return plan_compression(model, images.split(128), [KEEP], method=method, leave=["head"])[KEEP].apply(model).eval()


def ratios(dense: list[Turn], other: list[Turn]) -> dict:
    """The speed-up by the clock and by processor time: median, smallest and largest over the rounds."""
    found = {}
    for kind in ("clock", "processor"):
        each = [getattr(a, kind) / getattr(b, kind) for a, b in zip(dense, other, strict=True)]
        found[kind] = {"median": statistics.median(each), "smallest": min(each), "largest": max(each)}
    return found


def measure(networks: dict[str, nn.Module], image: torch.Tensor, batches: list[int], arguments) -> dict:
    """Sizes, and times with one thread and two; the first network is the dense one."""
    names = list(networks)
    dense = networks[names[0]]
    sizes = {
        name: {
            "parameters": parameter_count(model),
            "kept": parameter_count(model) / parameter_count(dense),
            "flops_of_an_image": forward_flops(model, image[None]),
        }
        for name, model in networks.items()
    }
    timed = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for batch in batches:
            images = torch.randn(batch, *image.shape)
            # one image is quick and uneven: more rounds
            rounds = arguments.rounds * (1 if arguments.small or batch > 1 else 4)
            turns = interleaved_times(list(networks.values()), images, rounds=rounds, least=min(5, rounds), seconds=120)
            for name, own in zip(names, turns, strict=True):
                timed.append(
                    {
                        "network": name,
                        "threads": threads,
                        "batch": batch,
                        "milliseconds": {
                            kind: statistics.median(getattr(turn, kind) for turn in own)
                            for kind in ("clock", "processor")
                        },
                        "rounds": len(own),
                        "faster": ratios(turns[0], own),
                    }
                )
    torch.set_num_threads(1)
    found = matrices(dense, image[None], leave=["head"])
    spare = 2 * fixed_costs(dense, found, image[None]).spare
    return {"sizes": sizes, "flops_spared_by_pooling_without_rank": spare, "times": timed}


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="two narrow layers, few images: seconds")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path, help="file to write")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    batches = [1, 2] if arguments.small else [1, 32]
    measured = {}
    model, image = vit(arguments.small)
    torch.manual_seed(0)
    images = torch.randn(CALIBRATION, *image.shape)
    cuts = {"dense": model, **{method: cut(model, images, method) for method in METHODS}}
    measured["vit_b_32"] = measure(cuts, image, batches, arguments) | {"calibration": f"{CALIBRATION} random images"}
    model, images = scenes(64 if arguments.small else 512)
    cuts = {"dense": model, **{method: cut(model, images, method) for method in METHODS}}
    measured["scenes_clip"] = measure(cuts, images[0], batches, arguments) | {
        "calibration": f"{len(images)} rendered images"
    }
    bars = {
        f"vit_b_32 {one['network']}, batch {one['batch']}, {one['threads']} "
        f"thread{'s' * (one['threads'] > 1)}: faster": {
            "clock": (clock := one["faster"]["clock"]["median"]),
            "processor": one["faster"]["processor"]["median"],
            "bar": f"≥ {BAR}",
            "met": clock >= BAR,
        }
        for one in measured["vit_b_32"]["times"]
        if one["network"] != "dense"
    }
    result = {
        "benchmark": "compress",
        "small": arguments.small,
        "keep": KEEP,
        **measured,
        "bars": bars,
        "processor": processor(),
        "cores": os.cpu_count(),
        "load_before": load,
        "load_after": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "provenance": asdict(collect_provenance()),
    }
    show(result)
    text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
    sys.stdout.write(text)
    if arguments.json:
        arguments.json.write_text(text, encoding="utf-8")


def show(result: dict) -> None:
    """A table for people."""
    for name in ("vit_b_32", "scenes_clip"):
        for kind, size in result[name]["sizes"].items():
            sys.stderr.write(
                f"{name} {kind}: {size['parameters'] / 1e6:.2f} M parameters ({size['kept']:.1%}), "
                f"{size['flops_of_an_image'] / 1e6:.0f} MFLOPs an image\n"
            )
        for one in result[name]["times"]:
            by_clock, by_processor = one["faster"]["clock"], one["faster"]["processor"]
            sys.stderr.write(
                f"  {one['network']:10} batch {one['batch']:>2}, {one['threads']} thread(s): "
                f"{one['milliseconds']['clock']:9.2f} ms, {by_clock['median']:.2f} × as fast "
                f"({by_clock['smallest']:.2f} to {by_clock['largest']:.2f}), processor {by_processor['median']:.2f} "
                f"({by_processor['smallest']:.2f} to {by_processor['largest']:.2f}), {one['rounds']} rounds\n"
            )
    for what, bar in result["bars"].items():
        sys.stderr.write(f"{what}: {bar['clock']:.2f}, {bar['bar']}: {'met' if bar['met'] else 'not met'}\n")


if __name__ == "__main__":
    main()

"""How long a zero-shot head takes, and how much memory: classes × 80 prompts of open_clip; prints JSON.

    python tests/benchmarks/bench_zero_shot.py [--small] [--classes 1000] [--device cuda] [--json FILE]

The text tower of a ViT-B/32 with random weights (63 M parameters; time does not depend on their values), its own
byte-pair tokenizer, open_clip's 80 ImageNet prompts. Batch sizes are compared on the same texts, in alternation;
so is encoding the whole context of 77 places, as `encode_text` does. Then one head is made with the default batch,
kept, and read again: all of ImageNet, 80,000 texts, a quarter of an hour on one core. Needs Linux.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import open_clip
import torch

from lightning_robust.models import load_encoder, zero_shot_head
from lightning_robust.models.short_context import encode_texts
from lightning_robust.results import collect_provenance

FULL = 1000 * len(open_clip.OPENAI_IMAGENET_TEMPLATES)
BARS = {
    "cached_over_made": {"at_most": 0.1},
    "shortened_over_whole_context": {"at_most": 0.3},
    "memory_mib_of_a_batch_of_256": {"at_most": 1024.0},
}


def processor() -> str:
    """The processor's name where the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else "unknown"


def resident(name: str) -> float:
    """A size of this process in MiB, as Linux tells it: `VmRSS` now, `VmHWM` the highest."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024


def seconds(job, device: torch.device) -> tuple[float, float]:
    """Time of one call, the accelerator's work included: by the clock, and of the processor (other work aside)."""
    start, used = time.perf_counter(), time.process_time()
    job()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start, time.process_time() - used


def measure(architecture: str, classes: int, sizes: list[int], rounds: int, texts: int, device: torch.device) -> dict:
    """Compare batch sizes on a few texts, then make one head of so many classes, and read it from the cache."""
    encoder = load_encoder(architecture, pretrained=False)
    model = encoder.model.to(device)
    names, templates = open_clip.IMAGENET_CLASSNAMES[:classes], open_clip.OPENAI_IMAGENET_TEMPLATES
    few = names[: max(1, texts // len(templates))]

    def make(names, size, cache=False):
        return zero_shot_head(model, encoder.tokenizer, names, templates, batch_size=size, cache=cache)

    make(few[:1], sizes[0])  # warms up
    count = len(few) * len(templates)
    taken: dict[int, list[tuple[float, float]]] = {size: [] for size in sizes}
    for _ in range(rounds):
        for size in sizes:
            taken[size].append(seconds(lambda size=size: make(few, size), device))
    tokenized = encoder.tokenizer([each(name) for name in few for each in templates]).to(device)
    compared: dict[str, list[float]] = {"whole": [], "short": []}
    with torch.no_grad():
        for _ in range(rounds + 1):
            compared["whole"].append(seconds(lambda: model.encode_text(tokenized, normalize=True), device)[1])
            compared["short"].append(seconds(lambda: encode_texts(model, tokenized), device)[1])
    tokens, _ = seconds(lambda: encoder.tokenizer([each(names[0]) for each in templates]), device)
    made, used = seconds(lambda: make(names, 256, cache=True), device)
    cached, _ = seconds(lambda: make(names, 256, cache=True), device)
    total = classes * len(templates)
    return {
        "texts_of_the_comparison": count,
        "seconds_per_text_by_batch_size": {
            str(size): statistics.median(clock for clock, _ in pairs) / count for size, pairs in taken.items()
        },
        "processor_seconds_per_text_by_batch_size": {
            str(size): statistics.median(own for _, own in pairs) / count for size, pairs in taken.items()
        },
        "memory_mib_above_the_model_by_batch_size": {
            str(size): memory(model, encoder.tokenizer, size, device) for size in sizes
        },
        "seconds_of_tokenizing_per_text": tokens / len(templates),
        "texts": total,
        "seconds": made,
        "processor_seconds": used,
        "seconds_from_the_cache": cached,
        "hours_for_80000_texts_at_that_rate": made / total * FULL / 3600,
        "processor_hours_for_80000_texts_at_that_rate": used / total * FULL / 3600,
        "figures": {
            "cached_over_made": cached / made,
            "shortened_over_whole_context": statistics.median(
                a / b for a, b in zip(compared["short"][1:], compared["whole"][1:], strict=True)
            ),
            "memory_mib_of_a_batch_of_256": memory(model, encoder.tokenizer, 256, device),
        },
    }


def memory(model, tokenizer, size: int, device: torch.device) -> float:
    """Peak of resident memory above what the process holds, in MiB: 2 batches; 0 where it held free memory enough."""
    texts = [f"a photo of a tench, number {k}." for k in range(2 * size)]
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        resting = torch.cuda.memory_allocated() / 2**20
    else:
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # sets VmHWM back
        resting = resident("VmRSS")
    zero_shot_head(model, tokenizer, texts, ["{}"], batch_size=size)
    return (torch.cuda.max_memory_allocated() / 2**20 if device.type == "cuda" else resident("VmHWM")) - resting


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="a minute or two; its figures say little")
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="file to write")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    device = torch.device(arguments.device)
    sizes, texts = ([16, 64], 80) if arguments.small else ([16, 64, 256], 80)
    classes = 1 if arguments.small else arguments.classes
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LIGHTNING_ROBUST_CACHE"] = folder
        measured = measure("ViT-B-32", classes, sizes, arguments.rounds, texts, device)
    figures = measured["figures"]
    result = {
        "benchmark": "zero_shot",
        "small": arguments.small,
        "architecture": "ViT-B-32, text tower, random weights, float32",
        "classes": classes,
        "prompts": len(open_clip.OPENAI_IMAGENET_TEMPLATES),
        "rounds": arguments.rounds,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        **measured,
        "bars": BARS,
        "met": {name: figures[name] <= bar["at_most"] for name, bar in BARS.items()},
        "processor": processor(),
        "cores": os.cpu_count(),
        "load_before": load,
        "provenance": asdict(collect_provenance()),
    }
    for size, per in measured["seconds_per_text_by_batch_size"].items():
        sys.stderr.write(f"batch {size:>5} {per * 1000:8.2f} ms a text\n")
    for name, value in figures.items():
        sys.stderr.write(f"{name:28} {value:10.3f} (at most {BARS[name]['at_most']:g})\n")
    text = json.dumps(result, indent=2) + "\n"
    sys.stdout.write(text)
    if arguments.json:
        arguments.json.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

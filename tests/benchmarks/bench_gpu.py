"""What one GPU does with it: forward passes, training steps and their memory, monitors, low rank; prints JSON.

    python tests/benchmarks/bench_gpu.py [--small] [--device cuda] [--parts card forward …] [--limit 120] [--json FILE]

Networks have random weights and images are random, on the device before the clock starts: no figure holds reading,
decoding or sending of images. Parts: `card`, what its matrix units and its memory reach here, beside which the others
are to be read; `forward`, image towers in float32 as PyTorch has it (convolutions may use TF32), in strict float32, in
TF32 and under bfloat16 autocast, and a classifier's training step in the last; `pretraining`, steps of
`ContrastivePretraining` through the Trainer, with the memory at its highest; `compress`, a ViT-B/32 against half of
every matrix of it; `zero_shot`, the head of 1,000 classes × 80 prompts; `monitors`, validations of a finetuning with
and without them, and how often the host waits for the device; `concepts`, the same with 1,197 concepts. Operations are
counted by `models.cost.forward_flops`. Each part is a process of its own with a limit of seconds, after which it says
where it was; the file is written after each, so that no part takes the others' figures with it.
"""

import argparse
import faulthandler
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path

import open_clip
import torch
from bench_compress import CALIBRATION, SMALL, cut, vit
from gpu_training import concepts, monitors, pretraining, wait
from torch import nn

from lightning_robust.models import load_encoder, zero_shot_head
from lightning_robust.models.cost import forward_flops, interleaved_times, latencies, parameter_count
from lightning_robust.results import collect_provenance

TOWERS = {"RN50": 256, "RN101": 256, "ViT-B-32": 256, "ViT-B-16": 256, "ViT-L-14": 128}
MODES = ("default", "float32", "tf32", "bf16")


def seconds(job, device, calls, rounds=3):
    """Seconds of a call: the median over rounds of so many calls, the device waited for around each round."""
    job()
    found = []
    for _ in range(rounds):
        wait(device)
        start = time.perf_counter()
        for _ in range(calls):
            job()
        wait(device)
        found.append((time.perf_counter() - start) / calls)
    return statistics.median(found)


@contextmanager
def arithmetic(mode, device):
    """Let float32 be computed in a mode; "default" is what PyTorch does if nobody asks."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    try:
        if mode in ("float32", "tf32"):
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = mode == "tf32"
        with torch.autocast(device.type, torch.bfloat16) if mode == "bf16" else nullcontext():
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def card(device, small):
    """Matrix products of each precision and a copy within memory, on random numbers."""
    size, copied = (256, 2**20) if small else (8192, 2**30)
    found = {"matrix": size, "tflops_per_second": {}}
    a, b = torch.randn(2, size, size, device=device)
    for mode in MODES[1:]:
        with arithmetic(mode, device), torch.no_grad():
            x, y = (a.bfloat16(), b.bfloat16()) if mode == "bf16" else (a, b)
            found["tflops_per_second"][mode] = 2 * size**3 / seconds(lambda x=x, y=y: x @ y, device, 10) / 1e12
    one = torch.randn(copied // 4, device=device)
    other = torch.empty_like(one)
    found["copy_gb_per_second"] = 2 * copied / seconds(lambda: other.copy_(one), device, 10) / 1e9
    return found


def tower_of(name, device, small):
    """An image tower with random weights."""
    config = open_clip.get_model_config(name)
    config["vision_cfg"] |= SMALL if small else {}
    with device:
        return open_clip.CLIP(**{**config, "text_cfg": {"layers": 1, "width": 64, "heads": 2}}).visual


def forward(device, small):
    """Images a second of towers without gradient, and of a classifier's training step."""
    found, calls = [], 1 if small else 3
    for name, batch in {"ViT-B-32": 2}.items() if small else TOWERS.items():
        tower = tower_of(name, device, small).eval()
        size = SMALL["image_size"] if small else 224
        images = torch.randn(batch, 3, size, size, device=device)
        flops = forward_flops(tower, images[:1])
        one = {"tower": name, "batch": batch, "pixels": size, "gflops_of_an_image": flops / 1e9}
        for mode in MODES:
            with arithmetic(mode, device), torch.no_grad():
                taken = seconds(lambda tower=tower, images=images: tower(images), device, calls)
            one[mode] = {"images_per_second": batch / taken, "tflops_per_second": batch * flops / taken / 1e12}
        taken = seconds(training_step(tower.train(), images, device), device, calls)
        rate = {"images_per_second": batch / taken, "tflops_per_second": 3 * batch * flops / taken / 1e12}
        found.append({**one, "training_bf16": rate})
        sys.stderr.write(f"{name}: {json.dumps(found[-1])}\n")
        del tower
    return {"towers": found}


def training_step(tower, images, device):
    """A step of AdamW on the tower and a head of 1,000 classes, under bfloat16 autocast."""
    with torch.no_grad():
        head = nn.Linear(tower(images[:2]).shape[1], 1000, device=device)
    labels = torch.arange(len(images), device=device) % 1000
    optimiser = torch.optim.AdamW([*tower.parameters(), *head.parameters()], lr=1e-5)

    def step():
        with arithmetic("bf16", device):
            loss = nn.functional.cross_entropy(head(tower(images)), labels)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()

    return step


class Replayed(nn.Module):
    """A network's kernels for one batch, launched as a whole."""

    def __init__(self, model, images):
        super().__init__()
        self.kept, side = images.clone(), torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.no_grad(), torch.cuda.stream(side):
            for _ in range(3):
                model(self.kept)
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with torch.no_grad(), torch.cuda.graph(self.graph):
            self.answers = model(self.kept)

    def forward(self, images):
        self.kept.copy_(images)
        self.graph.replay()
        return self.answers


def compress(device, small):
    """A ViT-B/32 dense, and half of every matrix of it: in turns, by batch, precision and way of launching."""
    dense, image = vit(small)
    torch.manual_seed(0)
    half = cut(dense, torch.randn(CALIBRATION, *image.shape), "uniform")
    networks = {"dense": dense.to(device), "uniform": half.to(device)}
    found, launches = [], ("calls", "graph") if device.type == "cuda" else ("calls",)
    for precision in (torch.float32, torch.bfloat16):
        models = [model.to(precision) for model in networks.values()]
        for batch in (1, 2) if small else (1, 32, 256):
            images = torch.randn(batch, *image.shape, device=device, dtype=precision)
            for launched in launches:
                with torch.no_grad():
                    timed = models if launched == "calls" else [Replayed(model, images) for model in models]
                times = latencies(interleaved_times(timed, images, rounds=2 if small else 15, least=2, seconds=5))
                for name, one in zip(networks, times, strict=True):
                    setting = {"network": name, "precision": str(precision)[6:], "batch": batch, "launched": launched}
                    found.append({**setting, "milliseconds": one.median_ms, "faster": one.speedup,
                                  "faster_low": one.speedup_low, "faster_high": one.speedup_high})  # fmt: skip
    return {"parameters": {name: parameter_count(model) for name, model in networks.items()}, "times": found}


def zero_shot(device, small):
    """Seconds of a zero-shot head, and of its texts' tokens alone; the text tower is in float32."""
    encoder = load_encoder("ViT-B-32", pretrained=False)
    model, names = encoder.model.to(device), open_clip.IMAGENET_CLASSNAMES[: 1 if small else 1000]
    templates = open_clip.OPENAI_IMAGENET_TEMPLATES
    zero_shot_head(model, encoder.tokenizer, names[:1], templates)
    start = time.perf_counter()
    zero_shot_head(model, encoder.tokenizer, names, templates)
    wait(device)
    whole = time.perf_counter() - start
    start = time.perf_counter()
    for name in names:
        encoder.tokenizer([template(name) for template in templates])
    tokens = time.perf_counter() - start
    return {"texts": len(names) * len(templates), "seconds": whole, "seconds_of_tokens_alone": tokens}


PARTS = {
    "card": card,
    "forward": forward,
    "pretraining": pretraining,
    "compress": compress,
    "zero_shot": zero_shot,
    "monitors": monitors,
    "concepts": concepts,
}


def description(device):
    """The device, and the precision that PyTorch is left with."""
    if device.type != "cuda":
        return {"device": "cpu"}
    found = torch.cuda.get_device_properties(device)
    return {
        "device": found.name, "memory_gb": found.total_memory / 1e9, "multiprocessors": found.multi_processor_count,
        "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(),
        "convolutions_in_tf32_by_default": torch.backends.cudnn.allow_tf32,
        "matrix_products_in_tf32_by_default": torch.backends.cuda.matmul.allow_tf32,
    }  # fmt: skip


def apart(name, arguments):
    """A part in a process of its own, which ends at the limit."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "part.json"
        command = [sys.executable, __file__, "--here", "--parts", name, "--device", arguments.device]
        command += ["--limit", str(arguments.limit), "--json", str(file), *(["--small"] if arguments.small else [])]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        if done.returncode == 0:
            return json.loads(file.read_text(encoding="utf-8"))[name]
    return {"error": f"status {done.returncode}, or more than {arguments.limit} s: stderr says where"}


def here(name, arguments):
    """A part in this process, which ends with a traceback at the limit."""
    faulthandler.dump_traceback_later(arguments.limit, exit=True, file=sys.__stderr__)
    try:
        return PARTS[name](torch.device(arguments.device), arguments.small)
    finally:
        faulthandler.cancel_dump_traceback_later()


def main() -> None:
    """Measure part by part, print and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="seconds; runs on a CPU too, and its figures say nothing")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--limit", type=int, default=120, help="seconds of a part")
    parser.add_argument("--here", action="store_true", help="all in this process")
    parser.add_argument("--json", type=Path, help="file to write")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    result = {"benchmark": "gpu", "small": arguments.small, **description(device), "cores": os.cpu_count()}
    result["provenance"] = asdict(collect_provenance(device=arguments.device))
    for name in arguments.parts:
        start = time.perf_counter()
        result[name] = (here if arguments.here else apart)(name, arguments)
        result[name]["seconds_of_this_part"] = time.perf_counter() - start
        sys.stderr.write(f"{name}: {result[name]['seconds_of_this_part']:.0f} s {result[name].get('error', '')}\n")
        text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
        if arguments.json:
            arguments.json.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()

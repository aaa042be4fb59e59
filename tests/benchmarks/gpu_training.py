"""Two parts of `bench_gpu.py`: steps of contrastive pretraining, and what monitors add to a finetuning's validation."""

import contextlib
import gc
import json
import logging
import statistics
import sys
import tempfile
import time
import warnings
from collections import Counter
from dataclasses import dataclass

import lightning.pytorch as pl
import open_clip
import torch
from bench_monitors import Chosen, arms_by_epoch, paired
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy
from torch.utils.data import DataLoader, IterableDataset

from lightning_robust.callbacks import ConceptMonitor, SignatureMonitor
from lightning_robust.data.scenes.vocabulary import CLASSES
from lightning_robust.models.architecture_cost import architecture_cost
from lightning_robust.training import ClassifierFinetuning, ContrastivePretraining

IMAGENET = 1_281_167
TOWER = "model.encoder.visual"


def wait(device):
    """Let the device finish; sizes that count its memory start anew."""
    if device.type == "cuda":
        torch.cuda.synchronize()


@dataclass(frozen=True)
class Case:
    """A setting of ContrastivePretraining on one process."""

    encoder: str
    pairs: int
    chunk_size: int | None = None
    gradient_checkpointing: bool = False
    strategy: str = "auto"

    @property
    def passes(self) -> int:
        """Forward passes that a step costs: one, a backward pass of two, and one where activations come again."""
        return 4 if self.chunk_size or self.gradient_checkpointing else 3


CASES = [
    Case("ViT-B-32", 1024, 256),  # configs/pretrain_1gpu.yaml
    Case("ViT-B-32", 1024),
    Case("ViT-B-32", 256, strategy="ddp"),  # a process of configs/pretrain_8gpu.yaml
    Case("ViT-B-32", 256, 64, strategy="ddp"),
    Case("ViT-B-32", 256, gradient_checkpointing=True, strategy="ddp"),
    Case("ViT-B-16", 256, strategy="ddp"),  # of configs/pretrain_4nodes.yaml
    Case("ViT-B-16", 256, 64, strategy="ddp"),
    Case("ViT-B-16", 256, gradient_checkpointing=True, strategy="ddp"),
    Case("ViT-B-32", 256, strategy="fsdp"),  # of configs/pretrain_fsdp_8gpu.yaml, shards of a whole
]
SMALL = [Case("scenes-clip", 8, 4), Case("scenes-clip", 8, strategy="ddp")]


class StepClock(pl.Callback):
    """Seconds of the steps after the first ones, the device waited for only at both ends."""

    def __init__(self, first):
        self.first, self.seconds, self.steps = first, 0.0, 0

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx == self.first:
            wait(pl_module.device)
            self.start = time.perf_counter()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.steps = batch_idx + 1 - self.first

    def on_train_epoch_end(self, trainer, pl_module):
        wait(pl_module.device)
        self.seconds = time.perf_counter() - self.start


def strategy_of(name):
    """One process, with what several would have."""
    if name == "fsdp":
        return ModelParallelStrategy(data_parallel_size=1, tensor_parallel_size=1, save_distributed_checkpoint=False)
    return DDPStrategy() if name == "ddp" else "auto"


@contextlib.contextmanager
def no_processes_left():
    """Take down the group of processes that a strategy sets up: it would stay for the next case and for other tests."""
    try:
        yield
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def batch_of(module, case, device):
    """Random images and captions, on the device already: nothing is read or sent."""
    size = module.encoder.visual.image_size
    size = size if isinstance(size, int) else size[0]
    length, words = module.encoder.context_length, module.encoder.vocab_size
    tokens = torch.randint(1, words - 1, (case.pairs, length), device=device)
    tokens[:, -1] = words - 1  # the end of the text, the highest number
    return torch.randn(case.pairs, 3, size, size, device=device), tokens


def again(batch, times):
    """A loader that gives the same batch so many times."""
    return DataLoader([batch] * times, batch_size=None)


def pretraining_step(case, device, first, steps):
    """Train a few steps in bfloat16 autocast through the Trainer, as the configs do."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    module = ContrastivePretraining(
        case.encoder, chunk_size=case.chunk_size, gradient_checkpointing=case.gradient_checkpointing
    )
    clock, batch = StepClock(first), batch_of(module, case, device)
    with tempfile.TemporaryDirectory() as folder, no_processes_left():
        pl.Trainer(
            accelerator="gpu" if device.type == "cuda" else "cpu", devices=1, strategy=strategy_of(case.strategy),
            max_epochs=1, precision="bf16-mixed", gradient_clip_val=1.0, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder, callbacks=[clock],
        ).fit(module, again(batch, first + steps))  # fmt: skip
    cost = architecture_cost(case.encoder)
    step = clock.seconds / clock.steps
    found = {
        **case.__dict__, "milliseconds": 1000 * step, "pairs_per_second": case.pairs / step,
        "tflops_per_second": case.passes * case.pairs * (cost.image + cost.text) / step / 1e12,
        "forward_passes": case.passes, "steps": clock.steps,
    }  # fmt: skip
    if device.type == "cuda":
        found["peak_allocated_gb"] = torch.cuda.max_memory_allocated() / 1e9
        found["peak_reserved_gb"] = torch.cuda.max_memory_reserved() / 1e9
    return found


def pretraining(device, small):
    """Every case in turn; one that fails says why, and the others go on."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    found = []
    for case in SMALL if small else CASES:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found.append(pretraining_step(case, device, 1 if small else 5, 2 if small else 20))
        except Exception as error:  # the figures of the others are not to be lost
            found.append({**case.__dict__, "error": f"{type(error).__name__}: {str(error)[:500]}"})
        sys.stderr.write(f"{json.dumps(found[-1])}\n")
    return {"precision": "bf16-mixed", "data": "one random batch on the device", "cases": found}


class Pool(IterableDataset):
    """Batches of random images, classes and concepts that lie on the device; a validation goes round them."""

    def __init__(self, images, labels, concepts, batch, batches):
        self.parts, self.batches = (
            list(zip(*(t.split(batch) for t in (images, labels, concepts)), strict=True)),
            batches,
        )

    def __iter__(self):
        return (self.parts[k % len(self.parts)] for k in range(self.batches))


class ValidationClock(pl.Callback):
    """Seconds of each validation with all that callbacks do in it; how often the host waits for the device in some."""

    def __init__(self, counted):
        self.seconds, self.counted, self.waits = [], counted, {}

    def on_validation_start(self, trainer, pl_module):
        wait(pl_module.device)
        self.start = time.perf_counter()
        if trainer.current_epoch in self.counted and pl_module.device.type == "cuda":
            self.caught = warnings.catch_warnings(record=True)
            self.seen = self.caught.__enter__()
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")

    def on_validation_end(self, trainer, pl_module):
        if hasattr(self, "caught"):
            torch.cuda.set_sync_debug_mode("default")
            self.caught.__exit__(None, None, None)
            del self.caught
            places = [
                f"{'/'.join(w.filename.split('/')[-3:])}:{w.lineno}" for w in self.seen if "synchron" in str(w.message)
            ]
            self.waits[trainer.current_epoch] = Counter(places)
        wait(pl_module.device)
        self.seconds.append(time.perf_counter() - self.start)
        sys.stderr.write(f"validation {len(self.seconds)}: {self.seconds[-1]:.2f} s\n")


@dataclass(frozen=True)
class Sizes:
    """Of the finetuning whose validations are measured."""

    encoder: str = "ViT-B-32"
    pixels: int = 224
    classes: int = 1000
    concepts: int = 1197
    pool: int = 2048
    batch: int = 256
    val_batches: int = 40
    train_batch: int = 512
    train_steps: int = 10
    layers: tuple[str, ...] = (*(f"{TOWER}.transformer.resblocks.{k}" for k in (5, 11)), TOWER)


SMALL_SIZES = Sizes("scenes-clip", 32, 20, 30, 32, 16, 2, 16, 2, (f"{TOWER}.layer4", TOWER))


def finetuning(sizes, device, plan, counted):
    """One fit; after each epoch of a few steps the arm of the plan that is measured."""
    made = torch.Generator(device).manual_seed(0)
    images = torch.randn(sizes.pool, 3, sizes.pixels, sizes.pixels, device=device, generator=made)
    labels = torch.randint(sizes.classes, (sizes.pool,), device=device, generator=made)
    drawn = torch.rand(sizes.pool, sizes.concepts, device=device, generator=made)
    concepts = (drawn < min(0.3, 10 / sizes.concepts)).to(torch.int8)
    train = again((images[: sizes.train_batch], labels[: sizes.train_batch]), sizes.train_steps)
    held_out = Pool(images, labels, concepts, sizes.batch, sizes.val_batches)
    names = list(CLASSES) if sizes.encoder == "scenes-clip" else open_clip.IMAGENET_CLASSNAMES
    module = ClassifierFinetuning(sizes.encoder, names, ["a photo of a {}."], pretrained=False, lr=1e-9)
    monitored, with_concepts = (
        frozenset(k + 1 for k, arm in enumerate(plan) if arm in arms)
        for arms in (("monitors", "with_concepts"), ("with_concepts",))
    )
    monitors = [SignatureMonitor(("kurtosis", "spectrum"), sizes.layers), ConceptMonitor(
        "validation", layers=[TOWER], labels_from_batch=lambda batch: batch[2],
        categories=[f"category {k % 6}" for k in range(sizes.concepts)],
    )]  # fmt: skip
    monitors[0].schedule = Chosen(epochs=monitored)
    monitors[1].schedule = Chosen(epochs=with_concepts)
    clock, steps = ValidationClock(counted), EpochClock()
    with tempfile.TemporaryDirectory() as folder:
        pl.Trainer(
            accelerator="gpu" if device.type == "cuda" else "cpu", devices=1, max_epochs=len(plan),
            precision="bf16-mixed", gradient_clip_val=1.0, num_sanity_val_steps=0, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False,
            logger=TensorBoardLogger(folder), default_root_dir=folder, callbacks=[clock, steps, *monitors],
        ).fit(module, train, DataLoader(held_out, batch_size=None))  # fmt: skip
    return clock, steps, len(monitors[0].history[-1]["scalars"])


class EpochClock(pl.Callback):
    """Seconds a step of each epoch but for its first two steps."""

    def __init__(self):
        self.steps = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx == min(2, trainer.num_training_batches - 1):
            wait(pl_module.device)
            self.start, self.first = time.perf_counter(), batch_idx

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if batch_idx == trainer.num_training_batches - 1:
            wait(pl_module.device)
            self.steps.append((time.perf_counter() - self.start) / (batch_idx + 1 - self.first))


def monitors(device, small):
    """Validations without monitors, and with kurtosis and spectrum at three layers."""
    return validations(device, small, ("without", "monitors"))


def concepts(device, small):
    """Validations without monitors, and with these and concepts."""
    return validations(device, small, ("without", "with_concepts"))


def validations(device, small, arms):
    """Seconds of validations, the arms in turns; then how often the host waits in each."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    sizes, rounds = SMALL_SIZES if small else Sizes(), 2 if small else 3
    timed = arms_by_epoch(arms, rounds)
    plan = [*timed, *arms]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        clock, steps, figures = finetuning(sizes, device, plan, range(len(timed), len(plan)))
    taken = list(zip(clock.seconds, timed, strict=False))[len(arms) :]
    found = {arm: [seconds for seconds, a in taken if a == arm] for arm in arms}
    medians = {arm: statistics.median(values) for arm, values in found.items()}
    step, images = statistics.median(steps.steps), sizes.val_batches * sizes.batch
    epoch = IMAGENET / sizes.train_batch * step
    extra = {arm: medians[arm] - medians["without"] for arm in arms[1:]}
    return {
        **sizes.__dict__, "precision": "bf16-mixed", "images": images, "figures": figures, "rounds": rounds,
        "train_milliseconds": 1000 * step, "train_images_per_second": sizes.train_batch / step,
        "seconds": found, "medians": medians, "ratios": {arm: paired(found, arm) for arm in arms[1:]},
        "extra_seconds": extra, "seconds_of_an_imagenet_epoch": epoch,
        "extra_of_an_imagenet_epoch": {arm: value / epoch for arm, value in extra.items()},
        "host_waits": {arm: sum(clock.waits.get(k, {}).values()) for k, arm in enumerate(plan) if k >= len(timed)},
        "host_waits_most": {
            arm: clock.waits[k].most_common(40) for k, arm in enumerate(plan) if k >= len(timed) and k in clock.waits
        },
    }  # fmt: skip

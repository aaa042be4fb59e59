"""How many training images one optimiser step has, by a run's config."""

import math
from collections.abc import Mapping
from typing import Any

from lightning_robust.errors import UserError

__all__ = ["images_per_step"]


def images_per_step(config: Mapping[str, Any], label: str, device: str | None = None) -> int:
    """Batch size times accumulated batches times processes.

    Args:
        config: The run's settings, as its config states them or as they were saved.
        label: What the run is called.
        device: The device that it ran on, where it has run: ``devices: auto`` is one process on a CPU.

    Raises:
        UserError: If one of the factors is no number of at least 1.
    """
    trainer, data = config.get("trainer") or {}, (config.get("data") or {}).get("init_args") or {}
    on_cpu = device == "cpu" or trainer.get("accelerator") == "cpu"
    devices = trainer.get("devices", "auto")
    factors = {
        "data.init_args.batch_size": data.get("batch_size"),
        "trainer.devices": 1 if devices == "auto" and on_cpu else devices,
        "trainer.num_nodes": trainer.get("num_nodes", 1),
        "trainer.accumulate_grad_batches": trainer.get("accumulate_grad_batches", 1),
    }
    for name, value in factors.items():
        if not isinstance(value, int) or value < 1:
            raise UserError(
                f"{label}: how many images a step has cannot be known with {name} = {value!r}; give it as a number in "
                "its config"
            )
    return math.prod(factors.values())

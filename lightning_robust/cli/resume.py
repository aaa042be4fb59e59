"""Going on with a run: what its checkpoint says, and whether the settings are still those of the run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

from lightning_robust.errors import UserError

#: Settings that may differ when a run goes on: they say where and how long it runs, not what it computes.
_FREE = (
    "config", "ckpt_path", "run_name", "weights_only", "trainer.default_root_dir", "trainer.callbacks",
    "trainer.logger",
    "trainer.max_epochs", "trainer.max_time", "trainer.accelerator", "trainer.devices", "trainer.strategy",
    "trainer.num_nodes", "trainer.enable_progress_bar", "trainer.enable_model_summary", "trainer.profiler",
    "trainer.log_every_n_steps", "trainer.num_sanity_val_steps", "data.init_args.num_workers",
)  # fmt: skip


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a Lightning checkpoint, tensors and builtins only.

    Returns:
        Steps and whole epochs of training (`global_step`, `epochs`), whether it is `inside` an epoch, and on how many
        processes (`world_size`) it was trained: None where the training loader did not say.

    Raises:
        UserError: If it is no checkpoint that can be resumed.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        steps, loops = int(checkpoint["global_step"]), checkpoint["loops"]["fit_loop"]
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error).splitlines()[0][:160] if str(error) else ''}"
        raise UserError(f"{path} is no Lightning checkpoint that can be resumed ({reason})") from error
    epochs = loops["epoch_progress"]["total"]
    places: list[Any] = loops.get("state_dict", {}).get("combined_loader") or [{}]
    return {
        "global_step": steps,
        "epochs": int(epochs["processed"]),
        "inside": epochs["processed"] < epochs["started"],
        "world_size": places[0].get("world_size") if isinstance(places[0], dict) else None,
    }


def check_same_settings(now: Mapping[str, Any], config_file: Path) -> None:
    """Refuse to go on with a run under other settings than it was begun with.

    Args:
        now: Today's settings, nested.
        config_file: The run's `config.yaml`.

    Raises:
        UserError: If a setting differs that changes what is computed; names the settings.
    """
    if not config_file.is_file():
        raise UserError(
            f"{config_file} does not exist: --ckpt_path goes on with a run, whose folder holds its config.yaml"
        )
    before = _flat(yaml.safe_load(config_file.read_text(encoding="utf-8")))
    today = _flat(now)
    changed = [
        f"{key}: {before.get(key)!r}, now {today.get(key)!r}"
        for key in sorted(before.keys() | today.keys())
        if before.get(key) != today.get(key) and not key.startswith(_FREE)
    ]
    if changed:
        more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
        raise UserError(
            f"the run was begun with other settings ({'; '.join(changed[:5])}{more}): go on with the same ones"
        )


def check_same_processes(found: Mapping[str, Any], processes: int) -> None:
    """Refuse to go on inside an epoch, or after its last batch, with more or fewer processes than there were.

    The loader alone cannot tell an epoch's last batch from its end, and Lightning would begin the next epoch in its
    middle where more batches are in it now.

    Args:
        found: What `read_checkpoint` found.
        processes: How many there are now.

    Raises:
        UserError: If there were others, and the epoch was not at its end; checkpoints that do not say are let pass.
    """
    then = found["world_size"]
    if found["inside"] and then not in (None, processes):
        raise UserError(
            f"the checkpoint lies inside an epoch that was trained on {then} process{'es' if then > 1 else ''}, now "
            f"there would be {processes}, and images would be left out or come twice: go on with {then} "
            "(--trainer.devices times --trainer.num_nodes), or from a checkpoint that was saved at the end of an epoch"
        )


def _flat(settings: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(settings, Mapping):
        return {prefix: list(settings) if isinstance(settings, tuple) else settings}
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= _flat(value, f"{prefix}.{key}" if prefix else str(key))
    return flat

"""What a finished run leaves: `results.json`, a picture of its curves, and a table in the terminal."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.figure import Figure
from rich.console import Console
from torch.utils.tensorboard import SummaryWriter

from lightning_robust.callbacks import Diagnosis, EffectiveRobustness, LogSteps, WiseFT
from lightning_robust.callbacks.monitor import SignatureMonitor, monitors_of
from lightning_robust.callbacks.sources import VALIDATION
from lightning_robust.cli.merged_output import card_kept
from lightning_robust.data import ImageNetDataModule
from lightning_robust.data.shifts import DistributionShift
from lightning_robust.report import curves_figure, print_run
from lightning_robust.report.card import write_cards
from lightning_robust.report.card_run import run_cards
from lightning_robust.report.path_scatter import write_path_scatter
from lightning_robust.results import DataDescription, RunRecord, collect_provenance, file_sha256, read_curves, write_run
from lightning_robust.results.baseline_record import write_baseline
from lightning_robust.results.names import BASELINE, CURVES, PICTURE, RESULTS
from lightning_robust.robustness import Baseline
from lightning_robust.signatures import eligible_concepts


def finish(cli: LightningCLI, folder: Path, unreadable: Mapping[str, tuple[str, ...]] | None = None) -> None:
    """Write everything that a run found into its folder, and print the table.

    Args:
        cli: The command line after `fit`.
        folder: The run's folder.
        unreadable: What the last validation left out, from `unreadable_in_validation`.
    """
    record = run_record(cli, folder, unreadable)
    wise_ft = _wise_ft(cli.trainer)
    if record.baseline is not None and wise_ft is not None and wise_ft.baseline is not None:
        write_baseline(wise_ft.baseline.to_record(collect_provenance()), folder / BASELINE)
    write_run(record, folder / RESULTS)
    curves = folder / CURVES
    if curves.is_file():
        curves_figure(read_curves(curves), folder / PICTURE)
    for kept in write_cards(run_cards(record, folder, read_curves(curves) if curves.is_file() else ())):
        print(card_kept(kept), file=sys.stderr)
    scatter = write_path_scatter(record, folder) if record.baseline is not None else None
    if scatter is not None:
        _to_tensorboard(cli.trainer, scatter)
    print_run(record, folder, Console())


def run_record(cli: LightningCLI, folder: Path, unreadable: Mapping[str, tuple[str, ...]] | None = None) -> RunRecord:
    """Put a run's record together from the Trainer, its callbacks and the files that it wrote."""
    trainer, model, data = cli.trainer, cli.model, cli.datamodule
    monitors = monitors_of(trainer)
    wise_ft = _wise_ft(trainer)
    path = wise_ft.path if wise_ft is not None else None
    left_out = {**(unreadable or {}), **(path.unreadable if path is not None else {})}
    images = {**(path.images if path is not None else _images(data, left_out)), **_concept_images(data)}
    files = [file for written in (wise_ft.files.values() if wise_ft is not None else ()) for file in written]
    config = (
        yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        if (folder / "config.yaml").is_file()
        else {}
    )
    return RunRecord(
        kind=type(model).__name__,
        provenance=collect_provenance(device=str(trainer.strategy.root_device), threads=torch.get_num_threads()),
        seeds=_seeds(config),
        config=config,
        data=DataDescription(
            dataset=str(getattr(data, "description", type(data).__name__)),
            protocol=_protocol(data, judged=path is not None),
            images=images,
            unreadable=left_out,
            training=_words(data, "training_description"),
        ),
        conventions=(
            *(line for m in monitors for line in conventions(m, model)),
            *(f"effective robustness while training: {_held_out(data)}, against {words}" for words in _live(trainer)),
            *_excluded_concepts(data),
            *_calibrated(monitors),
            *(one.convention for one in getattr(trainer, "callbacks", []) if isinstance(one, LogSteps | Diagnosis)),
        ),
        wise_ft=path.rows if path is not None else (),
        choice=path.choice if path is not None else None,
        intervals=path.intervals if path is not None else {},
        reference_lines={"untrained": _untrained(monitors)},
        checkpoints=_encoder_hash(model)
        | {str(file.relative_to(folder)): file_sha256(file) for file in files if file.is_relative_to(folder)},
        baseline=_baseline_words(wise_ft.baseline) if path is not None and wise_ft is not None else None,
        start=_words(model, "start"),
    )


def _words(module: Any, name: str) -> str | None:
    """What a module says of itself; None for one that does not."""
    words = getattr(module, name, None)
    return words if isinstance(words, str) else None


def _wise_ft(trainer: Any) -> WiseFT | None:
    return next((c for c in getattr(trainer, "callbacks", []) if isinstance(c, WiseFT)), None)


def _live(trainer: Any) -> list[str]:
    """Baselines that were followed while training."""
    found = [c.baseline for c in getattr(trainer, "callbacks", []) if isinstance(c, EffectiveRobustness)]
    return [words for baseline in found if (words := _baseline_words(baseline))]


def _held_out(data: Any) -> str:
    """What the reference's validation images are, where a baseline is of others."""
    if isinstance(data, ImageNetDataModule):
        return "validation images (the reference's held out of its training images, not a baseline's official ones)"
    return "validation images"


def _protocol(data: Any, *, judged: bool) -> str:
    """How accuracy is counted: in one word where all sets share it, else set by set."""
    records = [getattr(data, "reference", None), *(getattr(data, "shifts", None) or ())]
    found = {record.name: record.protocol for record in records if isinstance(record, DistributionShift)}
    default = DistributionShift("", "").protocol
    if set(found.values()) <= {default}:
        said = default
    else:
        said = ", ".join(
            protocol if protocol.startswith(f"{name}: ") else f"{name}: {protocol}" for name, protocol in found.items()
        )
    where = "tables on test images" if judged else "no table of test images"
    return f"{said}; choices on validation images of the reference, {where}"


def _baseline_words(baseline: Baseline | None) -> str | None:
    """A baseline in one line."""
    if baseline is None:
        return None
    on = "the classes that a shift covers" if baseline.x == "matched" else "all classes"
    low, high = baseline.reference_range
    return (
        f"{baseline.name}: {baseline.description or f'{len(baseline.models)} models'}, reference accuracy "
        f"{100 * low:.1f} to {100 * high:.1f} %, {baseline.scale} scale, reference over {on}"
    )


def _to_tensorboard(trainer: Any, figure: Figure) -> None:
    """Add the scatter beside the run's curves, in an event file of its own: Trainer and loggers have closed theirs.

    A logger that was opened to go on from a checkpoint would drop later events if it were opened again.
    """
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            with SummaryWriter(logger.log_dir, filename_suffix=".robustness") as writer:
                writer.add_figure("wise_ft/robustness", figure, global_step=trainer.global_step)


def conventions(monitor: SignatureMonitor, model: Any) -> list[str]:
    """How a monitor's figures were taken, in sentences."""
    forms = monitor.forms or dict.fromkeys(monitor.layers_of(model), "not measured")
    watched = monitor.images if isinstance(monitor.images, str) else "own"
    seen = (
        "validation images of the reference while training, its test images in tables"
        if watched == VALIDATION
        else watched
    )
    place = f"layers {', '.join(f'{layer} ({form})' for layer, form in forms.items())}; {seen}"
    said = {
        "kurtosis": "kurtosis: Pearson's (Gaussian 3), h not normalised; outliers: |z| > 6 on at least 6 % of images",
        "spectrum": "spectra: h not normalised, RankMe on E[hhᵀ]; importance: σ_i · mean|cos|, largest over median",
        "concepts": "concepts: h of unit length, AP of v and -v, unknown labels ignored, bases of equal size",
        "confidence": "confidence: of the head's own logits; entropy divided by log C, ECE over 15 bins of equal width",
    }
    return [f"{said[name]}; {place}" for name in monitor.signatures]


def _calibrated(monitors: list[SignatureMonitor]) -> list[str]:
    """What the untrained model is, where the module made it."""
    made = any(monitor.untrained is True and monitor.reference for monitor in monitors)
    said = "untrained: random weights, batch norms (if any) calibrated on the images that it is measured on"
    return [said] if made else []


def _untrained(monitors: list[SignatureMonitor]) -> dict[str, float]:
    found = {tag: value for monitor in monitors for tag, value in monitor.reference.items()}
    return {tag.removesuffix("/untrained"): value for tag, value in found.items()}


def _images(data: Any, unreadable: Mapping[str, tuple[str, ...]]) -> dict[str, int]:
    names = getattr(data, "val_loader_names", None)
    if data is None or names is None:
        return {}
    sizes = {
        f"{name} (validation)": len(loader.dataset) for name, loader in zip(names, data.val_dataloader(), strict=True)
    }
    return {name: size - len(unreadable.get(name, ())) for name, size in sizes.items()}


def _encoder_hash(model: Any) -> dict[str, str]:
    """SHA-256 of the encoder that training began with."""
    known = getattr(getattr(model, "loaded", None), "checkpoint_hash", None)
    return {} if known is None else {"encoder before training": known}


def _concept_images(data: Any) -> dict[str, int]:
    make = getattr(data, "concept_dataloader", None)
    return {} if make is None else {"concepts": len(make().dataset)}


def _excluded_concepts(data: Any) -> tuple[str, ...]:
    """Which concepts the rule of METHODS 5 leaves out (too few positives or negatives, or too common)."""
    names = getattr(data, "concept_names", None)
    if names is None:
        return ()
    labels = torch.cat([batch[1] for batch in data.concept_dataloader()])
    excluded = [names[k] for k in eligible_concepts(labels).excluded]
    return (
        f"concepts: {len(names) - len(excluded)} of {len(names)} eligible; excluded: {', '.join(excluded) or 'none'}",
    )


def _seeds(config: Mapping[str, Any]) -> dict[str, int]:
    found = {"everything": config.get("seed_everything")}
    for part in ("model", "data"):
        found[part] = ((config.get(part) or {}).get("init_args") or {}).get("seed")
    return {name: value for name, value in found.items() if isinstance(value, int) and not isinstance(value, bool)}

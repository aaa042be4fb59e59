"""`interpolate`: the path between two checkpoints, one file for each α, with a record of where it comes from."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_robust.cli.merged_model import IMAGE_OPTIONS, MergedModel, encoder_of, open_merged_model, refuse_idle
from lightning_robust.cli.merged_output import PATH_RECORD, refuse_full_disk, refuse_taken_folder, staged_folder
from lightning_robust.errors import UserError
from lightning_robust.report.card import CARD, write_card
from lightning_robust.report.card_merge import merge_card
from lightning_robust.results import collect_provenance, file_sha256
from lightning_robust.results.merge_record import MergeInput, MergeOutput, MergeRecord, write_merge

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from lightning_robust.models.merging_files import Checkpoint

_IMAGES = 2000


def run(args: argparse.Namespace) -> int:
    """Write the path between two checkpoints.

    Raises:
        UserError: For an α outside [0, 1], ends that cannot be read or are not of one model, or an output that is
            taken; before anything is written.
    """
    alphas = _alphas(args.alphas)
    if not args.recalibrate:
        refuse_idle(args, IMAGE_OPTIONS, "--recalibrate")
    refuse_taken_folder(args.out, args.overwrite)
    start, end = _ends(args)
    merged = open_merged_model(args, start) if args.recalibrate else None
    size = sum(tensor.nbytes for tensor in start.state.values())
    refuse_full_disk(args.out, size * len(alphas))
    with staged_folder(args.out) as folder:
        outputs, images = _write(args, folder, alphas, (start, end), merged)
        record = MergeRecord(
            kind="path",
            method="(1 − α) · start + α · end",
            provenance=collect_provenance(device=merged.device if merged else "cpu"),
            inputs=tuple(describe(checkpoint) for checkpoint in (start, end)),
            outputs=tuple(outputs),
            data=merged.data.description if merged else None,
            images={"recalibration of each point": images} if merged else {},
            seeds={"data": args.seed or 0} if merged else {},
            conventions=tuple(_conventions(args)),
            encoder=encoder_of(args.encoder, (args.start, args.end)),
        )
        write_merge(record, folder / PATH_RECORD)
        write_card(merge_card(record, args.out.resolve().name), folder / CARD)
    print(f"wrote {len(outputs)} points and {PATH_RECORD} to {args.out}")
    return 0


def merging_dtype(name: str | None) -> "torch.dtype | None":
    """The type in which weights are merged that `--dtype` asks for: at least float32; None leaves theirs.

    Args:
        name: Of the type to write.
    """
    import torch

    if name is None:
        return None
    return torch.float64 if name == "float64" else torch.float32


def describe(checkpoint: "Checkpoint") -> MergeInput:
    """A checkpoint as the record names it.

    Args:
        checkpoint: One of those that were merged.
    """
    return MergeInput(
        file=str(checkpoint.path),
        form=checkpoint.form,
        checkpoint_hash=checkpoint.checkpoint_hash,
        head_hash=checkpoint.head_hash,
    )


def _alphas(given: list[float]) -> list[float]:
    for alpha in given:
        if not 0.0 <= alpha <= 1.0:
            raise UserError(f"--alphas lie in [0, 1], from the weights of --start to those of --end; not {alpha:g}")
    return sorted(set(given))


def _ends(args: argparse.Namespace) -> "tuple[Checkpoint, Checkpoint]":
    from lightning_robust.models.interpolate import is_merged
    from lightning_robust.models.merging_files import check_mergeable, read_checkpoint, to_dtype

    start, end = read_checkpoint(args.start), read_checkpoint(args.end)
    check_mergeable(start, end)
    if (start.checkpoint_hash, start.head_hash) == (end.checkpoint_hash, end.head_hash):
        raise UserError(f"--start {args.start} and --end {args.end} hold the same weights: every point would be equal")
    dtype = merging_dtype(args.dtype or ("float32" if args.recalibrate else None))
    for state in (start.state, end.state):
        state.update(to_dtype(state, dtype))
    for name, tensor in start.state.items():
        if tensor.dtype != end.state[name].dtype and is_merged(tensor.dtype):
            raise UserError(
                f"{name} is {tensor.dtype} in {args.start} and {end.state[name].dtype} in {args.end}: say with --dtype "
                "in which type to write"
            )
    return start, end


def _write(
    args: argparse.Namespace,
    folder: Path,
    alphas: list[float],
    ends: "tuple[Checkpoint, Checkpoint]",
    merged: MergedModel | None,
) -> tuple[list[MergeOutput], int]:
    import torch

    from lightning_robust.models.interpolate import interpolate_into
    from lightning_robust.models.merging_files import alpha_names, to_dtype, write_merged

    theta0, theta1 = (end.state for end in ends)
    # the one working copy; for the recalibration it is the model
    working: Mapping[str, Tensor] = (
        merged.model.state_dict() if merged else {name: torch.empty_like(value) for name, value in theta0.items()}
    )
    outputs, images = [], 0
    for number, (alpha, name) in enumerate(zip(alphas, alpha_names(alphas), strict=True), start=1):
        interpolate_into(working, theta0, theta1, alpha)
        if merged and 0.0 < alpha < 1.0:
            images = _recalibrate(args, merged)
        dtype = None if args.dtype is None else getattr(torch, args.dtype)
        written = write_merged(folder / name, to_dtype(working, dtype))
        hashes = [file_sha256(path) for path in written]
        outputs.append(MergeOutput(file=name, alpha=alpha, checkpoint_hash=hashes[0], head_hash=(*hashes, None)[1]))
        print(f"[{number}/{len(alphas)}] alpha = {alpha:g}: {' and '.join(path.name for path in written)}", flush=True)
    return outputs, images


def _recalibrate(args: argparse.Namespace, merged: MergedModel) -> int:
    from lightning_robust.models.batch_norm import recalibrate_batch_norm

    def encode(model: Any, batch: Any) -> Any:
        return model.encode_image(batch[0].to(merged.device))

    run = None if merged.has_head else encode
    most = args.max_images or _IMAGES
    return recalibrate_batch_norm(merged.model, merged.training_batches(), run=run, max_images=most)


def _conventions(args: argparse.Namespace) -> list[str]:
    said = ["every floating-point entry is interpolated, buffers too; integers come from the end, at α = 0 the start"]
    if args.dtype is not None:
        said.append(f"merged in {merging_dtype(args.dtype)}, written in {args.dtype}")
    if args.recalibrate:
        said.append(
            "batch norms: mean and unbiased variance of their inputs over training images, each batch normalised with "
            "its own statistics; the ends keep theirs"
        )
    return said

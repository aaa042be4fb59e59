"""`soup`: one model from several: the mean, a greedy choice, or weighted with Fisher information."""

import argparse
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_robust.cli.interpolate import describe, merging_dtype
from lightning_robust.cli.merged_model import IMAGE_OPTIONS, MergedModel, encoder_of, open_merged_model, refuse_idle
from lightning_robust.cli.merged_output import card_kept, refuse_full_disk, refuse_taken_file
from lightning_robust.errors import UserError
from lightning_robust.report.card import write_card
from lightning_robust.report.card_merge import merge_card
from lightning_robust.results import collect_provenance, file_sha256
from lightning_robust.results.merge_record import MergeInput, MergeOutput, MergeRecord, write_merge

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lightning_robust.models.fisher import Labels
    from lightning_robust.models.merging_files import Checkpoint

_FISHER_IMAGES = 1000


@dataclass(frozen=True, kw_only=True)
class _Made:
    """A soup, and what the record says of it."""

    state: "dict[str, Tensor]"
    method: str
    inputs: tuple[MergeInput, ...]
    score: float | None = None
    images: Mapping[str, int] = field(default_factory=dict)
    conventions: tuple[str, ...] = ()


def run(args: argparse.Namespace) -> int:
    """Write a soup.

    Raises:
        UserError: For fewer than two models, models that cannot be read or are not of one kind, options without effect,
            or an output that is taken; before anything is written.
    """
    from lightning_robust.models.merging_files import HEAD, to_dtype, write_merged

    _check(args)
    head, record = args.out.with_suffix(HEAD), args.out.with_suffix(".json")
    refuse_taken_file(args.out, [head, record], args.overwrite)
    models = _Models(args)
    refuse_full_disk(args.out, models.size)
    merged = None if args.method == "uniform" else open_merged_model(args, models.read(0))
    made = _make(args, models, merged)
    import torch

    written = write_merged(args.out, to_dtype(made.state, None if args.dtype is None else getattr(torch, args.dtype)))
    if head not in written:
        head.unlink(missing_ok=True)  # an earlier soup's would be taken for this one's
    hashes = [file_sha256(path) for path in written]
    output = MergeOutput(file=args.out.name, checkpoint_hash=hashes[0], head_hash=(*hashes, None)[1], score=made.score)
    said = MergeRecord(
        kind="soup",
        method=made.method,
        provenance=collect_provenance(device=merged.device if merged else "cpu"),
        inputs=made.inputs,
        outputs=(output,),
        data=merged.data.description if merged else None,
        images=made.images,
        seeds={"data and sampled labels": args.seed or 0} if merged else {},
        conventions=("integers come from the last model of the soup", *made.conventions),
        encoder=encoder_of(args.encoder, args.files),
    )
    write_merge(said, record)
    card = args.out.with_suffix(".md")  # not README.md: a folder holds many soups
    if not write_card(merge_card(said, args.out.name), card):
        print(card_kept(card), file=sys.stderr)
    print(f"wrote {', '.join(str(path) for path in (*written, record))}")
    return 0


def _check(args: argparse.Namespace) -> None:
    if len(args.files) < 2:
        raise UserError(f"a soup takes two models or more, got {len(args.files)}: {args.files[0]}")
    seen: dict[Path, Path] = {}
    for path in args.files:
        if seen.setdefault(path.resolve(), path) is not path:
            raise UserError(f"{path} was given twice; a soup counts every model once")
    if args.out.suffix != ".safetensors" or args.out.name.endswith(".head.safetensors"):
        raise UserError(f"--out {args.out}: a soup is written as safetensors, so call it ….safetensors")
    if args.method == "uniform":
        refuse_idle(args, IMAGE_OPTIONS, "--method greedy and --method fisher")
    if args.method != "fisher":
        refuse_idle(args, ("labels",), "--method fisher")


class _Models:
    """The files, read one at a time; each is checked against the first."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.paths, self.dtype = list(args.files), merging_dtype(args.dtype)
        self.first: Checkpoint | None = None
        self.inputs: list[MergeInput] = []
        self.size = 0
        self.last = self.paths[0]
        for index in range(len(self.paths)):  # all before the first minute is spent
            checkpoint = self.read(index)
            self.inputs.append(describe(checkpoint))
            if self.first is None:
                self.size = sum(tensor.nbytes for tensor in checkpoint.state.values())
                self.first = replace(checkpoint, state={n: t.to("meta") for n, t in checkpoint.state.items()})
            del checkpoint

    def read(self, index: int) -> "Checkpoint":
        """Read one, in the type to merge in."""
        from lightning_robust.models.interpolate import is_merged
        from lightning_robust.models.merging_files import check_mergeable, read_checkpoint, to_dtype

        checkpoint = read_checkpoint(self.paths[index])
        for name, tensor in checkpoint.state.items():
            if is_merged(tensor.dtype) and bool(tensor.isnan().any()):
                raise UserError(f"{checkpoint.path} is no model to average: {name} holds values that are no numbers")
        checkpoint.state.update(to_dtype(checkpoint.state, self.dtype))
        if self.first is not None:
            check_mergeable(self.first, checkpoint)
            for name, tensor in self.first.state.items():
                if tensor.dtype != checkpoint.state[name].dtype and is_merged(tensor.dtype):
                    raise UserError(
                        f"{name} is {tensor.dtype} in {self.first.path} and {checkpoint.state[name].dtype} in "
                        f"{checkpoint.path}: say with --dtype in which type to write"
                    )
        return checkpoint

    def state(self, index: int) -> "dict[str, Tensor]":
        """The weights of one."""
        self.last = self.paths[index]
        print(f"reading {self.last}", flush=True)
        return self.read(index).state


def _make(args: argparse.Namespace, models: _Models, merged: MergedModel | None) -> _Made:
    from lightning_robust.models.soups import uniform_soup

    if merged is None:
        state = uniform_soup(models.state(index) for index in range(len(models.paths)))
        return _Made(state=state, method="uniform: the mean", inputs=tuple(models.inputs))
    return (_greedy if args.method == "greedy" else _fisher)(args, models, merged)


def _greedy(args: argparse.Namespace, models: _Models, merged: MergedModel) -> _Made:
    from lightning_robust.models.soups import greedy_soup

    images = judged = 0
    unjudged: list[str] = []

    def score(state: "Mapping[str, Tensor]") -> float:
        nonlocal images, judged
        alone, judged = judged < len(models.paths), judged + 1  # models alone come first, then soups
        merged.model.load_state_dict(state)
        try:
            classifier = merged.classifier()
        except ValueError as error:  # of a CLIP: a collapsed text tower has no head
            what = f"{models.last}" if alone else f"the soup with {models.last}"
            unjudged.append(f"{what} cannot be judged and is left out: {error}")
            if alone and len(unjudged) == len(models.paths):  # it is not about these weights, or all are alike
                raise UserError(f"no model can be judged: {error}") from error
            return -math.inf
        right, images = _count_right(classifier, merged, args.max_images)
        return right / images

    loaders = [lambda index=index: models.state(index) for index in range(len(models.paths))]
    soup = greedy_soup(loaders, score, lambda said: print(f"  {said}", flush=True))
    for sentence in unjudged:
        print(f"lightning-robust: warning: {sentence}", file=sys.stderr)
    return _Made(
        state=soup.state,
        method="greedy: best first, kept where the soup does not get worse",
        inputs=tuple(
            replace(one, score=None if found == -math.inf else found, kept=index in soup.members)
            for index, (one, found) in enumerate(zip(models.inputs, soup.alone, strict=True))
        ),
        score=soup.score,
        images={"validation images of the reference": images},
        conventions=("scores are accuracies on validation images of the reference; no shift was looked at",),
    )


def _count_right(model: "nn.Module", merged: MergedModel, most: int | None) -> tuple[int, int]:
    import torch

    from lightning_robust.models.class_mask import largest_class
    from lightning_robust.models.modes import eval_mode, kept_random_state

    right = n = 0
    with torch.no_grad(), eval_mode(model), kept_random_state():
        for batch in merged.reference_batches():
            left = len(batch[0]) if most is None else min(len(batch[0]), most - n)
            predicted = largest_class(model(batch[0][:left].to(merged.device))).cpu()
            right += int((predicted == batch[1][:left]).sum())
            n += left
            if n == most:
                break
    if not n:
        raise UserError("the data have no validation images of the reference, so no model can be chosen")
    return right, n


def _fisher(args: argparse.Namespace, models: _Models, merged: MergedModel) -> _Made:
    from lightning_robust.models.fisher import diagonal_fisher, fisher_soup

    labels: Labels = args.labels or "sampled"
    most, seen = args.max_images or _FISHER_IMAGES, 0

    def batches() -> Iterator[Any]:
        nonlocal seen
        seen = 0
        for batch in merged.training_batches():
            seen += len(batch[0])
            yield batch

    def measured() -> "Iterator[tuple[Mapping[str, Tensor], Mapping[str, Tensor], float]]":
        for index in range(len(models.paths)):
            state = models.state(index)
            merged.model.load_state_dict(state)
            classifier = merged.classifier()
            if not merged.has_head:
                classifier.get_submodule("head").requires_grad_(False)
            found = diagonal_fisher(classifier, batches(), labels=labels, seed=args.seed or 0, max_images=most)
            if not merged.has_head:
                found = {name.removeprefix("encoder."): value for name, value in found.items()}
            yield state, found, 1.0
            del state, found

    state = fisher_soup(measured())
    return _Made(
        state=state,
        method="Fisher-weighted: each value by its diagonal Fisher information",
        inputs=tuple(models.inputs),
        images={"training images for the Fisher information of each model": min(seen, most)},
        conventions=(
            f"Fisher information of image tower and head, labels {labels}; text tower and buffers are averaged plainly",
        ),
    )

"""`ablate`: what outlier features and privileged directions do, taken away one by one and together, beside others."""

import argparse
import shutil
from collections.abc import Mapping, Sequence

import torch

from lightning_robust.cli.ablate_answers import answers_at_head
from lightning_robust.cli.ablate_concepts import opened_concepts, ranked_concepts
from lightning_robust.cli.ablate_groups import head_groups, layer_groups
from lightning_robust.cli.ablate_layer import LayerReader, checked_layer, refuse_passed_by
from lightning_robust.cli.ablate_outcome import Ablated, print_outcome, write_outcome
from lightning_robust.cli.ablate_plan import planned, runs
from lightning_robust.cli.evaluate_asked import asked_models
from lightning_robust.cli.evaluate_models import LoadedModels, load_models
from lightning_robust.cli.evaluate_progress import EvaluationProgress
from lightning_robust.cli.evaluate_splits import divided_otherwise
from lightning_robust.cli.head_features import (
    UNTRAINED_WORDS,
    calibrate_on_calibration_images,
    head_features,
)
from lightning_robust.cli.opened_evaluation import Opened, open_evaluation
from lightning_robust.cli.processes import processes
from lightning_robust.cli.run_folder import new_run_folder, refuse_unwritable
from lightning_robust.cli.warnings_at_the_end import warnings_at_the_end
from lightning_robust.errors import UserError, from_user
from lightning_robust.models.batch_norm import batch_norms
from lightning_robust.models.evaluate_rules import AnswerRule

__all__ = ["run"]

_COMMAND = "ablate"


def run(args: argparse.Namespace) -> int:
    """Ablate, and print what came out.

    Raises:
        UserError: For a model, data or a setting that cannot be had, before any image is read.
    """
    with processes() as here, warnings_at_the_end(here):
        refuse_unwritable(_COMMAND, args.run_name)
        opened = open_evaluation(args, here)
        loaded, sentences = _loaded(opened)
        layer = _layer(args, loaded)
        labelled = opened_concepts(opened, loaded.transform)
        with EvaluationProgress(here.first, 0, 1) as progress:
            found = _at_head(opened, loaded, progress) if layer is None else _at_layer(opened, loaded, layer, progress)
        found.sentences[:0] = sentences
        if labelled is not None:
            units = torch.cat([group.units for group in found.groups], dim=1)
            found.concepts = ranked_concepts(labelled, loaded, found.layer, units, opened)
        folder = new_run_folder(_COMMAND, args.run_name)
        try:
            record = write_outcome(found, folder)
        except BaseException:  # nothing half-written stays, also after Ctrl-C
            shutil.rmtree(folder, ignore_errors=True)
            raise
        print_outcome(record, folder)
    return 0


def _loaded(opened: Opened) -> tuple[LoadedModels, list[str]]:
    """The model, and what a reader has to know about it."""
    asked = asked_models([opened.args.model])[0]
    if asked.path:
        files = list(asked.path.values())
        raise UserError(f"{asked.name} is a path of {len(files)} models and ablate takes one: name a file, {files[-1]}")
    with from_user(ValueError):
        sentences = divided_otherwise([asked.name], opened.options)
    loaded = load_models(asked, opened.data, opened.sets, opened.args.seed)
    head = loaded.network.head
    if head is None or not bool(head.isfinite().all()):
        raise UserError(f"{asked.name} has no head whose weights are all numbers, so nothing can be judged")
    untrained = [UNTRAINED_WORDS] if loaded.untrained and batch_norms(loaded.module) else []
    return loaded, [*sentences, *loaded.sentences, *untrained]


def _layer(args: argparse.Namespace, loaded: LoadedModels) -> str | None:
    """The inner layer; None for h itself."""
    if args.layer is None or args.layer == loaded.network.representation_layer:
        return None
    layer = checked_layer(loaded.module, args.layer)
    refuse_passed_by(layer, loaded.own_heads)
    if args.directions is not None:
        raise UserError(f"--directions has no effect at {layer}: directions are those of the head; leave it out")
    return layer


def _seeds(args: argparse.Namespace) -> list[int]:
    return list(range(args.seed, args.seed + args.seeds))


def _at_head(opened: Opened, loaded: LoadedModels, progress: EvaluationProgress) -> Ablated:
    args = opened.args
    progress.images(args.model, _images(opened, loaded, 1))
    with from_user(ValueError):
        read = head_features(opened, loaded, loaded.candidates, progress.seen)[0]
    groups, missing = head_groups(read, args.features, args.directions, _seeds(args), args.clip)
    plans = planned(groups)
    different, rows = runs(plans)
    rules = opened.rules(read.model.own_heads)
    asked, _ = opened.reference_rules(rules)
    units = torch.cat([group.units for group in groups], dim=1)
    progress.images(f"{args.model}: ablations", sum(len(part.h) for part in read.judged))
    answers = []
    for index, part in enumerate(read.judged):
        own: Mapping[str, AnswerRule] = asked if index == 0 else {"": rules[part.set]}
        answers.append(answers_at_head(read.model, part, own, different, units))
        progress.seen(len(part.h))
    h = read.calibration.h
    return Ablated(
        opened=opened,
        loaded=loaded,
        layer=loaded.network.representation_layer,
        form=f"{h.shape[1]} features, h as the encoder gives it",
        at_head=True,
        groups=groups,
        plans=plans,
        rows=rows,
        rules=rules,
        answers=answers,
        calibration=len(h),
        mean=h[h.isfinite().all(dim=1)].double().mean(dim=0),
        notes=missing,
        sentences=[*missing, *_left_out(opened.sets[0].name, read.calibration.unreadable)],
    )


def _at_layer(opened: Opened, loaded: LoadedModels, layer: str, progress: EvaluationProgress) -> Ablated:
    args = opened.args
    opened.data.transform = loaded.transform
    loaded.place(opened.device)
    calibrate_on_calibration_images(opened, loaded)
    reader = LayerReader(opened, loaded, layer, progress.seen)
    progress.images(args.model, _images(opened, loaded, 1))
    pooled, moments = reader.calibration()
    groups, missing = layer_groups(pooled, moments, args.features, _seeds(args), args.clip)
    plans = planned(groups, singles=1)
    different, rows = runs(plans)
    rules = opened.rules(loaded.own_heads)
    asked, _ = opened.reference_rules(rules)
    members = [member for group in groups for member in group.record.members]
    answers = reader.answers(different, rules, asked, members)
    return Ablated(
        opened=opened,
        loaded=loaded,
        layer=layer,
        form=reader.form,
        at_head=False,
        groups=groups,
        plans=plans,
        rows=rows,
        rules=rules,
        answers=answers,
        calibration=len(pooled),
        mean=pooled[pooled.isfinite().all(dim=1)].double().mean(dim=0),
        notes=missing,
        sentences=[*missing, *_left_out(opened.sets[0].name, reader.unreadable)],
    )


def _images(opened: Opened, loaded: LoadedModels, passes: int) -> int:
    loaders = opened.judged_loaders(loaded.transform)
    return opened.calibration_loader(loaded.transform).share + passes * sum(loader.share for loader in loaders)


def _left_out(name: str, unreadable: Sequence[str]) -> list[str]:
    return [f"an image of {name} was left out: {sentence}" for sentence in unreadable]

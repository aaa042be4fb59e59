"""The models of `prune`: what each word stands for, its supervised twin, and what their heads read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lightning_robust.cli.evaluate_asked import Asked, asked_models
from lightning_robust.cli.evaluate_models import Candidate, LoadedModels, load_models
from lightning_robust.cli.evaluate_progress import EvaluationProgress
from lightning_robust.cli.evaluate_splits import divided_otherwise
from lightning_robust.cli.head_features import HeadFeatures, head_features
from lightning_robust.cli.opened_evaluation import Opened
from lightning_robust.cli.prune_arguments import NONE
from lightning_robust.errors import UserError, from_user
from lightning_robust.models.bundled import SUPERVISED

__all__ = ["ASKED", "TWIN", "ToPrune", "features_of", "models_to_prune"]

ASKED, TWIN = "asked", "supervised twin"
_SCENES = "ScenesDataModule"


@dataclass(frozen=True, eq=False)
class ToPrune:
    """What one word stands for.

    Attributes:
        asked: The word.
        role: As of `PrunedModel`.
        wanted: Its models: of a path those α that are asked for.
    """

    asked: Asked
    role: str
    wanted: tuple[Candidate, ...]


@dataclass(frozen=True, eq=False)
class Found:
    """All models of a call.

    Attributes:
        words: Those that were asked for and the twin, in order.
        last: The models of the last word, loaded already.
        sentences: What a reader has to know about them.
        missing: A sentence where there is no supervised twin.
    """

    words: tuple[ToPrune, ...]
    last: LoadedModels
    sentences: tuple[str, ...]
    missing: tuple[str, ...]


def models_to_prune(opened: Opened) -> Found:
    """Look at every model before any image is read.

    Args:
        opened: Data, sets and arguments.

    Raises:
        UserError: If a model cannot be had, does not fit, or has no head that can be pruned, or α names no point.
    """
    args = opened.args
    words = [(one, ASKED) for one in asked_models(args.model)]
    twin, missing = _twin(opened)
    if twin is not None and twin not in args.model:
        words.append((asked_models([twin])[0], TWIN))
    if args.alpha is not None and not any(one.path for one, _ in words):
        raise UserError("--alpha has no effect without a run's folder: leave it out, or give --model one with a path")
    files = [file for one, _ in words for file in (one.path.values() if one.path else [one.name])]
    with from_user(ValueError):
        sentences = divided_otherwise(files, opened.options)
    found, loaded = list[ToPrune](), None
    for one, role in words:
        loaded = None  # before the next is loaded
        loaded = load_models(one, opened.data, opened.sets, args.seed)
        _check_head(loaded)
        sentences += loaded.sentences
        found.append(ToPrune(one, role, _wanted(one, role, loaded.candidates, args.alpha)))
    if loaded is None:
        raise UserError("--model names no model")
    return Found(tuple(found), loaded, tuple(sentences), missing)


def features_of(
    opened: Opened, found: Found, progress: EvaluationProgress
) -> Iterator[tuple[ToPrune, list[HeadFeatures]]]:
    """What the heads read, word by word; each image is read once for all models of a word.

    Args:
        opened: Data and sets.
        found: The models.
        progress: Is told how far it is.
    """
    kept: LoadedModels | None = found.last
    for one in found.words:
        if kept is None or kept.candidates[0].key not in {candidate.key for candidate in one.wanted}:
            kept = None
            kept = load_models(one.asked, opened.data, opened.sets, opened.args.seed)
        loaders = opened.judged_loaders(kept.transform)
        images = sum(loader.share for loader in (opened.calibration_loader(kept.transform), *loaders))
        progress.images(one.asked.name, images)
        with from_user(ValueError):
            read = head_features(opened, kept, one.wanted, progress.seen)
        kept = None
        yield one, read


def _twin(opened: Opened) -> tuple[str | None, tuple[str, ...]]:
    named = opened.args.supervised
    if named is None and opened.options.get("class") == _SCENES:
        return SUPERVISED, ()
    if named in (None, NONE):
        return None, (
            "there is no supervised twin: --supervised MODEL names a model of the same classes that was trained on "
            "labels alone",
        )
    return str(named), ()


def _wanted(
    asked: Asked, role: str, candidates: Sequence[Candidate], alphas: Sequence[float] | None
) -> tuple[Candidate, ...]:
    if alphas is None or not asked.path or role == TWIN:
        return tuple(candidates)
    known = {candidate.alpha: candidate for candidate in candidates}
    if unknown := [alpha for alpha in alphas if alpha not in known]:
        listed = ", ".join(f"{alpha:g}" for alpha in asked.path)
        raise UserError(f"{asked.name} has no file of α = {unknown[0]:g}: it has {listed}")
    return tuple(known[alpha] for alpha in sorted(set(alphas)))


def _check_head(loaded: LoadedModels) -> None:
    head = loaded.network.head
    if head is None:
        raise UserError(f"{loaded.network.name} has no classification head, so there is nothing to prune")
    if not bool(head.isfinite().all()):
        raise UserError(f"{loaded.network.name}: the weights of its head are not all numbers, so it has no directions")
    if not bool(head.any()):
        raise UserError(f"{loaded.network.name}: all weights of its head are zero, so there is nothing to prune")

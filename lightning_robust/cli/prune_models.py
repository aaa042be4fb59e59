"""The models of `prune`: what each word stands for, its supervised twin, and what their heads read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning_robust.cli.evaluate_asked import Asked, asked_models
from lightning_robust.cli.evaluate_models import Candidate, LoadedModels, load_models
from lightning_robust.cli.evaluate_progress import EvaluationProgress
from lightning_robust.cli.evaluate_splits import divided_otherwise
from lightning_robust.cli.head_features import UNTRAINED_WORDS, HeadFeatures, head_features
from lightning_robust.cli.opened_evaluation import Opened
from lightning_robust.cli.prune_arguments import NONE
from lightning_robust.errors import UserError, from_user
from lightning_robust.models.batch_norm import batch_norms
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
        words: Those that were asked for, and the twin where it was not, in order.
        last: The models of the last word, loaded already.
        sentences: What a reader has to know about them.
        missing: A sentence where there is no supervised twin.
        twin: Name of the model that is the supervised twin of the others: the last, or one that was asked for.
    """

    words: tuple[ToPrune, ...]
    last: LoadedModels
    sentences: tuple[str, ...]
    missing: tuple[str, ...]
    twin: str | None = None


def models_to_prune(opened: Opened) -> Found:
    """Look at every model before any image is read.

    Args:
        opened: Data, sets and arguments.

    Raises:
        UserError: If a model cannot be had, does not fit, or has no head that can be pruned, or α names no point.
    """
    args = opened.args
    asked, (twin, missing) = asked_models(args.model), _twin(opened)
    if args.alpha is not None and not any(one.path for one in asked):
        raise UserError("--alpha has no effect without a run's folder: leave it out, or give --model one with a path")
    files = [file for one in asked for file in (one.path.values() if one.path else [one.name])]
    with from_user(ValueError):
        sentences = divided_otherwise([*files, *([] if twin is None else [twin.name])], opened.options)
    chosen = _Chosen(opened, tuple(sentences))
    for one in asked:
        chosen.add(one, ASKED)
    serves = None
    if twin is not None:
        serves = next((name for name in chosen.names if _place(name) == _place(twin.name)), None)
        if serves is None:
            chosen.add(twin, TWIN)
        elif chosen.names == [serves]:
            missing = (
                f"{serves} is the supervised twin itself, so it has none: --supervised MODEL names another model of "
                "the same classes that was trained on labels alone",
            )
    name = serves if serves is not None or twin is None else twin.name
    return Found(tuple(chosen.found), chosen.last, chosen.sentences, missing, name)


class _Chosen:
    """Models that were looked at, one after the other.

    Args:
        opened: Data, sets and arguments.
        sentences: What a reader has to know so far.
    """

    def __init__(self, opened: Opened, sentences: tuple[str, ...]) -> None:
        self._opened, self.sentences = opened, sentences
        self.found: list[ToPrune] = []
        self._last: list[LoadedModels] = []

    @property
    def names(self) -> list[str]:
        """Of the models that are wanted."""
        return [candidate.name for one in self.found for candidate in one.wanted]

    @property
    def last(self) -> LoadedModels:
        """The models of the last word."""
        return self._last[0]

    def add(self, one: Asked, role: str) -> None:
        """Look at what one word stands for."""
        self._last.clear()  # before the next is loaded
        args = self._opened.args
        loaded = load_models(one, self._opened.data, self._opened.sets, args.seed)
        _check_head(loaded)
        self.sentences += tuple(loaded.sentences)
        if loaded.untrained and batch_norms(loaded.module) and UNTRAINED_WORDS not in self.sentences:
            self.sentences += (UNTRAINED_WORDS,)
        self.found.append(ToPrune(one, role, _wanted(one, role, loaded.candidates, args.alpha)))
        self._last.append(loaded)


def _place(name: str) -> str:
    """One name for each model, whichever way its path is written."""
    return str(Path(name).resolve()) if Path(name).exists() else name


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


def _twin(opened: Opened) -> tuple[Asked | None, tuple[str, ...]]:
    named = opened.args.supervised
    if named is None and opened.options.get("class") == _SCENES:
        return Asked(SUPERVISED), ()
    if named in (None, NONE):
        return None, (
            "there is no supervised twin: --supervised MODEL names a model of the same classes that was trained on "
            "labels alone",
        )
    (twin,) = asked_models([str(named)])
    if twin.path:
        raise UserError(
            f"--supervised takes one model, and {named} is a run with a path: name one of its files, such as "
            f"{list(twin.path.values())[-1]}"
        )
    return twin, ()


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

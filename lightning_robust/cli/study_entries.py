"""The `models:` of a study's file: each entry, once for every combination of its matrix, becomes models."""

import re
from collections.abc import Mapping
from typing import Any, Final

from lightning_robust.cli.study_matrix import combinations, filled
from lightning_robust.cli.study_models import KINDS, FinetunedPart, StudyModel, StudyTraining, path_slug
from lightning_robust.cli.study_section import Section, near, shown
from lightning_robust.errors import UserError

__all__ = ["study_models"]

_ENTRY: Final = ("name", "matrix", "kind", "family", "labels", "model", "train", "finetuned")
_TRAINING: Final = ("config", "set", "seed")
_FINETUNED: Final = (*_TRAINING, "encoder", "alphas")
_KEY: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_OWN_KEYS: Final = ("config", "run_name", "ckpt_path", "seed_everything", "model.init_args.seed", "data.init_args.seed")
_COUNTERPART: Final = "a counterpart is NAME-finetuned, in names of files a point of its path NAME-finetuned-ALPHA"
_UNTRAINED: Final = "untrained:"


def study_models(entries: list[Any], where: str, study: str) -> tuple[StudyModel, ...]:
    """The models of a study, in the order of the file.

    Args:
        entries: What stands under `models:`.
        where: The file, for sentences.
        study: Name of the study, which the names of trained runs begin with.

    Raises:
        UserError: For the first mistake, in one sentence.
    """
    found = [
        model
        for place, entry in enumerate(entries)
        for model in _entry(Section(entry, f"{where}, models[{place}]"), study)
    ]
    names: set[str] = set()
    for model in found:
        own = _names(model)
        if twice := names.intersection(own):
            name = min(twice)
            rule = f" ({_COUNTERPART})" if "-finetuned" in name else ""
            raise UserError(f"{where} has two models named {name!r}{rule}: give each a name of its own")
        names.update(own)
    return tuple(found)


def _names(model: StudyModel) -> list[str]:
    """What it and its counterpart are called, and what the points of its path are called in names of files."""
    if model.finetuned is None:
        return [model.name]
    other = f"{model.name}-finetuned"
    return [model.name, other, *(path_slug(other, alpha) for alpha in model.finetuned.alphas)]


def _entry(section: Section, study: str) -> list[StudyModel]:
    section.only(_ENTRY, ("name", "kind"))
    matrix = section.inner("matrix")
    if "matrix" in section.values and not matrix.values:
        raise UserError(f"{matrix.where} names nothing: leave it out")
    raw = {key: value for key, value in section.values.items() if key != "matrix"}
    return [
        _model(Section(filled(raw, variables, section.where), section.where), study)
        for variables in combinations(matrix)
    ]


def _model(section: Section, study: str) -> StudyModel:
    name = str(section.name("name"))
    section = Section(section.values, f"{section.where} ({name})")
    kind = str(section.text("kind"))
    if kind not in KINDS:
        raise UserError(f"{section.where}: no kind {kind!r}: {near(kind, KINDS)}")
    if ("model" in section.values) == ("train" in section.values):
        raise UserError(f"{section.where} has either model:, one that exists, or train:, a run that makes it")
    model = section.text("model")
    if model is not None and model.startswith(_UNTRAINED) != (kind == "random"):
        raise UserError(f"{section.where}: models of kind random are untrained:MODEL, and no others; got {model!r}")
    if model is None and kind == "random":
        raise UserError(f"{section.where}: a random model is not trained: give it model: untrained:MODEL")
    train = None if model is not None else _training(section.inner("train"), f"{study}-{name}", _TRAINING)
    bare = StudyModel(
        name=name, kind=kind, family=section.name("family") or name, model=model, train=train,
        labels=_labels(section.inner("labels")),
    )  # fmt: skip
    if "finetuned" not in section.values:
        return bare
    if kind != "zero-shot":
        raise UserError(f"{section.where}: only zero-shot models have a finetuned: part, this one is {kind}")
    part = _finetuned(section.inner("finetuned"), f"{study}-{name}-finetuned", bare)
    return StudyModel(**{**vars(bare), "finetuned": part})


def _labels(section: Section) -> dict[str, str]:
    for key, value in section.values.items():
        if not isinstance(key, str) or isinstance(value, bool) or not isinstance(value, str | int | float):
            raise UserError(f"{section.where} gives each label a text, got {shown(key)}: {shown(value)}")
    return {key: str(value) for key, value in section.values.items()}


def _training(section: Section, run: str, keys: tuple[str, ...], **more: Any) -> StudyTraining:
    section.only(keys, ("config",))
    return StudyTraining(
        config=str(section.text("config")), run=run, overrides={**more, **_overrides(section.inner("set"), more)},
        seed=section.seed("seed"),
    )  # fmt: skip


def _overrides(section: Section, taken: Mapping[str, Any]) -> dict[str, Any]:
    for key in section.values:
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise UserError(f"{section.where} takes dotted keys, as in model.init_args.lr, got {shown(key)}")
        if key in _OWN_KEYS or key in taken:
            instead = " (seed: sets it)" if "seed" in key else " (encoder: sets it)" if key in taken else ""
            raise UserError(f"{section.where} cannot set {key}, which the study sets itself{instead}")
    return dict(section.values)


def _finetuned(section: Section, run: str, parent: StudyModel) -> FinetunedPart:
    section.only(_FINETUNED, ("config", "encoder", "alphas"))
    encoder = str(section.text("encoder"))
    if not _KEY.fullmatch(encoder):
        raise UserError(f"{section.where}: encoder is the dotted key that gets the model, got {encoder!r}")
    training = _training(section, run, _FINETUNED, **{encoder: parent.source()})
    alphas = section.items("alphas")
    for alpha in alphas:
        good = isinstance(alpha, int | float) and not isinstance(alpha, bool) and 0 < alpha <= 1
        if not good or abs(100 * alpha - round(100 * alpha)) > 1e-9:
            raise UserError(f"{section.where}: alphas lie in (0, 1], in hundredths, got {shown(alpha)}")
    return FinetunedPart(training=training, alphas=tuple(sorted(float(alpha) for alpha in alphas)))

"""What all rows of a study are measured by: data, baseline and options, as a part of every measurement's key."""

import argparse
import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import lightning_robust
from lightning_robust.cli.evaluate_arguments import add_evaluate
from lightning_robust.cli.probe_arguments import add_probe
from lightning_robust.cli.prune_arguments import add_prune
from lightning_robust.cli.study_config import StudyConfig
from lightning_robust.errors import UserError

__all__ = ["MEASUREMENT_VERSIONS", "StudyContext", "open_context"]

#: Raised where a measurement's figures change, so that studies measure anew.
MEASUREMENT_VERSIONS: Final = {"evaluate": 1, "probe": 2, "prune": 1}
_ADD: Final = {"evaluate": add_evaluate, "probe": add_probe, "prune": add_prune}
_JUDGING: Final = ("evaluate", "prune")


@dataclass(frozen=True, eq=False)
class StudyContext:
    """A study whose data and baseline could be opened.

    Attributes:
        config: The study.
        protocol: Of the data: description, arguments, and by set how accuracy is counted.
        baseline: 12 digits that name the baseline's lines; None without one.
        reference: Name of the reference.
        shifts: Names of the shifts, in order.
    """

    config: StudyConfig
    protocol: dict[str, Any]
    baseline: str | None
    reference: str
    shifts: tuple[str, ...]

    def arguments(self, measurement: str, words: list[str]) -> argparse.Namespace:
        """The arguments of a measurement, as its command parses them.

        Args:
            measurement: Its name.
            words: The models.

        Raises:
            UserError: If an option of the study has a value that the command does not take.
        """
        parser = _Parser(prog=f"options.{measurement} of {self.config.file.name}", add_help=False)
        _ADD[measurement](parser)
        return parser.parse_args([*self._own(measurement, words), *self._options(measurement)])

    def _own(self, measurement: str, words: list[str]) -> list[str]:
        study = self.config
        own = ["--model", *words, "--seed", str(study.seed)]
        if measurement in _JUDGING:
            own += ["--data", study.data, *([] if study.baseline is None else ["--baseline", study.baseline])]
        elif study.concepts is not None:
            own += ["--concepts", study.concepts]
        # a supervised model is a row of its own in a study
        without_twin = "supervised" not in self.config.options.get(measurement, {})
        return own + (["--supervised", "none"] if measurement == "prune" and without_twin else [])

    def _options(self, measurement: str) -> list[str]:
        words: list[str] = []
        for name, value in self.config.options.get(measurement, {}).items():
            if value is False:
                continue
            values = [] if value is True else value if isinstance(value, list) else [value]
            words += [f"--{name}", *(one if isinstance(one, str) else json.dumps(one) for one in values)]
        return words

    @cached_property
    def _version(self) -> str:
        return ".".join(lightning_robust.__version__.split(".")[:2])

    def describe(self, measurement: str) -> dict[str, Any]:
        """All that a measurement's figures depend on beside the model, as JSON has it.

        Args:
            measurement: Its name.
        """
        study = self.config
        own = (
            {"baseline": self.baseline}
            if measurement in _JUDGING
            else {"concepts": study.concepts}
        )  # fmt: skip
        return {
            "measurement": measurement,
            "version": MEASUREMENT_VERSIONS[measurement],
            "package": self._version,
            "data": self.protocol,
            "seed": study.seed,
            "options": dict(study.options.get(measurement, {})),
            **own,
        }


def open_context(config: StudyConfig) -> StudyContext:
    """Open the data and the baseline of a study; no image is read.

    Args:
        config: The study.

    Raises:
        UserError: If one of them cannot be had, an option has a value that its command does not take, or there is no
            such concept set.
    """
    from lightning_robust.cli.data_spec import data_settings, open_data
    from lightning_robust.cli.evaluate_baseline import chosen_baseline
    from lightning_robust.cli.evaluate_sets import evaluation_sets

    blind = StudyContext(config, {}, None, "", ())
    if config.concepts is not None:
        _check_concepts(config.concepts)
    parsed = {name: blind.arguments(name, ["-"]) for name in config.measure}
    judging = next((parsed[name] for name in _JUDGING if name in parsed), None)
    split = "test" if judging is None else judging.split
    data = open_data(config.data)
    sets = evaluation_sets(data, split)
    baseline = None
    if judging is not None:
        options = {name: getattr(judging, name) for name in ("scale", "x", "aggregate")}
        baseline = chosen_baseline(config.baseline, config.data, data, split, options)
    protocol = {
        "description": data.description,
        "arguments": data_settings(config.data),
        "sets": {one.name: [one.source, one.protocol] for one in sets},
        "classes": _digest([list(data.class_names), list(data.templates)]),
    }
    name = None if baseline is None else _baseline_digest(baseline)
    return StudyContext(config, protocol, name, sets[0].name, tuple(one.name for one in sets[1:]))


def _check_concepts(text: str) -> None:
    """Refuse before anything is measured what `probe` would refuse after hours; nothing is opened."""
    from lightning_robust.data.concept_sets import CONCEPT_SPECS

    kind, _, rest = text.partition("?")[0].partition(":")
    takes_place = {spec.partition(":")[0]: ":" in spec for spec in CONCEPT_SPECS}
    if takes_place.get(kind) is not bool(rest):
        raise UserError(f"no concept set {text!r}; what works: {', '.join(CONCEPT_SPECS)}")


def _baseline_digest(baseline: Any) -> str:
    from lightning_robust.results.codec import encode

    parts = (tuple(baseline.models), dict(baseline.images), baseline.scale, baseline.x, baseline.aggregate)
    return _digest([encode(parts), list(baseline.lines)])


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


class _Parser(argparse.ArgumentParser):
    """Refuses in one sentence."""

    def error(self, message: str) -> Any:
        raise UserError(f"{self.prog}: {message}")

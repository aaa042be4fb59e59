"""A baseline as a JSON file: the accuracies of standard models, from which its lines are fitted again on reading."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from lightning_robust.errors import UserError
from lightning_robust.results.provenance import Provenance
from lightning_robust.results.record_file import read_record, write_record

__all__ = ["BASELINE_SCHEMA", "BaselineRecord", "ModelAccuracies", "read_baseline", "write_baseline"]

BASELINE_SCHEMA = 1


@dataclass(frozen=True)
class ModelAccuracies:
    """Accuracies of one model, as fractions in [0, 1].

    Attributes:
        name: of the model.
        reference: accuracy on the reference, over all of its classes.
        shifts: accuracy by shift.
        matched: by shift, the reference accuracy on the classes that the shift covers; a shift that covers all
            classes needs none.
        family: what kind of model it is, in the words of its source.
        checkpoint_hash: SHA-256 of its weights, where it was measured here.
        source: where the figures come from.
    """

    name: str
    reference: float
    shifts: Mapping[str, float]
    matched: Mapping[str, float] = field(default_factory=dict)
    family: str = ""
    checkpoint_hash: str = ""
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class BaselineRecord:
    """What a baseline is fitted on, and how.

    Attributes:
        schema_version: version of this layout.
        kind: ``"baseline"``.
        name: of the baseline.
        description: one sentence: which models, on what data.
        dataset: the data in words, as evaluations name them; empty where it is not known.
        protocols: how accuracy is counted, by evaluation set; ``"reference"`` is the reference.
        images: number of images by evaluation set; ``"reference"`` is the reference and ``"matched/<shift>"`` its
            images of the classes that a shift covers.
        scale, x, aggregate: the options of the fit, see ``robustness.Baseline``.
        models: the standard models.
        provenance: versions, machine, revision, time.
    """

    schema_version: int = BASELINE_SCHEMA
    kind: str = "baseline"
    name: str
    description: str
    protocols: Mapping[str, str]
    images: Mapping[str, int]
    scale: str
    x: str
    aggregate: str
    models: tuple[ModelAccuracies, ...]
    provenance: Provenance
    dataset: str = ""


def write_baseline(record: BaselineRecord, path: str | os.PathLike[str]) -> None:
    """Write a baseline's JSON, whole or not at all.

    Raises:
        FileNotFoundError: the folder does not exist.
    """
    write_record(record, path)


def read_baseline(path: str | os.PathLike[str]) -> BaselineRecord:
    """Read a baseline's JSON.

    Raises:
        UserError: there is none at ``path``, it is no JSON, no baseline, or of a newer version.
    """
    record = read_record(BaselineRecord, path, BASELINE_SCHEMA, "a baseline", "fit-baseline --out")
    if record.kind != "baseline":
        raise UserError(f"{path} is not a baseline: it says that it is {record.kind!r}")
    return record

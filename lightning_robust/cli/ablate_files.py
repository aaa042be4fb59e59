"""The plain files of `ablate`, which other tools read: directions, scores of every image, image ids, concepts."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from lightning_robust.cli.ablate_groups import Group
from lightning_robust.cli.ablate_images import JudgedImages
from lightning_robust.models import save_tensors
from lightning_robust.results import atomic_path, write_table
from lightning_robust.results.ablation_record import AblatedUnit, Ablation, AblationRecord

__all__ = ["FILES", "unit_columns", "write_exports", "write_tables"]

DIRECTIONS, SCORES, PARQUET, IMAGES = "directions.safetensors", "scores.csv", "scores.parquet", "images.csv"
CONCEPTS, ABLATIONS, UNITS = "concepts.csv", "ablations.csv", "units.csv"
FILES = {
    ABLATIONS: "accuracy, effective robustness and difference of every ablation, a row for each set",
    UNITS: "figures of every unit",
    DIRECTIONS: "units as columns of units.vectors (d, m) with their mean, std and limits; the mean of h; of each head "
    "its right singular vectors V (d, r) with sigma (r,) and normalised importance (r,); of each draw of random units "
    "the same as of the units, GROUP.random_….DRAW.vectors, whose columns are the places of ablations.csv",
    SCORES: "the value of every unit on every judged image",
    PARQUET: "the same, as a parquet file",
    IMAGES: "every judged image: id, set, place in the set, its own class where the set tells it, the reference class "
    "that it is counted as, path",
    CONCEPTS: "concepts that each unit ranks, with average precision and prevalence",
}


_LIMITS = ("mean", "std", "low", "high")


def unit_columns(groups: Sequence[Group]) -> list[str]:
    """The column of each unit in the files: `feature_7`, `raw_direction_1`, directions counted from 1.

    Args:
        groups: The groups.
    """
    return [
        f"feature_{member}" if one.record.unit == "feature" else f"{one.record.form}_direction_{member + 1}"
        for one in groups
        for member in one.record.members
    ]


def write_exports(groups: Sequence[Group], scores: Tensor, mean: Tensor, images: JudgedImages, folder: Path) -> None:
    """Write directions, scores and image ids.

    Args:
        groups: The groups.
        scores: Value of every unit on every image, `(n, m)` float64.
        mean: Of h over the calibration images, `(d,)`.
        images: The images, in the same order.
        folder: The run's folder.
    """
    columns = unit_columns(groups)
    tensors = {"mean": mean, "units.vectors": torch.cat([one.units for one in groups], dim=1)}
    for name in _LIMITS:
        tensors[f"units.{name}"] = torch.cat([getattr(one.values, name) for one in groups])
    features = [member for one in groups if one.record.unit == "feature" for member in one.record.members]
    tensors["features"] = torch.tensor(features, dtype=torch.int64)
    for one in groups:
        if (report := one.importance) is not None:
            form = one.record.form
            tensors[f"{form}.V"], tensors[f"{form}.sigma"] = report.directions, report.singular_values
            tensors[f"{form}.importance"] = report.normalised
        for control in one.controls:
            key = f"{one.record.form or 'features'}.{control.name.replace(' ', '_')}.{control.draw}"
            tensors[f"{key}.vectors"] = control.units
            tensors |= {f"{key}.{name}": getattr(control.values, name) for name in _LIMITS}
    save_tensors(folder / DIRECTIONS, tensors, {"units": ",".join(columns)})
    _write_scores(columns, scores, images, folder)
    write_table(folder / IMAGES, images.rows())


def _write_scores(columns: Sequence[str], scores: Tensor, images: JudgedImages, folder: Path) -> None:
    import pyarrow  # type: ignore[import-untyped]
    import pyarrow.parquet  # type: ignore[import-untyped]

    table = pyarrow.table(
        {
            "image": list(images.ids),
            "set": list(images.sets),
            "class": list(images.classes),
            "counted_as": list(images.counted),
            **{name: column.numpy() for name, column in zip(columns, scores.unbind(dim=1), strict=True)},
        }
    )
    with atomic_path(folder / PARQUET) as temporary:
        pyarrow.parquet.write_table(table, temporary)
    write_table(folder / SCORES, table.to_pylist())


def write_tables(record: AblationRecord, folder: Path) -> None:
    """Write ablations, units and concepts as tables.

    Args:
        record: What was found.
        folder: The run's folder.
    """
    write_table(folder / ABLATIONS, [row for one in record.ablations for row in _ablation_rows(one)])
    write_table(folder / UNITS, [_unit_row(one) for one in record.units])
    if CONCEPTS in record.files:
        write_table(folder / CONCEPTS, [row for one in record.units for row in _concept_rows(one)])


def _ablation_rows(one: Ablation) -> list[dict[str, str | int | float | bool | None]]:
    told = {row.set: row for row in one.rows}
    er = one.robustness
    rows = list[dict[str, str | int | float | bool | None]]()
    for name in (*told, "shifts") if len(told) > 1 else tuple(told):
        row, difference = told.get(name), one.differences.get(name)
        robust = None if er is None else er.mean if name == "shifts" else er.shifts.get(name)
        rows.append(
            {
                "unit": one.unit,
                "form": one.form,
                "kind": one.kind,
                "members": " ".join(str(member) for member in one.members),
                "count": one.count,
                "together": one.together,
                "control": one.control,
                "draw": one.draw,
                "places": " ".join(str(place) for place in one.places),
                "set": name,
                "correct": None if row is None else row.correct,
                "images": None if row is None else row.images,
                "accuracy": one.shifts_mean if row is None else row.accuracy,
                "difference": None if difference is None else difference.estimate,
                "difference_low": None if difference is None else difference.low,
                "difference_high": None if difference is None else difference.high,
                "changed": sum(list(one.changed.values())[1:]) if row is None else one.changed.get(name),
                "er": None if robust is None else robust.estimate,
                "er_low": None if robust is None or robust.interval is None else robust.interval.low,
                "er_high": None if robust is None or robust.interval is None else robust.interval.high,
            }
        )
    return rows


def _unit_row(one: AblatedUnit) -> dict[str, str | int | float | bool | None]:
    best = one.concepts[0] if one.concepts else None
    return {
        "unit": one.unit,
        "form": one.form,
        "index": one.index,
        "by_rule": one.by_rule,
        "far_out": one.far_out,
        "mean_z": one.mean_z,
        "share": one.share,
        "normalised_importance": one.importance,
        "importance_share": one.importance_share,
        "common": one.common,
        "mean": one.mean,
        "std": one.std,
        "low": one.low,
        "high": one.high,
        "concept": None if best is None else best.concept,
        "average_precision": None if best is None else best.average_precision,
        "top_images": " ".join(top.image for top in one.top),
        "bottom_images": " ".join(top.image for top in one.bottom),
    }


def _concept_rows(one: AblatedUnit) -> list[dict[str, str | int | float | bool | None]]:
    return [
        {
            "unit": one.unit,
            "form": one.form,
            "index": one.index,
            "concept": entry.concept,
            "category": entry.category,
            "average_precision": entry.average_precision,
            "prevalence": entry.prevalence,
            "sign": entry.sign,
        }
        for entry in one.concepts
    ]

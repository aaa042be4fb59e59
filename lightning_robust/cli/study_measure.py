"""The measurements of a study's rows: the records of `evaluate`, `probe` and `prune`, one for each row."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from lightning_robust.cli.evaluate_asked import Asked
from lightning_robust.cli.study_context import StudyContext
from lightning_robust.cli.study_models import PlannedRow

__all__ = ["MEASURES", "Measure", "RowRecord"]

#: A row, its record, and how many seconds it took; where rows share a call, its share.
RowRecord = tuple[PlannedRow, Any, float]
#: Rows in, and each with its record out, as they come.
Measure = Callable[[StudyContext, Sequence[PlannedRow]], Iterator[RowRecord]]
_START: Final = "alpha=0.00.safetensors"
_POOL, _BATCH = "mean", 128


def _evaluated(context: StudyContext, rows: Sequence[PlannedRow]) -> Iterator[RowRecord]:
    """One call for all rows; the points of a path share one pass over the images."""
    from lightning_robust.cli.evaluate import evaluated

    since, sources = time.monotonic(), [row.source for row in rows]
    record = evaluated(context.arguments("evaluate", sources), _asked(rows), sources)
    models, seconds = {model.name: model for model in record.models}, (time.monotonic() - since) / len(rows)
    for row in rows:
        yield row, replace(record, models=(models[row.source],), differences=()), seconds


def _asked(rows: Sequence[PlannedRow]) -> list[Asked]:
    """Single models, and the path with its start, from which evaluate knows which points lie on the line."""
    single = [Asked(row.source) for row in rows if row.alpha is None]
    path = {row.alpha: row.source for row in rows if row.alpha is not None}
    if not path:
        return single
    folder = Path(next(iter(path.values()))).parent
    start = {0.0: str(folder / _START)} if (folder / _START).is_file() else {}
    return [*single, Asked(str(folder), {**start, **dict(sorted(path.items()))})]


def _probed(context: StudyContext, rows: Sequence[PlannedRow]) -> Iterator[RowRecord]:
    """Row by row, on the reference images that evaluate judges accuracy on, with the class names of the data."""
    from lightning_robust.cli.data_spec import open_data
    from lightning_robust.cli.probe_measured import load_model, measured_model
    from lightning_robust.cli.study_images import reference_images

    data = open_data(context.config.data)
    texts = (list(data.class_names), list(data.templates))
    for row in rows:
        since = time.monotonic()
        args = context.arguments("probe", [row.source])
        args.pool, args.batch_size = args.pool or _POOL, args.batch_size or _BATCH
        network = load_model(args, row.source, None if args.classes is not None else texts)
        data.transform = network.transform
        given = reference_images(data, network, args.batch_size, args.max_images)
        yield row, measured_model(args, network, given).record, time.monotonic() - since


def _pruned(context: StudyContext, rows: Sequence[PlannedRow]) -> Iterator[RowRecord]:
    """One call for all rows."""
    from lightning_robust.cli.prune import pruned

    since = time.monotonic()
    record = pruned(context.arguments("prune", [row.source for row in rows]))
    models, seconds = {model.name: model for model in record.models}, (time.monotonic() - since) / len(rows)
    for row in rows:
        yield row, replace(record, models=(models[row.source],)), seconds


MEASURES: Final[dict[str, Measure]] = {"evaluate": _evaluated, "probe": _probed, "prune": _pruned}
"""By name."""

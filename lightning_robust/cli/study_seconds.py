"""How long a training took, by the clock, from its TensorBoard files."""

from pathlib import Path

__all__ = ["training_seconds"]


def training_seconds(folder: Path) -> float | None:
    """Seconds between the first and the last entry of each TensorBoard file of a run, summed: a file for each start.

    Args:
        folder: The run's folder.

    Returns:
        None where there is no such file, or none with two entries.
    """
    spans = [span for file in sorted(folder.glob("events.out.tfevents.*")) if (span := _span(file)) is not None]
    return sum(spans) if spans else None


def _span(file: Path) -> float | None:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    times = [event.wall_time for event in EventFileLoader(str(file)).Load()]
    return max(times) - min(times) if len(times) > 1 else None

"""The pictures of an ablation as files."""

from collections.abc import Iterator
from pathlib import Path

from matplotlib.figure import Figure

from lightning_robust.report.ablation_figure import ablation_figure
from lightning_robust.report.contact_sheet import contact_sheets
from lightning_robust.results import atomic_path
from lightning_robust.results.ablation_record import AblationRecord

__all__ = ["write_ablation_figures"]

_DPI = 160


def write_ablation_figures(record: AblationRecord, folder: Path) -> list[Path]:
    """Write the pictures of an ablation into its folder, each whole or not at all.

    `ablation` (PNG and SVG) shows what each unit costs; `contact_sheet_features`, `contact_sheet_raw_directions` and
    `contact_sheet_centred_directions` (PNG) the images on which units are largest.

    Args:
        record: The ablation.
        folder: Where to write, and where its small pictures lie.

    Returns:
        The files.
    """
    files = list(_write(ablation_figure(record), folder / "ablation", ("png", "svg")))
    for name, sheet in contact_sheets(record, folder).items():
        files += _write(sheet, folder / f"contact_sheet_{name}", ("png",))
    return files


def _write(figure: Figure, stem: Path, forms: tuple[str, ...]) -> Iterator[Path]:
    for form in forms:
        file = stem.parent / f"{stem.name}.{form}"
        with atomic_path(file) as temporary:
            figure.savefig(temporary, format=form, dpi=_DPI)
        yield file

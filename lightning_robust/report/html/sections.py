"""The sections of the page, in order; each is a function of what was found, None where there is nothing to say."""

from collections.abc import Callable, Iterator

from lightning_robust.errors import UserError
from lightning_robust.report.html import (
    sections_ablation,
    sections_accuracy,
    sections_comparison,
    sections_compression,
    sections_concepts,
    sections_curves,
    sections_diagnosis,
    sections_provenance,
    sections_pruning,
    sections_spectra,
    sections_study,
    sections_verdict,
)
from lightning_robust.report.html.section import Section
from lightning_robust.report.html.sources import Sources

__all__ = ["SECTIONS", "sections_of"]

#: Each from a module ``sections_<name>.py`` of its own.
SECTIONS: tuple[Callable[[Sources], Section | None], ...] = (
    sections_verdict.section,
    sections_comparison.section,
    sections_diagnosis.section,
    sections_accuracy.section,
    sections_curves.section,
    sections_spectra.section,
    sections_concepts.section,
    sections_ablation.section,
    sections_pruning.section,
    sections_compression.section,
    sections_study.section,
    sections_provenance.section,
)


def sections_of(found: Sources) -> Iterator[Section]:
    """The sections that have something to say.

    Args:
        found: result files.

    Raises:
        UserError: results hold what no measurement gives, such as a share above 1.
    """
    for make in SECTIONS:
        try:
            section = make(found)
        except (ArithmeticError, ValueError) as error:
            part = make.__module__.rpartition("sections_")[2]
            raise UserError(
                f"the results of {found.folder} hold figures that the page's part on {part} cannot show ({error}): "
                "were they edited? Name other folders with --alone and --with"
            ) from error
        if section is not None:
            yield section

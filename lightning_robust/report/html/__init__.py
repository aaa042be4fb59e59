"""One HTML page of everything that was measured, from result files alone: no model, no network."""

from lightning_robust.report.html.finding import find_sources
from lightning_robust.report.html.section import Section
from lightning_robust.report.html.sources import Found, Sources

__all__ = ["Found", "Section", "Sources", "find_sources"]

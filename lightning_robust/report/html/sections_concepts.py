"""Concepts of the most important directions, with the images on which each is largest and smallest."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from markupsafe import Markup

from lightning_robust.report.ablation_words import group_title, unit_name
from lightning_robust.report.html.blocks import choices, folded, note, percent, table
from lightning_robust.report.html.markup import joined, tag
from lightning_robust.report.html.section import Section
from lightning_robust.report.html.several import evenly, run_words
from lightning_robust.report.html.sources import Found, Sources
from lightning_robust.report.html.thumbnails import Thumbnails
from lightning_robust.results.ablation_record import AblatedUnit, AblationRecord, TopImage, UnitGroup
from lightning_robust.results.probe_record import ConceptEntry, DirectionConcepts, ProbeRecord

__all__ = ["section"]

_CONCEPTS, _IMAGES = 5, 6
"""Concepts of a unit, and images on either side, that are shown."""
_WEAK = 0.9
"""From this average precision on a direction is said to encode a concept (METHODS 5)."""


def section(found: Sources) -> Section | None:
    """What privileged directions and outlier features stand for; None where no concept or image was looked at.

    Args:
        found: result files.
    """
    pictures = Thumbnails()
    parts = [_ablated(one, pictures) for one in found.ablations]
    parts += [_probed(one, found) for one in found.probes]
    shown = [part for part in parts if part is not None]
    if not shown:
        return None
    return Section(id="concepts", title="Concepts of the directions", lead=_lead(found), body=joined(shown))


def _entries(found: Sources) -> Iterator[tuple[str, ConceptEntry]]:
    for one in found.ablations:
        yield from ((unit_name(unit), best) for unit in one.record.units for best in unit.concepts[:1])
    for other in found.probes:
        for direction in other.record.directions:
            yield from ((f"direction {direction.direction + 1}", best) for best in direction.concepts[:1])


def _lead(found: Sources) -> str:
    best = max(_entries(found), key=lambda pair: pair[1].average_precision, default=None)
    if best is None:
        return ""
    name, entry = best
    ap = f"{entry.average_precision:.2f}"
    if entry.average_precision >= _WEAK:
        return f"{_upper(name)} encodes {entry.concept} with an average precision of {ap}, the most of those shown."
    return (
        f"None of the directions shown encodes a concept with an average precision of {_WEAK:g}; the nearest is "
        f"{name} with {ap} for {entry.concept}."
    )


def _upper(words: str) -> str:
    return words[:1].upper() + words[1:]


def _ablated(found: Found[AblationRecord], pictures: Thumbnails) -> Markup | None:
    record = found.record
    panels = []
    for group in record.groups:
        units = [unit for unit in record.units_of(group) if unit.concepts or unit.top or unit.bottom]
        if units:
            shown = joined(_unit(unit, found.folder, pictures) for unit in units)
            panels.append((_upper(group_title(group)), shown))
    if not panels:
        return None
    return joined([note(_how(record)), choices("Units", panels, first=_first(record.groups, panels))])


def _first(groups: Sequence[UnitGroup], panels: Sequence[tuple[str, Markup]]) -> int:
    """Directions first: what the section is about."""
    titles = [_upper(group_title(group)) for group in groups if group.unit == "direction"]
    return next((k for k, (title, _) in enumerate(panels) if title in titles), 0)


def _how(record: AblationRecord) -> str:
    chance = ""
    if record.random_concepts:
        known = [value for value in record.random_concepts if value == value]
        if known:
            chance = (
                f" Of {len(known)} random directions the best concept has {min(known):.2f} to {max(known):.2f}: what "
                "is not above says nothing."
            )
    return (
        f"{record.model.name}: for each unit the concepts that it ranks best, with average precision and, in brackets, "
        f"what chance reaches (prevalence); + where it is large, − where it is small.{chance} Images: the judged ones "
        "on which its value is largest and smallest."
    )


def _unit(unit: AblatedUnit, folder: Path, pictures: Thumbnails) -> Markup:
    facts = [f"{percent(unit.share)} % of ‖h‖²"]
    if unit.importance_share == unit.importance_share:
        facts.append(f"{percent(unit.importance_share)} % of all importance")
    if unit.common == unit.common:
        facts.append(f"{percent(unit.common)} % the same for every class")
    rule = " · by the rule" if unit.by_rule else ""
    sides = [
        _side("largest", unit.top, folder, pictures),
        _side("smallest", unit.bottom, folder, pictures),
    ]
    return tag(
        "article",
        tag("h4", _upper(unit_name(unit))),
        tag("p", ", ".join(facts), rule, class_="note"),
        _concepts(unit.concepts),
        tag("div", *sides, class_="sides") if any(sides) else None,
        class_="unit",
    )


def _concepts(entries: Sequence[ConceptEntry]) -> Markup | None:
    if not entries:
        return None
    items = []
    for entry in entries[:_CONCEPTS]:
        figures = f" {entry.average_precision:.2f} ({entry.prevalence:.2f})"
        name = tag("strong", entry.concept) if entry.average_precision >= _WEAK else entry.concept
        items.append(tag("li", "+ " if entry.sign > 0 else "− ", name, tag("span", figures, class_="note")))
    return tag("ul", *items, class_="concepts")


def _side(word: str, images: Sequence[TopImage], folder: Path, pictures: Thumbnails) -> Markup | None:
    if not images:
        return None
    tiles = []
    for one in images[:_IMAGES]:
        alt = f"{one.label}, {one.set}, value {_value(one.score)}"
        drawn = pictures.of(folder, one.file, alt)
        shown = drawn if drawn is not None else tag("span", "no picture", class_="tile")
        tiles.append(tag("figure", shown, tag("figcaption", one.label, tag("br"), f"{one.set} {_value(one.score)}")))
    return tag("div", tag("p", word, class_="note"), tag("div", *tiles, class_="tiles"))


def _value(score: float) -> str:
    return f"{score:.3g}".replace("-", "−")


def _probed(found: Found[ProbeRecord], sources: Sources) -> Markup | None:
    directions = found.record.directions
    if not any(one.concepts for one in directions):
        return None
    rows = [_direction(one) for one in evenly(directions, 20)]
    several = len(sources.probes) > 1 or bool(sources.ablations)
    caption = (
        f"{found.record.model.name}: the most important directions of the head and the concepts that they rank best"
    )
    shown = table(["direction", "importance, %", "privileged", "concepts: average precision (prevalence)"], rows,
                  caption=caption)  # fmt: skip
    if not several:
        return shown
    return folded(f"Directions that probe measured ({run_words(found.folder)})", shown, opened=not sources.ablations)


def _direction(one: DirectionConcepts) -> list[str]:
    said = [
        f"{'+' if e.sign > 0 else '−'} {e.concept} {e.average_precision:.2f} ({e.prevalence:.2f})"
        for e in one.concepts[:_CONCEPTS]
    ]
    return [f"{one.direction + 1}", percent(one.importance), "yes" if one.privileged else "no", "; ".join(said)]

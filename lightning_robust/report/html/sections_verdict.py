"""The first section: what was found, in a sentence, with the figures that it rests on."""

from collections.abc import Iterator

from markupsafe import Markup

from lightning_robust.report.headline import headline
from lightning_robust.report.html.blocks import note, number, percent
from lightning_robust.report.html.judged import JudgedGroup, best_group
from lightning_robust.report.html.markup import joined, tag
from lightning_robust.report.html.section import Section
from lightning_robust.report.html.sources import Found, Sources
from lightning_robust.report.html.verdict_unjudged import unjudged
from lightning_robust.report.html.verdict_words import ends, lead_of, shift_by_shift, told_of
from lightning_robust.results import AlphaRow, Interval, RunRecord

__all__ = ["section"]

Card = tuple[str, str, str]
"""Name, figure and what stands below it."""


def section(found: Sources) -> Section:
    """The verdict on what was asked for, and in small on what it is compared with.

    Args:
        found: result files.
    """
    lead, cards, points = _verdict(found)
    parts = [_cards(cards) if cards else None, _points(points) if points else None]
    if found.second is not None:
        other = _verdict(found.second)[0]
        parts.append(tag("p", tag("strong", f"{_name(found.second)}: "), other))
    return Section(id="verdict", title="Verdict", lead=lead, body=joined(parts))


def _verdict(found: Sources) -> tuple[str, list[Card], list[str | Markup]]:
    group = best_group(found)
    if group is None:
        lead, cards = unjudged(found)
        return lead, cards, []
    run = next((one for one in found.runs if one.folder == group.folder), None)
    points: list[str | Markup] = [*_findings(group, run)]
    return lead_of(group), _judged_cards(group, run), points


def _name(found: Sources) -> str:
    return "/".join(found.folder.resolve().parts[-2:])


def _cards(cards: list[Card]) -> Markup:
    items = (
        tag(
            "li",
            tag("span", name, class_="name"),
            tag("span", value, class_="value"),
            tag("span", below, class_="span") if below else None,
        )
        for name, value, below in cards
    )
    return tag("ul", *items, class_="cards")


def _points(points: list[str | Markup]) -> Markup:
    *told, baseline = points
    listed = tag("ul", *(tag("li", point) for point in told), class_="points") if told else None
    return joined([listed, note(baseline)])


def _judged_cards(group: JudgedGroup, run: Found[RunRecord] | None) -> list[Card]:
    model, first = told_of(group), group.models[0]
    before = group.path and first.alpha == 0 and model is group.models[-1]
    below = _was(first.reference, before) or (model.name if len(group.models) > 1 else "")
    cards = [("accuracy on the reference", f"{percent(model.reference)} %", below)]
    if model.shifts:
        several = len(model.shifts) > 1
        words = f"mean accuracy on {len(model.shifts)} shifts" if several else f"accuracy on {next(iter(model.shifts))}"
        cards.append((words, f"{percent(model.shifts_mean)} %", _was(first.shifts_mean, before)))
    if model.robustness is not None:
        mean = model.robustness.mean
        cards.append(("effective robustness, points", percent(mean.estimate, signed=True), ends(mean)))
    choice = run.record.choice if run is not None else None
    if choice is not None:
        star = next((one for one in group.models if one.alpha == choice.alpha_star), None)
        below = ""
        if star is not None:
            below = f"{percent(star.reference)} % on the reference, {percent(star.shifts_mean)} % on the shifts"
        cards.append(("α* of the Wise-FT path", f"{choice.alpha_star:g}", below))
    return cards


def _was(value: float, before: bool) -> str:
    return f"{percent(value)} % before finetuning" if before else ""


def _findings(group: JudgedGroup, run: Found[RunRecord] | None) -> Iterator[str]:
    """What lies behind the verdict; the last is what it is measured from."""
    model = told_of(group)
    if run is not None:
        yield from _training(run.record)
    by_shift = shift_by_shift(model)
    if by_shift:
        yield by_shift
    if run is not None:
        yield from _signatures(run.record)
    words = "No baseline." if group.baseline is None else f"Baseline: {group.baseline}."
    yield (
        f"{words} Effective robustness is accuracy on a shift above what standard models of the same accuracy on the "
        f"reference reach; its interval holds the scatter of single standard models about their line. From "
        f"{group.words}, on {group.data}."
    )


def _training(record: RunRecord) -> Iterator[str]:
    changed = record.intervals.get("mean of the shifts: α=1 − α=0")
    gained = record.intervals.get("reference: α=1 − α=0")
    if changed is not None and gained is not None:
        yield (
            f"Finetuning changed accuracy on the reference by {percent(gained.estimate, signed=True)} points "
            f"({_span(gained)}) and on the shifts by {percent(changed.estimate, signed=True)} in the mean "
            f"({_span(changed)})."
        )
    if record.choice is not None:
        yield record.choice.sentence


def _span(change: Interval) -> str:
    return f"{100 * change.level:g} %: {percent(change.low, signed=True)} to {percent(change.high, signed=True)}"


def _signatures(record: RunRecord) -> Iterator[str]:
    first, last = record.wise_ft[0], record.wise_ft[-1]
    head = headline(last.signatures)
    untrained = record.reference_lines.get("untrained", {})
    named = {
        "kurtosis": head.kurtosis,
        "importance, largest over median": head.importance_raw,
        "the same of the centred head": head.importance_centred,
        "concepts at AP ≥ 0.9": head.concepts,
    }
    told = [_moved(words, tag, first, last, untrained.get(tag)) for words, tag in named.items() if tag is not None]
    if told:
        layer = head.layer if head.importance_raw is None else f"what the head reads ({head.layer})"
        yield f"Signatures of {layer}, α = {first.alpha:g} to {last.alpha:g}: {'; '.join(told)}."


def _moved(words: str, tag: str, first: AlphaRow, last: AlphaRow, untrained: float | None) -> str:
    ends = f"{words} from {number(first.signatures.get(tag))} to {number(last.signatures.get(tag))}"
    return ends if untrained is None else f"{ends} (untrained {number(untrained)})"

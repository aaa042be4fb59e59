"""What a pruning of many models says in sentences: counts over the models in place of a page for each."""

from collections.abc import Sequence

from lightning_robust.report.prune_cells import fraction_words, lost_words, shown_fraction
from lightning_robust.report.prune_words import fractions_of, is_path, twin_of
from lightning_robust.results.prune_record import PrunedModel, PruneRecord

__all__ = ["many_findings", "path_sentence"]


def many_findings(record: PruneRecord, labels: Sequence[str]) -> list[tuple[str, str]]:
    """Sentences on all models that were asked for together.

    Args:
        record: The pruning.
        labels: What its models are called.

    Returns:
        What each is about, in a word, and the sentence.
    """
    named = {label: model for label, model in zip(labels, record.models, strict=True) if model.role == "asked"}
    told = [
        *(("Finding", sentence) for what in ("reference", "shifts") if (sentence := _finding(record, named, what))),
        ("Artefact", _null_space(list(named.values()))),
        *(("Control", sentence) for sentence in _controls(list(named.values()))),
        ("Control", path_sentence(record)),
        ("Control", _twin(record)),
        ("The paper", _paper(list(named.values()))),
    ]
    return [(topic, sentence) for topic, sentence in told if sentence]


def path_sentence(record: PruneRecord) -> str:
    """What can go at both ends of a Wise-FT path, and whether it follows effective robustness; empty without a path.

    Args:
        record: The pruning.
    """
    if not is_path(record.models):
        return ""
    asked = sorted((one for one in record.models if one.role == "asked"), key=lambda one: one.alpha or 0.0)
    start, end = asked[0], asked[-1]
    before, after = (shown_fraction(one, "importance") for one in (start, end))
    if before is None or after is None:
        return ""
    said = (
        f"from α = {start.alpha:g} to α = {end.alpha:g} what can go on the reference changes from "
        f"{fraction_words(before)} to {fraction_words(after)}"
    )
    first, last = start.unpruned.robustness, end.unpruned.robustness
    if first is None or last is None:
        return f"{said}."
    gain, robust = after.estimate - before.estimate, last.mean.estimate - first.mean.estimate
    verdict = "the same way" if gain * robust > 0 else "which it does not follow"
    ends = f"{100 * first.mean.estimate:+.1f} to {100 * last.mean.estimate:+.1f} points"
    return f"{said}, effective robustness from {ends}: {verdict}."


def _finding(record: PruneRecord, named: dict[str, PrunedModel], what: str) -> str:
    """The models that go furthest and least far."""
    found = {label: shown_fraction(model, "importance", what) for label, model in named.items()}
    known = {label: fraction for label, fraction in found.items() if fraction is not None}
    if not known:
        return ""
    most, least = (end(known, key=lambda label: known[label].estimate) for end in (max, min))
    place = "on the reference" if what == "reference" else "in the mean of the shifts"
    if known[most].estimate == known[least].estimate:
        return (
            f"{place} the least important {fraction_words(known[most])} of r can go for {lost_words(record.points)} in "
            f"every one of the {len(known)} models, raw heads; the interval is that of {most}."
        )
    return (
        f"{place} the least important directions that can go for {lost_words(record.points)} are between "
        f"{fraction_words(known[least])} ({least}) and {fraction_words(known[most])} ({most}) of r, raw heads."
    )


def _null_space(models: Sequence[PrunedModel]) -> str:
    null = sorted({model.null for model in models})
    if not null[-1]:
        return ""
    range_ = f"{null[0]:,}" if len(null) == 1 else f"{null[0]:,} to {null[-1]:,}"
    return f"{range_} dimensions of h are null space, which the head never reads; they are in no fraction here."


def _controls(models: Sequence[PrunedModel]) -> list[str]:
    """In how many models the most important directions do better than random ones, and than a good truncation."""
    random, best = [], []
    for model in models:
        own, curve = shown_fraction(model, "importance"), model.curve("random", "raw")
        drawn = [] if curve is None else fractions_of(curve, "reference")
        if own is not None and drawn:
            random.append(own.estimate > max(drawn))
        truncated = shown_fraction(model, "reduced_rank")
        if own is not None and truncated is not None:
            best.append(truncated.estimate >= own.estimate)
    lines = []
    if random:
        lines.append(
            f"in {sum(random)} of {len(random)} models more of them can go on the reference than in any draw of random "
            "directions."
        )
    if best:
        lines.append(
            f"in {sum(best)} of {len(best)} reduced-rank regression, the best truncation, goes as far or further."
        )
    return lines


def _twin(record: PruneRecord) -> str:
    twin = twin_of(record)
    own = None if twin is None else shown_fraction(twin, "importance")
    if twin is None or own is None:
        return ""
    best = shown_fraction(twin, "reduced_rank")
    other = "" if best is None else f", by reduced-rank regression {fraction_words(best)}"
    return f"of the supervised twin {twin.name}, {fraction_words(own)} can go on the reference{other}."


def _paper(models: Sequence[PrunedModel]) -> str:
    like = sum(model.comparable for model in models)
    return (
        f"up to 80 % of the directions of CLIPs, on the 1,000 classes of ImageNet; comparable in {like} of "
        f"{len(models)} models, where r is at least d/2."
    )

"""What a pruning of many models says in sentences: counts over the models in place of a page for each."""

from collections.abc import Sequence

from lightning_robust.report.prune_cells import fraction_words, lost_words, shown_fraction
from lightning_robust.report.prune_robustness import correlation_sentence, path_sentence
from lightning_robust.report.prune_words import fractions_of, short_names, twin_of
from lightning_robust.results.prune_record import PrunedModel, PruneRecord

__all__ = ["many_findings"]


def many_findings(record: PruneRecord, labels: Sequence[str]) -> list[tuple[str, str]]:
    """Sentences on all models that were asked for together.

    Args:
        record: The pruning.
        labels: What its models are called.

    Returns:
        What each is about, in a word, and the sentence.
    """
    asked = {label: model for label, model in zip(labels, record.models, strict=True) if model.role == "asked"}
    named = {label: model for label, model in asked.items() if not model.near_chance}
    models = list(named.values())
    told = [
        ("Finding", _at_chance(asked)),
        *(("Finding", sentence) for what in ("reference", "shifts") if (sentence := _finding(record, named, what))),
        ("Artefact", _null_space(models)),
        *(("Control", sentence) for sentence in _controls(models, record.points)),
        ("Control", path_sentence(record)),
        ("Control", correlation_sentence(models)),
        ("Control", _twin(record)),
        ("The paper", _paper(models)),
    ]
    return [(topic, sentence) for topic, sentence in told if sentence]


def _at_chance(asked: dict[str, PrunedModel]) -> str:
    lost = [label for label, model in asked.items() if model.near_chance]
    if not lost:
        return ""
    return (
        f"nothing can be concluded of {', '.join(lost)}: so little above the accuracy of no direction at all, with "
        "nothing to lose; no sentence below counts it."
    )


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
    if not null or not null[-1]:
        return ""
    range_ = f"{null[0]:,}" if len(null) == 1 else f"{null[0]:,} to {null[-1]:,}"
    return f"{range_} dimensions of h are null space, which the head never reads; they are in no fraction here."


def _controls(models: Sequence[PrunedModel], points: float) -> list[str]:
    """In how many models the most important directions do better than random ones, and than a good truncation."""
    random, best, heads = [], [], []
    for model in models:
        own, curve = shown_fraction(model, "importance"), model.curve("random", "raw")
        drawn = [] if curve is None else fractions_of(curve, "reference")
        if own is not None and drawn:
            random.append(own.estimate > max(drawn))
        same, head = shown_fraction(model, "importance", "agreement"), model.curve("random_head", "raw")
        if same is not None and head is not None:
            heads.append(same.low > max(fractions_of(head, "agreement")))
        truncated = shown_fraction(model, "reduced_rank")
        if own is not None and truncated is not None:
            best.append(truncated.estimate >= own.estimate)
    lines = []
    if random:
        lines.append(
            f"in {sum(random)} of {len(random)} models more of them can go on the reference than in any draw of random "
            "directions."
        )
    if heads:
        lines.append(
            f"in {sum(heads)} of {len(heads)} the head keeps {100 * (1 - points):g} % of its own answers further than "
            "every head of random weights keeps those of its own, beyond its interval."
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
    name = dict(zip(map(id, record.models), short_names(record.models), strict=True))[id(twin)]
    if twin.near_chance:
        return f"the supervised twin {name} is at chance, so it says nothing."
    best = shown_fraction(twin, "reduced_rank")
    other = "" if best is None else f", by reduced-rank regression {fraction_words(best)}"
    return f"of the supervised twin {name}, {fraction_words(own)} can go on the reference{other}."


def _paper(models: Sequence[PrunedModel]) -> str:
    if not models:
        return ""
    like = sum(model.comparable for model in models)
    return (
        f"up to 80 % of the directions of CLIPs, on the 1,000 classes of ImageNet; comparable in {like} of "
        f"{len(models)} models, where r is at least d/2."
    )

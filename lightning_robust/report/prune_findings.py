"""What a pruning says in sentences: the finding, what is artefact in it, its controls, and the paper's figure."""

from collections.abc import Sequence

from lightning_robust.report.prune_cells import (
    fraction_words,
    lost_words,
    many_tries,
    near_chance_words,
    percent,
    shown_fraction,
    shown_headlines,
)
from lightning_robust.report.prune_words import draw_range, fractions_of, short_names, twin_of
from lightning_robust.results.choices import Interval
from lightning_robust.results.prune_record import PruneCurve, PrunedModel, PruneRecord

__all__ = ["findings"]

_ROUNDING = 1e-6  # of a number of directions


def findings(record: PruneRecord, model: PrunedModel, label: str) -> list[tuple[str, str]]:
    """Sentences on one model that was asked for, in the order in which a reader needs them.

    Args:
        record: The pruning.
        model: One of its models.
        label: What it is called.

    Returns:
        What each is about, in a word, and the sentence.
    """
    if model.near_chance:
        return [("Finding", f"nothing can be concluded: {near_chance_words(model, label, record.points)}.")]
    twin = twin_of(record)
    twin = None if twin is model else twin
    name = "" if twin is None else dict(zip(map(id, record.models), short_names(record.models), strict=True))[id(twin)]
    told = (
        ("Finding", _finding(model, label, lost_words(record.points))),
        ("Artefact", _null_space(model)),
        ("Artefact", _forms(model)),
        ("Control", _random(model)),
        ("Control", _same_answers(model, twin, record.points)),
        ("Control", _truncation(model)),
        ("Control", _twin(twin, name, model, label)),
        ("Features", _features(model)),
        ("The paper", _paper(model)),
    )
    return [(topic, sentence) for topic, sentence in told if sentence is not None]


def _both(model: PrunedModel, order: str, form: str = "raw") -> str | None:
    """On the reference, and in the mean of the shifts where there are any."""
    reference, shifts = (shown_fraction(model, order, what, form) for what in ("reference", "shifts"))
    if reference is None:
        return None
    return fraction_words(reference) + (
        "" if shifts is None else f" on the reference and {fraction_words(shifts)} on the shifts"
    )


def _finding(model: PrunedModel, label: str, lost: str) -> str | None:
    raw, centred = _both(model, "importance"), _both(model, "importance", "centred")
    if raw is None:
        return None
    if model.rank_raw == 1:
        return f"the head of {label} reads a single direction, so none can go."
    other = "" if centred is None else f" Of the {model.rank_centred:,} of the centred head: {centred}."
    if model.rank_centred == 1:
        other = " The centred head reads a single one."
    return (
        f"{label} loses at most {lost} without the least important of the {model.rank_raw:,} directions that its head "
        f"reads: {raw} can go.{_unbroken(model.curve('importance', 'raw'))}{other}"
    )


def _unbroken(curve: PruneCurve | None) -> str:
    """How far it goes without a break, where the most that can go is the best of many tries."""
    found = () if curve is None or not many_tries(curve) else shown_headlines(curve, "reference")[:1]
    return "".join(
        f" As the best of {curve.total:,} tries that is rather high; without a break: {fraction_words(one.unbroken)} "
        "on the reference."
        for one in found
        if curve is not None
    )


def _null_space(model: PrunedModel) -> str | None:
    curve = model.curve("importance", "raw")
    found = () if curve is None else shown_headlines(curve, "reference")
    if not model.null or not found:
        return None
    return (
        f"{model.null:,} of the {model.d:,} dimensions are null space, which a head of rank {model.rank_raw:,} never "
        f"reads. They are in no fraction here; counted in, the same pruning would read "
        f"{percent(1 - found[0].kept / model.d)} %."
    )


def _forms(model: PrunedModel) -> str | None:
    """Numbers of directions are compared: fractions of r and of r − 1 differ where the same directions go."""
    raw, centred = (_numbers(model, form) for form in ("raw", "centred"))
    if raw is None or centred is None or raw.low <= centred.high + _ROUNDING:
        return None
    return (
        f"of the raw head {raw.estimate:.0f} directions can go and of the centred one {centred.estimate:.0f}, beyond "
        "their intervals: part of the raw figure is what a direction does that adds the same to every class and "
        "decides nothing."
    )


def _numbers(model: PrunedModel, form: str) -> Interval | None:
    """How many directions can go on the reference."""
    curve, fraction = model.curve("importance", form), shown_fraction(model, "importance", form=form)
    if curve is None or fraction is None:
        return None
    middle, low, high = (end * curve.total for end in (fraction.estimate, fraction.low, fraction.high))
    return Interval(middle, low, high, fraction.level, fraction.replicates, fraction.seed)


def _random(model: PrunedModel) -> str | None:
    curve, own = model.curve("random", "raw"), shown_fraction(model, "importance")
    drawn = [] if curve is None else fractions_of(curve, "reference")
    if not drawn or own is None:
        return None
    middle, _, most = draw_range(drawn)
    least = shown_fraction(model, "smallest_first")
    other = "" if least is None else f" With the most important going first, {fraction_words(least)} can."
    if len(drawn) == 1:
        verdict = "more than in the one draw" if own.estimate > most else "no more than in the one draw"
        return f"on the reference that is {verdict} of random directions, of which {percent(most)} % can go.{other}"
    verdict = "more than in any draw" if own.estimate > most else "no more than in the best draw"
    return (
        f"on the reference that is {verdict} of random directions, of which {percent(middle)} % can go in the mean of "
        f"{len(drawn)}, {percent(most)} % at most.{other}"
    )


def _same_answers(model: PrunedModel, twin: PrunedModel | None, points: float) -> str | None:
    """The head, its twin and random heads by one yardstick: answers that stay."""
    curve, own = model.curve("random_head", "raw"), shown_fraction(model, "importance", "agreement")
    drawn = [] if curve is None else fractions_of(curve, "agreement")
    if not drawn:
        return None
    same = f"{100 * (1 - points):g} % of its own answers on the reference"
    heads = f"{percent(draw_range(drawn)[0])} % pruned{_of_draws(drawn)}"
    if own is None:
        return f"a head of random weights keeps {same} up to {heads}; the head itself was not held to that here."
    other = None if twin is None or twin.near_chance else shown_fraction(twin, "importance", "agreement")
    beside = "" if other is None else f", its supervised twin up to {fraction_words(other)}"
    if own.low > max(drawn):
        verdict = "the head can be pruned further than every random one"
    elif own.high < min(drawn):
        verdict = "the head can be pruned less far than every random one"
    else:
        verdict = "this does not tell the head from a random one"
    return (
        f"the head keeps {same} up to {fraction_words(own)} pruned{beside}, a head of random weights up to {heads}: "
        f"{verdict}."
    )


def _of_draws(drawn: Sequence[float]) -> str:
    _, low, high = draw_range(drawn)
    return "" if len(drawn) == 1 else f", in the mean of {len(drawn)} ({percent(low)}–{percent(high)})"


def _truncation(model: PrunedModel) -> str | None:
    own, best = shown_fraction(model, "importance"), shown_fraction(model, "reduced_rank")
    if own is None or best is None:
        return None
    start = f"reduced-rank regression, the best truncation of this head for its logits, goes to {fraction_words(best)}"
    if own.estimate == best.estimate == 0:
        return f"{start}: nothing can go either way, so there is nothing to conclude."
    if best.high < own.low:
        return f"{start}, less far than the most important directions, beyond both intervals."
    if best.low > own.high:
        return (
            f"{start}, further than the most important directions, beyond both intervals: what can go is a matter of "
            "truncating well, not of these directions alone."
        )
    return f"{start}; the intervals overlap, so nothing here says that it takes these directions to go so far."


def _twin(twin: PrunedModel | None, name: str, model: PrunedModel, label: str) -> str | None:
    own = shown_fraction(model, "importance")
    other = None if twin is None else shown_fraction(twin, "importance")
    if twin is None or own is None or other is None:
        return None
    if twin.near_chance:
        return f"the supervised twin {name} is at chance, so it says nothing."
    if own.low > other.high:
        verdict = f"that {label} can be pruned further is beyond both intervals (reference)"
    elif own.high < other.low:
        verdict = f"that {label} can be pruned less far is beyond both intervals (reference)"
    else:
        verdict = "on the reference the intervals overlap, so this does not tell the two apart"
    return f"of the supervised twin {name}, {_both(twin, 'importance')} can go: {verdict}.{_truncated(twin, model)}"


def _truncated(twin: PrunedModel, model: PrunedModel) -> str:
    """Both by reduced-rank regression, whose order is no worse for one of them."""
    one, other = (shown_fraction(each, "reduced_rank") for each in (twin, model))
    if one is None or other is None:
        return ""
    return f" By reduced-rank regression: {fraction_words(one)} against {fraction_words(other)}."


def _features(model: PrunedModel) -> str | None:
    random, own = model.curve("random_features"), shown_fraction(model, "outlier_features", form="")
    drawn = [] if random is None else fractions_of(random, "reference")
    if not drawn or own is None:
        return None
    middle, low, high = draw_range(drawn)
    spread = f" ({percent(low)}–{percent(high)})" if len(drawn) > 1 else ""
    known = f"{model.outliers_by_rule or 'no'} outlier feature{'' if model.outliers_by_rule == 1 else 's'} by the rule"
    rule = "the rule for outliers is not defined for so few" if model.outliers_by_rule is None else known
    return (
        f"{rule}. Of the {model.d:,} features, {fraction_words(own)} can be zeroed with the furthest out first, "
        f"{percent(middle)} %{spread} at random.{_unbroken(model.curve('outlier_features'))}"
    )


def _paper(model: PrunedModel) -> str:
    verdict = "at least d/2" if model.comparable else "below d/2"
    meaning = "comparable, if the controls are read beside it" if model.comparable else "not comparable"
    return (
        f"up to 80 % of the directions of CLIPs, on the 1,000 classes of ImageNet. Here r = {model.rank_raw:,} is "
        f"{verdict} = {model.d / 2:g}: {meaning}."
    )

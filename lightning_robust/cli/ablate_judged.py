"""From answers to the ablations of a record: accuracies, effective robustness, differences to the model as it is."""

from collections.abc import Mapping, Sequence
from functools import partial

from lightning_robust.cli.ablate_answers import AblatedSet, changed, outcomes
from lightning_robust.cli.ablate_plan import Planned
from lightning_robust.cli.judged import SetOutcome, judge
from lightning_robust.cli.opened_evaluation import Opened
from lightning_robust.errors import from_user
from lightning_robust.models.evaluate_rules import AnswerRule
from lightning_robust.results import AccuracyRow, Interval
from lightning_robust.results.ablation_record import Ablation
from lightning_robust.results.effective_robustness import EffectiveRobustness
from lightning_robust.robustness import mean_shift_difference, paired_bootstrap

__all__ = ["SHIFTS", "Judged", "judged_ablations"]

SHIFTS = "shifts"
Judged = tuple[tuple[AccuracyRow, ...], EffectiveRobustness | None]


def judged_ablations(
    answers: Sequence[AblatedSet],
    plans: Sequence[Planned],
    rows: Sequence[int],
    rules: Mapping[str, AnswerRule],
    opened: Opened,
) -> tuple[Judged, tuple[Ablation, ...]]:
    """Judge the model as it is, and every ablation beside it.

    Args:
        answers: By set; row 0 is the model as it is, row 1 the first ablation that was run.
        plans: The ablations of the record.
        rows: For each which one of those that were run it is, from 0.
        rules: By set.
        opened: Sets, baseline, seed.

    Raises:
        UserError: If no image of a set could be read.
    """
    asked, matched = opened.reference_rules(rules)
    right = partial(outcomes, answers, rules, asked, matched)
    whole, seed = right(0), opened.args.seed
    with from_user(ValueError):
        untouched = judge(whole, opened.sets, opened.baseline, seed=seed)
    known: dict[int, tuple[Judged, dict[str, Interval], dict[str, int]]] = {}
    for plan, row in zip(plans, rows, strict=True):
        if row not in known:
            found = right(row + 1)
            control = bool(plan.control)
            known[row] = (
                judge(found, opened.sets, opened.baseline, seed=seed, replicates=0 if control else None),
                {} if control else differences(found, whole, seed),
                changed(answers, row + 1),
            )
    return untouched, tuple(_ablation(plan, *known[row]) for plan, row in zip(plans, rows, strict=True))


def differences(found: Mapping[str, SetOutcome], whole: Mapping[str, SetOutcome], seed: int) -> dict[str, Interval]:
    """Accuracy minus that of the model as it is, by set and in the mean over the shifts, by paired bootstrap.

    Args:
        found: Of the ablation, the reference first.
        whole: Of the model as it is.
        seed: Of the bootstrap.
    """
    told = {name: paired_bootstrap(one.correct, whole[name].correct, seed=seed) for name, one in found.items()}
    if shifts := list(found)[1:]:
        told[SHIFTS] = mean_shift_difference(
            {name: found[name].correct for name in shifts}, {name: whole[name].correct for name in shifts}, seed=seed
        )
    return told


def _ablation(plan: Planned, judged: Judged, told: dict[str, Interval], moved: dict[str, int]) -> Ablation:
    return Ablation(
        unit=plan.group.unit,
        form=plan.group.form,
        kind=plan.kind,
        members=plan.members,
        count=len(plan.columns),
        together=plan.together,
        control=plan.control,
        draw=plan.draw,
        places=plan.columns,
        rows=judged[0],
        robustness=judged[1],
        differences=told,
        changed=moved,
    )

"""Every order in which directions or features of one model go: what is asked about, and its controls (METHODS 4)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_robust.cli.prune_counts import Predictions
from lightning_robust.cli.prune_curves import RANDOM_HEAD, Sweep
from lightning_robust.cli.prune_parts import HeadParts, Part, finite
from lightning_robust.errors import UserError
from lightning_robust.models.evaluate_rules import AnswerRule
from lightning_robust.signatures import (
    DirectionImportanceReport,
    direction_importance,
    outlier_features,
    random_head,
    reduced_rank_regression,
)
from lightning_robust.signatures.ablation_units import feature_ranking
from lightning_robust.signatures.bases import thin_svd
from lightning_robust.signatures.direction_pruning import (
    direction_order,
    pruned_predictions,
    reduced_rank_predictions,
)
from lightning_robust.signatures.growing_logits import Predict
from lightning_robust.signatures.pruned_features import zeroed_predictions

__all__ = ["FORMS", "ModelSweeps", "sweeps_of"]

FORMS = ("raw", "centred")
DIRECTIONS, FEATURES = "directions", "features"


@dataclass(frozen=True, eq=False)
class ModelSweeps:
    """The orders of one model.

    Attributes:
        sweeps: The orders.
        importance: By form, the importance of its directions on the calibration images; a form without directions,
            which is a centred head whose classes are all alike, is not there.
        outliers: Outlier features by the rule; None where d is too small for it.
        without: A sentence for each order that cannot be had.
    """

    sweeps: tuple[Sweep, ...]
    importance: dict[str, DirectionImportanceReport]
    outliers: tuple[int, ...] | None
    without: tuple[str, ...] = ()

    def rank(self, form: str) -> int:
        """Rank of the head in a form, 0 where it has no directions."""
        return self.importance[form].r if form in self.importance else 0

    def privileged(self, form: str) -> int:
        """How many directions the rule calls privileged."""
        return len(self.importance[form].privileged) if form in self.importance else 0


def sweeps_of(head: HeadParts, seeds: Sequence[int]) -> ModelSweeps:
    """Estimate every order on the calibration images.

    Args:
        head: The model on every set.
        seeds: Of the random controls.

    Raises:
        UserError: If no calibration image has finite features, or the head has no directions at all.
    """
    W, calibration = head.model.head, finite(head.calibration)
    if len(calibration) == 0:
        raise UserError(
            f"{head.model.name}: none of the {len(head.calibration):,} calibration images has finite features, so that "
            "no direction has an importance"
        )
    forms = {form: thin_svd(W, centred=form == "centred")[1].shape[1] for form in FORMS}
    if forms["raw"] == 0:
        raise UserError(f"{head.model.name}: all weights of its head are zero, so that there is nothing to prune")
    importance = {
        form: direction_importance(W, calibration, centred=form == "centred") for form, rank in forms.items() if rank
    }
    found: list[Sweep] = []
    for form, report in importance.items():
        found += _of_directions(head, calibration, form, report, seeds)
        found.append(_of_random_heads(head, calibration, form, seeds))
    zeroed, outliers = _of_features(head, calibration, seeds)
    without = tuple(
        f"{head.model.name}: its {form} head has no directions, for its classes are all alike: nothing to prune there"
        for form in FORMS
        if form not in importance
    )
    return ModelSweeps((*found, *zeroed), importance, outliers, without)


def _of_directions(
    head: HeadParts, calibration: Tensor, form: str, report: DirectionImportanceReport, seeds: Sequence[int]
) -> list[Sweep]:
    centred, r, V = form == "centred", report.r, report.directions
    found = [
        Sweep(kind, form, DIRECTIONS, r, (_pruned(head, V, direction_order(kind, report.importance)),))
        for kind in ("importance", "smallest_first")
    ]
    drawn = tuple(_pruned(head, V, direction_order("random", report.importance, seed=seed)) for seed in seeds)
    found.append(Sweep("random", form, DIRECTIONS, r, drawn, tuple(seeds)))
    model = head.model
    best = reduced_rank_regression(model.head, calibration, unit_norm=model.unit_norm, centred=centred)

    def truncated(part: Part, rule: AnswerRule) -> Tensor:
        rows = reduced_rank_predictions(best, part.read, head=rule.head, bias=_bias(head, rule), predict=_predict(rule))
        # few calibration images span fewer than r logits: the ranks between lose nothing on them, and are that head
        whole = next(part.whole[name] for name, known in part.rules.items() if known is rule)
        between = rows[:1].expand(max(0, r - best.r - 1), -1)
        return rows if best.r >= r else torch.cat([whole[None], between, rows])

    found.append(Sweep("reduced_rank", form, DIRECTIONS, r, (truncated,)))
    return found


def _of_random_heads(head: HeadParts, calibration: Tensor, form: str, seeds: Sequence[int]) -> Sweep:
    """Each with its own directions in the order of their importance; their ranks are all the largest possible."""
    centred = form == "centred"
    draws, rank = list[Predictions](), 0
    for seed in seeds:
        drawn = random_head(head.model.head, seed)
        report = direction_importance(drawn, calibration, centred=centred)
        rank = report.r
        draws.append(_pruned(head, report.directions, direction_order("importance", report.importance), drawn, seed))
    return Sweep(RANDOM_HEAD, form, DIRECTIONS, rank, tuple(draws), tuple(seeds))


def _of_features(
    head: HeadParts, calibration: Tensor, seeds: Sequence[int]
) -> tuple[list[Sweep], tuple[int, ...] | None]:
    d = calibration.shape[1]
    report = outlier_features(calibration)
    outliers = report.indices if report.defined else None
    marked = (d - len(outliers),) if outliers else ()
    ranking = list(feature_ranking(calibration).order)
    orders = [torch.randperm(d, generator=torch.Generator().manual_seed(seed)).tolist() for seed in seeds]
    return [
        Sweep("outlier_features", "", FEATURES, d, (_zeroed(head, ranking),), (), marked),
        Sweep(
            "random_features", "", FEATURES, d, tuple(_zeroed(head, order) for order in orders), tuple(seeds), marked
        ),
    ], outliers


def _pruned(
    head: HeadParts, directions: Tensor, order: Tensor, other: Tensor | None = None, seed: int = 0
) -> Predictions:
    """Predictions from the directions of the model's head, or of another head in its place, drawn with a seed."""

    def predictions(part: Part, rule: AnswerRule) -> Tensor:
        weight = head.model.head if other is None else other
        if rule.head is not None:  # the set has class names, and so a head, of its own
            weight = rule.head if other is None else random_head(rule.head, seed)
        return pruned_predictions(weight, part.read, directions, order, bias=_bias(head, rule), predict=_predict(rule))

    return predictions


def _zeroed(head: HeadParts, order: Sequence[int]) -> Predictions:
    def predictions(part: Part, rule: AnswerRule) -> Tensor:
        weight = head.model.head if rule.head is None else rule.head
        return zeroed_predictions(
            weight, part.h, order, unit_norm=head.model.unit_norm, bias=_bias(head, rule), predict=_predict(rule)
        )

    return predictions


def _bias(head: HeadParts, rule: AnswerRule) -> Tensor | None:
    return head.model.bias if rule.head is None else None


def _predict(rule: AnswerRule) -> Predict | None:
    """How logits of the head that answers become classes; None, the fast way, where it is the largest of all."""
    if rule.mask is None and rule.head is None:
        return None
    if rule.head is None:
        return rule.predict
    return lambda logits: rule.predict(logits, logits)

"""Which units are ablated, and which are drawn beside them, for planted outliers and privileged directions."""

import math

import pytest
import torch

from lightning_robust.cli.ablate_groups import FEATURES, OF_THE_HEAD, OF_THE_SPACE, head_groups
from lightning_robust.cli.head_features import HeadFeatures, HeadModel, SetFeatures
from lightning_robust.signatures import random_rotation

D, PRIVILEGED, OUTLIERS = 96, 3, (5, 40)


def planted(classes=12, privileged=PRIVILEGED, outliers=OUTLIERS, d=D):
    """A head with some directions that images lie along, and images with some features far out."""
    generator = torch.Generator().manual_seed(0)
    V = random_rotation(d, classes, 1)
    sigma = torch.linspace(1.2, 1.0, classes, dtype=torch.float64)
    sigma[:privileged] += 8
    head = random_rotation(classes, classes, 2) * sigma @ V.T
    h = torch.randn(200, d, generator=generator, dtype=torch.float64) * 0.1
    h += (3 * torch.randn(200, privileged, generator=generator, dtype=torch.float64)) @ V[:, :privileged].T
    for feature in outliers:
        h[:, feature] += 60
    part = SetFeatures("reference", 200, h.float(), torch.zeros(200).long(), torch.arange(200), ())
    model = HeadModel("toy", "toy", "0", None, head.float(), None, True, {})
    return HeadFeatures(model, part, (part,))


def groups_of(found, features, directions, seeds=range(30)):
    groups, notes = head_groups(found, features, directions, list(seeds), 3.0)
    return {group.record.form or "features": group for group in groups}, notes


def members(group, name):
    return [one.members for one in group.controls if one.name == name]


def test_what_a_rule_finds_is_never_drawn_as_random():
    found, _ = groups_of(planted(), 1, 0)
    group = found["features"]
    assert (group.record.members[0] in OUTLIERS, group.record.found) == (True, 2)
    drawn = {one for draw in members(group, FEATURES) for one in draw}
    assert len(drawn) > 15
    assert not drawn & set(OUTLIERS)
    found, _ = groups_of(planted(outliers=()), 0, 1, range(60))
    for form in ("raw", "centred"):
        group = found[form]
        assert (len(group.record.members), group.record.found, group.record.by_rule) == (1, PRIVILEGED, True)
        privileged = set(group.importance.privileged)
        assert len(privileged) == PRIVILEGED
        drawn = {one for draw in members(group, OF_THE_HEAD) for one in draw}
        assert drawn == set(range(group.record.of)) - privileged


def test_a_draw_of_the_same_units_is_one_draw():
    found, notes = groups_of(planted(classes=4, privileged=0, outliers=()), 0, 2)
    for form, left in (("raw", 2), ("centred", 1)):
        group = found[form]
        assert group.record.by_rule is False
        assert [sorted(one) for one in members(group, OF_THE_HEAD)] == [
            sorted(set(range(group.record.of)) - set(group.record.members))
        ]
        assert len(members(group, OF_THE_HEAD)[0]) == left
        assert len(members(group, OF_THE_SPACE)) == 30
    (note,) = notes
    assert "centred head (none privileged): only 1 other is left to draw random directions of the head from" in note


def test_without_a_number_all_that_a_rule_finds_are_taken_and_else_the_first_four():
    found, _ = groups_of(planted(), None, None, [0])
    assert [len(found[form].record.members) for form in ("features", "raw")] == [2, found["raw"].record.found or 4]
    found, _ = groups_of(planted(outliers=()), None, None, [0])
    assert [len(group.record.members) for group in found.values()] == [4, PRIVILEGED, PRIVILEGED]
    found, _ = groups_of(planted(classes=40, privileged=15, outliers=()), None, None, [0])
    assert (len(found["raw"].record.members), found["raw"].record.found) == (12, 15)
    assert found["raw"].record.words == "12 of 15 privileged directions of the raw head"
    found, _ = groups_of(planted(), 1, 20, [0])
    assert len(found["features"].record.members) == 1


def test_shares_of_importance_sum_to_one():
    found, _ = groups_of(planted(outliers=()), 1, 1, [0])
    for form in ("raw", "centred"):
        group = found[form]
        shares = [group.importance_share(k) for k in range(group.record.of)]
        assert sum(shares) == pytest.approx(1)
        assert shares[group.record.members[0]] == max(shares)
    assert math.isnan(found["features"].importance_share(0))

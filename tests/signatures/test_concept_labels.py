"""Which concepts count, and the permuted control."""

import pytest
import torch

from lightning_robust.signatures import eligible_concepts, permute_within_category


def column(positives, negatives, unknowns):
    return torch.tensor([1] * positives + [0] * negatives + [-1] * unknowns)


@pytest.mark.parametrize(
    ("positives", "negatives", "eligible"),
    [(10, 10, True), (9, 20, False), (10, 9, False), (11, 10, False), (11, 11, True), (10, 50, True)],
)
def test_borders_of_the_rule(positives, negatives, eligible):
    result = eligible_concepts(column(positives, negatives, 100 - positives - negatives)[:, None])
    assert result.eligible.tolist() == [eligible]
    assert result.excluded == (() if eligible else (0,))
    assert (int(result.positives), int(result.negatives)) == (positives, negatives)
    assert float(result.prevalence) == pytest.approx(positives / (positives + negatives))


def test_nothing_known():
    result = eligible_concepts(torch.full((50, 2), -1))
    assert result.prevalence.isnan().all()
    assert result.excluded == (0, 1)


CATEGORIES = ["part", "colour", "part", "colour"]


def labelled():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (200, 4), generator=generator)
    labels[:60, [0, 2]] = -1
    labels[100:, [1, 3]] = -1
    labels[70:90, 0] = -1  # annotated for the category, but this part is hidden
    return labels


def test_permutation_keeps_everything_but_the_link_to_the_image():
    labels = labelled()
    permuted = permute_within_category(labels, CATEGORIES, seed=1)
    for columns in ([0, 2], [1, 3]):
        before, after = labels[:, columns], permuted[:, columns]
        annotated = (before >= 0).any(dim=1)
        assert torch.equal((after >= 0).any(dim=1), annotated), "who is annotated stays"
        assert sorted(after.tolist()) == sorted(before.tolist()), "rows of a category move together"
        assert not torch.equal(after[annotated], before[annotated])
    moved = [(permuted[:, c] != labels[:, c]) for c in range(4)]
    assert not torch.equal(moved[0] | moved[2], moved[1] | moved[3]), "categories move independently"


def test_permutation_is_seeded_and_leaves_its_input_and_the_global_state():
    labels, state = labelled(), torch.get_rng_state()
    first, again = (permute_within_category(labels, CATEGORIES, seed=1) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, permute_within_category(labels, CATEGORIES, seed=2))
    assert torch.equal(labels, labelled())
    assert torch.equal(torch.get_rng_state(), state)


def test_one_category_per_concept():
    with pytest.raises(ValueError, match="4 concepts need as many categories, not 2"):
        permute_within_category(labelled(), ["part", "colour"])

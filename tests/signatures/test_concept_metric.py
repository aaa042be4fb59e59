"""The concept metric: what a direction that knows a concept scores, and its controls."""

import jaxtyping
import pytest
import torch

from lightning_robust.signatures import (
    ConceptAveragePrecision,
    SparseLabels,
    count_concepts,
    neurons,
    random_rotation,
    signed_average_precision,
)

D, N = 16, 400


def planted(seed=0):
    """Feature 3 says whether concept 0 is there, feature 5 (negated) concept 1; concept 2 is noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = (torch.rand(N, 3, generator=generator) < 0.3).to(torch.int8)
    h = torch.randn(N, D, generator=generator)
    h[:, 3] += 20 * labels[:, 0]
    h[:, 5] -= 20 * labels[:, 1]
    labels[:50] = -1
    return h, labels


def computed(h, labels, **kwargs):
    metric = ConceptAveragePrecision({"neurons": neurons(D), "rotation": random_rotation(D, seed=1)}, **kwargs)
    metric.update(h, labels)
    return metric.compute()


def test_planted_concepts_are_found_in_neurons_and_not_in_a_rotation():
    result = computed(*planted())
    assert result["ap/neurons"][3, 0] > 0.99
    assert result["ap/neurons"][5, 1] > 0.99
    counts = {name: count_concepts(result[f"ap/{name}"], result["eligible"]) for name in ("neurons", "rotation")}
    assert counts["neurons"].unique_concepts[-1] == 2
    assert counts["rotation"].unique_concepts[-1] == 0
    assert counts["neurons"].mean_best_ap > counts["rotation"].mean_best_ap


def test_features_are_normalised():
    h, labels = planted()
    scaled = h * torch.logspace(-2, 2, N)[:, None]
    torch.testing.assert_close(
        computed(scaled, labels)["ap/neurons"], computed(h, labels)["ap/neurons"], rtol=1e-3, atol=1e-3
    )


def test_permuted_labels_are_a_control():
    h, labels = planted()
    result = computed(h, labels, categories=["a", "a", "b"], seed=3)
    assert result["ap_permuted/neurons"].shape == (D, 3)
    assert float(result["ap_permuted/neurons"].max()) < 0.6
    assert float(result["ap/neurons"].max()) > 0.99
    assert "ap_permuted/neurons" not in computed(h, labels)


def test_which_sign_won():
    result = computed(*planted())
    negative = result["negative/neurons"]
    assert (negative.dtype, negative.shape) == (torch.bool, (D, 3))
    assert not negative[3, 0]
    assert negative[5, 1]


@pytest.mark.parametrize("unknown", ["ignore", "negative"])
def test_batches_of_either_form_give_the_same_bits(unknown):
    h, labels = planted()
    want = computed(h, labels, unknown=unknown, categories=["a", "a", "b"])
    for sizes in ([1, 150, 249], [400], [399, 1]):
        metric = ConceptAveragePrecision(
            {"neurons": neurons(D), "rotation": random_rotation(D, seed=1)}, unknown, categories=["a", "a", "b"]
        )
        for number, (a, b) in enumerate(zip(h.split(sizes), labels.split(sizes), strict=True)):
            metric.update(a, SparseLabels.from_dense(b) if number % 2 else b)
        found = metric.compute()
        assert found.keys() == want.keys()
        assert all(torch.equal(found[key], want[key]) for key in want)


def test_scores_are_those_of_unit_rows_in_blocks(monkeypatch):
    monkeypatch.setattr("lightning_robust.signatures.concept_metric._DIRECTIONS", 5)
    h, labels = planted()
    scores = torch.nn.functional.normalize(h.double()) @ random_rotation(D, seed=1).double()
    want = signed_average_precision(scores.float(), labels)
    torch.testing.assert_close(computed(h, labels)["ap/rotation"], want, rtol=1e-12, atol=0)


def test_images_that_are_not_finite():
    h, labels = planted()
    broken = h.clone()
    broken[100, 2], broken[200, 7] = float("nan"), float("inf")
    kept = [i for i in range(N) if i not in (100, 200)]
    found, want = computed(broken, labels), computed(h[kept], labels[kept])
    assert torch.equal(found["ap/neurons"], want["ap/neurons"])
    assert (int(found["n"]), int(found["not_finite"])) == (N, 2)
    nothing = computed(broken * float("nan"), labels)
    assert (int(nothing["n"]), int(nothing["not_finite"])) == (N, N)
    assert nothing["ap/neurons"].isnan().all()
    assert nothing["prevalence"].isnan().all()
    assert not nothing["eligible"].any()


def test_no_concept_and_one_image():
    h, labels = planted()
    assert computed(h, labels[:, :0])["ap/neurons"].shape == (D, 0)
    one = computed(h[100:101], torch.tensor([[1, 0, -1]]))["ap/neurons"]
    assert bool((one[:, 0] == 1).all())
    assert bool(one[:, 1:].isnan().all())


def test_what_it_keeps():
    """Features once in float32, labels far below a byte each."""
    metric = ConceptAveragePrecision({"neurons": neurons(D)})
    n, C = 400, 800
    labels = torch.zeros(n, C, dtype=torch.int8)
    labels[torch.arange(n), torch.arange(n) % C] = 1
    metric.update(torch.randn(n, D, generator=torch.Generator().manual_seed(0)), labels)
    held = {name: sum(t.numel() * t.element_size() for t in getattr(metric, name)) for name in metric._empty_rows}
    assert held.pop("features") == n * D * 4
    assert sum(held.values()) < n * C / 6


def test_unknown_as_negative():
    h, labels = planted()
    ignore, negative = computed(h, labels), computed(h, labels, unknown="negative")
    assert not torch.allclose(ignore["ap/neurons"], negative["ap/neurons"])
    assert int(ignore["n"]) == N
    assert float(ignore["prevalence"][0]) == pytest.approx(float((labels[50:, 0] == 1).double().mean()))


def test_an_image_without_direction_does_not_break_it():
    h, labels = planted()
    h[0] = 0
    assert computed(h, labels)["ap/neurons"].isfinite().all()


def test_bases_are_copied():
    basis = torch.eye(D)
    metric = ConceptAveragePrecision({"b": basis})
    basis.zero_()
    metric.update(*planted())
    assert float(metric.compute()["ap/b"].max()) > 0.99


@pytest.mark.parametrize(
    ("bases", "kwargs", "match"),
    [
        ({}, {}, "bases is empty"),
        ({"a": neurons(3), "b": neurons(4)}, {}, "same number of features"),
    ],
)
def test_wrong_construction(bases, kwargs, match):
    with pytest.raises(ValueError, match=match):
        ConceptAveragePrecision(bases, **kwargs)


@pytest.mark.parametrize(
    ("basis", "message"),
    [
        (torch.ones(3), r"basis 'b' must have shape \(d, D\), not \(3,\)\."),
        (torch.ones(3, 2, 1), r"basis 'b' must have shape \(d, D\), not \(3, 2, 1\)\."),
        (torch.tensor([[1.0, float("nan")]]), r"basis 'b' must be finite; 1 of its 2 numbers are not\."),
        (torch.tensor([[float("inf"), 1.0]]), r"basis 'b' must be finite; 1 of its 2 numbers are not\."),
    ],
)
def test_wrong_basis(basis, message, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=message):
        ConceptAveragePrecision({"b": basis})


def test_inference_mode_and_out_again():
    h, labels = planted()
    metric = ConceptAveragePrecision({"neurons": neurons(D), "rotation": random_rotation(D, seed=1)})
    with torch.inference_mode():
        metric.update(h * 2 + 1, labels)
        metric.compute()
        metric.reset()
    metric.update(h[:100], labels[:100])
    with torch.inference_mode():
        metric.update(h[100:200], labels[100:200])
    metric.update(h[200:], labels[200:])
    found, want = metric.compute(), computed(h, labels)
    assert all(torch.equal(found[key], want[key]) for key in want)


@pytest.mark.parametrize("other", [5, 9, 0])
@pytest.mark.parametrize("turned", [False, True])
def test_other_concepts_are_not_merged(other, turned):
    """5 and 7 fit one byte, 5 and 9 do not."""
    first, second = (ConceptAveragePrecision({"neurons": neurons(D)}) for _ in range(2))
    h, labels = torch.randn(30, D), torch.randint(-1, 2, (30, 9))
    first.update(h, labels[:, :7])
    second.update(h, labels[:, :other])
    if turned:
        first, second = second, first
    mine = first.compute()
    with pytest.raises(
        ValueError, match=rf"one of {min(7, other)} concepts and one of {max(7, other)} cannot be merged"
    ):
        first.merge_state(second)
    assert torch.equal(first.compute()["ap/neurons"].nan_to_num(2), mine["ap/neurons"].nan_to_num(2)), "as it was"
    with pytest.raises(ValueError, match=r"cannot be merged"):
        first.merge_state(second.metric_state)


@pytest.mark.parametrize("other", [5, 9, 0])
def test_ranks_of_other_concepts(other):
    ranks = [ConceptAveragePrecision({"neurons": neurons(D)}) for _ in range(2)]
    labels = torch.randint(-1, 2, (30, 9))
    for rank, C in zip(ranks, (7, other), strict=True):
        rank.update(torch.randn(30, D), labels[:, :C])
    sent = {name: getattr(ranks[1], name) for name in ranks[1].metric_state}
    asked = iter([value if isinstance(value, torch.Tensor) else ranks[1].rows(name) for name, value in sent.items()])
    with pytest.raises(
        ValueError, match=rf"one of {min(7, other)} concepts and one of {max(7, other)} cannot be merged"
    ):
        ranks[0].sync(dist_sync_fn=lambda state, group: [state, next(asked)], distributed_available=lambda: True)


@pytest.mark.parametrize(
    ("other", "name"),
    [
        ({"bases": {"neurons": -neurons(D)}}, "bases"),
        ({"bases": {"other": neurons(D)}}, "bases"),
        ({"unknown": "negative"}, "unknown"),
        ({"categories": ["a", "b"]}, "categories"),
        ({"seed": 1}, "seed"),
    ],
)
def test_other_settings_are_not_merged(other, name):
    settings = {"bases": {"neurons": neurons(D)}}
    first, same, second = (ConceptAveragePrecision(**made) for made in (settings, settings, settings | other))
    first.merge_state(same)
    with pytest.raises(ValueError, match=f"with another {name}"):
        first.merge_state(second)


def test_wrong_batches():
    h, labels = planted()
    metric = ConceptAveragePrecision({"neurons": neurons(D)})
    with pytest.raises(Exception, match=r"400 images came with labels for 10|Type-check"):
        metric.update(h, labels[:10])
    with pytest.raises(ValueError, match="from -1 to 7"):
        metric.update(h, torch.where(labels == 1, 7, labels))
    metric.update(h, labels)
    with pytest.raises(ValueError, match="seen 3 concepts, now it got 2"):
        metric.update(h, labels[:, :2])
    with pytest.raises(ValueError, match="3 concepts need as many categories, not 1"):
        computed(h, labels, categories=["a"])

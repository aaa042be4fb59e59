"""Fisher information against a closed form and a naive autograd loop; soups weighted with it; laws and refusals."""

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lightning_robust.models import ImageClassifier, load_encoder
from lightning_robust.models.fisher import diagonal_fisher, fisher_soup
from lightning_robust.models.soups import uniform_soup


def linear(inputs=4, classes=3, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    model = nn.Linear(inputs, classes, dtype=dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model


def images(n, *shape, seed=1, dtype=torch.float64):
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def batches(x, size, labels=None):
    labels = torch.zeros(len(x), dtype=torch.long) if labels is None else labels
    return [(x[i : i + size], labels[i : i + size]) for i in range(0, len(x), size)]


def naive(model, x, labels_of):
    """One backward pass for each image and label; `labels_of(i, p)` gives labels with their weights."""
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    sums = {name: torch.zeros_like(p, dtype=torch.float64) for name, p in parameters.items()}
    for i in range(len(x)):
        p = model(x[i : i + 1])[0].softmax(-1).detach()
        for label, weight in labels_of(i, p):
            loss = torch.nn.functional.cross_entropy(model(x[i : i + 1]), torch.tensor([label]))
            for name, g in zip(parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True):
                sums[name] += weight * g.double() ** 2
    return {name: total / len(x) for name, total in sums.items()}


def test_a_linear_softmax_model_has_the_closed_form():
    """F of W_cj is the mean of p_c (1 − p_c) x_j², of b_c that of p_c (1 − p_c)."""
    model, x = linear(), images(50, 4)
    p = model(x).softmax(-1).detach().numpy()
    variance = p * (1 - p)
    found = diagonal_fisher(model, batches(x, 7), labels="expected")
    np.testing.assert_allclose(found["weight"], variance.T @ x.numpy() ** 2 / len(x), rtol=1e-12)
    np.testing.assert_allclose(found["bias"], variance.mean(0), rtol=1e-12)


def test_given_labels_are_the_empirical_fisher_in_closed_form():
    model, x = linear(), images(50, 4)
    labels = torch.arange(50) % 3
    error = (model(x).softmax(-1) - nn.functional.one_hot(labels, 3)).detach().numpy()
    found = diagonal_fisher(model, batches(x, 7, labels), labels="given")
    np.testing.assert_allclose(found["weight"], (error**2).T @ x.numpy() ** 2 / 50, rtol=1e-12)


def test_sampled_labels_converge_to_the_expectation():
    model, x = linear(), images(40, 4).repeat(100, 1)  # 4,000 labels
    exact = diagonal_fisher(model, batches(x[:40], 40), labels="expected")
    found = diagonal_fisher(model, batches(x, 500), seed=3)
    for name in exact:
        torch.testing.assert_close(found[name], exact[name], rtol=0.15, atol=0.01)
    other = diagonal_fisher(model, batches(x, 500), seed=4)
    assert not torch.equal(found["weight"], other["weight"])


@pytest.mark.parametrize("labels", ["sampled", "expected", "given"])
@pytest.mark.parametrize("size", [1, 6, 19])
def test_how_images_are_batched_does_not_matter(labels, size):
    model, x, y = linear(), images(20, 4), torch.arange(20) % 3
    whole = diagonal_fisher(model, batches(x, 20, y), labels=labels)
    split = diagonal_fisher(model, batches(x, size, y), labels=labels)
    for name in whole:
        torch.testing.assert_close(split[name], whole[name], rtol=1e-12, atol=1e-15)


def vit_clip():
    torch.manual_seed(0)
    vision = {"image_size": 16, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
    text = {"context_length": 5, "vocab_size": 11, "width": 16, "heads": 2, "layers": 1}
    return open_clip.CLIP(16, vision, text)


@pytest.mark.parametrize("kind", ["resnet", "vit"])
def test_real_image_towers_equal_a_naive_loop(kind, tiny):
    clip, side = (tiny.model, 32) if kind == "resnet" else (vit_clip(), 16)
    model = ImageClassifier(clip, images(3, 16, dtype=torch.float32) * 10).eval().double()
    x = images(5, 3, side, side)
    found = diagonal_fisher(model, batches(x, 3), labels="expected")
    expected = naive(model, x, lambda i, p: list(enumerate(p.tolist())))
    assert found.keys() == expected.keys()
    assert "head.weight" in found
    assert not any("transformer.resblocks" in name and "visual" not in name for name in found)  # the text is frozen
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-12 * float(value.max() + 1))


def test_single_precision_is_close_to_double():
    clip = load_encoder("scenes-clip").model
    model = ImageClassifier(clip, images(3, 128, dtype=torch.float32) * 10).eval()
    x = images(4, 3, 32, 32, dtype=torch.float32)
    single = diagonal_fisher(model, batches(x, 4), labels="expected")["head.weight"]
    double = diagonal_fisher(model.double(), batches(x.double(), 4), labels="expected")["head.weight"]
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), double, rtol=1e-3, atol=1e-8)


class Strange(nn.Module):
    """Dropout, a batch norm in training mode, a tied weight: what has to be eval, restored, and under both names."""

    def __init__(self):
        super().__init__()
        self.one = nn.Linear(4, 4, bias=False)
        self.other = nn.Linear(4, 4, bias=False)
        self.other.weight = self.one.weight
        self.norm, self.drop = nn.BatchNorm1d(4), nn.Dropout(0.5)

    def forward(self, x):
        return self.drop(self.norm(self.other(self.one(x))))


def test_modes_random_states_gradients_and_buffers_are_left_alone():
    torch.manual_seed(0)
    model = Strange()
    model.drop.eval()
    before, random = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    found = diagonal_fisher(model, [images(6, 4, dtype=torch.float32)])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert all(p.grad is None for p in model.parameters())
    assert (model.training, model.norm.training, model.drop.training) == (True, True, False)
    assert torch.equal(found["one.weight"], found["other.weight"])
    model.eval()
    expected = naive(model, images(6, 4, dtype=torch.float32), lambda i, p: list(enumerate(p.tolist())))
    exact = diagonal_fisher(model, [images(6, 4, dtype=torch.float32)], labels="expected")
    torch.testing.assert_close(exact["one.weight"].double(), expected["one.weight"], rtol=1e-4, atol=1e-9)


def test_it_works_without_gradients_around_it_and_leaves_out_what_the_output_does_not_see():
    model = linear()
    model.unused = nn.Parameter(torch.ones(2))
    with torch.no_grad():
        found = diagonal_fisher(model, [images(3, 4)])
    assert found["unused"].tolist() == [0.0, 0.0]
    assert found["weight"].sum() > 0


def test_it_stops_at_the_images_asked_for():
    model, x = linear(), images(20, 4)
    some = diagonal_fisher(model, batches(x, 8), labels="expected", max_images=11)
    torch.testing.assert_close(some, diagonal_fisher(model, batches(x[:11], 11), labels="expected"), rtol=1e-12, atol=0)


def test_what_has_no_fisher_information_is_refused():
    model, x = linear(), images(4, 4)
    with pytest.raises(ValueError, match="'sampled', 'expected' or 'given', not 'true'"):
        diagonal_fisher(model, batches(x, 2), labels="true")
    with pytest.raises(ValueError, match="no images"):
        diagonal_fisher(model, [])
    with pytest.raises(ValueError, match="0 to 2"):
        diagonal_fisher(model, batches(x, 2, torch.full((4,), 3)), labels="given")
    with pytest.raises(ValueError, match=r"classes 0 to 2, not 0\.5"):
        diagonal_fisher(model, batches(x, 2, torch.full((4,), 0.5)), labels="given")
    with pytest.raises(ValueError, match=r"logits \(1, C\)"):
        diagonal_fisher(nn.Sequential(model, nn.Flatten(0)), batches(x, 2))
    with pytest.raises(ValueError, match=r"of weight is not finite"):
        diagonal_fisher(model, batches(x * float("inf"), 2), labels="expected")
    with pytest.raises(ValueError, match="No parameter"):
        diagonal_fisher(linear().requires_grad_(False), batches(x, 2))


def models(count, dtype=torch.float64):
    generator = torch.Generator().manual_seed(count)
    make = lambda: torch.rand(4, 2, generator=generator, dtype=torch.float64).to(dtype)  # noqa: E731
    return [({"w": make(), "buffer": make(), "steps": torch.tensor(i)}, {"w": make()}, 1.0 + i) for i in range(count)]


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_fisher_soup_is_the_weighted_mean(count, dtype):
    given_models = models(count, dtype)
    soup = fisher_soup(iter(given_models))
    weights = np.array([weight for *_, weight in given_models])[:, None, None]
    values = {name: np.stack([s[name].double().numpy() for s, *_ in given_models]) for name in ("w", "buffer")}
    fisher = weights * np.stack([f["w"].double().numpy() for _, f, _ in given_models])
    tolerance = 4 * torch.finfo(dtype).eps
    for name, share in (("w", fisher), ("buffer", np.broadcast_to(weights, fisher.shape))):
        exact = (share * values[name]).sum(0) / share.sum(0)
        np.testing.assert_allclose(soup[name].double(), exact, rtol=tolerance)
        assert soup[name].dtype == dtype
    assert soup["steps"] == count - 1


@given(st.integers(1, 5), st.floats(1e-30, 1e3))
def test_equal_fisher_information_gives_the_uniform_soup(count, value):
    states = [state for state, *_ in models(count)]
    soup = fisher_soup((state, {"w": torch.full((4, 2), value, dtype=torch.float64)}, 2.0) for state in states)
    torch.testing.assert_close(soup, uniform_soup(states), rtol=1e-13, atol=0)


@given(st.permutations(range(4)))
def test_the_order_of_models_matters_to_rounding_alone(order):
    given_models = models(4)
    shuffled, straight = fisher_soup(given_models[i] for i in order), fisher_soup(given_models)
    torch.testing.assert_close(shuffled["w"], straight["w"], rtol=1e-13, atol=0)


@given(st.lists(st.tuples(st.floats(-9, 9), st.sampled_from([0.0, 1e-300, 1.0, 1e300])), min_size=1, max_size=5))
def test_every_value_lies_between_those_of_the_models(pairs):
    soup = fisher_soup(
        ({"w": torch.tensor([v], dtype=torch.float64)}, {"w": torch.tensor([f], dtype=torch.float64)}, 1.0)
        for v, f in pairs
    )
    values = [v for v, _ in pairs]
    assert min(values) - 1e-12 <= float(soup["w"]) <= max(values) + 1e-12


def test_a_value_that_no_image_moves_is_averaged_plainly():
    zero, one = {"w": torch.zeros(2)}, {"w": torch.tensor([0.0, 1.0])}
    soup = fisher_soup([({"w": torch.tensor([v, v])}, f, 1.0) for v, f in ((1.0, zero), (2.0, one), (6.0, zero))])
    assert soup["w"].tolist() == [3.0, 2.0]


def test_models_that_do_not_fit_are_refused():
    (state, fisher, _), other = models(2)
    with pytest.raises(ValueError, match="at least one model"):
        fisher_soup([])
    with pytest.raises(ValueError, match="at least one model with a weight above 0"):
        fisher_soup([(state, fisher, 0.0)])
    with pytest.raises(ValueError, match=r"weight of model 1 .* not -1"):
        fisher_soup([(state, fisher, -1.0)])
    with pytest.raises(ValueError, match=r"model 2 is for other entries .* w"):
        fisher_soup([(state, fisher, 1.0), (state, {}, 1.0)])
    with pytest.raises(ValueError, match=r"model 1 is for other entries .* v"):
        fisher_soup([(state, {"v": fisher["w"]}, 1.0)])
    with pytest.raises(ValueError, match="model 1 at w is not one finite value"):
        fisher_soup([(state, {"w": -fisher["w"]}, 1.0)])
    with pytest.raises(ValueError, match="not states of the same architecture"):
        fisher_soup([(state, fisher, 1.0), ({**other[0], "more": fisher["w"]}, fisher, 1.0)])

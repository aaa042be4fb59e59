"""Moments of what matrices read: against unfolded patches and attention by hand; splits; what is left alone."""

import copy

import numpy as np
import pytest
import torch
from open_clip.modified_resnet import AttentionPool2d
from torch import nn
from torch.nn import functional

from lightning_robust.models.calibration import InputMoments, calibrate
from lightning_robust.models.low_rank_build import factorise
from lightning_robust.models.truncation import decompose


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) + 1


def seeded(make):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make()


def moments_by_hand(rows):
    rows = rows.detach().double()
    mean = rows.mean(0)
    return mean, (rows - mean).T @ (rows - mean) / len(rows)


@pytest.mark.parametrize("sizes", [[10], [3, 7], [1] * 10, [0, 10]])
def test_moments_merge_to_those_of_all_rows(sizes):
    rows, whole, other = drawn(10, 4) * 100 + 1e4, InputMoments(), InputMoments()
    for index, part in enumerate(rows.split(sizes)):
        (whole if index % 2 else other).add(part)
    whole.merge(other)
    mean, covariance = moments_by_hand(rows)
    assert whole.count == 10
    torch.testing.assert_close(whole.mean, mean)
    torch.testing.assert_close(whole.covariance, covariance)
    torch.testing.assert_close(whole.second_moment, rows.double().T @ rows.double() / 10)


@pytest.mark.parametrize("width", [5, 300])
def test_a_mean_of_a_thousand_deviations_costs_no_digits(width):
    # a drift, so that the means of the batches differ
    rows = drawn(4000, width) + 1000 + torch.linspace(0, 3, 4000)[:, None]
    moments = InputMoments()
    for part in rows.split(700):
        moments.add(part)
    exact = rows.numpy().astype(np.longdouble)
    mean = exact.mean(0)
    centred = (exact - mean).astype(np.float64)
    np.testing.assert_allclose(moments.mean, mean.astype(np.float64), rtol=1e-14)
    np.testing.assert_allclose(moments.covariance, centred.T @ centred / 4000, rtol=0, atol=1e-12)
    assert torch.equal(moments.covariance, moments.covariance.T)
    torch.testing.assert_close(moments.variances, moments.covariance.diagonal(), rtol=0, atol=0)


SIDES = {
    "input, square": (lambda: nn.Linear(9, 9), "input"),
    "input, widening": (lambda: nn.Linear(9, 30), "input"),
    "output, narrowing": (lambda: nn.Linear(30, 9), "output"),
    "output, narrowing without bias": (lambda: nn.Linear(30, 9, bias=False), "output"),
    "output, in more than one block": (lambda: nn.Linear(300, 260), "output"),
    "input, in more than one block": (lambda: nn.Linear(260, 300), "input"),
}


@pytest.mark.parametrize("kind", SIDES)
@pytest.mark.parametrize("sensitive", [True, False])
def test_the_side_that_is_measured_changes_nothing(kind, sensitive):
    make, side = SIDES[kind]
    layer = seeded(make).double()
    out, width = layer.weight.shape
    x = drawn(2 * width, width, seed=1).double() @ drawn(width, width, seed=2).double() / width
    model = nn.Sequential(layer, nn.Tanh(), seeded(lambda: nn.Linear(out, 4)).double())
    found = calibrate(model, x.split(100), gradients_every=3)
    assert found.sides["0.weight"] == side
    read = {"input": x, "output": x @ layer.weight.detach().T}
    G = found.gradients["0.weight"] if sensitive else None
    ours = found.decompose("0.weight", sensitive=sensitive)
    for of, rows in read.items():
        mean, covariance = moments_by_hand(rows)
        theirs = decompose(layer.weight, covariance, mean=mean, side=of, sensitivity=G)
        assert theirs.total == pytest.approx(ours.total, rel=1e-10)
        np.testing.assert_allclose(ours.energies, theirs.energies, rtol=0, atol=1e-10 * ours.total)
        for k in (1, min(out, width) // 2, min(out, width)):
            a, b = ours.at(k), theirs.at(k)
            # directions of like energies may turn: what rank k gives for what is read is compared
            gap = (x - x.mean(0)) @ (a.A @ a.B - b.A @ b.B).T
            assert gap.square().sum() <= 1e-16 * read["output"].square().sum()
            np.testing.assert_allclose(a.shift, b.shift, rtol=0, atol=1e-8 * float(mean.norm()))


CONVOLUTIONS = {
    "3×3, padded": lambda: nn.Conv2d(3, 5, 3, padding=1),
    "3×3, strided, no bias": lambda: nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False),
    "widening 1×1, strided": lambda: nn.Conv2d(3, 8, 1, stride=2),
    "narrowing 1×1": lambda: nn.Conv2d(3, 2, 1),
    "widening 1×1, padded": lambda: nn.Conv2d(3, 8, 1, padding=1),
    "dilated": lambda: nn.Conv2d(3, 6, 3, dilation=2),
    "wider than its patches": lambda: nn.Conv2d(3, 40, (1, 2)),
}


@pytest.mark.parametrize("kind", CONVOLUTIONS)
@pytest.mark.parametrize("centred", [True, False])
def test_a_convolution_is_cut_as_its_unfolded_patches_say(kind, centred):
    conv, x = seeded(CONVOLUTIONS[kind]), drawn(6, 3, 9, 9)
    patches = functional.unfold(x, conv.kernel_size, conv.dilation, conv.padding, conv.stride)
    mean, covariance = moments_by_hand(patches.transpose(1, 2).flatten(0, 1))
    if not centred:
        covariance, mean = covariance + torch.outer(mean, mean), None
    expected = decompose(conv.weight.detach().flatten(1), covariance, mean=mean)
    found = calibrate(conv, x.split([4, 2])).decompose("weight", centred=centred, sensitive=False)
    for k in range(min(found.weight.shape) + 1):
        ours, theirs = found.at(k), expected.at(k)
        assert ours.residual == pytest.approx(theirs.residual, rel=1e-4, abs=1e-5 * expected.total)
        torch.testing.assert_close(ours.A @ ours.B, theirs.A @ theirs.B, rtol=0, atol=2e-3)
        if centred:
            torch.testing.assert_close(ours.shift, theirs.shift, rtol=0, atol=2e-3)


@pytest.mark.parametrize(
    "make", [lambda: nn.Linear(6, 3), lambda: nn.Linear(3, 6), lambda: nn.Linear(3, 6, bias=False)]
)
def test_a_linear_layer_over_tokens(make):
    layer, x = seeded(make), drawn(5, 7, width := make().in_features)
    mean, covariance = moments_by_hand(x.reshape(-1, width))
    found, expected = (
        calibrate(layer, [x]).decompose("weight", sensitive=False),
        decompose(layer.weight, covariance, mean=mean),
    )
    torch.testing.assert_close(found.energies, expected.energies, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found.mean, expected.mean, rtol=1e-4, atol=1e-6)


class SelfAttention(nn.Module):
    def __init__(self, width=8, heads=2):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, x):
        y = self.norm(x)
        return x + self.attn(y, y, y, need_weights=False)[0]


def test_attention_is_measured_at_what_its_four_matrices_read():
    model, x = seeded(SelfAttention), drawn(9, 5, 8)
    found = calibrate(model, x.split(4))
    y = model.norm(x)
    q, k, v = functional.linear(y, model.attn.in_proj_weight, model.attn.in_proj_bias).chunk(3, dim=-1)
    mixed = functional.scaled_dot_product_attention(*(z.unflatten(-1, (2, 4)).transpose(1, 2) for z in (q, k, v)))
    rows = {"in_proj_weight[q]": y, "in_proj_weight[k]": y, "in_proj_weight[v]": y}
    rows["out_proj.weight"] = mixed.transpose(1, 2).flatten(2)
    assert {f"attn.{name}" for name in rows} == set(found.matrices)
    for name, read in rows.items():
        mean, covariance = moments_by_hand(read.flatten(0, 1))
        assert found.sides[f"attn.{name}"] == "input"
        torch.testing.assert_close(found.moments[f"attn.{name}"].mean, mean, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(found.moments[f"attn.{name}"].covariance, covariance, rtol=1e-4, atol=1e-6)
    assert found.moments["attn.in_proj_weight[q]"] is found.moments["attn.in_proj_weight[v]"]


def test_attention_pooling_counts_the_one_query_that_is_used():
    pool, x = seeded(lambda: AttentionPool2d(2, 8, 2, 4)), drawn(6, 8, 2, 2)
    found = calibrate(pool, [x])
    tokens = x.flatten(2).transpose(1, 2)
    tokens = torch.cat([tokens.mean(1, keepdim=True), tokens], dim=1) + pool.positional_embedding
    for name, read in {"q": tokens[:, 0], "k": tokens.flatten(0, 1), "v": tokens.flatten(0, 1)}.items():
        mean, covariance = moments_by_hand(read)
        torch.testing.assert_close(found.moments[f"{name}_proj.weight"].mean, mean, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(found.moments[f"{name}_proj.weight"].covariance, covariance, rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        h = (pool(x) - pool.c_proj.bias).detach()
    mean, covariance = moments_by_hand(h)
    assert found.sides["c_proj.weight"] == "output"
    torch.testing.assert_close(found.moments["c_proj.weight"].mean, mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.moments["c_proj.weight"].covariance, covariance, rtol=1e-4, atol=1e-5)


class Fused(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(9, 12)

    def forward(self, x):
        return self.qkv(x).chunk(3, dim=-1)[0]


def test_a_fused_layer_is_measured_at_its_input():
    found = calibrate(seeded(Fused), [drawn(20, 9)])
    assert set(found.sides.values()) == {"input"}
    assert found.decompose("qkv.weight[k]").weight.shape == (4, 9)
    assert len({id(moments) for moments in found.moments.values()}) == 1


def network():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Dropout(0.5),
        nn.Conv2d(8, 6, 3, stride=2, bias=False), nn.Flatten(), nn.Linear(54, 10),
    )  # fmt: skip


@pytest.mark.parametrize("sizes", [[12], [5, 7], [1] * 12])
def test_how_images_are_batched_changes_nothing(sizes):
    model, x = seeded(network), drawn(12, 3, 8, 8)
    whole, parts = calibrate(model, [x]), calibrate(model, [(part, None) for part in x.split(sizes)])
    assert parts.images == 12
    for name, moments in whole.moments.items():
        assert parts.moments[name].count == moments.count
        torch.testing.assert_close(parts.moments[name].covariance, moments.covariance, rtol=1e-4, atol=1e-6)


def test_the_predicted_error_is_the_one_that_the_factored_layer_makes():
    model, x = seeded(network).eval(), drawn(12, 3, 8, 8)
    for name, k in {"0.weight": 3, "4.weight": 2, "6.weight": 4}.items():
        found = calibrate(model, [x]).decompose(name, sensitive=False).at(k, torch.float32)
        layer = model.get_submodule(name.removesuffix(".weight"))
        bias = found.shift if layer.bias is None else layer.bias.detach() + found.shift
        compressed = factorise(model, {name: (found.A, found.B)}, {name: bias})
        cut = int(name[0]) + 1
        with torch.no_grad():
            gap = (compressed[:cut](x) - model[:cut](x)).double().square()
        gap = gap.movedim(1, -1).flatten(0, -2) if gap.ndim == 4 else gap
        assert found.residual == pytest.approx(float(gap.sum(1).mean()), rel=1e-3)
        assert found.residual > 0


@pytest.mark.parametrize("every", [0, 1, 3])
def test_every_image_goes_forward_once_and_counts_once(every):
    seen = []

    class Counted(nn.Sequential):
        def forward(self, x):
            seen.append(x[:, 0])
            return super().forward(x)

    model, x = Counted(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)), drawn(10, 4)
    found = calibrate(model, x.split(4), gradients_every=every)
    # the first forward, of one image, finds the matrices
    assert sorted(torch.cat(seen[1:]).tolist()) == sorted(x[:, 0].tolist())
    mean, covariance = moments_by_hand(x)
    assert (found.images, found.moments["0.weight"].count) == (10, 10)
    torch.testing.assert_close(found.moments["0.weight"].mean, mean)
    torch.testing.assert_close(found.moments["0.weight"].covariance, covariance)


def test_the_model_is_left_alone():
    model, x = seeded(network), drawn(6, 3, 8, 8)
    model[1].eval()
    model(x)
    before, modes = copy.deepcopy(model.state_dict()), [module.training for module in model.modules()]
    state = torch.get_rng_state()
    calibrate(model, [x])
    assert torch.equal(state, torch.get_rng_state())
    assert modes == [module.training for module in model.modules()]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_most_images_and_layers_to_leave():
    model, x = seeded(network), drawn(12, 3, 8, 8)
    served = []

    def batches():
        for part in x.split(5):
            served.append(len(part))
            yield part

    some = calibrate(model, batches(), max_images=7, leave=["6"])
    assert (some.images, served, set(some.matrices)) == (7, [5, 5], {"0.weight", "4.weight"})
    expected = calibrate(model, [x[:7]])
    torch.testing.assert_close(some.moments["0.weight"].mean, expected.moments["0.weight"].mean)


@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
@pytest.mark.parametrize("place", [0, 11])
def test_one_value_that_is_no_number_is_refused_wherever_it_is(odd, place):
    x = drawn(12, 4)
    x[place, 3] = odd
    with pytest.raises(ValueError, match="'weight' reads or gives is not all finite"):
        calibrate(nn.Linear(4, 4), x.split(5), gradients_every=0)


def test_refusals():
    with pytest.raises(ValueError, match="no images to calibrate on"):
        calibrate(nn.Linear(2, 2), [])
    with pytest.raises(ValueError, match="BatchNorm1d has no weight matrix"):
        calibrate(nn.BatchNorm1d(2), [torch.ones(1, 2)])
    with pytest.raises(ValueError, match="'weight' reads or gives is not all finite"):
        calibrate(nn.Linear(2, 2), [torch.full((1, 2), float("nan"))])

"""Gradients at every matrix: against the Jacobian written out, and truncation in their norm."""

import pytest
import torch
from torch import nn

from lightning_robust.models.calibration import calibrate
from lightning_robust.models.layer_sensitivity import OutputGradients
from lightning_robust.models.low_rank_build import opened
from lightning_robust.models.low_rank_matrices import matrices
from lightning_robust.models.truncation import decompose


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 6, 3, bias=False), nn.ReLU(inplace=True), nn.Conv2d(6, 5, 2), nn.Tanh(), nn.Flatten(),
            nn.Linear(20, 4),
        ).requires_grad_(False).eval()  # fmt: skip


def gradients_of(model, x, numbers=None):
    found = OutputGradients(opened(model), matrices(model, x[:1]))
    found.add(x, range(len(x)) if numbers is None else numbers)
    return found.mean()


def test_they_are_the_squared_jacobian_on_average():
    model, x = network(), drawn(1, 3, 5, 5)
    found = gradients_of(model, x.expand(6000, 3, 5, 5))
    after = {"0.weight": model[1:], "2.weight": model[3:], "5.weight": nn.Identity()}
    for name, rest in after.items():
        with torch.no_grad():
            y = model[: int(name[0]) + 1](x)
        J = torch.autograd.functional.jacobian(lambda y, rest=rest: rest(y.clone())[0], y)[:, 0]  # (4, out, …)
        J = J.reshape(4, y.shape[1], -1).double()
        expected = torch.einsum("cip,cjp->ij", J, J)
        torch.testing.assert_close(found[name], expected, rtol=0, atol=0.08 * float(expected.diagonal().max()))


def test_a_matrix_that_widens_is_measured_in_its_span():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer, last = nn.Linear(2, 5), nn.Linear(5, 3)
    found = gradients_of(nn.Sequential(layer, last), drawn(6000, 2))["0.weight"]
    span, J = torch.linalg.qr(layer.weight.detach().double())[0], last.weight.detach().double()
    expected = span.T @ J.T @ J @ span
    torch.testing.assert_close(found, expected, rtol=0, atol=0.08 * float(expected.diagonal().max()))


@pytest.mark.parametrize("sizes", [[9], [4, 5], [1] * 9])
def test_how_images_are_batched_changes_nothing(sizes):
    model, x = network(), drawn(9, 3, 5, 5)
    whole = calibrate(model, [x], gradients_every=2).gradients
    parts = calibrate(model, x.split(sizes), gradients_every=2).gradients
    every = gradients_of(model, x[::2], range(0, 9, 2))
    for name in every:
        torch.testing.assert_close(parts[name], whole[name], rtol=1e-4, atol=1e-8)
        torch.testing.assert_close(every[name], whole[name], rtol=1e-4, atol=1e-8)
    assert calibrate(model, [x], gradients_every=0).gradients == {}


def test_the_first_matrix_of_attention_has_its_own_part_of_a_fused_gradient():
    class Fused(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv = nn.Linear(3, 6)

        def forward(self, x):
            q, k, v = self.qkv(x).chunk(3, dim=-1)
            return q * 3 + v.detach() * 0 + k * 0

    found = gradients_of(Fused(), drawn(4000, 3))
    assert set(found) == {f"qkv.weight[{part}]" for part in "qkv"}
    torch.testing.assert_close(found["qkv.weight[q]"], 9 * torch.eye(2, dtype=torch.float64), rtol=0, atol=0.6)
    assert not found["qkv.weight[k]"].any()
    assert not found["qkv.weight[v]"].any()


def test_a_layer_that_the_output_ignores_has_zeros_and_no_energy():
    class Ignored(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.ignored = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            self.ignored(x)
            return self.used(x)

    calibration = calibrate(Ignored(), [drawn(32, 4)], gradients_every=1)
    assert not calibration.gradients["ignored.weight"].any()
    assert calibration.decompose("ignored.weight").total == 0
    assert calibration.decompose("used.weight").total > 0


def weighted_error(W, x, factors, G):
    e = x @ W.T - x @ (factors.A @ factors.B).T - (0 if factors.shift is None else factors.shift)
    return float(((e @ G) * e).sum(1).mean())


@pytest.mark.parametrize("shape", [(5, 8), (8, 5), (6, 6)])
@pytest.mark.parametrize("side", ["input", "output"])
def test_truncation_in_their_norm_is_the_best_in_that_norm(shape, side):
    W, root = drawn(*shape).double(), drawn(shape[0], shape[0], seed=1).double()
    x, G = drawn(300, shape[1], seed=2).double() @ drawn(shape[1], shape[1], seed=3).double() + 1, root @ root.T
    read = x if side == "input" else x @ W.T
    mean = read.mean(0)
    covariance = (read - mean).T @ (read - mean) / len(x)
    found = decompose(W, covariance, mean=mean, side=side, sensitivity=G)
    plain = decompose(W, covariance, mean=mean, side=side)
    span = torch.linalg.qr(W)[0]  # all of the space where out <= in
    damped = G + 0.01 * (span.T @ G @ span).diagonal().mean() * torch.eye(len(G))
    for k in range(min(shape) + 1):
        assert found.residual(k) == pytest.approx(weighted_error(W, x, found.at(k), damped), rel=1e-8, abs=1e-8)
        assert found.residual(k) <= weighted_error(W, x, plain.at(k), damped) * (1 + 1e-9) + 1e-9
    torch.testing.assert_close(found.at(min(shape)).A @ found.at(min(shape)).B, W, rtol=0, atol=1e-6)
    within = decompose(W, covariance, mean=mean, side=side, sensitivity=span.T @ G @ span if shape[0] > shape[1] else G)
    torch.testing.assert_close(within.energies, found.energies)
    # a common factor changes what errors cost, not what is cut
    tenfold = decompose(W, covariance, mean=mean, side=side, sensitivity=10 * G)
    torch.testing.assert_close(tenfold.at(2).A @ tenfold.at(2).B, found.at(2).A @ found.at(2).B)
    torch.testing.assert_close(tenfold.energies, 10 * found.energies)


def test_without_sensitivity_differences_it_is_the_plain_calibrated_one():
    W, x = drawn(4, 6).double(), drawn(50, 6, seed=1).double()
    covariance = x.T @ x / 50
    plain, even = decompose(W, covariance), decompose(W, covariance, sensitivity=2 * torch.eye(4))
    torch.testing.assert_close(even.at(2).A @ even.at(2).B, plain.at(2).A @ plain.at(2).B)
    torch.testing.assert_close(even.energies, 2 * 1.01 * plain.energies)


def test_refusals():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x):
            return self.layer(x), x

    with pytest.raises(ValueError, match="gives a tuple, not a tensor with a row for each image"):
        calibrate(Pair(), [drawn(3, 2)])
    with pytest.raises(ValueError, match="sensitivity is 2 × 2, not 3 × 3"):
        decompose(drawn(2, 3), torch.eye(3), sensitivity=torch.eye(3))
    with pytest.raises(ValueError, match="sensitivity has an eigenvalue below 0"):
        decompose(drawn(2, 3), torch.eye(3), sensitivity=torch.diag(torch.tensor([1.0, -0.5])))
    with pytest.raises(ValueError, match="both, or none"):
        decompose(drawn(2, 3), sensitivity=torch.eye(2))

"""Plans for shares of a network's parameters: sizes, exactness, and the rival's larger errors."""

import pytest
import torch
from torch import nn

from lightning_robust.models.calibration import calibrate
from lightning_robust.models.compression_plan import METHODS, CutNetwork, FixedCosts, fixed_costs, plan_compression
from lightning_robust.models.cost import forward_flops
from lightning_robust.models.encoders import load_encoder
from lightning_robust.models.low_rank_matrices import matrices
from lightning_robust.models.low_rank_structure import ranks_of
from lightning_robust.models.rank_budget import allocate


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2),
            nn.ReLU(), nn.Flatten(), nn.Linear(288, 64), nn.ReLU(), nn.Linear(64, 10),
        ).eval()  # fmt: skip


def images(n=256):
    """Smooth images: neighbouring pixels are alike, as in pictures, so that inputs have a covariance."""
    return nn.functional.interpolate(drawn(n, 3, 2, 2), size=8, mode="bilinear")


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("method", METHODS)
def test_every_share_is_kept_to_and_the_whole_is_the_network_itself(method):
    model, x = network(), images()
    plans = plan_compression(model, x.split(100), [1.0, 0.75, 0.5, 0.25], method=method)
    for keep, plan in plans.items():
        smaller = plan.apply(model)
        assert 0.9 * keep * count(model) < count(smaller) <= keep * count(model)
        assert {**dict.fromkeys(plan.ranks), **ranks_of(smaller)} == plan.ranks
    assert set(plans[1.0].ranks.values()) == {None}
    with torch.no_grad():
        assert torch.equal(plans[1.0].apply(model)(x), model(x))


def test_the_calibrated_plan_moves_the_output_less_on_other_images():
    model, x = network(), images(1024)
    with torch.no_grad():
        z = model(x[512:])
        for keep in (0.75, 0.5, 0.25):
            ours, rival = (
                plan_compression(model, x[:512].split(128), [keep], method=method)[keep].apply(model)(x[512:])
                for method in ("calibrated", "uniform")
            )
            assert (ours - z).square().mean() < 0.5 * (rival - z).square().mean()


@pytest.mark.parametrize("method", METHODS)
def test_a_share_of_the_multiplications_is_kept_to(method):
    model, x = network(), images(64)
    whole = forward_flops(model, x[:1])
    for keep, plan in plan_compression(model, [x], [1.0, 0.7, 0.4], method=method, of="flops").items():
        assert (0.9 if method != "uniform" else 0.8) * keep * whole < forward_flops(plan.apply(model), x[:1])
        assert forward_flops(plan.apply(model), x[:1]) <= keep * whole
    assert fixed_costs(model, matrices(model, x[:1]), x[:1]).flops == 0  # all of them are in matrices


@pytest.mark.parametrize("keep", [0.97, 0.9, 0.5])
def test_queries_that_a_pooling_wastes_are_spent_elsewhere(keep):
    model, x = load_encoder("scenes-clip").model.visual, torch.zeros(1, 3, 32, 32)
    found = matrices(model, x)
    fixed = fixed_costs(model, found, x)
    assert fixed.spare == 512 * 512 + 512 * 128 + 2 * 2 * 512  # one token is used of two: before, after, and in between
    assert fixed.spared == tuple(f"attnpool.{name}_proj.weight" for name in "qkvc")
    cut = CutNetwork.of(found, fixed)
    for uniform in (False, True):
        plan = cut.plan(keep, of="flops", uniform=uniform)
        share = forward_flops(plan.apply(model), x) / forward_flops(model, x)
        assert (0.9 if uniform or keep > 0.95 else 0.98) * keep < share <= keep  # any cut of the pooling saves 6 %


def test_factors_are_those_of_the_decomposition_at_each_rank_and_nobody_shares_their_memory():
    model, x = network(), images()
    calibration = calibrate(model, [x])
    found = calibration.matrices
    cut = CutNetwork.of(found, fixed_costs(model, found, x[:1]), calibration)
    for name, one in found.items():
        truncation = calibration.decompose(name)
        for rank in (1, cut.shapes[name].largest()):
            wanted = truncation.at(rank, torch.float32)
            A, B = cut.cuts[name].factors(rank)
            assert torch.allclose(A @ B, wanted.A @ wanted.B, atol=1e-5)
            shift = wanted.shift if one.bias is None else one.bias + wanted.shift
            assert torch.allclose(cut.cuts[name].bias(rank, one.bias), shift, atol=1e-5)
    plan = cut.plan(0.5)
    before, smaller = [one.A.clone() for one in cut.cuts.values()], plan.apply(model)
    with torch.no_grad():
        for parameter in smaller.parameters():
            parameter.zero_()
    assert all(torch.equal(a, one.A) for a, one in zip(before, cut.cuts.values(), strict=True))


def test_plain_is_one_budget_over_singular_values():
    model, x = network(), images(8)
    plan = plan_compression(model, [x], [0.5], method="plain")[0.5]
    found = matrices(model, x[:1])
    energies = {name: torch.linalg.svdvals(one.weight.double()).square() for name, one in found.items()}
    fixed = fixed_costs(model, found, x[:1]).parameters
    cut = CutNetwork.of(found, FixedCosts(fixed))
    assert plan.ranks == allocate(energies, cut.shapes, 0.5, fixed=fixed)
    (name, rank), *_ = ((name, rank) for name, rank in plan.ranks.items() if rank is not None)
    A, B = cut.cuts[name].factors(rank)
    error = (found[name].weight - A @ B).square().sum().item()
    assert error == pytest.approx(energies[name][rank:].sum().item(), rel=1e-4)  # Eckart and Young
    assert cut.cuts[name].bias(rank, None) is None


def test_refusals():
    with pytest.raises(ValueError, match=r"one of calibrated, plain, uniform, not 'best'"):
        plan_compression(network(), [images(8)], [0.5], method="best")
    with pytest.raises(ValueError, match="Rank 1 everywhere still keeps"):
        plan_compression(network(), [images(8)], [0.01])
    with pytest.raises(ValueError, match="no images"):
        plan_compression(network(), [], [0.5])

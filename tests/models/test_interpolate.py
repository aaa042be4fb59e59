"""Interpolation: bitwise ends, integers, half precision, laws and refusals."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_robust.models import interpolate, interpolate_into


def bits(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def same_bits(first, second):
    return first.keys() == second.keys() and all(torch.equal(bits(first[k]), bits(second[k])) for k in first)


def pair(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    make = lambda: {  # noqa: E731
        "w": torch.randn(4, 3, generator=generator, dtype=torch.float64).to(dtype),
        "scalar": torch.randn((), generator=generator, dtype=torch.float64).to(dtype),
        "steps": torch.randint(0, 99, (), generator=generator),
        "mask": torch.rand(5, generator=generator) > 0.5,
    }
    return make(), make()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_the_ends_are_bitwise_copies_integers_included(dtype):
    theta0, theta1 = pair(dtype)
    theta0["w"][0, 0], theta1["w"][0, 0] = -0.0, float("nan")
    start, end = interpolate(theta0, theta1, 0.0), interpolate(theta0, theta1, 1.0)
    assert same_bits(start, theta0)
    assert same_bits(end, theta1)
    start["w"].zero_()
    assert theta0["w"].abs().sum() > 0  # a copy, not an alias


@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.9])
def test_between_the_ends_floats_are_mixed_and_integers_come_from_theta1(alpha):
    theta0, theta1 = pair()
    mixed = interpolate(theta0, theta1, alpha)
    for name in ("w", "scalar"):
        exact = (1 - alpha) * theta0[name].double() + alpha * theta1[name].double()
        torch.testing.assert_close(mixed[name].double(), exact, rtol=1e-6, atol=1e-7)
    assert torch.equal(mixed["steps"], theta1["steps"])
    assert torch.equal(mixed["mask"], theta1["mask"])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_the_rounded_float32_result(dtype):
    theta0, theta1 = pair(dtype)
    mixed = interpolate(theta0, theta1, 0.3)["w"]
    exact = (0.7 * theta0["w"].double() + 0.3 * theta1["w"].double()).to(dtype)
    assert mixed.dtype == dtype
    assert torch.equal(mixed, exact)


@given(st.floats(0, 1), st.floats(-(2.0**100), 2.0**100, width=32))
def test_equal_entries_stay_exactly_equal_at_every_alpha(alpha, value):
    theta = {"w": torch.tensor([value])}
    assert torch.equal(interpolate(theta, {"w": theta["w"].clone()}, alpha)["w"], theta["w"])


@given(st.floats(0, 1))
def test_walking_back_is_the_same_path(alpha):
    theta0, theta1 = ({"w": theta["w"].double()} for theta in pair())
    there, back = interpolate(theta0, theta1, alpha), interpolate(theta1, theta0, 1 - alpha)
    torch.testing.assert_close(there, back, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_in_place_gives_the_same_bits(alpha):
    theta0, theta1 = pair(torch.bfloat16)
    target = {name: torch.zeros_like(tensor) for name, tensor in theta0.items()}
    places = [tensor.data_ptr() for tensor in target.values()]
    interpolate_into(target, theta0, theta1, alpha)
    assert same_bits(target, interpolate(theta0, theta1, alpha))
    assert places == [tensor.data_ptr() for tensor in target.values()]


def test_it_writes_into_a_model_through_its_state_dict():
    model = torch.nn.BatchNorm1d(2)
    theta0 = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    theta1 = {name: tensor + 2 for name, tensor in theta0.items()}
    interpolate_into(model.state_dict(), theta0, theta1, 0.5)
    assert model.weight.tolist() == [2.0, 2.0]
    assert model.running_var.tolist() == [2.0, 2.0]
    assert model.num_batches_tracked == 2


@pytest.mark.parametrize("alpha", [-0.1, 1.0001, float("nan"), float("inf")])
def test_alpha_outside_the_path_is_refused(alpha):
    with pytest.raises(ValueError, match=r"alpha lies in \[0, 1\]"):
        interpolate(*pair(), alpha)


def test_every_difference_is_listed_in_one_error():
    theta0, theta1 = pair()
    theta0 |= {f"old{i}": torch.ones(1) for i in range(6)}
    theta1 |= {"new": torch.ones(1), "w": torch.ones(3, 4), "scalar": theta1["scalar"].double()}
    with pytest.raises(ValueError, match="same architecture") as caught:
        interpolate(theta0, theta1, 0.5)
    message = str(caught.value)
    assert "6 only in θ0 (old0, old1, old2, old3 and 2 more)" in message
    assert "1 only in θ1 (new)" in message
    assert "w (4, 3) against (3, 4)" in message
    assert "scalar torch.float32 against torch.float64" in message


def test_a_target_that_would_destroy_theta_is_refused():
    theta0, theta1 = pair()
    with pytest.raises(ValueError, match="shares memory with θ1"):
        interpolate_into(theta1, theta0, theta1, 0.5)
    with pytest.raises(ValueError, match="θ0 and the model are not states"):
        interpolate_into({}, theta0, theta1, 0.5)


INFINITE = float("inf")


@pytest.mark.parametrize("alpha", [0.25, 0.5, 0.75])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_infinite_values_follow_the_formula_as_in_attention_masks(alpha, dtype):
    mask = torch.full((3, 3), -INFINITE, dtype=dtype).triu(1)
    theta0 = {"mask": mask, "mixed": torch.tensor([INFINITE, 1.0, 2.0, INFINITE], dtype=dtype)}
    theta1 = {"mask": mask.clone(), "mixed": torch.tensor([1.0, -INFINITE, 4.0, -INFINITE], dtype=dtype)}
    target = {name: torch.zeros_like(tensor) for name, tensor in theta0.items()}
    interpolate_into(target, theta0, theta1, alpha)
    assert torch.equal(target["mask"], mask)
    assert target["mixed"].tolist()[:3] == [INFINITE, -INFINITE, 2 + 2 * alpha]
    assert target["mixed"][3].isnan()  # ∞ − ∞
    assert same_bits(target, interpolate(theta0, theta1, alpha))


def test_values_that_became_infinite_after_the_first_call_are_seen():
    theta0, theta1 = {"w": torch.ones(2)}, {"w": torch.ones(2)}
    assert interpolate(theta0, theta1, 0.3)["w"].tolist() == [1.0, 1.0]
    for theta in (theta0, theta1):
        theta["w"][0] = INFINITE
    assert interpolate(theta0, theta1, 0.3)["w"].tolist() == [INFINITE, 1.0]
    with torch.inference_mode():  # such tensors have no version
        both = {"w": torch.tensor([INFINITE, 1.0])}, {"w": torch.tensor([INFINITE, 3.0])}
        assert interpolate(*both, 0.5)["w"].tolist() == [INFINITE, 2.0]


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_complex_entries_are_mixed(dtype):
    theta0, theta1 = ({"w": torch.tensor([z, 1j], dtype=dtype)} for z in (1 + 2j, 3 - 2j))
    assert interpolate(theta0, theta1, 0.25)["w"].tolist() == [1.5 + 1j, 1j]
    assert interpolate(theta0, theta1, 1.0)["w"].tolist() == [3 - 2j, 1j]


def test_float8_is_computed_in_float32():
    theta0, theta1 = ({"w": torch.tensor([z, 0.5]).to(torch.float8_e4m3fn)} for z in (1.0, 2.0))
    assert interpolate(theta0, theta1, 0.5)["w"].float().tolist() == [1.5, 0.5]


class Tied(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(3, 2)
        self.output = torch.nn.Linear(2, 3, bias=False)
        self.output.weight = self.embedding.weight


def test_tied_entries_stay_tied_and_are_refused_where_they_differ():
    model = Tied()
    theta0 = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    theta1 = {name: tensor + 1 for name, tensor in theta0.items()}
    interpolate_into(model.state_dict(), theta0, theta1, 0.5)
    assert model.output.weight is model.embedding.weight
    torch.testing.assert_close(model.output.weight.detach(), theta0["output.weight"] + 0.5)
    tied = interpolate(model.state_dict(), theta1, 0.5)
    assert tied["output.weight"].data_ptr() != tied["embedding.weight"].data_ptr()
    theta1["output.weight"] += 1
    before = model.output.weight.detach().clone()
    with pytest.raises(ValueError, match=r"embedding.weight and output.weight are one tensor, but differ in θ1"):
        interpolate_into(model.state_dict(), theta0, theta1, 0.5)
    assert torch.equal(model.output.weight, before)


def test_views_without_values_of_their_own_and_empty_entries():
    theta0 = {"row": torch.ones(1).expand(4), "empty": torch.zeros(0, 3), "t": torch.arange(6.0).view(2, 3).T}
    theta1 = {name: tensor + 1 for name, tensor in theta0.items()}
    mixed = interpolate(theta0, theta1, 0.5)
    assert mixed["row"].tolist() == [1.5] * 4
    assert mixed["empty"].shape == (0, 3)
    assert torch.equal(mixed["t"], theta0["t"] + 0.5)
    mixed["row"][0] = 9
    assert mixed["row"].tolist() == [9, 1.5, 1.5, 1.5]

"""Spectra of all weights, their change since a reference, and what is not computed again."""

import csv
import inspect
import io
import math

import numpy as np
import pytest
import torch
from torch import nn

from lightning_robust.signatures import SpectrumCache, matrix_spectrum, weight_change, weight_matrices, weight_spectra
from lightning_robust.signatures import weight_spectra as function
from lightning_robust.signatures.weight_spectra import _content


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.dw = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8)
        self.attn, self.fc = nn.MultiheadAttention(8, 2), nn.Linear(8, 5)


NAMES = [
    "conv.weight", "attn.in_proj_weight[q]", "attn.in_proj_weight[k]", "attn.in_proj_weight[v]", "attn.out_proj.weight",
    "fc.weight",
]  # fmt: skip


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


def state_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def move(model, *names):
    with torch.no_grad():
        for name in names:
            model.get_parameter(name).add_(0.1 * torch.randn_like(model.get_parameter(name)))


def test_every_matrix_has_the_spectrum_that_it_has_alone(net):
    found = weight_spectra(net)
    assert list(found.matrices) == NAMES
    assert list(found.left_out) == ["dw.weight"]
    assert found.computed == tuple(NAMES)
    for name, W in weight_matrices(net).items():
        here, alone = found.matrices[name], matrix_spectrum(W, "auto")
        assert here.name == name
        assert here.shape == tuple(W.shape)
        assert here.change is None
        assert torch.equal(here.spectrum.singular_values, alone.singular_values)
        np.testing.assert_equal(here.spectrum.alpha, alone.alpha)
    assert list(weight_spectra(net, names="attn.*").matrices) == NAMES[1:5]


@pytest.mark.parametrize("form", ["module", "state dict", "matrices"])
def test_change_since_a_reference(net, form):
    theta0 = state_of(net)
    before = {name: W.clone() for name, W in weight_matrices(net).items()}
    old = Net()
    old.load_state_dict(theta0)
    move(net, "conv.weight", "attn.in_proj_weight")
    found = weight_spectra(net, {"module": old, "state dict": theta0, "matrices": before}[form], top=2)
    now = weight_matrices(net)
    for name in NAMES[:4]:
        here, alone = found.matrices[name].change, weight_change(now[name], before[name], top=2)
        assert torch.equal(here.spectrum.singular_values, alone.spectrum.singular_values)
        for figure in ("relative_frobenius", "relative_spectral", "input_share", "output_share", "top"):
            assert getattr(here, figure) == getattr(alone, figure)
        assert here.relative_frobenius > 0
    for name in NAMES[4:]:
        change = found.matrices[name].change
        assert (change.relative_frobenius, change.relative_spectral, change.top) == (0.0, 0.0, 2)
        assert change.spectrum.singular_values.eq(0).all()
        assert len(change.spectrum.singular_values) == min(found.matrices[name].shape)
        assert math.isnan(change.input_share)


def test_the_change_of_half_precision_weights_is_taken_in_float64(net):
    theta0 = state_of(net)
    found = weight_spectra(net.bfloat16(), theta0)
    W, W0 = net.fc.weight.double(), theta0["fc.weight"].double()
    change = float(torch.linalg.norm(W.detach() - W0) / torch.linalg.norm(W0))
    assert found.matrices["fc.weight"].change.relative_frobenius == pytest.approx(change, rel=1e-12)


def test_only_what_changed_is_computed_again(net, monkeypatch):
    decompositions = []
    for name in ("svdvals", "eigvalsh", "eigh"):
        original = getattr(torch.linalg, name)
        monkeypatch.setattr(
            torch.linalg, name, lambda A, original=original: (decompositions.append(A.shape), original(A))[1]
        )
    cache, theta0 = SpectrumCache(), state_of(net)
    first = weight_spectra(net, theta0, cache=cache)
    assert len(decompositions) == 6  # nothing has moved, so there is no change to decompose
    decompositions.clear()
    second = weight_spectra(net, theta0, cache=cache)
    assert second.computed == ()
    assert decompositions == []
    for name in NAMES:
        assert second.matrices[name].spectrum is first.matrices[name].spectrum
    move(net, "fc.weight")
    third = weight_spectra(net, theta0, cache=cache)
    assert third.computed == ("fc.weight",)
    assert len(decompositions) == 3  # W, W0 and their difference
    assert (
        third.matrices["fc.weight"].spectrum.singular_values[0]
        != first.matrices["fc.weight"].spectrum.singular_values[0]
    )
    decompositions.clear()
    move(net, "fc.weight")
    assert weight_spectra(net, theta0, cache=cache).computed == ("fc.weight",)
    assert len(decompositions) == 2  # W0 is known
    np.testing.assert_equal(weight_spectra(net, theta0, cache=cache).table(), weight_spectra(net, theta0).table())


def test_settings_and_references_are_part_of_what_is_remembered(net):
    cache, theta0 = SpectrumCache(), state_of(net)
    move(net, *[name.partition("[")[0] for name in NAMES])
    weight_spectra(net, theta0, cache=cache)
    assert weight_spectra(net, theta0, cache=cache).computed == ()
    assert weight_spectra(net, theta0, cache=cache, top=3).computed == tuple(NAMES)
    assert weight_spectra(net, theta0, cache=cache, top=3, method="exact").computed == tuple(NAMES)
    theta0["fc.weight"].mul_(2)  # in place
    found = weight_spectra(net, theta0, cache=cache, top=3, method="exact")
    assert found.computed == ("fc.weight",)
    np.testing.assert_equal(found.table(), weight_spectra(net, theta0, top=3, method="exact").table())


@pytest.mark.parametrize(
    "W", [torch.ones(6, 8), torch.diag(torch.arange(1.0, 13.0)), torch.randn(100, 3) @ torch.randn(3, 90)]
)
def test_an_unchanged_layer_has_the_directions_of_one_that_moved(W):
    still, moved = (weight_spectra({"a": V}, {"a": W}).matrices["a"].change for V in (W.clone(), W + 1e-3))
    assert still.top == moved.top == min(10, int(torch.linalg.matrix_rank(W)))
    assert weight_spectra({"a": W}, {"a": W}, top=0).matrices["a"].change.top == 0


@pytest.mark.parametrize("W", [torch.randn(1, 8).T, torch.randn(8, 1).T, torch.randn(8, 2)[:, :1], torch.ones(1, 1).T])
def test_however_a_matrix_lies_in_memory(W):
    found = weight_spectra({"a": W}, {"a": W.contiguous().clone()}).matrices["a"]
    assert found.spectrum.singular_values.item() == pytest.approx(float(torch.linalg.norm(W)))
    assert found.change.relative_frobenius == 0
    assert _content(W) == _content(W.clone(memory_format=torch.contiguous_format))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_content_tells_any_change_apart(dtype):
    W = torch.randn(6, 4).to(dtype)
    one = W.clone()
    one[5, 3] *= 1.02
    others = [one, -W, W.flip(0), W.T, W.reshape(4, 6), W.float() if dtype != torch.float32 else W.double()]
    assert len({_content(W), *map(_content, others)}) == 7
    assert _content(W.T.contiguous().T) == _content(W)  # however it lies in memory


def test_the_table_goes_through_a_csv(net):
    theta0 = state_of(net)
    move(net, "fc.weight")
    rows = weight_spectra(net, theta0).table()
    assert [row["name"] for row in rows] == NAMES
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0])
    writer.writeheader()
    writer.writerows(rows)  # refuses a row with other columns
    text.seek(0)
    for read, row in zip(csv.DictReader(text), rows, strict=True):
        numbers = {column: value for column, value in row.items() if column != "name"}
        np.testing.assert_equal({column: float(read[column]) for column in numbers}, numbers)
    last, W = rows[-1], net.fc.weight.detach().double()
    assert (last["out"], last["in"]) == (5, 8)
    assert last["frobenius"] == pytest.approx(float(torch.linalg.norm(W)))
    assert last["largest"] == pytest.approx(float(torch.linalg.matrix_norm(W, 2)))
    assert last["change_relative_frobenius"] > 0
    assert set(weight_spectra(net).table()[0]) < set(rows[0])


def test_what_is_not_finite_is_named_and_nan(net):
    theta0 = state_of(net)
    with torch.no_grad():
        net.fc.weight[0, 0], net.attn.in_proj_weight[8, 0] = math.nan, math.inf
    found = weight_spectra(net, theta0)
    assert found.not_finite == ("attn.in_proj_weight[k]", "fc.weight")
    for name, matrix in found.matrices.items():
        row = matrix.row()
        figures = ("largest", "frobenius", "stable_rank", "effective_rank", "change_relative_frobenius")
        assert all(math.isnan(row[figure]) == (name in found.not_finite) for figure in figures[:4])
        assert math.isnan(row[figures[4]]) == (name in found.not_finite)
    theta0["conv.weight"][0] = math.nan
    change = weight_spectra(net, theta0).matrices["conv.weight"].change
    assert math.isnan(change.relative_frobenius)


def test_refusals(net):
    with pytest.raises(ValueError, match=r"reference has no 'fc\.weight', so the change of 'fc\.weight'"):
        weight_spectra(net, {"other": torch.ones(2, 2)}, names="fc.weight")
    with pytest.raises(ValueError, match=r"fc\.weight: the reference has shape \(2, 2\), the weight \(5, 8\)"):
        weight_spectra(net, {"fc.weight": torch.ones(2, 2)}, names="fc.weight")
    with pytest.raises(ValueError, match=r"no matrix 'fd\.weight'; near names: .*fc\.weight"):
        weight_spectra(net, names="fd.weight")
    with pytest.raises(ValueError, match="not -1"):
        weight_spectra(net, top=-1)
    assert function(nn.ReLU()).table() == []
    tensor, array = {"fc.weight": torch.ones(2, 2)}, {"fc.weight": np.ones((2, 2))}
    for pair in ((array, tensor), (tensor, array)):
        with pytest.raises(TypeError, match=r"fc\.weight is a numpy array, not a torch tensor"):
            inspect.unwrap(function)(*pair)
    with pytest.raises(TypeError, match="a module or a state dict of tensors by name, not list"):
        inspect.unwrap(function)(net, [torch.ones(2, 2)])

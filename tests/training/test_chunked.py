"""Encoding in chunks: the same step in less memory, and batch norm that counts every chunk once."""

import weakref

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from lightning_robust.training.chunked import encode_in_chunks, untouched_statistics


def tower(*extra):
    torch.manual_seed(0)
    layers = [nn.Linear(16, 256), nn.GELU(), nn.Linear(256, 256), nn.GELU(), nn.Linear(256, 8)]
    return nn.Sequential(*extra, *layers).double()


def step(model, inputs, size):
    model.zero_grad()
    embeddings = encode_in_chunks(model, model, inputs, size)
    (embeddings @ embeddings.T).softmax(dim=1).diagonal().log().mean().backward()
    return embeddings.detach(), [parameter.grad.clone() for parameter in model.parameters()]


@pytest.mark.parametrize("size", [1, 5, 32, 99])
def test_embeddings_and_gradients_are_those_of_the_whole_batch(size):
    model, inputs = tower(), torch.randn(32, 16, dtype=torch.float64)
    torch.testing.assert_close(step(model, inputs, size), step(model, inputs, None), rtol=1e-10, atol=1e-14)


class PeakBytes(TorchDispatchMode):
    """The most bytes that tensors made inside held at once."""

    def __init__(self):
        super().__init__()
        self.now = self.peak = 0
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in tree_iter(result):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self.seen:
                    self.seen.add(storage._cdata)
                    self.now += storage.nbytes()
                    weakref.finalize(storage, self.forget, storage._cdata, storage.nbytes())
        self.peak = max(self.peak, self.now)
        return result

    def forget(self, address, size):
        self.seen.discard(address)
        self.now -= size


def test_memory_is_that_of_a_chunk_and_the_embeddings():
    model, inputs = tower(), torch.randn(1024, 16, dtype=torch.float64)
    step(model, inputs, None)
    peaks = {}
    for size in (None, 512, 64):
        with PeakBytes() as watch:
            embeddings = encode_in_chunks(model, model, inputs, size)
            (embeddings**2).sum().backward()
        peaks[size] = watch.peak
        model.zero_grad(set_to_none=False)
        del embeddings
    assert peaks[512] < 0.65 * peaks[None]
    assert peaks[64] < 0.3 * peaks[None]


def test_batch_norm_sees_every_chunk_once():
    model, other = tower(nn.BatchNorm1d(16)), tower(nn.BatchNorm1d(16))
    inputs = torch.randn(24, 16, dtype=torch.float64)
    embeddings, gradients = step(model, inputs, 8)
    by_hand = torch.cat([other(chunk) for chunk in inputs.split(8)])  # no recomputation
    torch.testing.assert_close(embeddings, by_hand.detach(), rtol=1e-12, atol=1e-14)
    assert model[0].num_batches_tracked == 3
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in model.state_dict().items())
    (by_hand @ by_hand.T).softmax(dim=1).diagonal().log().mean().backward()
    torch.testing.assert_close(gradients, [parameter.grad for parameter in other.parameters()], rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("options", [{}, {"momentum": None}, {"track_running_stats": False}, {"affine": False}])
def test_statistics_stay_whatever_runs_inside_and_also_when_it_fails(options):
    norm = nn.BatchNorm1d(4, **options)
    norm(torch.randn(8, 4))
    buffers, before = dict(norm._buffers), {name: value.clone() for name, value in norm.state_dict().items()}
    images = torch.randn(8, 4)
    with untouched_statistics(norm):
        inside = norm(images)
    assert torch.equal(inside, nn.BatchNorm1d(4, **options)(images))
    with pytest.raises(ValueError, match="got 1D input"), untouched_statistics(norm):
        norm(torch.ones(8))
    assert all(norm._buffers[name] is value for name, value in buffers.items())
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())


def test_dropout_draws_the_same_again():
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Dropout(0.5))
    inputs = torch.randn(6, 4)
    embeddings = encode_in_chunks(model, model, inputs, 2)
    embeddings.sum().backward()
    kept = (embeddings != 0).float() * 2  # the gradient is that of what was kept the first time
    torch.testing.assert_close(model[0].weight.grad, kept.T @ inputs)


def test_a_locked_tower_is_not_computed_twice():
    model, calls = tower().requires_grad_(False), []
    model.register_forward_hook(lambda *_: calls.append(1))
    head = nn.Linear(8, 1).double()
    head(encode_in_chunks(model, model, torch.randn(6, 16, dtype=torch.float64), 2)).sum().backward()
    assert len(calls) == 3


@pytest.mark.parametrize(
    ("n", "size", "parts"), [(16, 3, [3, 3, 3, 3, 2, 2]), (16, 5, [4] * 4), (4, 3, [2, 2]), (3, 9, [3])]
)
def test_no_row_is_left_over_alone(n, size, parts):
    """A batch norm of one row is none."""
    model, seen = tower(nn.BatchNorm1d(16)), []

    def encode(rows):
        seen.append(len(rows))
        return model(rows)

    inputs = torch.randn(n, 16, dtype=torch.float64)
    for locked in (False, True):
        model.requires_grad_(not locked)
        seen.clear()
        assert encode_in_chunks(encode, model, inputs, size).shape == (n, 8)
        assert seen == parts


def test_a_size_below_one_is_refused():
    with pytest.raises(ValueError, match="chunk_size is at least 1, not 0; leave it out"):
        encode_in_chunks(tower(), tower(), torch.ones(2, 16), 0)

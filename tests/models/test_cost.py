"""What networks cost: against counts by hand, a real file, and networks of known slowness."""

import time

import pytest
import torch
from torch import nn
from torch.nn import functional

from lightning_robust.models.checkpoint_files import save_tensors
from lightning_robust.models.cost import (
    Turn,
    file_bytes,
    forward_flops,
    interleaved_times,
    latencies,
    nonzero_count,
    parameter_count,
)


class Waiting(nn.Module):
    def __init__(self, seconds, log=None, name=""):
        super().__init__()
        self.seconds, self.log, self.name = seconds, log, name

    def forward(self, images):
        time.sleep(self.seconds)
        if self.log is not None:
            self.log.append((self.name, self.training))
        return images


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, x):
        return self.attn(x, x, x, need_weights=False)[0]


class Fused(nn.Module):
    def forward(self, x):
        return functional.scaled_dot_product_attention(x, x, x)


def test_parameters_and_zeros():
    tied = nn.Linear(4, 4, bias=False)
    model = nn.Sequential(tied, nn.BatchNorm1d(4), tied)
    with torch.no_grad():
        tied.weight.zero_()
        tied.weight[1] = 2.0
        model[1].weight.fill_(1.0)
        model[1].bias.zero_()
    assert parameter_count(model) == 16 + 4 + 4
    assert nonzero_count(model) == 4 + 4


def test_operations_of_convolution_and_linear_by_hand():
    model = nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1, stride=2),
        nn.ReLU(),
        nn.Conv2d(5, 10, 1, groups=5),
        nn.Flatten(),
        nn.Linear(160, 7),
    )
    images = torch.ones(2, 3, 8, 8)
    by_hand = 2 * 2 * (16 * 5 * 27 + 16 * 10 * 1 + 160 * 7)
    assert forward_flops(model, images) == by_hand


@pytest.mark.parametrize("training", [True, False])
def test_operations_of_attention_are_not_hidden_by_fused_kernels(training):
    width, tokens, images = 8, 5, 3
    model = Attention(width, 2).train(training)
    projections = tokens * width * width * 4
    products = tokens * tokens * width * 2  # q kᵀ and its product with v, all heads
    fast_path = torch.backends.mha.get_fastpath_enabled()
    assert forward_flops(model, torch.ones(images, tokens, width)) == 2 * images * (projections + products)
    assert torch.backends.mha.get_fastpath_enabled() == fast_path
    assert model.training is training


def test_operations_of_scaled_dot_product_attention():
    assert forward_flops(Fused(), torch.ones(2, 4, 5, 8)) == 2 * 2 * 4 * 2 * 5 * 5 * 8


def test_bytes_are_those_of_a_file(tmp_path):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    save_tensors(tmp_path / "m.safetensors", model.state_dict(), {"format": "pt"})
    assert file_bytes(model) == (tmp_path / "m.safetensors").stat().st_size
    assert file_bytes(model) > 4 * (108 + 4 + 16) + 8


def test_networks_take_turns_and_each_round_begins_with_another():
    log = []
    models = [Waiting(0.025, log, name).train() for name in "abc"]
    torch.manual_seed(0)
    state = torch.get_rng_state()
    times = interleaved_times(models, torch.ones(1), rounds=3, least=1, warm_up=1)
    assert "".join(name for name, _ in log) == "abc" + "abcbcacab"
    assert not any(training for _, training in log)
    assert all(model.training for model in models)
    assert torch.equal(state, torch.get_rng_state())
    assert [len(turns) for turns in times] == [3, 3, 3]


def test_time_runs_out_after_the_least_number_of_rounds():
    times = interleaved_times([Waiting(0.02)], torch.ones(1), rounds=50, least=2, seconds=0.05, warm_up=1)
    assert 2 <= len(times[0]) <= 4


def test_a_network_of_twice_the_time_is_half_as_fast():
    found = latencies(interleaved_times([Waiting(0.04), Waiting(0.02)], torch.ones(1), rounds=5, least=5))
    assert found[0].speedup == found[0].speedup_low == found[0].speedup_high == 1.0
    assert found[1].speedup == pytest.approx(2.0, rel=0.25)
    assert found[0].low_ms <= found[0].median_ms <= found[0].high_ms
    assert found[0].median_ms == pytest.approx(40, rel=0.25)
    assert found[0].processor_ms < 10  # sleeping is no work
    assert found[0].rounds == 5


def test_a_slow_phase_of_the_machine_does_not_change_the_speedup():
    slowed = [1.0, 1.0, 5.0, 5.0, 1.0]
    dense, other = ([Turn(t * factor, t) for factor in slowed] for t in (6.0, 3.0))
    found = latencies([dense, other])
    assert (found[1].speedup, found[1].speedup_low, found[1].speedup_high) == (2.0, 2.0, 2.0)
    assert (found[1].median_ms, found[1].low_ms, found[1].high_ms) == (3.0, 3.0, 15.0)


def test_by_processor_time_a_disturbance_within_a_round_does_not_count_either():
    dense = [Turn(t, 6.0) for t in (6.0, 30.0, 6.0)]
    other = [Turn(t, 3.0) for t in (15.0, 3.0, 18.0)]
    assert latencies([dense, other])[1].speedup == 0.4
    found = latencies([dense, other], "processor")[1]
    assert (found.speedup, found.speedup_low, found.speedup_high, found.speedup_by) == (2.0, 2.0, 2.0, "processor")
    assert (found.median_ms, found.processor_ms) == (15.0, 3.0)
    with pytest.raises(ValueError, match="not by 'sun'"):
        latencies([dense, other], "sun")


def test_what_cannot_be_timed_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        interleaved_times([], torch.ones(1))
    with pytest.raises(ValueError, match="least <= rounds"):
        interleaved_times([nn.Identity()], torch.ones(1), rounds=2, least=3)
    with pytest.raises(ValueError, match="every round"):
        latencies([[Turn(1, 1)], []])

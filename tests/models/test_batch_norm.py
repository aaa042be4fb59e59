"""Batch-norm recalibration: statistics against numpy and torch's own, what is left alone, refusals."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from lightning_robust.models import ImageClassifier, interpolate
from lightning_robust.models.batch_norm import input_moments, recalibrate_batch_norm
from lightning_robust.models.modes import eval_mode


def images(n, *shape, seed=0):
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed)) * 3 + 5


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5)
    )


def statistics(x):
    values = x.double().transpose(0, 1).flatten(1).numpy()
    return values.mean(1), values.var(1, ddof=1)


@pytest.mark.parametrize("sizes", [[24], [8, 8, 8], [10, 9, 5], [2] * 12])
def test_the_first_layer_has_the_statistics_of_all_images_together(sizes):
    model, x = network(), images(24, 3, 8, 8)
    with torch.no_grad():
        mean, variance = statistics(model[0](x))
    assert recalibrate_batch_norm(model, [(part, None) for part in x.split(sizes)]) == 24
    np.testing.assert_allclose(model[1].running_mean, mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model[1].running_var, variance, rtol=1e-5)


def test_deeper_layers_have_the_statistics_of_what_reaches_them():
    model, parts = network(), images(24, 3, 8, 8).split([10, 9, 5])
    seen = []
    with torch.no_grad():
        for part in parts:  # the first norm uses each batch's own statistics, dropout is off
            h = model[0](part)
            h = nn.functional.batch_norm(h, None, None, model[1].weight, model[1].bias, training=True)
            seen.append(model[4](h.relu()))
    mean, variance = statistics(torch.cat(seen))
    recalibrate_batch_norm(model, parts)
    np.testing.assert_allclose(model[5].running_mean, mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(model[5].running_var, variance, rtol=1e-5)


def test_a_single_batch_agrees_with_torch():
    ours, theirs, x = network(), network(), images(30, 3, 8, 8)
    theirs[3].p = 0.0  # torch runs dropout
    recalibrate_batch_norm(ours, [x])
    update_bn([x], theirs)
    for k in (1, 5):
        torch.testing.assert_close(ours[k].running_mean, theirs[k].running_mean, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(ours[k].running_var, theirs[k].running_var, rtol=1e-5, atol=1e-6)


def test_batches_of_different_means_show_what_torch_leaves_out():
    ours, theirs = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
    parts = [torch.tensor([[0.0], [2.0]]), torch.tensor([[10.0], [12.0]])]
    recalibrate_batch_norm(ours, parts)
    update_bn(parts, theirs)
    assert ours.running_var.item() == pytest.approx(np.var([0, 2, 10, 12], ddof=1))
    assert theirs.running_var.item() == pytest.approx(2.0)  # the variance within batches alone


def test_far_from_zero_no_digits_are_lost():
    layer, x = nn.BatchNorm1d(1).double(), images(1000, 1).double() + 1e7
    recalibrate_batch_norm(layer, x.split(64))
    assert layer.running_var.item() == pytest.approx(x.var().item(), rel=1e-9)


def test_nothing_but_the_statistics_changes():
    model, x = network(), images(12, 3, 8, 8)
    model[1].eval()
    model[5].momentum = 0.3
    model[5].num_batches_tracked.fill_(7)
    before, random = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    modes = [module.training for module in model.modules()]
    recalibrate_batch_norm(model, x.split(4))
    changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {"1.running_mean", "1.running_var", "5.running_mean", "5.running_var"}
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random)
    assert model[5].momentum == 0.3
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_it_is_the_same_twice_and_forgets_the_statistics_before():
    once, twice = network(), network()
    twice[1].running_mean.fill_(99)
    recalibrate_batch_norm(once, images(12, 3, 8, 8).split(4))
    for _ in range(2):
        recalibrate_batch_norm(twice, images(12, 3, 8, 8).split(4))
    assert torch.equal(once[1].running_mean, twice[1].running_mean)
    assert torch.equal(once[5].running_var, twice[5].running_var)


def test_an_interpolated_clip_gets_statistics_that_fit_it(tiny):
    """The statistics of one end, kept at the other, do not fit between them; recalibrated ones do."""
    model = ImageClassifier(tiny.model, torch.zeros(2, 16)).eval()
    theta = {name: value.clone() for name, value in model.state_dict().items()}
    turned = {
        name: value * (0.2 if name.endswith("conv1.weight") else 1.0) if value.is_floating_point() else value
        for name, value in theta.items()
    }
    model.load_state_dict(interpolate(theta, turned, 0.5))
    x = torch.rand(40, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    outputs = []
    hook = model.encoder.visual.bn1.register_forward_hook(lambda layer, inputs, output: outputs.append(output.clone()))
    with torch.no_grad(), eval_mode(model):
        model(x)
        assert recalibrate_batch_norm(model, [(x, None)]) == 40
        model(x)
    hook.remove()
    stale, fresh = outputs[0], outputs[-1]
    assert (fresh.mean((0, 2, 3)) - model.encoder.visual.bn1.bias).abs().max() < 1e-4
    assert (stale.mean((0, 2, 3)) - model.encoder.visual.bn1.bias).abs().max() > 1e-2


def test_it_stops_after_the_batch_that_reaches_the_images_asked_for():
    model, other, x = network(), network(), images(12, 3, 8, 8)
    assert recalibrate_batch_norm(model, x.split(4), max_images=6) == 8
    recalibrate_batch_norm(other, x[:8].split(4))
    assert torch.equal(model[5].running_var, other[5].running_var)


def test_other_batches_go_through_run():
    layer = nn.BatchNorm1d(1)
    batches = [[{"x": torch.tensor([[1.0], [3.0]])}, 0]]
    with pytest.raises(TypeError):
        recalibrate_batch_norm(layer, [0])
    recalibrate_batch_norm(layer, [[b["x"], b] for b, _ in batches], run=lambda m, batch: m(batch[1]["x"]))
    assert layer.running_mean.item() == 2.0


def refused(model, batches, match):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    with pytest.raises(ValueError, match=match):
        recalibrate_batch_norm(model, batches)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert not any(module._forward_pre_hooks for module in model.modules())


class Unreached(nn.Sequential):
    def forward(self, x):
        return self[0](x)


def test_what_cannot_be_recalibrated_is_refused_and_left_as_it_was():
    x = images(4, 3, 8, 8)
    refused(nn.Linear(2, 2), [x], "Linear has no batch norm")
    refused(nn.BatchNorm1d(2, track_running_stats=False), [x], "no batch norm with running statistics")
    refused(network(), [], "no images")
    refused(network(), [x, x * float("nan")], "'1' has inputs that are not all finite")
    refused(nn.BatchNorm1d(3), [torch.ones(3, 3), torch.ones(1, 3)], "1 value")
    refused(Unreached(nn.BatchNorm2d(3), nn.BatchNorm2d(3)), [x], "'1' was not reached")


def test_moments_of_parts_merge_to_those_of_all_and_the_model_stays():
    layer, x = nn.BatchNorm1d(3), images(20, 3)
    (first, one), (second, other) = (input_moments(layer, [part]) for part in x.split([13, 7]))
    merged = one[""].cpu()
    merged.merge(other[""])
    assert (first, second, merged.count, merged.lacking) == (13, 7, 20, "")
    np.testing.assert_allclose(merged.mean, x.double().mean(0), rtol=1e-12)
    np.testing.assert_allclose(merged.squares / 19, x.double().var(0), rtol=1e-12)
    assert not layer.running_mean.any()
    merged.merge(input_moments(nn.Sequential(nn.Identity(), nn.BatchNorm1d(3)), [x], run=lambda *_: None)[1]["1"])
    assert merged.count == 20

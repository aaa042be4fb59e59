"""The permuted control does not depend on the order in which images, batches or ranks come."""

import torch

from lightning_robust.signatures import ConceptAveragePrecision, neurons, permute_within_category


def images(n=60):
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(n, 6, generator=generator)
    labels = torch.randint(-1, 2, (n, 5), generator=generator, dtype=torch.int8)
    return features, labels, torch.randperm(n, generator=generator)


def test_the_metric():
    features, labels, shuffled = images()
    found = []
    for order in (torch.arange(60), shuffled, shuffled.flip(0)):
        metric = ConceptAveragePrecision({"neurons": neurons(6)}, categories=["a", "a", "b", "b", "c"], seed=2)
        for part in order.split(7):
            metric.update(features[part], labels[part])
        found.append(metric.compute())
    assert not torch.equal(found[0]["ap_permuted/neurons"], found[0]["ap/neurons"])
    for other in found[1:]:
        for name in ("ap_permuted/neurons", "ap/neurons"):
            assert torch.equal(other[name], found[0][name])


def test_the_permutation_goes_by_the_order_that_is_given():
    _, labels, shuffled = images()
    categories = ["a", "a", "b", "b", "c"]
    plain = permute_within_category(labels, categories, seed=1)
    # image i is at place p[i] of the shuffled ones; in the order that undoes it they are as they were
    moved = permute_within_category(labels[shuffled], categories, seed=1, order=shuffled.argsort())
    assert torch.equal(moved, plain[shuffled])
    assert not torch.equal(plain, labels)

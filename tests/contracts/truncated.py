"""Truncated weights by the plainest way: the product is put into a copy of the dense network."""

import copy

import torch


def svd_factors(found, share=1.0):
    """Factors of every matrix, of a share of its full rank; of rank 1 at least."""
    factors = {}
    for name, matrix in found.items():
        U, s, Vh = torch.linalg.svd(matrix.weight.double(), full_matrices=False)
        k = max(1, round(share * len(s)))
        factors[name] = ((U[:, :k] * s[:k]).to(matrix.weight), Vh[:k].to(matrix.weight))
    return factors


def with_products(model, factors, biases=None):
    """The dense network with A B in the place of each weight, and biases in that of each bias; nothing is smaller."""
    dense = copy.deepcopy(model)
    values = {name: A.double() @ B.double() for name, (A, B) in factors.items()}
    parameters = dict(dense.named_parameters())
    with torch.no_grad():
        for name, value in values.items():
            _put(parameters, name, value)
        for name, value in (biases or {}).items():
            _put(parameters, _bias_of(name, parameters), value)
    return dense


def _bias_of(name, parameters):
    own = name.replace("weight", "bias")
    if own.partition("[")[0] in parameters:
        return own
    layer, _, part = name.removesuffix("_proj_weight").rpartition(".")  # apart, but their biases are one
    return f"{layer}.in_proj_bias[{part}]"


def _put(parameters, name, value):
    whole, _, part = name.partition("[")
    target = parameters[whole]
    if part:
        target = target.chunk(3)["qkv".index(part[0])]
    elif whole.rpartition(".")[2] == "proj" and target.shape == value.T.shape:
        target = target.T  # open_clip multiplies from the other side
    target.copy_(value.to(target.dtype).reshape(target.shape))

"""Fisher information per parameter, and averages of models that are weighted with it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lightning_robust.models.interpolate import check_same_entries, in_working_dtype, is_merged, working_dtype
from lightning_robust.models.modes import eval_mode, kept_random_state

Labels = Literal["sampled", "expected", "given"]


def diagonal_fisher(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    labels: Labels = "sampled",
    seed: int = 0,
    max_images: int | None = None,
) -> dict[str, Tensor]:
    """Estimate the diagonal of the Fisher information of a classifier's parameters.

    `F_j = (1/n) Σ_i E_{y ~ p(y|x_i)} [(∂ log p(y|x_i) / ∂θ_j)²]` over n images, in eval mode (Matena & Raffel 2022,
    arXiv 2111.09832). With `labels="sampled"` the expectation is taken by one label per image, drawn from the model's
    own distribution (unbiased); with `"expected"` over all C classes, exactly, by C backward passes; `"given"` takes
    the labels of the batches: the empirical Fisher, another quantity. Squares are summed in float64.

    Images go through one at a time: on a CPU that is twice as fast as `torch.func.vmap` over a ResNet, and the
    gradients of one image are held at once.

    Args:
        model: Maps images to logits `(n, C)`; its modes and the random states are given back.
        batches: `(images, targets, …)`, images first.
        labels: Which labels the gradients are for.
        seed: Of the sampled labels: a generator of its own, one number for each image in order.
        max_images: Stop after so many; None takes all.

    Returns:
        By name of the parameter, for those that require gradients; tied parameters under every name. In the
        parameter's dtype, at least float32.

    Raises:
        ValueError: If there are no images, no parameter requires gradients, the outputs are not `(n, C)`, a given
            label is none of the classes, or the Fisher information is not finite.

    Example:
        >>> model = nn.Linear(1, 2, bias=False)
        >>> _ = nn.init.zeros_(model.weight)
        >>> diagonal_fisher(model, [(torch.full((4, 1), 2.0), torch.zeros(4))])["weight"]  # x² p (1 − p)
        tensor([[1.],
                [1.]])
    """
    if labels not in ("sampled", "expected", "given"):
        raise ValueError(f"labels is 'sampled', 'expected' or 'given', not {labels!r}.")
    wanted = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not wanted:
        raise ValueError("No parameter of the model requires gradients, so there is no Fisher information to measure.")
    sums = {name: torch.zeros_like(p, dtype=torch.float64, requires_grad=False) for name, p in wanted.items()}
    generator = torch.Generator().manual_seed(seed)
    n = 0
    with eval_mode(model), kept_random_state(), torch.enable_grad():
        for image, target in islice(_one_by_one(batches, labels == "given"), max_images):
            _add_squares(sums, wanted, model, image, target, labels, generator)
            n += 1
    if n == 0:
        raise ValueError("There are no images to measure the Fisher information on.")
    found = {name: (total / n).to(working_dtype(wanted[name].dtype)) for name, total in sums.items()}
    broken = next((name for name, value in found.items() if not value.isfinite().all()), None)
    if broken is not None:
        raise ValueError(f"The Fisher information of {broken} is not finite: look at the model's weights and images.")
    first = {id(parameter): name for name, parameter in wanted.items()}
    named = model.named_parameters(remove_duplicate=False)
    return {name: found[first[id(p)]] for name, p in named if id(p) in first}


def fisher_soup(
    models: Iterable[tuple[Mapping[str, Tensor], Mapping[str, Tensor], float]],
) -> dict[str, Tensor]:
    """Average models, each value weighted with its Fisher information (Matena & Raffel 2022, arXiv 2111.09832).

    `θ_j = Σ_i λ_i F_ij θ_ij / Σ_i λ_i F_ij`. A value whose Fisher information is 0 in all models, and entries that have
    none (buffers, frozen parts), are averaged with the λ alone; integer entries come from the last model. Every value
    lies between the smallest and the largest of the models'. Memory: the running mean, the running Fisher sum, and
    one model with its own, if `models` makes them one by one.

    Args:
        models: `(state, Fisher information, λ)` of each; a generator is read once. λ ≥ 0, not all 0.

    Returns:
        The mean, in the dtypes of the states.

    Raises:
        ValueError: If there is no model, states or Fisher entries differ, a Fisher value is negative or not a number,
            or a λ does not work.

    Example:
        >>> one = {"w": torch.tensor([0.0, 0.0])}, {"w": torch.tensor([1.0, 0.0])}, 1.0
        >>> two = {"w": torch.tensor([4.0, 4.0])}, {"w": torch.tensor([3.0, 0.0])}, 1.0
        >>> fisher_soup([one, two])
        {'w': tensor([3., 2.])}
    """
    like: dict[str, Tensor] = {}
    mean: dict[str, Tensor] = {}
    total: dict[str, Tensor] = {}
    mass = 0.0
    for number, (state, fisher, weight) in enumerate(models, start=1):
        if not (weight >= 0 and math.isfinite(weight)):
            raise ValueError(f"The weight of model {number} is a finite number of at least 0, not {weight}.")
        mass += weight
        if number == 1:
            like = {name: torch.empty_like(tensor, device="meta") for name, tensor in state.items()}
            mean = {name: in_working_dtype(tensor).clone() for name, tensor in state.items()}
            total = {name: torch.zeros_like(mean[name]) for name in fisher if name in mean}
        check_same_entries(like, state, ("the first model", f"model {number}"))
        _check_fisher(fisher, total, number)
        for name, tensor in state.items():
            if not is_merged(tensor.dtype):
                mean[name].copy_(tensor)
                continue
            factor = torch.tensor(weight / mass if mass else 1.0, dtype=mean[name].real.dtype)
            if name in total:
                own = weight * fisher[name].to(total[name])
                total[name] += own
                factor = torch.where(total[name] > 0, own / total[name], factor.to(own))
            value = in_working_dtype(tensor).to(mean[name])
            mixed = torch.lerp(mean[name], value, factor.to(value))
            mean[name] = torch.where(mean[name] == value, value, mixed)
        del state, fisher  # before the next ones are made
    if not mass:
        raise ValueError("A soup needs at least one model with a weight above 0.")
    return {name: value.to(like[name].dtype) for name, value in mean.items()}


def _one_by_one(batches: Iterable[Any], labelled: bool) -> Iterator[tuple[Tensor, Any]]:
    for batch in batches:
        images = batch if isinstance(batch, Tensor) else batch[0]
        for k in range(len(images)):
            yield images[k : k + 1], batch[1][k] if labelled else None


def _add_squares(
    sums: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    model: nn.Module,
    image: Tensor,
    target: Any,
    labels: Labels,
    generator: torch.Generator,
) -> None:
    """Add one image's squared gradients, weighted over the labels that they are taken for."""
    logits = model(image.to(next(iter(wanted.values())).device))
    if logits.ndim != 2 or len(logits) != 1:
        raise ValueError(f"The Fisher information needs logits (1, C) for one image, not {tuple(logits.shape)}.")
    log_p = logits[0].to(working_dtype(logits.dtype)).log_softmax(-1)
    p = log_p.detach().double().exp()
    weights = dict(enumerate(p.tolist())) if labels == "expected" else {_label(p, target, generator): 1.0}
    last = len(weights) - 1
    for number, (label, weight) in enumerate(weights.items()):
        gradients = torch.autograd.grad(
            log_p[label], list(wanted.values()), retain_graph=number < last, allow_unused=True
        )
        for name, gradient in zip(wanted, gradients, strict=True):
            if gradient is not None:  # the output may not depend on every parameter
                value = gradient.double()
                sums[name].addcmul_(value, value, value=weight)


def _label(p: Tensor, target: Any, generator: torch.Generator) -> int:
    if target is None:
        u = torch.rand((), generator=generator, dtype=torch.float64).item()
        return min(int((p.cumsum(0) < u).sum()), len(p) - 1)
    label = int(target)
    if not 0 <= label < len(p) or label != float(target):
        raise ValueError(f"A given label is one of the classes 0 to {len(p) - 1}, not {target}.")
    return label


def _check_fisher(fisher: Mapping[str, Tensor], total: Mapping[str, Tensor], number: int) -> None:
    if fisher.keys() != total.keys():
        strange = sorted(fisher.keys() ^ total.keys())
        raise ValueError(
            f"The Fisher information of model {number} is for other entries than the states or model 1 have: "
            f"{', '.join(strange[:4])}."
        )
    for name, value in fisher.items():
        if value.shape != total[name].shape or not bool((value >= 0).all()) or not bool(value.isfinite().all()):
            raise ValueError(f"The Fisher information of model {number} at {name} is not one finite value ≥ 0 each.")

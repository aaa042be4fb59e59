"""Fisher information per parameter, and averages of models that are weighted with it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from lightning_robust.models.interpolate import check_same_entries, in_working_dtype, is_merged, working_dtype
from lightning_robust.models.modes import eval_mode, kept_random_state

Labels = Literal["sampled", "expected", "given"]
#: Gradient values held at once where the caller does not say how many images: 128 MiB of float32.
_HELD = 2**25


def diagonal_fisher(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    labels: Labels = "sampled",
    seed: int = 0,
    max_images: int | None = None,
    chunk: int | None = None,
) -> dict[str, Tensor]:
    """Estimate the diagonal of the Fisher information of a classifier's parameters.

    `F_j = (1/n) Σ_i E_{y ~ p(y|x_i)} [(∂ log p(y|x_i) / ∂θ_j)²]` over n images, in eval mode (Matena & Raffel 2022,
    arXiv 2111.09832). With `labels="sampled"` the expectation is taken by one label per image, drawn from the model's
    own distribution (unbiased); with `"expected"` over all C classes, exactly, at C times the cost; `"given"` takes
    the labels of the batches: the empirical Fisher, another quantity. Squares are summed in float64.

    Args:
        model: Maps images to logits `(n, C)`; its modes and the random states are given back.
        batches: `(images, targets, …)`, images first.
        labels: Which labels the gradients are for.
        seed: Of the sampled labels: a generator of its own; how images are batched does not change the draws.
        max_images: Stop after so many; None takes all.
        chunk: Images whose gradients are held at once; None: as many as fit 128 MiB, at least one.

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
    named = dict(model.named_parameters(remove_duplicate=False))
    wanted = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    if not wanted:
        raise ValueError("No parameter of the model requires gradients, so there is no Fisher information to measure.")
    sums = {name: torch.zeros_like(p, dtype=torch.float64) for name, p in wanted.items()}
    held = chunk or max(1, _HELD // sum(p.numel() for p in wanted.values()))
    device = next(iter(wanted.values())).device
    generator = torch.Generator().manual_seed(seed)
    squares = _squares(model, wanted)
    n = 0
    with eval_mode(model), kept_random_state():
        for images, targets in _pieces(batches, held, max_images, labels == "given", device):
            for label, weight in _labels(model, images, targets, labels, generator):
                for name, value in squares(images, label, weight).items():
                    sums[name] += value
            n += len(images)
    if n == 0:
        raise ValueError("There are no images to measure the Fisher information on.")
    found = {name: (total / n).to(working_dtype(wanted[name].dtype)) for name, total in sums.items()}
    broken = next((name for name, value in found.items() if not value.isfinite().all()), None)
    if broken is not None:
        raise ValueError(f"The Fisher information of {broken} is not finite: look at the model's weights and images.")
    first = {id(parameter): name for name, parameter in reversed(named.items())}
    return {name: found[first[id(p)]] for name, p in named.items() if first[id(p)] in found}


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


def _squares(model: nn.Module, wanted: Mapping[str, Tensor]) -> Any:
    """From images, a label each and a weight each to the weighted sums of squared gradients, per parameter."""
    buffers = {name: buffer.detach() for name, buffer in model.named_buffers()}
    frozen = {name: p.detach() for name, p in model.named_parameters() if name not in wanted}

    def log_likelihood(parameters: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
        logits = functional_call(model, {**frozen, **buffers, **parameters}, (image.unsqueeze(0),))[0]
        return logits.to(working_dtype(logits.dtype)).log_softmax(-1).gather(0, label.unsqueeze(0)).squeeze(0)

    each = vmap(grad(log_likelihood), in_dims=(None, 0, 0))

    def run(images: Tensor, label: Tensor, weight: Tensor | None) -> dict[str, Tensor]:
        result = {}
        with sdpa_kernel(SDPBackend.MATH):  # the others have no batching rule
            gradients = each(dict(wanted), images, label)
        for name, gradient in gradients.items():
            flat = gradient.detach().flatten(1).double().square()
            summed = flat.sum(0) if weight is None else weight.double() @ flat
            result[name] = summed.view(gradient.shape[1:])
        return result

    return run


def _labels(
    model: nn.Module, images: Tensor, targets: Tensor | None, labels: Labels, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor | None]]:
    with torch.no_grad():
        logits = model(images)
    if logits.ndim != 2 or len(logits) != len(images):
        raise ValueError(f"The Fisher information needs logits (n, C) of {len(images)} images, not {logits.shape}.")
    classes = logits.shape[1]
    if targets is not None:
        if targets.shape != (len(images),) or not bool(((targets >= 0) & (targets < classes)).all()):
            raise ValueError(f"Given labels are one class of 0 to {classes - 1} for each image.")
        yield targets.long(), None
        return
    p = logits.double().softmax(-1)
    if labels == "expected":
        for label in range(classes):
            yield torch.full((len(images),), label, device=images.device), p[:, label]
        return
    # the inverse of the distribution function: one uniform number per image, however images are batched
    u = torch.rand(len(images), 1, generator=generator, dtype=torch.float64).to(p.device)
    yield (p.cumsum(-1) < u).sum(-1).clamp(max=classes - 1), None


def _pieces(
    batches: Iterable[Any], size: int, most: int | None, labelled: bool, device: torch.device
) -> Iterator[tuple[Tensor, Tensor | None]]:
    left = math.inf if most is None else most
    for batch in batches:
        images = batch if isinstance(batch, Tensor) else batch[0]
        images = images[: int(min(left, len(images)))].to(device)
        targets = batch[1][: len(images)].to(device) if labelled else None
        left -= len(images)
        for start in range(0, len(images), size):
            yield images[start : start + size], None if targets is None else targets[start : start + size]
        if left <= 0:
            return


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

"""Model soups: averages of the weights of several finetuned models, one loaded at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_robust.models.interpolate import check_same_entries, in_working_dtype, is_merged, lerp

State = Mapping[str, Tensor]
_UNJUDGED = -math.inf


class RunningMean:
    """The mean of the states added so far: one running state, whatever their number.

    The mean is kept in at least float32. Integer entries are those of the last state added. The mean of two is
    bitwise `interpolate(first, second, 0.5)`, and values that are equal in all stay so.

    Example:
        >>> mean = RunningMean()
        >>> for value in (1.0, 2.0, 6.0):
        ...     mean.add({"w": torch.tensor([value])})
        >>> mean.state(), mean.count
        ({'w': tensor([3.])}, 3)
    """

    def __init__(self) -> None:
        self.count = 0
        self._mean: dict[str, Tensor] = {}
        self._like: dict[str, Tensor] = {}

    def add(self, state: State) -> None:
        """Add a state.

        Args:
            state: With the names, shapes and dtypes of the first; not changed.

        Raises:
            ValueError: If they differ.
        """
        self._check(state)
        self.count += 1
        with torch.no_grad():
            for name, tensor in state.items():
                if name not in self._mean:
                    self._like[name] = torch.empty_like(tensor, device="meta", requires_grad=False)
                    self._mean[name] = in_working_dtype(tensor).clone()
                elif is_merged(tensor.dtype):
                    mean = self._mean[name]
                    lerp(mean, in_working_dtype(tensor).to(mean.device), 1 / self.count, out=mean)
                else:
                    self._mean[name].copy_(tensor)

    def trial(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The mean that adding a state would give, as `state()` gives it; the running mean stays.

        Args:
            state: With the names, shapes and dtypes of the first; a dict that is emptied entry by entry, so that a
                state that nobody else holds makes room for the mean.

        Raises:
            ValueError: If they differ.
        """
        if not self.count:
            return dict(state)
        self._check(state)
        result: dict[str, Tensor] = {}
        with torch.no_grad():
            for name, like in self._like.items():
                tensor = state.pop(name)
                if is_merged(like.dtype):
                    mean = self._mean[name]
                    tensor = lerp(mean, in_working_dtype(tensor).to(mean.device), 1 / (self.count + 1)).to(like.dtype)
                result[name] = tensor
        return result

    def state(self) -> dict[str, Tensor]:
        """The mean in the dtypes of the states; shares memory with the running mean where those are at least float32.

        Raises:
            ValueError: If nothing was added.
        """
        if not self.count:
            raise ValueError("A soup of no models has no weights: give at least one.")
        return {name: mean.to(self._like[name].dtype) for name, mean in self._mean.items()}

    def _check(self, state: State) -> None:
        if self.count:
            check_same_entries(self._like, state, ("the first model", f"model {self.count + 1}"))


def uniform_soup(states: Iterable[State]) -> dict[str, Tensor]:
    """Average states (Wortsman et al. 2022, arXiv 2203.05482): every floating-point entry, buffers included.

    Memory: the running mean and the state that is being added, if `states` loads them one by one. Integer entries
    come from the last state.

    Args:
        states: States of the same names, shapes and dtypes; a generator is read once.

    Returns:
        The mean, in the dtypes of the states.

    Raises:
        ValueError: If there is none, or they differ.

    Example:
        >>> uniform_soup({"w": torch.tensor([value])} for value in (1.0, 2.0, 6.0))
        {'w': tensor([3.])}
    """
    mean = RunningMean()
    for state in states:
        mean.add(state)
        del state  # before the next one is loaded
    return mean.state()


@dataclass(frozen=True, eq=False)
class GreedySoup:
    """A greedy soup, and how it came about.

    Attributes:
        state: The mean of the members' weights.
        members: Indices of the models in it, in the order in which they were added.
        score: The soup's score.
        alone: Score of each model alone, in the order given.
        trials: `(index, score of the soup with it, whether it was kept)`, in the order tried; the first is the best
            model alone. Models that could not be judged alone were not tried.
    """

    state: dict[str, Tensor]
    members: tuple[int, ...]
    score: float
    alone: tuple[float, ...]
    trials: tuple[tuple[int, float, bool], ...]


def greedy_soup(
    loaders: Sequence[Callable[[], State]],
    score: Callable[[State], float],
    report: Callable[[str], None] = lambda _: None,
) -> GreedySoup:
    """Add models to the soup, best first, and keep each that does not make it worse (arXiv 2203.05482, Recipe 1).

    A score of −∞ says that a model cannot be judged, as one whose classes all have the same row of the head: alone, it
    is left out and not tried; a soup that cannot be judged is not kept. Scores have to be taken on held-out images of
    the reference, never on a shift: a choice made there is none that a user without shifted images could make. Equal
    scores keep the order given. Memory: the running mean and one state, beside what `score` needs. Each model is loaded
    twice, each that is kept once more.

    Args:
        loaders: For each of the k models a function that gives its state, which is not changed.
        score: From a state to its score, larger is better; such as the accuracy on reference validation images; −∞
            where there is none.
        report: Is told each score as it comes, in words.

    Returns:
        The soup. It is never worse than the best model alone, by `score`.

    Raises:
        ValueError: If there is no model or none can be judged, states differ, or a score is not a number.

    Example:
        >>> loaders = [lambda w=w: {"w": torch.tensor([w])} for w in (1.0, 9.0, 3.0)]
        >>> soup = greedy_soup(loaders, lambda state: -abs(float(state["w"]) - 2))
        >>> soup.members, soup.state
        ((0, 2), {'w': tensor([2.])})
    """
    if not loaders:
        raise ValueError("A soup of no models has no weights: give at least one.")
    alone: list[float] = []
    for index, load in enumerate(loaders):
        alone.append(_checked(score(load()), index))
        said = "cannot be judged, left out" if alone[-1] == _UNJUDGED else f"{alone[-1]:.4f}"
        report(f"model {index + 1} of {len(loaders)} alone: {said}")
    judged = [index for index, found in enumerate(alone) if found != _UNJUDGED]
    if not judged:
        raise ValueError(f"None of the {len(loaders)} models can be judged, so there is no best one to begin with.")
    order = sorted(judged, key=lambda index: -alone[index])  # stable
    mean, members, best = RunningMean(), [order[0]], alone[order[0]]
    mean.add(loaders[order[0]]())
    trials = [(order[0], best, True)]
    for index in order[1:]:
        found = _checked(score(mean.trial(dict(loaders[index]()))), index)
        kept = found >= best
        trials.append((index, found, kept))
        said = "cannot be judged" if found == _UNJUDGED else f"{found:.4f}"
        report(f"soup of {len(members)} with model {index + 1}: {said}, {'kept' if kept else 'left out'}")
        if kept:
            mean.add(loaders[index]())
            members.append(index)
            best = found
    return GreedySoup(mean.state(), tuple(members), best, tuple(alone), tuple(trials))


def _checked(score: float, index: int) -> float:
    if score != score:
        raise ValueError(f"The score of model {index + 1} is not a number, so it cannot be ranked.")
    return float(score)

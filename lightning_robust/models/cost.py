"""What a network costs: parameters, floating-point operations, bytes of its file, and time beside other networks."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lightning_robust.models.checkpoint_files import save_tensors
from lightning_robust.models.modes import eval_mode, kept_random_state
from lightning_robust.results.compress_record import Latency

_TURN_SECONDS = 0.02  # of one network in one round: shorter ones would measure the clock
_MOST_REPEATS = 64


@dataclass(frozen=True)
class Turn:
    """Times of one network in one round, for one batch, in milliseconds.

    Attributes:
        clock: by the clock.
        processor: processor time of all threads.
    """

    clock: float
    processor: float


def parameter_count(model: nn.Module) -> int:
    """Entries of all parameters, shared ones once; buffers, such as the statistics of batch norms, do not count.

    Args:
        model: A network.

    Example:
        >>> parameter_count(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)))
        12
    """
    return sum(parameter.numel() for parameter in model.parameters())


def nonzero_count(model: nn.Module) -> int:
    """Entries of all parameters that are not zero, shared ones once.

    Args:
        model: A network.

    Example:
        >>> layer = nn.Linear(2, 1, bias=False)
        >>> _ = layer.weight.data.copy_(torch.tensor([[0.0, 3.0]]))
        >>> nonzero_count(layer)
        1
    """
    return sum(int(torch.count_nonzero(parameter)) for parameter in model.parameters())


def forward_flops(model: nn.Module, images: Tensor) -> int:
    """Floating-point operations of a forward pass in matrix products, convolutions and attention.

    A multiplication and an addition count as two. Norms, activations and additions are not counted, as is usual
    (`torch.utils.flop_counter`). Fused kernels are taken apart for the count, so that none goes uncounted.

    Args:
        model: A network; it is run in eval mode and given back as it was.
        images: A batch, `(n, 3, H, W)`, on the device of the network.

    Example:
        >>> forward_flops(nn.Linear(3, 2), torch.ones(4, 3))
        48
    """
    fused = torch.backends.mha.get_fastpath_enabled()
    counter = FlopCounterMode(display=False)
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        with (
            torch.no_grad(),
            eval_mode(model),
            kept_random_state(),
            torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH),
            counter,
        ):
            model(images)
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    return int(counter.get_total_flops())


def file_bytes(model: nn.Module) -> int:
    """Bytes of the network's state as a safetensors file; one is written, measured and removed.

    Args:
        model: A network.

    Raises:
        ValueError: If the temporary folder cannot be written.
    """
    state = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save_tensors(path, state, {"format": "pt"})
        return path.stat().st_size


def interleaved_times(
    models: Sequence[nn.Module],
    images: Tensor,
    *,
    rounds: int = 15,
    least: int = 5,
    seconds: float = 30.0,
    warm_up: int = 2,
) -> list[list[Turn]]:
    """Time networks in turns: in every round each runs once, so that whatever else a machine does meets all alike.

    Every round begins with another network, and goes on in order. A network that is quick runs several times in its
    turn, which gives their mean. Nothing is drawn from the random states, and modes are given back.

    Args:
        models: The networks, all on the device of the images.
        images: One batch.
        rounds: At most so many rounds.
        least: At least so many, however long they take.
        seconds: No further round begins after this time.
        warm_up: Runs of each before the first round, which are not counted.

    Returns:
        By network, its turn in each round.

    Raises:
        ValueError: If there is no network, or a number is out of range.

    Example:
        >>> times = interleaved_times([nn.Identity(), nn.Flatten()], torch.ones(1, 3, 2, 2), rounds=3, least=3)
        >>> [len(turns) for turns in times]
        [3, 3]
    """
    if not models:
        raise ValueError("There is no network to time: give at least one.")
    if not 1 <= least <= rounds or warm_up < 1:
        raise ValueError(f"Need 1 <= least <= rounds and warm_up >= 1, not {least}, {rounds} and {warm_up}.")
    turns: list[list[Turn]] = [[] for _ in models]
    with torch.no_grad(), kept_random_state(), _all_in_eval_mode(models):
        repeats = []
        for model in models:
            took = [_turn(model, images, 1).clock / 1000 for _ in range(warm_up)]
            repeats.append(min(_MOST_REPEATS, max(1, round(_TURN_SECONDS / max(min(took), 1e-9)))))
        started = time.perf_counter()
        for number in range(rounds):
            if number >= least and time.perf_counter() - started > seconds:
                break
            for place in range(len(models)):
                index = (place + number) % len(models)
                turns[index].append(_turn(models[index], images, repeats[index]))
    return turns


def latencies(times: Sequence[Sequence[Turn]], by: str = "clock") -> list[Latency]:
    """Medians and ranges of interleaved times, beside the first network.

    The speed-up is the median over the rounds of the ratio to the first network in the same round, so that a slow
    phase of the machine, which lasts for longer than a round, does not count for or against a network.

    Args:
        times: As `interleaved_times` gives them, the dense network first.
        by: What ratios are taken of, "clock" or "processor". With one thread on a CPU the second is the same where
            nothing else runs, and steadier where something does.

    Raises:
        ValueError: If a network has no round, or another number of them than the first; for another `by`.

    Example:
        >>> fast, slow = [Turn(2.0, 2.0), Turn(4.0, 4.0)], [Turn(8.0, 8.0), Turn(8.0, 8.0)]
        >>> latencies([slow, fast])[1].speedup
        3.0
    """
    if not times or any(not turns or len(turns) != len(times[0]) for turns in times):
        raise ValueError(f"Every network has a time in every round, not {[len(turns) for turns in times]} of them.")
    if by not in ("clock", "processor"):
        raise ValueError(f"Ratios are by the clock or by processor time, not by {by!r}.")
    found = []
    for turns in times:
        clock = [turn.clock for turn in turns]
        ratios = [_time(first, by) / _time(turn, by) for first, turn in zip(times[0], turns, strict=True)]
        found.append(
            Latency(
                median_ms=statistics.median(clock),
                low_ms=min(clock),
                high_ms=max(clock),
                rounds=len(clock),
                processor_ms=statistics.median(turn.processor for turn in turns),
                speedup=statistics.median(ratios),
                speedup_low=min(ratios),
                speedup_high=max(ratios),
                speedup_by=by,
            )
        )
    return found


def _time(turn: Turn, by: str) -> float:
    return turn.clock if by == "clock" else max(turn.processor, 1e-9)


def _turn(model: nn.Module, images: Tensor, repeats: int) -> Turn:
    _wait(images)
    processor, clock = time.process_time(), time.perf_counter()
    for _ in range(repeats):
        model(images)
    _wait(images)
    passed, worked = time.perf_counter() - clock, time.process_time() - processor
    return Turn(1000 * passed / repeats, 1000 * worked / repeats)


def _wait(images: Tensor) -> None:
    """A GPU works on after the call returns."""
    if images.device.type == "cuda":
        torch.cuda.synchronize(images.device)


def _all_in_eval_mode(models: Sequence[nn.Module]) -> AbstractContextManager[None]:
    return eval_mode(nn.ModuleList(models))

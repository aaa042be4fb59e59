"""The two contracts on a GPU: training is bitwise the same with every callback, and figures are those of the CPU."""

import pytest
import torch
from callback_cases import QUIET
from metric_cases import CASES, assert_same, data, feed
from test_callback_contract import CALLBACKS, assert_same_training, train

pytestmark = [*QUIET, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that CUDA sees")]

ON_GPU = {"accelerator": "gpu", "deterministic": True}
LOOPS = {"plain": {}, "mixed precision": {"precision": "bf16-mixed"}}


@pytest.fixture(autouse=True)
def repeatable(monkeypatch):
    """What PyTorch asks for where two runs are to be the same; Lightning switches it on for the process."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    yield
    torch.use_deterministic_algorithms(False)


def train_on_gpu(folder, callbacks=(), **options):
    torch.cuda.manual_seed_all(0)
    found = train(folder, callbacks, **ON_GPU, **options)
    return *found, torch.cuda.get_rng_state()


@pytest.fixture(scope="module")
def without(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        return {name: train_on_gpu(tmp_path_factory.mktemp("off"), **options) for name, options in LOOPS.items()}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("name", CALLBACKS)
def test_training_is_bitwise_the_same(name, loop, tmp_path, without):
    *on, state = train_on_gpu(tmp_path, CALLBACKS[name](tmp_path), **LOOPS[loop])
    *off, plain = without[loop]
    assert_same_training(on, off)
    assert torch.equal(state, plain)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("deterministic", [False, True], ids=["", "deterministic"])
def test_figures_are_those_of_the_cpu(case, deterministic):
    h, y = data()
    torch.use_deterministic_algorithms(deterministic)
    metric = case.make().to("cuda")
    for rows in (slice(0, 25), slice(25, None)):
        feed(metric, case, h[rows].cuda(), y[rows].cuda())
    found = {key: value.cpu() for key, value in metric.compute().items()}
    assert_same(found, feed(case.make(), case, h, y).compute(), rtol=1e-10)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_figures_of_half_precision_are_those_of_the_cpu(case):
    h, y = data()
    h = h.to(torch.bfloat16)
    found = feed(case.make().to("cuda"), case, h.cuda(), y.cuda()).compute()
    known = feed(case.make(), case, h, y).compute()
    assert_same({key: value.cpu() for key, value in found.items()}, known, rtol=1e-4)

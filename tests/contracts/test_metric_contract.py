"""One contract that every metric passes, whatever it measures."""

import copy
import functools
import inspect
import itertools
import pickle
import warnings

import processes
import pytest
import torch
import torch.distributed
import torch.multiprocessing
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_cases import CASES, D, N, assert_same, data, feed

import lightning_robust.signatures as signatures
from lightning_robust.signatures.mergeable import MergeableMetric

H, Y = data()


@pytest.fixture(params=CASES, ids=str)
def case(request):
    return request.param


_KNOWN = {}


def whole(case, h=H, y=Y):
    """Figures of one metric that sees everything in one batch; those of the data themselves are computed once."""
    if h is not H or y is not Y:
        return feed(case.make(), case, h, y).compute()
    if id(case) not in _KNOWN:
        _KNOWN[id(case)] = feed(case.make(), case, H, Y).compute()
    return {key: value.clone() for key, value in _KNOWN[id(case)].items()}


def parts(case, sizes, h=H, y=Y):
    pairs = zip(h.split(sizes), y.split(sizes), strict=True)
    return [feed(case.make(), case, *pair) for pair in pairs]


def test_every_metric_is_under_contract():
    ours = [cls for cls in MergeableMetric.__subclasses__() if cls.__module__.startswith(f"{signatures.__name__}.")]
    assert {cls.__name__ for cls in ours} == {str(case) for case in CASES}


def test_reference(case):
    reference = case.reference(H.numpy(), Y.numpy())
    result = whole(case)
    assert result.keys() == reference.keys(), "every figure has an independent reference"
    assert_same(result, reference, rtol=1e-10)


def test_compute_gives_detached_tensors(case):
    result = whole(case, H.clone().requires_grad_())
    assert all(isinstance(value, torch.Tensor) and not value.requires_grad for value in result.values())
    assert all(value.dtype in (torch.float64, torch.int64, torch.bool) for value in result.values())


cuts = st.lists(st.integers(1, N - 1), max_size=5, unique=True)


def sizes_between(cuts):
    return [b - a for a, b in itertools.pairwise([0, *sorted(cuts), N])]


@pytest.mark.parametrize("case", CASES, ids=str)
@settings(max_examples=8, derandomize=True)
@given(cuts=cuts)
def test_split(case, cuts):
    sizes = sizes_between(cuts)
    metric = case.make()
    for h, y in zip(H.split(sizes), Y.split(sizes), strict=True):
        feed(metric, case, h, y)
    assert_same(metric.compute(), whole(case))


def test_empty_batches_change_nothing(case):
    metric = case.make()
    for rows in (slice(0, 0), slice(None), slice(0, 0)):
        feed(metric, case, H[rows], Y[rows])
    assert_same(metric.compute(), whole(case))


def test_order(case):
    order = torch.randperm(N, generator=torch.Generator().manual_seed(1))
    assert_same(whole(case, H[order], Y[order]), whole(case))


def test_ranks(case):
    """Several instances, one without data, merged into one."""
    first, *others = parts(case, [17, 1, 0, 30, 12])
    for other in [*others, case.make()]:
        first.merge_state(other)
    assert_same(first.compute(), whole(case))


@pytest.mark.parametrize("case", CASES, ids=str)
@settings(max_examples=5, derandomize=True)
@given(cuts=cuts, pairs=st.randoms(use_true_random=False))
def test_any_tree_of_merges(case, cuts, pairs):
    """Commutative and associative: instances merge in any order, two by two, into the same figures."""
    metrics = parts(case, sizes_between(cuts))
    while len(metrics) > 1:
        pairs.shuffle(metrics)
        metrics[0].merge_state(metrics.pop())
    assert_same(metrics[0].compute(), whole(case))


def test_merge_into_fresh(case):
    fresh = case.make()
    fresh.merge_state(feed(case.make(), case, H, Y))
    assert_same(fresh.compute(), whole(case))


def test_merge_laws(case):
    def merged(*order):
        pieces = parts(case, [20, 25, 15])
        first, *others = [pieces[i] for i in order]
        for other in others:
            first.merge_state(other)
        return first.compute()

    a, b, c = parts(case, [20, 25, 15])
    b.merge_state(c)
    a.merge_state(b)
    assert_same(a.compute(), merged(0, 1, 2))
    assert_same(merged(2, 0, 1), merged(0, 1, 2))


def test_merge_after_compute_is_not_stale(case):
    first, second = parts(case, [20, 40])
    first.compute()
    first.merge_state(second)
    assert_same(first.compute(), whole(case))


@pytest.mark.parametrize("case", CASES, ids=str)
@settings(max_examples=6, derandomize=True)
@given(exponent=st.floats(-6, 6) | st.sampled_from([-90.0, 90.0]), sign=st.sampled_from([1, -1]))
def test_scale_law(case, exponent, sign):
    s = sign * 10.0**exponent
    base, scaled = whole(case), whole(case, H * s)
    expected = {key: base[key] * abs(s) ** power for key, power in case.scale.items()}
    assert_same(scaled, expected, rtol=1e-9)


@pytest.mark.parametrize("case", CASES, ids=str)
@settings(max_examples=4, derandomize=True)
@given(seed=st.integers(0, 1000), size=st.floats(0, 100))
def test_shift_laws(case, seed, size):
    generator = torch.Generator().manual_seed(seed)
    base = whole(case)
    per_image = torch.randn(N, 1, generator=generator, dtype=torch.float64) * size
    per_feature = torch.randn(1, D, generator=generator, dtype=torch.float64) * size
    assert_same(whole(case, H + per_image), base, rtol=1e-10, keys=case.image_shift)
    assert_same(whole(case, H + per_feature), base, rtol=1e-10, keys=case.feature_shift)


def test_mean_a_million_standard_deviations_away(case):
    """E[x²] − E[x]² would lose every digit here."""
    far = H + 1e6 * H.std()
    exact = far - 1e6 * H.std()  # what the rounded values really deviate by
    keys = (*case.image_shift, *case.feature_shift)
    assert_same(whole(case, far), case.reference(exact.numpy(), Y.numpy()), rtol=1e-9, keys=keys)
    sizes = [1, 20, 39]
    first, *others = parts(case, sizes, far)
    for other in others:
        first.merge_state(other)
    assert_same(first.compute(), whole(case, far), rtol=1e-9, keys=keys)


def test_state_size(case):
    def size(metric):
        values = metric.metric_state.values()
        return sum(v.nbytes if isinstance(v, torch.Tensor) else sum(t.nbytes for t in v) for v in values)

    metric = feed(case.make(), case, H[:1], Y[:1])
    sizes = [size(metric)]
    for batch in (slice(1, 11), slice(11, N)):
        sizes.append(size(feed(metric, case, H[batch], Y[batch])))
    other = feed(case.make(), case, H, Y)
    other.merge_state(metric)
    sizes.append(size(other))
    assert (len(set(sizes)) == 1) == case.constant_state


def test_reset(case):
    metric = feed(case.make(), case, H * 2 + 1, Y)
    metric.compute()
    metric.reset()
    assert_same(feed(metric, case, H, Y).compute(), whole(case))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda metric: pickle.loads(pickle.dumps(metric))])
def test_copies_go_on_by_themselves(case, duplicate):
    metric = feed(case.make(), case, H[:20], Y[:20])
    twin = duplicate(metric)
    feed(twin, case, H[20:], Y[20:])
    assert_same(twin.compute(), whole(case))
    assert_same(metric.compute(), whole(case, H[:20], Y[:20]))


def test_state_dict_round_trip(case):
    metric = case.make()
    metric.persistent(True)
    saved = feed(metric, case, H, Y).state_dict()
    other = case.make()
    other.persistent(True)
    other.load_state_dict(saved)
    other._update_count = 1  # torchmetrics does not save it, and warns
    assert_same(other.compute(), whole(case))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize(
    "cast",
    [
        lambda m: m.half(),
        lambda m: m.float(),
        lambda m: m.bfloat16(),
        lambda m: m.to(torch.bfloat16),
        lambda m: torch.nn.ModuleDict({"metric": m}).to(torch.bfloat16)["metric"],
    ],
    ids=["half", "float", "bfloat16", "to", "submodule"],
)
def test_dtype_is_kept(case, dtype, cast):
    def dtypes(metric):
        return {k: v.dtype if isinstance(v, torch.Tensor) else v[0].dtype for k, v in metric.metric_state.items()}

    before = dtypes(feed(case.make(), case, H, Y))
    metric = feed(cast(case.make()), case, H[:20].to(dtype), Y[:20])
    feed(cast(metric), case, H[20:].to(dtype), Y[20:])
    assert dtypes(metric) == before
    assert_same(metric.compute(), whole(case, H.to(dtype).double()))
    assert dtypes(cast(metric)) == before
    metric.reset()
    assert_same(feed(metric, case, H, Y).compute(), whole(case))


def test_features_stay_as_they_are(case):
    h = H.clone()
    result = whole(case, h)
    assert torch.equal(h, H)
    h.zero_()
    assert_same(result, whole(case))


def test_forward_gives_the_batch_and_accumulates(case):
    metric = case.make()
    args = (H, case.labels_of(Y)) if case.labels else (H,)
    for rows in (slice(0, 25), slice(25, N)):
        batch = metric(*(a[rows] for a in args))
        assert_same(batch, whole(case, H[rows], Y[rows]))
    assert_same(metric.compute(), whole(case))


def test_states_made_in_inference_mode_can_be_used_outside(case):
    metric = case.make()
    with torch.inference_mode():
        feed(metric, case, H[:20], Y[:20])
    feed(metric, case, H[20:], Y[20:])
    assert_same(metric.compute(), whole(case))


def test_an_epoch_in_inference_mode_then_one_outside(case):
    """What reset makes in inference mode cannot be changed in place outside."""
    metric = case.make()
    with torch.inference_mode():
        feed(metric, case, H * 2 + 1, Y)
        metric.compute()
        metric.reset()
    feed(metric, case, H[:20], Y[:20])
    with torch.inference_mode():
        feed(metric, case, H[20:40], Y[20:40])
    feed(metric, case, H[40:], Y[40:])
    assert_same(metric.compute(), whole(case))


def test_made_and_merged_across_inference_mode(case):
    with torch.inference_mode():
        metric, other = feed(case.make(), case, H[:20], Y[:20]), case.make()
    feed(other, case, H[20:40], Y[20:40])
    metric.merge_state(other)
    feed(metric, case, H[40:], Y[40:])
    assert_same(metric.compute(), whole(case))


def test_compute_before_update_is_an_error(case):
    with pytest.warns(UserWarning, match="before the ``update``"), pytest.raises(RuntimeError, match="no features"):
        case.make().compute()


def test_another_width_is_an_error(case):
    if case.any_width:
        pytest.skip("takes hidden states of any shape")
    metric = feed(case.make(), case, H, Y)
    with pytest.raises(ValueError, match="features"):
        feed(metric, case, H[:, :20], Y)


COUNTS = {"n", "not_finite"}

OF_THE_HEAD = {"singular_values"}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_images_that_are_not_finite_are_left_out_and_counted(case, value):
    h, y = H.repeat_interleave(2, dim=0), Y.repeat_interleave(2, dim=0)
    h[1::2, 7] = value
    keys = whole(case).keys() - COUNTS
    together, alone = whole(case, h, y), case.make()
    for row in range(6):
        feed(alone, case, h[row : row + 1], y[row : row + 1])
    feed(alone, case, h[6:], y[6:])
    for result in (together, alone.compute()):
        assert_same(result, whole(case), keys=keys)
        assert (int(result["n"]), int(result["not_finite"])) == (2 * N, N)


def test_nothing_finite(case):
    result = whole(case, torch.full_like(H, float("nan")))
    assert (int(result["n"]), int(result["not_finite"])) == (N, N)
    assert not any(v.isfinite().any() for key, v in result.items() if v.is_floating_point() and key not in OF_THE_HEAD)


def test_no_image_at_all(case):
    """A rank, or a loader, may bring none: a count of 0 and no figure, rather than an error at the end of an epoch."""
    result = whole(case, H[:0], Y[:0])
    assert int(result["n"]) == 0
    assert not any(v.isfinite().any() for key, v in result.items() if v.is_floating_point() and key not in OF_THE_HEAD)


@pytest.mark.parametrize("n", [1, 2, N])
@pytest.mark.parametrize("kind", ["any", "constant images", "constant features", "zeros"])
@pytest.mark.parametrize("d", [1, 2, D])
def test_degenerate_features_have_an_answer(case, n, kind, d):
    """No exception, and nothing infinite but a ratio to nothing."""
    h = H[:n, :d].clone()
    if kind != "any":
        h = {"constant images": h[:, :1].expand(n, d), "constant features": h[:1].expand(n, d), "zeros": h * 0}[kind]
    result = feed(case.make_for(d), case, h, Y[:n]).compute()
    assert (int(result["n"]), int(result["not_finite"])) == (n, 0)
    for key, value in result.items():
        assert key == "max_over_median" or not value.isinf().any(), key


WRONG = {"integer": H.long(), "vector": H[0], "tokens": H[:, None], "empty": H[:, :0], "array": H.numpy()}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_wrong_features_are_an_error(case, wrong):
    if case.any_width and wrong.ndim == 3:
        pytest.skip("takes hidden states of any shape")
    update = functools.partial(
        inspect.unwrap(type(case.make()).update), case.make()
    )  # no types are checked at the door
    with pytest.raises((TypeError, ValueError), match=r"^(features|hidden|basis) must (have|be)"):
        update(wrong, Y) if case.labels else update(wrong)


def _rank(rank, folder, world):
    warnings.filterwarnings("ignore", "The ``compute`` method")
    torch.set_num_threads(1)
    alone = [whole(case) for case in CASES]
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
    try:
        for case, expected in zip(CASES, alone, strict=True):
            # uneven shards, then one rank with everything
            for sizes in ([25, *[5] * (world - 2), N - 25 - 5 * (world - 2)], [N, *[0] * (world - 1)]):
                metric = case.make()
                h, y = H.split(sizes)[rank], Y.split(sizes)[rank]
                if len(h):  # otherwise this rank has never called update
                    feed(metric, case, h[:10], y[:10])
                    feed(metric, case, h[10:], y[10:])
                assert_same(metric.compute(), expected)
                feed(metric, case, h, y)
                assert int(metric.compute()["n"]) == 2 * N, "local again, then gathered anew"
            local = case.make(sync_on_compute=False)
            assert_same(feed(local, case, H, Y).compute(), expected)
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize("world", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_processes(tmp_path, world):
    """Real ranks over gloo, all but one of them without any data in the second round."""
    processes.ready()
    torch.multiprocessing.start_processes(_rank, args=(str(tmp_path), world), nprocs=world, start_method="forkserver")

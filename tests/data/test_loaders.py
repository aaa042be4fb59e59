"""The order is a function of (seed, epoch), and a stopped loader goes on with exactly what was left."""

import pytest
import torch
from lightning import LightningModule
from lightning.pytorch import Callback, Trainer
from torch.utils.data import Dataset

from lightning_robust.data.loaders import EpochSampler, Place, ResumableLoader, UnrepeatedSampler


class Places(Dataset):
    """Gives back which sample was asked for, and in which epoch."""

    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, place):
        return torch.tensor([place.item, place.epoch])


class Seeds(Places):
    """The seed of the worker that fetches."""

    def __getitem__(self, place):
        return torch.initial_seed()


def make(n=10, batch_size=3, seed=0, epoch=0, **options):
    loader = ResumableLoader(Places(n), batch_size=batch_size, seed=seed, **options)
    loader.sampler.set_epoch(epoch)
    return loader


def items(batches):
    return [batch[:, 0].tolist() for batch in batches]


def flat(batches):
    return [item for batch in items(batches) for item in batch]


def test_each_epoch_is_a_permutation_of_its_own_and_the_same_each_time():
    orders = {(seed, epoch): tuple(flat(make(60, seed=seed, epoch=epoch))) for seed in range(3) for epoch in range(3)}
    assert len(set(orders.values())) == 9
    for (seed, epoch), order in orders.items():
        assert sorted(order) == list(range(60))
        assert order == tuple(flat(make(60, seed=seed, epoch=epoch)))
    in_place = torch.tensor([[order[i] == i for i in range(60)] for order in orders.values()]).float().mean()
    assert in_place < 0.1  # a permutation keeps 1/60 where it was


def test_one_loader_follows_set_epoch_and_passes_the_epoch_on():
    loader = make(60)
    for epoch in (0, 1, 5):
        loader.sampler.set_epoch(epoch)
        batches = list(loader)
        assert flat(batches) == flat(make(60, epoch=epoch))
        assert {int(e) for batch in batches for e in batch[:, 1]} == {epoch}


def test_without_shuffling_samples_come_as_they_lie():
    assert flat(make(9, shuffle=False, epoch=4)) == list(range(9))


def test_length_counts_whole_batches():
    loader = make(10)
    assert len(loader) == len(list(loader)) == 3
    assert len({*flat(loader)}) == 9


def test_too_few_images_for_a_batch_are_refused():
    with pytest.raises(ValueError, match="2 images do not fill a batch of 3"):
        make(2)


@pytest.mark.parametrize(("workers", "stop"), [(0, 0), (0, 1), (0, 3), (0, 4), (2, 1), (2, 3)])
def test_a_stopped_loader_goes_on_with_the_remaining_batches_and_the_next_epoch_is_whole(workers, stop):
    whole, following = items(make(12, epoch=2)), items(make(12, epoch=3))
    stopped = make(12, epoch=2, num_workers=workers)
    running = iter(stopped)
    before = [next(running) for _ in range(stop)]  # workers have fetched further by now
    state = stopped.state_dict()
    assert items(before) == whole[:stop]
    assert state == {"epoch": 2, "batches": stop, "batch_size": 3, "world_size": 1}
    resumed = make(12, epoch=2, num_workers=workers)
    resumed.load_state_dict(state)
    assert items(resumed) == whole[stop:]
    assert resumed.state_dict() == {"epoch": 2, "batches": 4, "batch_size": 3, "world_size": 1}
    resumed.sampler.set_epoch(3)
    assert items(resumed) == following


def test_a_second_pass_over_the_resumed_epoch_is_whole():
    loader = make(12)
    loader.load_state_dict({"epoch": 0, "batches": 2})
    assert [len(items(loader)), len(items(loader))] == [2, 4]


def test_a_place_in_another_epoch_is_not_applied():
    loader = make(12, epoch=1)
    loader.load_state_dict({"epoch": 0, "batches": 4})
    assert items(loader) == items(make(12, epoch=1))


def test_a_loaded_place_is_kept_until_the_first_batch():
    """A run that is stopped again before it got a batch must not save that it stood at the beginning."""
    loader = make(12)
    loader.load_state_dict({"epoch": 0, "batches": 2})
    assert loader.state_dict() == {"epoch": 0, "batches": 2, "batch_size": 3, "world_size": 1}
    next(iter(loader))
    assert loader.state_dict() == {"epoch": 0, "batches": 3, "batch_size": 3, "world_size": 1}


def test_a_place_among_batches_of_another_size_is_refused():
    with pytest.raises(
        ValueError, match=r"trained with batches of 3 images, here they are of 4: .*resume with batch_si"
    ):
        make(12, batch_size=4).load_state_dict(make(12).state_dict())


def test_the_state_is_plain_and_apart_from_the_loader(tmp_path):
    loader = make(12)
    state = loader.state_dict()
    torch.save(state, tmp_path / "state.pt")
    expected = {"epoch": 0, "batches": 0, "batch_size": 3, "world_size": 1}
    assert torch.load(tmp_path / "state.pt", weights_only=True) == state == expected
    list(loader)
    assert state == expected


def on_rank(monkeypatch, rank, world):
    monkeypatch.setattr("torch.distributed.is_available", lambda: True)
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda *_: world)
    monkeypatch.setattr("torch.distributed.get_rank", lambda *_: rank)


@pytest.mark.parametrize(("n", "world"), [(24, 2), (24, 4), (26, 4), (25, 2)])
def test_ranks_share_an_epoch_without_overlap_or_loss(monkeypatch, n, world):
    whole = [place.item for place in EpochSampler(Places(n), 0)]
    shares = []
    for rank in range(world):
        on_rank(monkeypatch, rank, world)
        sampler = EpochSampler(Places(n), 0)
        shares.append([place.item for place in sampler])
        assert len(shares[-1]) == len(sampler) == n // world
    together = [item for share in shares for item in share]
    assert len(set(together)) == len(together) == n - n % world
    assert [share[k] for k in range(n // world) for share in shares] == whole[: len(together)]


def test_ranks_resume_too(monkeypatch):
    for rank in range(2):
        on_rank(monkeypatch, rank, 2)
        whole = items(make(24))
        assert len(whole) == 4
        resumed = make(24)
        resumed.load_state_dict({"epoch": 0, "batches": 3})
        assert items(resumed) == whole[3:]
    with pytest.raises(ValueError, match="4 images on 2 ranks"):
        make(4)


@pytest.mark.parametrize(("then", "now"), [(1, 2), (2, 1), (4, 2)])
@pytest.mark.parametrize("workers", [0, 2])
def test_inside_an_epoch_another_number_of_processes_is_refused(monkeypatch, then, now, workers):
    on_rank(monkeypatch, 0, then)
    loader = make(24, batch_size=2, epoch=1)
    next(iter(loader))
    state = loader.state_dict()
    assert state == {"epoch": 1, "batches": 1, "batch_size": 2, "world_size": then}
    for rank in range(now):
        on_rank(monkeypatch, rank, now)
        resumed = make(24, batch_size=2, epoch=1, num_workers=workers)
        resumed.load_state_dict(state)
        many = "1 process" if then == 1 else f"{then} processes"
        message = f"inside an epoch of training on {many}, here there are {now}: .*; resume on {many}, or from the end"
        with pytest.raises(ValueError, match=message):
            next(iter(resumed))
        assert resumed.state_dict() == state  # stopped by it, a run has not lost its place


@pytest.mark.parametrize(("then", "now"), [(1, 2), (2, 1)])
def test_from_an_epochs_end_any_number_of_processes_goes_on(monkeypatch, then, now):
    on_rank(monkeypatch, 0, then)
    loader = make(24, epoch=1)
    list(loader)
    on_rank(monkeypatch, 0, now)
    resumed = make(24, epoch=2)
    resumed.load_state_dict(loader.state_dict())
    assert items(resumed) == items(make(24, epoch=2))
    assert resumed.state_dict()["world_size"] == now
    begun = make(24, epoch=1)
    begun.load_state_dict({"epoch": 1, "batches": 0, "batch_size": 3, "world_size": then})  # its very beginning
    assert items(begun) == items(make(24, epoch=1))


def test_a_state_that_does_not_say_how_many_processes_there_were_is_read_as_it_was(monkeypatch):
    on_rank(monkeypatch, 1, 2)
    whole = items(make(24))
    resumed = make(24)
    resumed.load_state_dict({"epoch": 0, "batches": 3, "batch_size": 3})
    assert resumed.state_dict() == {"epoch": 0, "batches": 3, "batch_size": 3, "world_size": 2}
    assert items(resumed) == whole[3:]


@pytest.mark.parametrize("workers", [0, 1])
def test_iterating_leaves_torchs_generator_alone(workers):
    """Else a run resumed inside an epoch would draw other dropout masks than the unbroken one."""
    before = torch.get_rng_state()
    next(iter(make(12, num_workers=workers)))
    assert torch.equal(torch.get_rng_state(), before)


def test_seeds_of_workers_depend_on_seed_and_epoch_alone():
    def worker_seed(seed, epoch):
        loader = ResumableLoader(Seeds(3), batch_size=3, seed=seed, num_workers=1)
        loader.sampler.set_epoch(epoch)
        torch.rand(1)
        return int(next(iter(loader))[0])

    assert worker_seed(0, 1) == worker_seed(0, 1)
    assert len({worker_seed(0, 1), worker_seed(0, 2), worker_seed(1, 1)}) == 3


class Recorder(LightningModule):
    """Remembers what it was fed."""

    automatic_optimization = False

    def __init__(self):
        super().__init__()
        self.seen = []

    def training_step(self, batch, batch_idx):
        self.seen.append((batch_idx, batch.tolist()))
        self.optimizers().step()

    def configure_optimizers(self):
        return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)


class SaveAt(Callback):
    """Save as ModelCheckpoint does: after a batch, or at the end of an epoch."""

    def __init__(self, path, step, hook):
        self.path, self.step, self.hook = path, step, hook

    def on_train_batch_end(self, trainer, *_):
        if self.hook == "batch" and trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)

    def on_train_epoch_end(self, trainer, *_):
        if self.hook == "epoch" and trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


@pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*LeafSpec.*is deprecated")
@pytest.mark.parametrize(("step", "hook"), [(2, "batch"), (5, "batch"), (4, "batch"), (8, "epoch")])
def test_lightning_resumes_inside_and_between_epochs(tmp_path, step, hook):
    def trainer(*callbacks):
        return Trainer(
            max_epochs=3, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, default_root_dir=tmp_path, callbacks=[*callbacks],
        )  # fmt: skip

    unbroken, resumed = Recorder(), Recorder()
    trainer(SaveAt(tmp_path / "last.ckpt", step, hook)).fit(unbroken, make(12))
    trainer().fit(resumed, make(12), ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert len(unbroken.seen) == 12
    assert resumed.seen == unbroken.seen[step:]
    assert [batch[0][1] for _, batch in unbroken.seen] == [0] * 4 + [1] * 4 + [2] * 4


def test_a_place_is_a_pair():
    assert Place(3, 1) == (3, 1)


@pytest.mark.parametrize(("n", "world"), [(37, 4), (37, 2), (4, 4), (36, 4), (5, 1)])
def test_every_image_is_seen_once_by_one_rank(n, world, monkeypatch):
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: world)
    shares = []
    for rank in range(world):
        monkeypatch.setattr("torch.distributed.get_rank", lambda rank=rank: rank)
        sampler = UnrepeatedSampler(Places(n))
        shares.append(list(sampler))
        assert len(sampler) == len(shares[-1])
        assert shares[-1] == sorted(shares[-1])
    assert sorted(index for share in shares for index in share) == list(range(n))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_rank_without_an_image_is_refused(monkeypatch):
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 4)
    monkeypatch.setattr("torch.distributed.get_rank", lambda: 0)
    with pytest.raises(ValueError, match="3 images leave some of 4 processes without any"):
        UnrepeatedSampler(Places(3))


def test_an_order_of_ones_own_is_followed_and_large_sets_are_whole():
    n = 140_000  # more than become Python numbers at once
    sampler = EpochSampler(Places(n), 3, order=lambda generator: torch.randperm(n, generator=generator).flip(0))
    sampler.set_epoch(2)
    found = [place.item for place in sampler]
    assert found == [place.item for place in whole_in(EpochSampler(Places(n), 3), 2)][::-1]
    sampler.skip = 70_000
    assert [place.item for place in sampler] == found[70_000:]


def whole_in(sampler, epoch):
    sampler.set_epoch(epoch)
    return list(sampler)

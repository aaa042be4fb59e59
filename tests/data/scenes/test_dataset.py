"""Scenes as data sets: the cache on disk, flips, captions that are fresh in every epoch."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from lightning_robust.data.loaders import Place, ResumableLoader
from lightning_robust.data.scenes import dataset as module
from lightning_robust.data.scenes.captions import captions
from lightning_robust.data.scenes.concepts import concept_labels
from lightning_robust.data.scenes.dataset import CaptionedScenes, SceneImages, rendered
from lightning_robust.data.scenes.distributions import BROAD, REFERENCE
from lightning_robust.data.scenes.draws import draw_scenes
from lightning_robust.data.scenes.render import render

N = 12


def pixels(image):
    """The transform of these tests: a PIL image to uint8 `(3, s, s)`."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def direct(distribution=REFERENCE, seed=0, split="test", indices=range(N)):
    return render(draw_scenes(distribution, seed, split, indices))


@pytest.fixture
def no_rendering(monkeypatch):
    def refuse(*_):
        raise AssertionError("rendered, although the cache holds it")

    return lambda: monkeypatch.setattr(module, "render", refuse)


def files(cache):
    return sorted(path.name for path in cache.iterdir())


def test_the_second_reading_is_from_the_cache(cache, no_rendering):
    first = rendered(REFERENCE, 0, "test", N)
    assert len(files(cache)) == 1, "one file, and nothing temporary beside it"
    no_rendering()
    second = rendered(REFERENCE, 0, "test", N)
    for a, b, c in zip(first, second, direct(), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)
        assert a.dtype == b.dtype


def test_every_parameter_has_a_file_of_its_own(cache, monkeypatch):
    rendered(REFERENCE, 0, "test", N)
    rendered(REFERENCE, 1, "test", N)
    rendered(REFERENCE, 0, "val", N)
    rendered(REFERENCE, 0, "test", N + 1)
    rendered(replace(REFERENCE, noise=(0.02, 0.0601)), 0, "test", N)
    monkeypatch.setattr(module, "WORLD_VERSION", module.WORLD_VERSION + 1)
    rendered(REFERENCE, 0, "test", N)
    assert len(files(cache)) == 6


def test_a_smaller_set_is_the_beginning_of_a_larger_one():
    np.testing.assert_array_equal(rendered(REFERENCE, 0, "test", 5)[0], rendered(REFERENCE, 0, "test", N)[0][:5])


def damages(whole):
    yield "empty", b""
    yield "text", b"not a zip file at all"
    yield "cut", whole[: len(whole) // 2]
    yield "cut at the end", whole[:-10]
    for position in np.linspace(0, len(whole) - 1, 60).astype(int):
        flipped = bytearray(whole)
        flipped[position] ^= 0x5A
        yield f"byte {position}", bytes(flipped)


def test_a_damaged_file_is_rendered_anew(cache):
    expected = rendered(REFERENCE, 0, "test", 2)
    (path,) = cache.iterdir()
    whole = path.read_bytes()
    for name, damaged in damages(whole):
        path.write_bytes(damaged)
        for got, want in zip(rendered(REFERENCE, 0, "test", 2), expected, strict=True):
            np.testing.assert_array_equal(got, want, err_msg=name)
        if name in ("empty", "text", "cut"):
            assert path.read_bytes() == whole, "and replaced"
    assert len(files(cache)) == 1


@pytest.mark.parametrize(
    "arrays",
    [
        {"images": np.zeros((N, 3, 32, 32), np.uint8)},
        {"images": np.zeros((N, 3, 32, 32), np.float32), "part_area": np.zeros(N, np.float32)},
        {"images": np.zeros((N - 1, 3, 32, 32), np.uint8), "part_area": np.zeros(N - 1, np.float32)},
        {"images": np.zeros((N, 3, 32, 32), np.uint8), "part_area": np.zeros(3, np.float32)},
        {"images": np.array([{}], dtype=object), "part_area": np.zeros(N, np.float32)},
    ],
    ids=["array missing", "dtype", "too few", "areas", "pickle"],
)
def test_a_file_with_other_contents_is_rendered_anew(cache, arrays):
    rendered(REFERENCE, 0, "test", N)
    (path,) = cache.iterdir()
    np.savez(path, **arrays)
    np.testing.assert_array_equal(rendered(REFERENCE, 0, "test", N)[0], direct()[0])


def test_writing_that_fails_half_way_costs_nothing_but_time(cache, monkeypatch):
    def disk_full(path, **_):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", disk_full)
    np.testing.assert_array_equal(rendered(REFERENCE, 0, "test", N)[0], direct()[0])
    assert files(cache) == []


def test_a_cache_that_cannot_be_made_costs_nothing_but_time(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("LIGHTNING_ROBUST_CACHE", str(tmp_path / "file" / "below"))
    np.testing.assert_array_equal(rendered(REFERENCE, 0, "test", N)[0], direct()[0])


def test_a_read_only_cache_is_read_and_not_written(cache, no_rendering, monkeypatch):
    rendered(REFERENCE, 0, "test", N)
    before = files(cache)
    cache.chmod(0o500)

    def refused(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(module, "atomic_path", refused)  # for the superuser, whom no mode stops
    try:
        np.testing.assert_array_equal(rendered(REFERENCE, 0, "val", N)[0], direct(split="val")[0])
        no_rendering()
        np.testing.assert_array_equal(rendered(REFERENCE, 0, "test", N)[0], direct()[0])
    finally:
        cache.chmod(0o700)
    assert files(cache) == before


def test_samples():
    images, _ = direct()
    scenes = draw_scenes(REFERENCE, 0, "test", range(N))
    plain = SceneImages(REFERENCE, 0, "test", N, pixels)
    assert len(plain) == N
    for i, (image, label) in enumerate(plain):
        np.testing.assert_array_equal(image, images[i])
        assert label == scenes.label[i]
        assert type(label) is int


def test_samples_with_concept_labels():
    scenes = draw_scenes(REFERENCE, 0, "test", range(N))
    expected = concept_labels(scenes, direct()[1])
    for i, (_, label, concepts) in enumerate(SceneImages(REFERENCE, 0, "test", N, pixels, concepts=True)):
        assert label == scenes.label[i]
        np.testing.assert_array_equal(concepts, expected[i])


def flips(data, epoch, n=N):
    """Which images an epoch shows mirrored; every image is one or the other."""
    plain = data.images
    out = []
    for i in range(n):
        image = data[Place(i, epoch)][0].numpy()
        mirrored = np.array_equal(image, plain[i][:, :, ::-1])
        assert mirrored or np.array_equal(image, plain[i])
        out.append(mirrored)
    return tuple(out)


def test_flips_are_a_function_of_seed_epoch_and_index():
    def data(seed=0):
        return SceneImages(REFERENCE, seed, "train", 200, pixels, flip=True)

    first = data()
    epochs = {epoch: flips(first, epoch, 200) for epoch in (3, 0, 1)}
    assert len(set(epochs.values())) == 3
    assert flips(data(), 3, 200) == epochs[3], "whatever was asked for before"
    assert flips(data(1), 3, 200) != epochs[3]
    assert 250 < sum(map(sum, epochs.values())) < 350
    assert not any(flips(SceneImages(REFERENCE, 0, "train", N, pixels), 3))
    np.testing.assert_array_equal(first[5][0], first[Place(5, 0)][0])


def test_worker_processes_flip_the_same():
    def batches(workers):
        data = SceneImages(REFERENCE, 0, "train", N, pixels, flip=True)
        loader = ResumableLoader(data, batch_size=4, seed=0, num_workers=workers)
        loader.sampler.set_epoch(2)
        return list(loader)

    for (images, labels), (again, labels_again) in zip(batches(0), batches(2), strict=True):
        assert torch.equal(images, again)
        assert torch.equal(labels, labels_again)


def test_captioned_scenes_are_fresh_in_every_epoch():
    data = CaptionedScenes(BROAD, 0, N, pixels)
    assert len(data) == N
    shown = [data[Place(i, epoch)] for epoch in range(3) for i in range(N)]
    images, _ = direct(BROAD, split="train", indices=range(3 * N))
    said = captions(draw_scenes(BROAD, 0, "train", range(3 * N)))
    for (image, caption), want, text in zip(shown, images, said, strict=True):
        np.testing.assert_array_equal(image, want)
        assert caption == text
    assert len({image.numpy().tobytes() for image, _ in shown}) == 3 * N


def test_a_batch_of_captioned_scenes_is_its_samples():
    data = CaptionedScenes(BROAD, 0, N, pixels)
    places = [Place(7, 2), Place(0, 0), 3, Place(7, 1)]
    for (image, caption), place in zip(data.__getitems__(places), places, strict=True):
        alone, alone_caption = data[place]
        assert torch.equal(image, alone)
        assert caption == alone_caption
    assert torch.equal(data[3][0], data[Place(3, 0)][0])


def test_a_plain_loop_over_captioned_scenes_ends():
    data = CaptionedScenes(BROAD, 0, 3, pixels)
    assert len(list(itertools.islice(data, 10))) == 3
    for outside in (3, -1, Place(3, 0)):
        with pytest.raises(IndexError, match="of an epoch of 3"):
            data[outside]


def test_a_plain_loader_takes_captioned_scenes():
    images, said = next(iter(DataLoader(CaptionedScenes(BROAD, 0, N, pixels), batch_size=5)))
    assert images.shape == (5, 3, 32, 32)
    assert list(said) == captions(draw_scenes(BROAD, 0, "train", range(5)))

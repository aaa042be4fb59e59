"""`ScenesDataModule`: what each loader gives, and one sentence for each wrong argument."""

import numpy as np
import pytest
import torch

from lightning_robust.data import DistributionShift, ResumableLoader, ScenesDataModule
from lightning_robust.data.scenes.captions import captions
from lightning_robust.data.scenes.concepts import CONCEPT_CATEGORIES, CONCEPT_NAMES, concept_labels
from lightning_robust.data.scenes.distributions import BROAD, CONCEPTS, DISTRIBUTIONS, REFERENCE, SHIFTS
from lightning_robust.data.scenes.draws import draw_scenes
from lightning_robust.data.scenes.render import render
from lightning_robust.data.scenes.vocabulary import CLASSES, TEMPLATES

SIZES = {"batch_size": 8, "n_train": 20, "n_val": 12, "n_val_shift": 6, "n_test": 9, "n_concepts": 10}


def pixels(image):
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def make(**options):
    return ScenesDataModule(pixels, **(SIZES | options))


def contents(loader):
    batches = list(loader)
    return [torch.cat(column) for column in zip(*batches, strict=True)]


def test_names():
    data = ScenesDataModule()
    assert data.val_loader_names == ["reference", "v2", "sketch", "rendition", "objectnet", "adversarial"]
    assert data.class_names == list(CLASSES)
    assert data.templates == list(TEMPLATES)
    assert data.concept_names == list(CONCEPT_NAMES)
    assert data.concept_categories == list(CONCEPT_CATEGORIES)
    assert [shift.name for shift in data.shifts] == data.val_loader_names[1:]
    assert data.shifts[0] == DistributionShift("v2", "ImageNet-V2", "top-1 over all classes", None)


def test_every_shift_has_at_least_two_thousand_test_images_by_default():
    assert ScenesDataModule().n_test >= 2000


@pytest.mark.parametrize("split", ["val", "test"])
def test_evaluation_loaders_are_the_reference_then_every_shift(split):
    data = make(seed=3)
    loaders = data.val_dataloader() if split == "val" else data.test_dataloader()
    assert len(loaders) == len(data.val_loader_names)
    for loader, name in zip(loaders, data.val_loader_names, strict=True):
        n = 9 if split == "test" else 12 if name == "reference" else 6
        images, labels = contents(loader)
        scenes = draw_scenes(DISTRIBUTIONS[name], 3, split, range(n))
        np.testing.assert_array_equal(images, render(scenes)[0])
        assert labels.tolist() == scenes.label.tolist()


def test_training_on_labelled_reference_images():
    data = make()
    loader = data.train_dataloader()
    assert isinstance(loader, ResumableLoader)
    assert len(loader) == 2
    images, labels = contents(loader)
    scenes = draw_scenes(REFERENCE, 0, "train", range(20))
    rendered = render(scenes)[0]
    known = {picture.tobytes(): k for k, picture in enumerate(rendered)}
    known |= {np.ascontiguousarray(picture[:, :, ::-1]).tobytes(): k for k, picture in enumerate(rendered)}
    shown = [known[image.numpy().tobytes()] for image in images]
    assert len(set(shown)) == 16
    assert labels.tolist() == scenes.label[shown].tolist()
    unflipped = {image.numpy().tobytes() for image in contents(make(flip=False).train_dataloader())[0]}
    assert unflipped <= {picture.tobytes() for picture in rendered}
    assert unflipped != {image.numpy().tobytes() for image in images}


def test_training_on_captions():
    loader = make(task="caption").train_dataloader()
    known = captions(draw_scenes(BROAD, 0, "train", range(60)))
    for epoch in (0, 2):
        loader.sampler.set_epoch(epoch)
        batches = list(loader)
        assert [len(images) for images, _ in batches] == [8, 8]
        said = [text for _, texts in batches for text in texts]
        assert set(said) <= set(known[20 * epoch : 20 * epoch + 20])


VARIANTS = [(task, name) for task in ("classify", "caption") for name in ("reference", "broad")]


@pytest.mark.parametrize(("task", "name"), VARIANTS)
@pytest.mark.parametrize("epoch", [0, 2])
def test_fresh_training_images_of_either_distribution(task, name, epoch):
    loader = make(task=task, train_on=name, fresh=True, seed=3).train_dataloader()
    loader.sampler.set_epoch(epoch)
    places = [place.item for place in loader.sampler][:16]
    scenes = draw_scenes(DISTRIBUTIONS[name], 3, "train", [20 * epoch + item for item in places])
    batches = list(loader)
    assert torch.equal(torch.cat([images for images, _ in batches]), torch.from_numpy(render(scenes)[0]))
    said = [target for _, targets in batches for target in targets]
    assert said == (captions(scenes) if task == "caption" else scenes.label.tolist())
    assert len(set(places)) == 16
    if task == "classify":
        assert all(targets.dtype == torch.int64 for _, targets in batches)


@pytest.mark.parametrize("name", ["reference", "broad"])
def test_captions_and_labels_come_with_the_same_fresh_images_in_the_same_order(name):
    shown = []
    for task in ("classify", "caption"):
        loader = make(task=task, train_on=name, fresh=True).train_dataloader()
        loader.sampler.set_epoch(1)
        shown.append(torch.cat([images for images, _ in loader]))
    assert torch.equal(*shown)


def test_labelled_broad_images_that_come_again():
    shown = []
    for epoch in (0, 1):
        loader = make(train_on="broad", flip=False, batch_size=20).train_dataloader()
        loader.sampler.set_epoch(epoch)
        ((images, labels),) = loader
        shown.append({image.numpy().tobytes(): label for image, label in zip(images, labels.tolist(), strict=True)})
    scenes = draw_scenes(BROAD, 0, "train", range(20))
    known = [picture.tobytes() for picture in render(scenes)[0]]
    assert shown[0] == shown[1] == dict(zip(known, scenes.label.tolist(), strict=True))


def test_what_is_trained_on_follows_the_task_unless_it_is_said():
    data = make(task="caption", train_on="reference")
    assert (data.train_on, data.fresh) == ("reference", True)
    assert (make().train_on, make().fresh) == ("reference", False)
    assert (make(task="caption").train_on, make(task="caption").fresh) == ("broad", True)
    for task in ("classify", "caption"):
        plain = make(task=task)
        said = make(task=task, train_on=plain.train_on, fresh=plain.fresh)
        for one, other in zip(plain.train_dataloader(), said.train_dataloader(), strict=True):
            assert torch.equal(one[0], other[0])
            assert list(one[1]) == list(other[1])


def test_fresh_images_are_never_those_of_another_epoch_or_of_an_evaluation():
    seen = {image.numpy().tobytes() for loader in make().val_dataloader() for image in contents(loader)[0]}
    seen |= {image.numpy().tobytes() for image in contents(make().test_dataloader()[0])[0]}
    for epoch in range(3):
        loader = make(fresh=True).train_dataloader()
        loader.sampler.set_epoch(epoch)
        fresh = {image.numpy().tobytes() for image in contents(loader)[0]}
        assert len(fresh) == 16
        assert not fresh & seen
        seen |= fresh


@pytest.mark.parametrize("workers", [0, 2])
def test_fresh_images_resume_inside_an_epoch(workers):
    def loader():
        return make(fresh=True, num_workers=workers, batch_size=4).train_dataloader()

    whole, stopped, resumed = loader(), loader(), loader()
    batches = iter(stopped)
    for _ in range(2):
        next(batches)
    resumed.load_state_dict(stopped.state_dict())
    rest = list(resumed)
    assert len(rest) == 3
    for one, other in zip(rest, list(whole)[2:], strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])


def test_order_and_flips_change_with_the_epoch_and_the_seed():
    def first(seed, epoch):
        loader = make(seed=seed).train_dataloader()
        loader.sampler.set_epoch(epoch)
        return next(iter(loader))[0]

    assert torch.equal(first(0, 1), first(0, 1))
    assert not torch.equal(first(0, 0), first(0, 1))
    assert not torch.equal(first(0, 0), first(1, 0))


def test_concept_batches():
    data = make()
    images, concepts, labels = next(iter(data.concept_dataloader()))
    scenes = draw_scenes(CONCEPTS, 0, "test", range(10))
    pictures, part_area = render(scenes)
    np.testing.assert_array_equal(images, pictures)
    np.testing.assert_array_equal(concepts, concept_labels(scenes, part_area))
    assert concepts.shape == (10, len(data.concept_names))
    assert labels.tolist() == scenes.label.tolist()


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("size", [0, -3])
def test_sizes_below_one_are_refused(name, size):
    with pytest.raises(ValueError, match=rf"^{name} must be at least 1, got {size}$"):
        make(**{name: size})


def test_other_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match=r"^task must be 'classify' or 'caption', got 'segment'$"):
        make(task="segment")
    with pytest.raises(
        ValueError, match=r"^train_on must be one of 'reference', 'broad', .* or None .*, got 'sketch'$"
    ):
        make(train_on="sketch")
    with pytest.raises(ValueError, match=r"^task='caption' has fresh images in every epoch: leave fresh=False out$"):
        make(task="caption", fresh=False)
    with pytest.raises(ValueError, match=r"^seed must be 0 or more, got -1$"):
        make(seed=-1)
    with pytest.raises(ValueError, match="20 images do not fill a batch of 21"):
        make(batch_size=21).train_dataloader()


@pytest.mark.parametrize("loader", ["train_dataloader", "val_dataloader", "test_dataloader", "concept_dataloader"])
def test_a_missing_transform_is_named_where_it_is_needed(loader):
    with pytest.raises(ValueError, match="has no transform; pass the encoder's"):
        getattr(ScenesDataModule(**SIZES), loader)()


def test_shifts_are_those_of_the_world():
    assert [shift.source for shift in make().shifts] == [d.mirrors for d in SHIFTS]


def test_concept_images_are_read_once():
    data = make()
    first = data.concept_dataloader()
    assert data.concept_dataloader().dataset is first.dataset
    assert data.concept_dataloader() is not first


def test_evaluation_draws_nothing_from_the_global_random_state():
    data = make()
    before = torch.get_rng_state()
    for loader in (*data.val_dataloader(), *data.test_dataloader(), data.concept_dataloader()):
        next(iter(loader))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_linear_probe_gets_the_training_images_as_they_are():
    images, targets, *_ = contents(make().probe_dataloader())
    again, labels, *_ = contents(make(flip=False, batch_size=1).train_dataloader())
    assert len(targets) == 20
    assert sorted(targets.tolist()) == sorted(labels.tolist())
    assert {image.numpy().tobytes() for image in images} == {image.numpy().tobytes() for image in again}

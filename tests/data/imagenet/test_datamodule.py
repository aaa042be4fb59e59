"""`ImageNetDataModule` on trees of the real layouts."""

from itertools import islice

import imagenet_trees
import pytest
import torch
from imagenet_trees import OBJECTS, class_of
from lightning import LightningModule, Trainer
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

from lightning_robust.data.imagenet import ImageNetDataModule
from lightning_robust.data.loaders import UnrepeatedSampler
from lightning_robust.models.class_mask import ClassMask

pytestmark = pytest.mark.filterwarnings("ignore:.* images here, .* are published:UserWarning")
SETS = ["reference", "v2", "r", "sketch", "objectnet", "a"]


def opened(root, **options):
    settings = {"transform": pil_to_tensor, "num_workers": 0, "n_val": 300, "n_val_shift": 50, "batch_size": 64}
    return ImageNetDataModule(root, **{**settings, **options})


def together(loader):
    batches = list(loader)
    return torch.cat([batch[0] for batch in batches]), torch.cat([batch[1] for batch in batches])


def test_test_loaders_are_validation_images_and_shifts(whole):
    data = opened(whole)
    assert data.test_loader_names == data.val_loader_names == SETS
    assert [shift.name for shift in data.shifts] == SETS[1:]
    sizes = []
    for loader in data.test_dataloader():
        images, targets = together(loader)
        assert torch.equal(class_of(images), targets)
        assert isinstance(loader.sampler, UnrepeatedSampler)
        sizes.append(len(targets))
    assert sizes == [1000, 1000, 200, 1000, 113, 200]
    assert len(data.class_names) == 1000
    assert len(data.templates) == 80


def test_targets_are_canonical_classes_of_each_record(whole):
    data = opened(whole)
    for shift, loader in zip(data.shifts, data.test_dataloader()[1:], strict=True):
        _, targets = together(loader)
        if shift.groups is not None:
            assert torch.equal(ClassMask(shift.groups).canonical(targets), targets)
            assert set(targets.tolist()) == {group[0] for group in shift.groups}


def test_training_and_held_out_images_are_apart_and_nothing_of_val_is_in_them(whole):
    data = opened(whole, augment="none", batch_size=1)
    train, validation = data.train_dataloader(), data.val_dataloader()[0]
    paths = [{loader_paths(one)[k] for k in range(len(one.dataset))} for one in (train, validation)]
    assert [len(found) for found in paths] == [1700, 300]
    assert not paths[0] & paths[1]
    assert all("/train/" in path for path in paths[0] | paths[1])
    assert loader_paths(opened(whole).val_dataloader()[0]) == loader_paths(validation), "the same in every run"
    assert loader_paths(opened(whole, seed=1).val_dataloader()[0]) == loader_paths(validation), "whatever its seed"
    assert loader_paths(opened(whole, split_seed=1).val_dataloader()[0]) != loader_paths(validation)


def loader_paths(loader):
    dataset = loader.dataset
    while not hasattr(dataset, "source"):
        dataset = dataset.dataset
    images = dataset.source.images
    return [images.images.paths[k] for k in images.chosen]


def test_validation_on_shifts_is_evenly_spaced_or_left_out(whole):
    data = opened(whole)
    sizes = [len(together(loader)[1]) for loader in data.val_dataloader()]
    assert sizes == [300, 50, 50, 50, 50, 50]
    _, targets = together(data.val_dataloader()[1])
    assert targets.tolist() == list(range(0, 1000, 20))
    alone = opened(whole, n_val_shift=0)
    assert alone.val_loader_names == ["reference"]
    assert len(alone.val_dataloader()) == 1
    assert alone.test_loader_names == SETS
    many = opened(whole, n_val_shift=10_000)
    assert len(together(many.val_dataloader()[2])[1]) == 200


def test_augmentation_and_order_are_functions_of_seed_and_epoch(whole):
    def epoch(number, **options):
        loader = opened(whole, transform=resized, **options).train_dataloader()
        loader.sampler.set_epoch(number)
        return together(islice(loader, 3))

    first = epoch(0)
    assert torch.equal(first[0], epoch(0)[0])
    assert torch.equal(first[1], epoch(0)[1])
    assert not torch.equal(first[1], epoch(1)[1])
    assert not torch.equal(first[1], epoch(0, seed=1)[1])
    assert torch.equal(class_of(first[0]), first[1])


def resized(image):
    return pil_to_tensor(image.resize((12, 12), Image.Resampling.NEAREST))


@pytest.mark.parametrize(("protocol", "size", "red"), [("wise-ft", 4, False), ("testbed", 4, False),
                                                       ("clip_benchmark", 8, True)])  # fmt: skip
def test_the_border_of_objectnet_is_cut_as_the_protocol_says(whole, protocol, size, red):
    data = opened(whole, shifts=["objectnet", "a"], protocol={"objectnet": protocol})
    images, targets = together(data.test_dataloader()[1])
    assert images.shape == (113, 3, size, size)
    assert (images[:, 0] == 255).any() == red
    assert torch.equal(class_of(images), targets)
    assert together(data.test_dataloader()[2])[0].shape[-1] == 8, "nothing else is cut"
    assert data.shifts[0].protocol.startswith(f"objectnet: {protocol} (")
    assert data.shifts[1].protocol == "a: wise-ft (argmax over 200 classes)"


def test_few_shots(whole):
    data = opened(whole, shots=1, n_val=1, augment="none")
    loader = data.train_dataloader()
    assert sorted(loader.dataset.dataset.targets.tolist()) == list(range(1000))
    other = opened(whole, shots=1, n_val=1, augment="none", seed=1).train_dataloader()
    assert loader_paths(loader) != loader_paths(other)
    with pytest.raises(
        ValueError, match=r"2 shots of every class are wanted, but the class 'n\d+' of train has [01] training"
    ):
        opened(whole, shots=2).train_dataloader()


def test_evaluation_without_training_images(tmp_path):
    imagenet_trees.val(tmp_path)
    imagenet_trees.objectnet(tmp_path, folders=["alarm_clock", "squeegee", "banana"])
    data = opened(tmp_path, shifts=["objectnet"])
    assert [len(together(loader)[1]) for loader in data.test_dataloader()] == [1000, 2]
    for make in (data.val_dataloader, data.train_dataloader):
        with pytest.raises(ValueError, match=r"does not hold ImageNet train \(looked for: train as train, and .*; say"):
            make()
    missing = r"does not hold ImageNet-R, ImageNet-A \(looked for: r as imagenet-r; a as .* leave it out of shifts="
    with pytest.raises(ValueError, match=missing):
        opened(tmp_path, shifts=["r", "objectnet", "a"])


def test_a_set_in_place_of_the_folder_above_it_is_named(tmp_path):
    imagenet_trees.val(tmp_path)
    said = (
        rf"val is a set itself, for .* give {tmp_path}, which holds the sets, or say .* paths=\{{'val': "
        rf"'{tmp_path}/val'\}}"
    )
    with pytest.raises(ValueError, match=said):
        opened(tmp_path / "val", shifts=["r"])
    with pytest.raises(ValueError, match=said):
        opened(tmp_path / "val", shifts=[]).test_dataloader()


def test_a_real_trainer_counts_what_a_mask_counts(whole):
    """A network that reads the colour, and is blind to the first class of each group of ObjectNet."""

    class Reader(LightningModule):
        def test_step(self, batch, index, dataloader_idx=0):
            images, targets = batch
            logits = torch.nn.functional.one_hot(class_of(images), 1000).float()
            if dataloader_idx:
                shift = self.trainer.datamodule.shifts[dataloader_idx - 1]
                for group in shift.groups if shift.name == "objectnet" else ():
                    logits[:, group[-1]] += logits[:, group[0]]
                    logits[:, group[0]] -= 0.5
                logits = logits if shift.groups is None else ClassMask(shift.groups)(logits)
            self.log("accuracy", (logits.argmax(1) == targets).float().mean(), batch_size=len(targets))

    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
                      enable_model_summary=False)  # fmt: skip
    data = opened(whole, shifts=["r", "objectnet"])
    found = trainer.test(Reader(), datamodule=data, verbose=False)
    assert [round(one[f"accuracy/dataloader_idx_{k}"], 6) for k, one in enumerate(found)] == [1.0, 1.0, 1.0]


def test_places_that_are_given_need_no_root(tmp_path, whole):
    data = opened(None, paths={"val": str(whole / "val"), "a": str(whole / "imagenet-a")}, shifts=["a"])
    assert [len(together(loader)[1]) for loader in data.test_dataloader()] == [1000, 200]
    with pytest.raises(ValueError, match="None does not hold ImageNet train"):
        data.train_dataloader()


def test_tar_shards_beside_folders(tmp_path_factory, whole):
    shard = tmp_path_factory.mktemp("shards") / "r.tar"
    samples = {}
    for k, index in enumerate(imagenet_trees.R):
        samples |= {f"{k}.jpg": imagenet_trees.picture(index), f"{k}.cls": str(k).encode()}
    imagenet_trees.tar(shard, samples)
    data = opened(whole, shifts=["a", "r"], paths={"r": f"webdataset:{shard}"})
    images, targets = together(data.test_dataloader()[2])
    assert sorted(targets.tolist()) == imagenet_trees.R
    assert torch.equal(class_of(images), targets)


def test_partial_copies_are_warned_about(whole):
    data = opened(whole, shifts=["objectnet"])
    with pytest.warns(UserWarning, match=r"ObjectNet has 113 images here, 18,574 or 18,514 are published: "):
        data.test_dataloader()


def test_worker_processes_change_nothing(whole):
    data = [opened(whole, shifts=["a"], num_workers=workers) for workers in (0, 1)]
    images = [together(one.test_dataloader()[1]) for one in data]
    assert torch.equal(images[0][0], images[1][0])
    assert torch.equal(images[0][1], images[1][1])
    assert 1 <= opened(whole, num_workers=None).num_workers <= 8


def test_an_unreadable_image_is_left_out_and_named(tmp_path):
    imagenet_trees.val(tmp_path)
    path = next((tmp_path / "val" / imagenet_trees.WNIDS[3]).iterdir())
    path.write_bytes(path.read_bytes()[:40])
    loader = opened(tmp_path, shifts=[]).test_dataloader()[0]
    with pytest.warns(UserWarning, match=f"An image is left out, 1 of at most 20: {path}"):
        assert len(together(loader)[1]) == 999


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"shifts": ["imagenet-r"]}, "no shift 'imagenet-r'; there are v2, r, sketch, objectnet, a"),
        ({"shifts": "r"}, "shifts must be a list of names, each once, got 'r'"),
        ({"shifts": ["r", "r"]}, "shifts must be a list of names, each once"),
        ({"v2": "top"}, "ImageNet-V2 has no variant 'top'"),
        ({"protocol": "wiseft"}, "no protocol 'wiseft'; there are wise-ft, testbed, clip_benchmark"),
        ({"shifts": ["r"], "v2": "top-images"}, "v2='top-images' has no effect, since shifts= leaves v2 out"),
        ({"shifts": ["r"], "protocol": {"a": "testbed"}}, "protocol= names a, which has no effect"),
        ({"shifts": ["r"], "paths": {"a": "x"}}, "paths= names a, which has no effect"),
        ({"paths": {"test": "x"}}, "a place is given for 'test', which is no set"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"n_val": 0}, "n_val must be at least 1, got 0"),
        ({"n_val_shift": -1}, "n_val_shift must be at least 0, got -1"),
        ({"shots": 0}, "shots must be at least 1, got 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"split_seed": -1}, "split_seed must be at least 0, got -1"),
        ({"num_workers": -1}, "num_workers must be at least 0, got -1"),
        ({"augment": "mixup"}, "augment must be one of .*, got 'mixup'"),
        ({"scale": (0.0, 1.0)}, "scale must be two areas"),
    ],
)
def test_refusals(whole, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        opened(whole, **options)


def test_loaders_without_a_transform_and_too_large_a_held_out_part(whole):
    with pytest.raises(ValueError, match="ImageNetDataModule has no transform"):
        opened(whole, transform=None).test_dataloader()
    with pytest.raises(ValueError, match="n_val=10000 of 2000 training images"):
        opened(whole, n_val=10_000).train_dataloader()


def test_training_images_never_come_from_objectnet(tmp_path, whole):
    data = opened(whole, paths={"train": str(whole / "objectnet-1.0" / "images")})
    with pytest.raises(ValueError, match=r"ImageNet train: '.*' is no class of it"):
        data.train_dataloader()
    assert len(OBJECTS) == 313


def test_a_linear_probe_gets_the_training_images_as_they_are(whole):
    for shots, n_val, count in ((None, 300, 1700), (1, 1, 1000)):
        data = opened(whole, shots=shots, n_val=n_val)
        images, targets = together(data.probe_dataloader())
        assert torch.equal(class_of(images), targets)
        train = data.train_dataloader().dataset
        assert len(targets) == len(train) == count
        assert isinstance(data.probe_dataloader().sampler, UnrepeatedSampler)

"""`ImageFolderDataModule` on small trees: classes matched by name, splits, records, loaders, bad input."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning import LightningModule
from lightning.pytorch import Trainer
from PIL import Image

from lightning_robust.data import DistributionShift, ImageFolderDataModule

CLASSES = {"dog": 10, "hot_dog": 20, "Polar-Bear": 15}


def pixels(image):
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float()


def write(folder, counts, tone=0):
    """Image k of class c is of colour (c, k, tone)."""
    for c, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True)
        for k in range(count):
            Image.new("RGB", (6, 6), (c, k, tone)).save(folder / name / f"{k:03}.png")
    return folder


@pytest.fixture
def root(tmp_path):
    top = tmp_path / "sets"
    write(top / "photo", CLASSES)
    write(top / "sketch", {"DOG": 4, "hot dog": 5, "polar_bear": 7}, tone=1)
    write(top / "toys", {"Hot-Dog": 4, "dog": 2}, tone=2)
    return top


def make(root, **options):
    options = {"reference": "photo", "shifts": ["sketch", "toys"], "batch_size": 4, "augment": "none"} | options
    return ImageFolderDataModule(str(root), transform=pixels, **options)


def rows(loader):
    """(class of the source, number, tone, target) of every image."""
    return [
        (*image[:, 0, 0].int().tolist(), target)
        for images, targets in loader
        for image, target in zip(images, targets.tolist(), strict=True)
    ]


def test_what_every_data_module_has(root):
    data = make(root)
    assert data.class_names == ["Polar-Bear", "dog", "hot dog"]
    assert data.templates == ["a photo of a {}."]
    assert data.val_loader_names == ["photo", "sketch", "toys"]
    assert isinstance(data.reference, DistributionShift)
    assert data.reference.protocol == "top-1 over all classes"
    assert data.reference.groups is None
    sketch, toys = data.shifts
    assert (sketch.name, sketch.groups) == ("sketch", None)
    assert (toys.groups, toys.classes, toys.protocol) == (((1,), (2,)), (1, 2), "top-1 over its 2 of 3 classes")
    assert data.description.startswith("photo: the folder photo (45 images in 3 classes; ")
    assert "train/val/test 0.6/0.2/0.2 of each class by seed 0" in data.description
    assert "sketch: the folder sketch (16 images in 3 classes; " in data.description


def test_classes_are_matched_by_name_however_they_are_spelt(root):
    data = make(root)
    for loaders in (data.val_dataloader(), data.test_dataloader()):
        _, sketch, toys = (rows(loader) for loader in loaders)
        assert {(c, target) for c, _, tone, target in sketch if tone == 1} == {(0, 1), (1, 2), (2, 0)}
        assert {(c, target) for c, _, tone, target in toys if tone == 2} == {(0, 2), (1, 1)}


@pytest.mark.parametrize("seed", [0, 7])
def test_splits_are_disjoint_stratified_and_cover_everything(root, seed):
    data = make(root, split_seed=seed, batch_size=1)
    train, val, test = rows(data.train_dataloader()), rows(data.val_dataloader()[0]), rows(data.test_dataloader()[0])
    assert sorted(train + val + test) == sorted({*train, *val, *test})
    assert len(train + val + test) == 45
    for target, sizes in {1: (6, 2, 2), 2: (12, 4, 4), 0: (9, 3, 3)}.items():
        assert tuple(sum(row[3] == target for row in part) for part in (train, val, test)) == sizes
    for index, total in ((1, 16), (2, 6)):
        halves = rows(data.val_dataloader()[index]), rows(data.test_dataloader()[index])
        assert len({*halves[0], *halves[1]}) == len(halves[0]) + len(halves[1]) == total
        assert 0 <= len(halves[1]) - len(halves[0]) <= 3


def test_splits_do_not_move_with_other_classes_and_do_with_the_seed(root):
    def dogs(split_seed=0, seed=0):
        data = make(root, split_seed=split_seed, seed=seed)
        return [row[1] for row in rows(data.val_dataloader()[0]) if data.class_names[row[3]] == "dog"]

    before, other = dogs(), [dogs(split_seed=s) for s in (1, 2, 3)]
    assert any(found != before for found in other)
    assert dogs(seed=5) == before, "runs with other seeds have the same splits"
    Image.new("RGB", (6, 6)).save(root / "photo" / "hot_dog" / "new.png")
    write(root / "photo", {"aardvark": 5})
    assert dogs() == before


@pytest.mark.parametrize("position", ["000a", "zzz"])
def test_an_added_image_moves_at_most_one_over_each_cut_and_a_moved_folder_none(root, tmp_path, position):
    def parts(top):
        data = make(top, batch_size=1)
        return [{row[:2] for row in rows(loader)} for loader in (data.probe_dataloader(), data.val_dataloader()[0])]

    before = parts(root)
    Image.new("RGB", (6, 6), (9, 9, 9)).save(root / "photo" / "hot_dog" / f"{position}.png")
    after = parts(root)
    assert [len(was - now) <= 1 for was, now in zip(before, after, strict=True)] == [True, True]
    root.rename(tmp_path / "elsewhere")
    assert parts(tmp_path / "elsewhere") == after


def test_a_training_does_not_go_on_with_another_division(root):
    state = make(root).state_dict()
    make(root, batch_size=2).load_state_dict(state)
    for other in (make(root, split_seed=1), make(root, shots=2)):
        with pytest.raises(ValueError, match=r"trained on another division of photo .*start anew"):
            other.load_state_dict(state)
    Image.new("RGB", (6, 6)).save(root / "photo" / "hot_dog" / "new.png")
    with pytest.raises(ValueError, match="trained on another division of photo"):
        make(root).load_state_dict(state)


def test_a_reference_that_is_divided_already(tmp_path):
    for split, counts in (("train", {"a": 3, "b": 4}), ("val", {"b": 2, "a": 1}), ("test", {"A": 2, "b": 2})):
        write(tmp_path / "set" / split, counts)
    data = ImageFolderDataModule(reference=str(tmp_path / "set"), transform=pixels, augment="none", batch_size=1)
    assert data.val_loader_names == ["set"]
    assert "splits as they come" in data.description
    assert len(rows(data.train_dataloader())) == 7
    assert sorted(row[3] for row in rows(data.val_dataloader()[0])) == [0, 1, 1]
    assert sorted(row[3] for row in rows(data.test_dataloader()[0])) == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("given", "sizes", "how"),
    [
        ({"train": 10, "val": 10}, (10, 5, 5), "val halved into val and test by seed 0"),
        ({"train": 12, "test": 8}, (9, 3, 8), "test as it comes, 0.25 of train for val by seed 0"),
    ],
)
def test_a_reference_that_is_divided_in_two(tmp_path, given, sizes, how):
    for split, n in given.items():
        write(tmp_path / "set" / split, {"a": n})
    data = ImageFolderDataModule(reference=str(tmp_path / "set"), transform=pixels, batch_size=1)
    parts = data.train_dataloader(), data.val_dataloader()[0], data.test_dataloader()[0]
    assert tuple(len(rows(part)) for part in parts) == sizes
    assert how in data.description


def test_a_shift_that_is_divided_is_never_trained_on(tmp_path, root):
    for split, n in (("train", 9), ("val", 3), ("test", 5)):
        write(tmp_path / "divided" / split, {"dog": n})
    data = make(root, shifts={"extra": str(tmp_path / "divided")})
    assert data.val_loader_names == ["photo", "extra"]
    assert [len(rows(loaders[1])) for loaders in (data.val_dataloader(), data.test_dataloader())] == [3, 5]


def test_other_classes_are_left_out_named_and_counted(root):
    write(root / "sketch", {"dgo": 3, "zebra": 2})
    data = make(root)
    with pytest.warns(UserWarning, match=r"sketch has 2 classes .* lacks: 'dgo' \(3 images, near names: 'dog'\)"):
        summary = data.summary
    assert summary.left_out == {"sketch": {"dgo": 3, "zebra": 2}, "toys": {}}
    assert summary.lacking == {"sketch": (), "toys": ("Polar-Bear",)}
    assert summary.counts["photo/train"] == (9, 6, 12)
    assert "left out of sketch, since the reference has no such class: dgo (3), zebra (2)" in str(summary)
    assert "toys lacks 1 class and is judged over the others: 'Polar-Bear'" in str(summary)
    assert "5 images of 2 other classes left out" in data.shifts[0].source
    assert len(rows(data.val_dataloader()[1])) + len(rows(data.test_dataloader()[1])) == 16
    with pytest.raises(ValueError, match=r"sketch has 2 classes that the reference lacks: .*; class_map can say"):
        make(root, unmatched="error").setup("fit")


def test_an_accent_is_one_character_or_two(tmp_path):
    write(tmp_path / "photo", {"caf\u00e9": 5, "bar": 5})
    write(tmp_path / "sketch", {"cafe\u0301": 2, "bar": 2})
    assert make(tmp_path, shifts=["sketch"], unmatched="error").shifts[0].groups is None


def test_a_class_map(root):
    write(root / "sketch", {"wiener": 3})
    data = make(root, class_map={"Wiener": "hot dog"}, unmatched="error")
    assert sum(data.summary.counts[f"sketch/{split}"][2] for split in ("val", "test")) == 5 + 3
    with pytest.raises(ValueError, match="class_map names 'sausage', which is a class of no shift"):
        make(root, class_map={"sausage": "dog", "wiener": "dog"}).setup("fit")
    with pytest.raises(ValueError, match=r"class_map takes 'wiener' for 'hotdog', which .*near names: 'hot_dog'"):
        make(root, class_map={"wiener": "hotdog"}).setup("fit")


def test_names_that_could_be_two_classes(tmp_path):
    write(tmp_path / "photo", {"hot dog": 5, "hot_dog": 5})
    write(tmp_path / "exact", {"hot dog": 2, "hot_dog": 2})
    write(tmp_path / "toys", {"Hot-Dog": 4})
    data = make(tmp_path, shifts=["exact"])
    assert [sum(c) for c in (data.summary.counts["exact/val"], data.summary.counts["exact/test"])] == [2, 2]
    with pytest.raises(ValueError, match="'Hot-Dog' of toys could be each of 'hot dog', 'hot_dog' of the reference"):
        make(tmp_path, shifts=["toys"]).setup("fit")
    data = make(tmp_path, shifts=["toys"], class_map={"Hot-Dog": "hot_dog"})
    assert data.shifts[0].groups == ((1,),)


def test_shots(root):
    data, more = make(root, shots=2, batch_size=1), make(root, shots=4, batch_size=1)
    few, whole = rows(data.train_dataloader()), rows(make(root, batch_size=1).train_dataloader())
    assert sorted(row[3] for row in few) == [0, 0, 1, 1, 2, 2]
    assert {*few} < {*rows(more.train_dataloader())} < {*whole}
    assert any({*rows(make(root, shots=2, batch_size=1, seed=s).train_dataloader())} != {*few} for s in (1, 2, 3))
    assert rows(data.val_dataloader()[0]) == rows(make(root).val_dataloader()[0])
    assert "2 training images of each class by seed 0" in data.description
    with pytest.raises(ValueError, match="7 shots of every class are wanted, but the class 'dog' of photo has 6"):
        make(root, shots=7).setup("fit")


def test_names_for_prompts(root):
    assert make(root, class_names=["x", "y", "z"], templates=["{}!"]).class_names == ["x", "y", "z"]
    assert make(root, class_names={"hot dog": "sausage"}).class_names == ["Polar-Bear", "dog", "sausage"]
    with pytest.raises(ValueError, match=r"The 3 classes \('Polar-Bear', .*\) need as many class_names, got 1"):
        _ = make(root, class_names=["x"]).class_names
    with pytest.raises(ValueError, match="class_names names 'hotdog', which is no class; near names: 'hot_dog'"):
        _ = make(root, class_names={"hotdog": "x"}).class_names


def test_two_classes_of_one_name_for_prompts(tmp_path):
    write(tmp_path / "photo", {"hot dog": 5, "hot_dog": 5})
    with pytest.raises(
        ValueError, match="'hot dog' and 'hot_dog' have the same name for prompts, 'hot dog'; class_nam"
    ):
        _ = make(tmp_path, shifts=[]).class_names
    assert make(tmp_path, shifts=[], class_names={"hot_dog": "sausage"}).class_names == ["hot dog", "sausage"]


def test_augmentation_follows_seed_and_epoch_alone_and_resumes(root):
    def epoch(number, state=None, workers=0, seed=3):
        loader = make(root, augment="crop-flip", seed=seed, num_workers=workers).train_dataloader()
        loader.sampler.set_epoch(number)
        if state:
            loader.load_state_dict(state)
        return [(images.tolist(), targets.tolist()) for images, targets in loader]

    for path in (root / "photo").rglob("*.png"):  # something to crop
        rng = np.random.default_rng(list(path.as_posix().encode()[-12:]))
        Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)).save(path)
    whole = epoch(1)
    torch.manual_seed(0)
    assert epoch(1) == whole
    assert epoch(1, workers=2) == whole
    assert epoch(1, state={"epoch": 1, "batches": 3}) == whole[3:]
    assert epoch(2) != whole
    assert epoch(1, seed=4) != whole


def test_the_probe_loader_shows_training_images_as_they_are(root):
    data = make(root, augment="crop-flip", batch_size=1)
    assert sorted(rows(data.probe_dataloader())) == sorted(rows(make(root, batch_size=1).train_dataloader()))


def test_a_damaged_image_is_left_out_up_to_the_limit(root):
    for k in range(20):
        (root / "photo" / "hot_dog" / f"{k:03}.png").write_bytes(b"no image")
    with pytest.warns(UserWarning, match="left out"):
        assert len(rows(make(root).val_dataloader()[0])) == 9 - 4
    with (
        pytest.warns(UserWarning, match="left out"),
        pytest.raises(ValueError, match=r"More than 3 images cannot be read, the first of them .*hot_dog"),
    ):
        rows(make(root, max_unreadable=3).val_dataloader()[0])


class Linear(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3 * 36, 3)
        self.seen = []

    def training_step(self, batch, batch_idx):
        return torch.nn.functional.cross_entropy(self.layer(batch[0].flatten(1) / 255), batch[1])

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        self.seen.append((dataloader_idx, len(batch[1])))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_in_a_trainer(root, tmp_path):
    model = Linear()
    settings = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        trainer = Trainer(
            max_epochs=2, num_sanity_val_steps=0, accelerator="cpu", default_root_dir=tmp_path, **settings
        )
        trainer.fit(model, make(root))
    assert trainer.global_step == 2 * (27 // 4)
    assert [sum(n for index, n in model.seen if index == i) for i in range(3)] == [2 * 9, 2 * 7, 2 * 3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reference": None}, "reference is missing: a folder in root, or a spec"),
        ({"unmatched": "ignore"}, "unmatched must be one of 'leave-out', 'error', got 'ignore'"),
        ({"fractions": (0.6, 0.4, 0.0)}, "fractions must be three positive shares"),
        ({"fractions": (0.6, 0.2, 0.1)}, "fractions must be three positive shares"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"shots": 0}, "shots must be at least 1, got 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"num_workers": -1}, "num_workers must be at least 0"),
        ({"augment": "mixup"}, "augment must be one of"),
        ({"scale": (0.9, 0.5)}, "scale must be two areas"),
        ({"fractions": (float("nan"), 0.5, 0.5)}, "fractions must be three positive shares"),
        ({"shifts": "sketch"}, "shifts has to be a list of folders or specs, .* not the text 'sketch'"),
        ({"templates": []}, "templates must hold at least one prompt"),
        ({"templates": ["a photo"]}, "The template 'a photo' has no {} for the class name"),
    ],
)
def test_settings_that_are_refused_at_once(root, options, message):
    with pytest.raises(ValueError, match=message):
        make(root, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reference": "foto"}, "reference 'foto' is no folder in .*sets; there are 'photo', 'sketch', 'toys'"),
        ({"shifts": ["art"]}, "shift 'art' is no folder in .*sets"),
        ({"shifts": ["sketch", "sketch"]}, "Two sets are called 'sketch'; give shifts names of their own"),
        ({"shifts": {"photo": "sketch"}}, "Two sets are called 'photo'"),
        ({"shifts": {"shifts": "sketch"}}, "No set can be called 'shifts'"),
        ({"shifts": {"mean": "sketch"}}, "No set can be called 'mean'"),
        ({"shifts": {"reference": "sketch"}}, "No shift can be called 'reference'"),
        ({"shifts": {"a/b": "sketch"}}, "The set name 'a/b' has to be letters, digits"),
        ({"shifts": {"x": "hub:nobody/none"}}, "nobody/none is not on this machine and nothing is fetched"),
    ],
)
def test_what_is_refused_when_it_is_opened(root, options, message):
    with pytest.raises(ValueError, match=message):
        make(root, **options).setup("fit")


def test_a_root_that_is_missing_is_said_when_it_is_needed(tmp_path):
    data = make(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"No folder .*nowhere: root has to be a folder that holds 'photo'"):
        data.setup("fit")


def test_no_class_in_common(root):
    write(root / "cars", {"car": 2})
    with pytest.raises(ValueError, match="No class of cars is one of the reference: it has 'car', the reference"):
        make(root, shifts=["cars"]).setup("fit")


def test_a_class_without_training_images(tmp_path, root):
    (root / "photo" / "empty").mkdir()
    with pytest.raises(ValueError, match=r"The class 'empty' of the folder photo .* has no training images"):
        make(root).setup("fit")
    write(tmp_path / "set" / "train", {"a": 1})
    write(tmp_path / "set" / "val", {"a": 2, "b": 2})
    with pytest.raises(ValueError, match=r"The val images of .* have the classes 'b', which its training images lack"):
        ImageFolderDataModule(reference=str(tmp_path / "set")).setup("fit")


def test_no_transform(root):
    data = ImageFolderDataModule(str(root), "photo")
    with pytest.raises(ValueError, match="ImageFolderDataModule has no transform; pass the encoder's"):
        data.val_dataloader()


def test_specs_without_a_root(root, tmp_path):
    lines = [f"{path},{path.parent.name}" for path in sorted((root / "sketch").rglob("*.png"))]
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *lines]))
    data = ImageFolderDataModule(
        reference=str(root / "photo"), shifts={"listed": f"csv:{tmp_path / 'list.csv'}"}, transform=pixels
    )
    assert data.val_loader_names == ["photo", "listed"]
    assert {row[2] for row in rows(data.test_dataloader()[1])} == {1}


PACS = Path(os.environ.get("LIGHTNING_ROBUST_PACS", Path(__file__).parents[3] / "shared" / "data" / "pacs"))


@pytest.mark.skipif(not PACS.is_dir(), reason="no PACS images: LIGHTNING_ROBUST_PACS names their folder")
def test_pacs():
    data = ImageFolderDataModule(str(PACS), "photo", ["art_painting", "cartoon", "sketch"], transform=pixels)
    assert data.class_names == ["dog", "elephant", "giraffe", "guitar", "horse", "house", "person"]
    assert [shift.groups for shift in data.shifts] == [None] * 3
    counts = data.summary.counts
    for name in data.val_loader_names:
        folders = [len(list((PACS / name / label).iterdir())) for label in data.class_names]
        assert np.sum([c for key, c in counts.items() if key.startswith(name)], axis=0).tolist() == folders
    images, targets = next(iter(data.val_dataloader()[3]))
    assert images.shape[1] == 3
    assert set(targets.tolist()) <= set(range(7))

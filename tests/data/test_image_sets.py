"""Plain images by a short text."""

import io
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

from lightning_robust.data.image_sets import IMAGE_SPECS, image_loader, open_images
from lightning_robust.data.scenes import ScenesDataModule


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "photos"
    for i, name in enumerate(["b/2.PNG", "a/1.png", "0.jpeg", "b/deep/3.webp"]):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (5, 4), 50 * i).save(path, "PNG")
    (folder / "notes.txt").write_text("no image")
    (folder / "folder.png").mkdir()
    return folder


def test_every_image_of_a_folder_in_the_order_of_paths(folder):
    images = open_images(str(folder), pil_to_tensor)
    assert (images.name, len(images)) == ("photos", 4)
    batches = list(image_loader(images, batch_size=3))
    assert [tuple(batch.shape) for batch in batches] == [(3, 3, 4, 5), (1, 3, 4, 5)]
    assert torch.cat(batches)[:, 0, 0, 0].tolist() == [100, 50, 0, 150]
    assert len(list(images)) == 4, "a plain loop ends"
    some = [int(image[0, 0, 0]) for image in open_images(str(folder), pil_to_tensor, n=2)]
    assert some == [100, 0], "evenly spaced: files are often sorted by class"
    assert "4 files, 2 evenly spaced; " in open_images(str(folder), pil_to_tensor, n=2).source


def test_hidden_files_are_no_images(folder):
    for name in (".hidden/a.png", "a/._1.png", "__MACOSX/b.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"rubbish")
    (folder / os.fsdecode(b"\xff")).mkdir()
    Image.new("RGB", (5, 4)).save(folder / os.fsdecode(b"\xff") / "odd.png")
    (folder / "x.heic").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"left out: 1 .heic"):
        assert len(open_images(str(folder), pil_to_tensor)) == 5


def test_bad_files_are_named_counted_and_limited(folder):
    (folder / "a" / "1.png").write_bytes(b"no")
    loader = image_loader(open_images(str(folder), pil_to_tensor), num_workers=1)
    with pytest.warns(UserWarning, match=r"left out, 1 of at most 20: .*1.png: not an image"):
        (batch,) = loader
    assert batch[:, 0, 0, 0].tolist() == [100, 0, 150]
    with pytest.raises(ValueError, match=r"More than 0 images cannot be read, the first of them .*1.png"):
        list(image_loader(open_images(str(folder), pil_to_tensor), max_unreadable=0))


def test_scenes_are_the_reference_test_images():
    module = ScenesDataModule(pil_to_tensor, n_test=9, seed=2)
    ((expected, _),) = module.test_dataloader()[0]
    images = open_images("scenes", pil_to_tensor, n=9, seed=2)
    assert torch.equal(torch.cat(list(image_loader(images, batch_size=4))), expected)
    assert images.name == "scenes"


def test_the_image_column_of_a_table(tmp_path):
    cells = []
    for i in range(3):
        file = io.BytesIO()
        Image.new("RGB", (2, 2), (i, 0, 0)).save(file, "PNG")
        cells.append(file.getvalue())
    pq.write_table(pa.table({"image": cells, "label": [0, 1, 2]}), tmp_path / "a.parquet")
    images = open_images(f"parquet:{tmp_path / 'a.parquet'}", pil_to_tensor, n=2)
    assert (images.name, [int(image[0, 0, 0]) for image in images]) == ("a", [0, 1])
    pq.write_table(pa.table({"label": [0, 1, 2]}), tmp_path / "b.parquet")
    with pytest.raises(ValueError, match=r"b.parquet: which column holds the images"):
        open_images(f"parquet:{tmp_path / 'b.parquet'}", pil_to_tensor)
    with pytest.raises(ValueError, match="not on this machine"):
        open_images("hub:nobody/nothing:train", pil_to_tensor)


def test_what_is_refused(folder):
    with pytest.raises(ValueError, match="there is no such folder; what works: scenes, FOLDER") as caught:
        open_images("nowhere", pil_to_tensor)
    assert all(form in str(caught.value) for form in IMAGE_SPECS)
    with pytest.raises(ValueError, match=r"No images in the folder .*folder.png"):
        open_images(str(folder / "folder.png"), pil_to_tensor)
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        open_images("scenes", pil_to_tensor, n=0)
    with pytest.raises(ValueError, match="a seed is for the images 'scenes' alone"):
        open_images(str(folder), pil_to_tensor, seed=1)
